//! Values in JavaScript's syntax, read as the leaderboard reads them: what does not fit stays text.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::java::{float, inside, whole};
use super::values::Kind;

pub(super) fn expected(name: &str) -> Option<Kind> {
    Some(match name {
        "String" | "any" => Kind::Str,
        "integer" | "Bigint" => Kind::Int,
        "float" => Kind::Float,
        "Boolean" => Kind::Bool,
        "dict" => Kind::Dict,
        "array" => Kind::List,
        _ => return None,
    })
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

static WHOLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+$"));
static FLOAT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+(\.\d+)?$"));
static BIG: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?\d+n$"));
static LISTS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\))"));
static INNER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[(.*?)\]"));
static LIST: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:\[(.*?)\]|\bnew\s+Array\((.*?)\))"));
static OBJECT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\{(.*?)\}"));

/// The value of a text that is declared as `kind`, of `inner` for the items of a list.
pub(super) fn convert(text: &str, kind: &str, inner: Option<&str>) -> Value {
    let or_text = |value: Option<Value>| value.unwrap_or_else(|| Value::String(text.to_owned()));
    match kind {
        "String" if is_quoted(text) => Value::String(inside(text).to_owned()),
        "integer" => or_text(WHOLE.is_match(text).then(|| whole(text)).flatten()),
        "float" => or_text(FLOAT.is_match(text).then(|| float(text)).flatten()),
        "Bigint" => or_text(BIG.is_match(text).then(|| whole(&text[..text.len() - 1])).flatten()),
        "Boolean" => or_text(boolean(text)),
        "dict" => object(text.trim()).unwrap_or_else(|| Value::String(text.trim().to_owned())),
        "array" => array(text.trim(), inner).unwrap_or_else(|| Value::String(text.trim().to_owned())),
        _ => Value::String(text.to_owned()),
    }
}

fn is_quoted(text: &str) -> bool {
    text.starts_with('"') && text.ends_with('"') || text.starts_with('\'') && text.ends_with('\'')
}

fn boolean(text: &str) -> Option<Value> {
    matches!(text, "true" | "false").then(|| Value::Bool(text == "true"))
}

fn array(text: &str, inner: Option<&str>) -> Option<Value> {
    if let Some(found) = LISTS.find(text) {
        let row = |(i, row): (usize, regex::Captures<'_>)| {
            let row = row.get(1).map_or("", |m| m.as_str()).trim();
            let row = if i == 0 { row.strip_prefix('[').unwrap_or(row) } else { row };
            row.split(',').map(untyped).collect::<Value>()
        };
        return Some(INNER.captures_iter(found.as_str()).enumerate().map(row).collect());
    }
    let found = LIST.captures(text)?;
    let items = found.get(1).or(found.get(2)).map_or("", |m| m.as_str()).trim();
    if items.is_empty() {
        return Some(Value::Array(Vec::new()));
    }
    let item = |text: &str| match inner {
        Some(kind) => convert(text.trim(), kind, None),
        None => untyped(text),
    };
    Some(items.split(',').map(item).collect())
}

/// `{key: value, ..}` up to the first closing brace; a comma ends a value where a key follows.
fn object(text: &str) -> Option<Value> {
    if text == "{}" {
        return Some(Value::Object(Map::new()));
    }
    let found = OBJECT.captures(text)?;
    let mut rest = found.get(1).map_or("", |m| m.as_str());
    let mut map = Map::new();
    // A colon at the very beginning ends no key.
    while let Some(colon) = rest.char_indices().skip(1).find(|(_, c)| *c == ':').map(|(i, _)| i) {
        let key = rest[..colon].trim_start_matches(':');
        let key = key.trim().trim_matches(['\'', '"']);
        let after = rest[colon + 1..].trim_start();
        let (value, next) = value_end(after);
        map.insert(key.to_owned(), member(value.trim()));
        rest = next;
    }
    Some(Value::Object(map))
}

/// Where a value ends: at the first comma after which a key and a colon stand, or at the end.
fn value_end(text: &str) -> (&str, &str) {
    for (comma, _) in text.match_indices(',') {
        let after = &text[comma + 1..];
        let key = after.split(',').next().unwrap_or("");
        if key.char_indices().skip(1).any(|(_, c)| c == ':') {
            return (&text[..comma], after.trim_start());
        }
    }
    (text, "")
}

fn member(text: &str) -> Value {
    let or_text = |value: Option<Value>| value.unwrap_or_else(|| Value::String(text.to_owned()));
    if text.starts_with('[') && text.ends_with(']') {
        return or_text(array(text, None));
    }
    if text.starts_with('{') && text.ends_with('}') {
        return or_text(object(text));
    }
    untyped(text.trim_matches(['\'', '"']))
}

/// A value of no declared type.
fn untyped(text: &str) -> Value {
    let text = text.trim();
    if let Some(value) = boolean(text) {
        return value;
    }
    if is_quoted(text) {
        return Value::String(inside(text).to_owned());
    }
    whole(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned()))
}
