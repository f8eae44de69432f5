//! Values in Java's syntax, read as the leaderboard reads them: what does not fit stays text.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Number, Value};

use super::values::Kind;

pub(super) fn expected(name: &str) -> Option<Kind> {
    Some(match name {
        "byte" | "short" | "integer" | "long" => Kind::Int,
        "float" | "double" => Kind::Float,
        "boolean" => Kind::Bool,
        "char" | "String" | "any" => Kind::Str,
        "Array" | "ArrayList" => Kind::List,
        "HashMap" => Kind::Dict,
        // Set, Hashtable, Queue and Stack are named there, but not read.
        _ => return None,
    })
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

static WHOLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+$"));
static FLOAT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$"));
static DOUBLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"));
static LONG: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+[lL]$"));
static AS_LIST: LazyLock<Regex> = LazyLock::new(|| pattern(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)"));
static ADDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}"));
static ADD: LazyLock<Regex> = LazyLock::new(|| pattern(r"add\((.+?)\)"));
static EMPTY_LIST: LazyLock<Regex> = LazyLock::new(|| pattern(r"new\s+ArrayList<\w*>\(\)"));
static ARRAY: LazyLock<Regex> = LazyLock::new(|| pattern(r"new\s+\w+\[\]\s*\{(.*?)\}"));
static MAP: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}"));
static PUT: LazyLock<Regex> = LazyLock::new(|| pattern(r#"put\("(.*?)",\s*(.*?)\)"#));
static EMPTY_MAP: LazyLock<Regex> = LazyLock::new(|| pattern(r"new\s+HashMap<.*?>\s*\(\)"));

pub(super) fn whole(text: &str) -> Option<Value> {
    let text = text.trim();
    text.parse::<i64>().ok().map(Value::from).or_else(|| text.parse::<u64>().ok().map(Value::from))
}

pub(super) fn float(text: &str) -> Option<Value> {
    let text = text.trim();
    let is_digits = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    Number::from_f64(text.parse().ok().filter(|_| is_digits)?).map(Value::Number)
}

/// The value of a text that is declared as `kind`, of `inner` for the items of a list.
pub(super) fn convert(text: &str, kind: &str, inner: Option<&str>) -> Value {
    let or_text = |value: Option<Value>| value.unwrap_or_else(|| Value::String(text.to_owned()));
    match kind {
        "byte" | "short" | "integer" => or_text(WHOLE.is_match(text).then(|| whole(text)).flatten()),
        "float" => or_text(FLOAT.is_match(text).then(|| float(&text[..text.len() - 1])).flatten()),
        "double" => or_text(DOUBLE.is_match(text).then(|| float(text)).flatten()),
        "long" => or_text(LONG.is_match(text).then(|| whole(&text[..text.len() - 1])).flatten()),
        "boolean" => or_text(boolean(text)),
        "ArrayList" => or_text(array_list(text, inner)),
        "Array" => or_text(array(text, inner)),
        "HashMap" => or_text(hash_map(text)),
        _ => Value::String(text.to_owned()),
    }
}

fn boolean(text: &str) -> Option<Value> {
    matches!(text, "true" | "false").then(|| Value::Bool(text == "true"))
}

/// The text without its first and last character.
pub(super) fn inside(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.next_back();
    chars.as_str()
}

fn item(text: &str, inner: Option<&str>) -> Value {
    match inner {
        Some("char" | "String") => Value::String(inside(text).to_owned()),
        Some(kind) => convert(text, kind, None),
        None => untyped(text),
    }
}

fn array_list(text: &str, inner: Option<&str>) -> Option<Value> {
    if let Some(found) = AS_LIST.captures(text) {
        return Some(found[1].split(',').map(|t| item(t.trim(), inner)).collect());
    }
    if let Some(found) = ADDS.captures(text) {
        return Some(ADD.captures_iter(&found[1]).map(|add| item(add[1].trim(), inner)).collect());
    }
    EMPTY_LIST.is_match(text).then(|| Value::Array(Vec::new()))
}

fn array(text: &str, inner: Option<&str>) -> Option<Value> {
    let found = ARRAY.captures(text)?;
    let items = found[1].split(',').map(str::trim).filter(|t| !t.is_empty());
    Some(items.map(|t| inner.map_or_else(|| untyped(t), |kind| convert(t, kind, None))).collect())
}

fn hash_map(text: &str) -> Option<Value> {
    if let Some(found) = MAP.captures(text) {
        let puts = PUT.captures_iter(&found[1]).map(|put| (put[1].to_owned(), untyped(put[2].trim())));
        return Some(Value::Object(puts.collect()));
    }
    EMPTY_MAP.is_match(text).then(|| Value::Object(Map::new()))
}

/// A value of no declared type.
fn untyped(text: &str) -> Value {
    if let Some(value) = boolean(text) {
        return value;
    }
    if text.starts_with('"') && text.ends_with('"') {
        return Value::String(inside(text).to_owned());
    }
    if LONG.is_match(text) || FLOAT.is_match(text) {
        let digits = &text[..text.len() - 1];
        let value = if LONG.is_match(text) { whole(digits) } else { float(digits) };
        return value.unwrap_or_else(|| Value::String(text.to_owned()));
    }
    whole(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned()))
}
