//! A right answer made from the ground truth: what a model without fault would write.

use serde_json::{Map, Value};

use super::{Expect, Language, Question};
use crate::data::calls::ToolCall;

/// The calls of a right answer: of each argument the first value that is not "left out". A question that
/// asks for some call gets one of its first function.
pub fn perfect(question: &Question) -> Vec<ToolCall> {
    if question.expect == Expect::Relevance {
        let name = question.functions.first().and_then(|f| f["name"].as_str()).unwrap_or_default();
        return vec![ToolCall::new(name, Map::new())];
    }
    question.ground_truth.iter().filter_map(|truth| call(question, truth)).collect()
}

fn call(question: &Question, truth: &Value) -> Option<ToolCall> {
    let (name, allowed) = truth.as_object()?.iter().next()?;
    let function = question.functions.iter().find(|f| f["name"].as_str() == Some(name)).or(question.functions.first())?;
    let mut arguments = Map::new();
    for (key, values) in allowed.as_object()? {
        let schema = &function["parameters"]["properties"][key];
        let required = function["parameters"]["required"].as_array().is_some_and(|r| r.iter().any(|r| r.as_str() == Some(key)));
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        // A file may allow an argument that the function does not have, and empty text for a required one.
        let usual = values.iter().find(|v| v.as_str() != Some("")).filter(|_| !schema.is_null());
        let empty = Value::Array(Vec::new());
        let Some(value) = usual.or(values.first().or(Some(&empty)).filter(|_| required)) else { continue };
        let value = match schema["type"].as_str() {
            Some("dict" | "HashMap") => members(value),
            Some("array" | "tuple" | "ArrayList" | "Array") if schema["items"]["type"] == "dict" => items(value),
            _ => value.clone(),
        };
        let kind = schema["type"].as_str().unwrap_or_default();
        let inner = schema["items"]["type"].as_str();
        let value = match question.language {
            Language::Python => value,
            Language::Java => Value::String(java(&value, kind, inner)),
            Language::Javascript => Value::String(javascript(&value, kind, inner)),
        };
        arguments.insert(key.clone(), value);
    }
    Some(ToolCall::new(name.clone(), arguments))
}

/// The first value allowed for each member.
fn members(value: &Value) -> Value {
    let Some(map) = value.as_object() else { return value.clone() };
    let first = |(key, values): (&String, &Value)| {
        let value = match values {
            Value::Array(list) => list.iter().find(|v| v.as_str() != Some(""))?.clone(),
            // Bare text is a list of characters to the rules.
            Value::String(text) => Value::String(text.chars().next()?.to_string()),
            other => other.clone(),
        };
        Some((key.clone(), value))
    };
    Value::Object(map.iter().filter_map(first).collect())
}

fn items(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(members).collect(),
        other => other.clone(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        other => text(other),
    }
}

fn list(values: &[Value], one: impl Fn(&Value) -> String) -> String {
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn java(value: &Value, kind: &str, inner: Option<&str>) -> String {
    let item = |v: &Value| match inner {
        Some("long") => format!("{}L", text(v)),
        Some("float") => format!("{}f", text(v)),
        Some("char") => format!("'{}'", text(v)),
        Some("String" | "any") => quoted(v),
        _ => text(v),
    };
    match (kind, value) {
        ("long", Value::Number(n)) => format!("{n}L"),
        ("float", Value::Number(n)) => format!("{n}f"),
        ("ArrayList", Value::Array(values)) if values.is_empty() => "new ArrayList<>()".into(),
        ("ArrayList", Value::Array(values)) => format!("new ArrayList<>(Arrays.asList({}))", list(values, item)),
        // Items of arrays keep their quotes when they are read, so none are written.
        ("Array", Value::Array(values)) if inner.is_some() => {
            format!("new Object[]{{{}}}", list(values, |v| if inner == Some("String") || inner == Some("any") { text(v) } else { item(v) }))
        }
        ("Array", Value::Array(values)) => format!("new Object[]{{{}}}", list(values, quoted)),
        ("HashMap", Value::Object(map)) => {
            let put = |(key, value): (&String, &Value)| format!("put(\"{key}\", {}); ", quoted(value));
            format!("new HashMap<>() {{{{ {}}}}}", map.iter().map(put).collect::<String>())
        }
        (_, other) => text(other),
    }
}

fn javascript(value: &Value, kind: &str, inner: Option<&str>) -> String {
    match (kind, value) {
        ("Bigint", Value::Number(n)) => format!("{n}n"),
        ("String", Value::String(text)) => format!("'{text}'"),
        ("array", Value::Array(values)) => format!("[{}]", list(values, |v| if inner == Some("any") { text(v) } else { literal(v) })),
        ("dict", Value::Object(_)) => literal(value),
        (_, other) => text(other),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Array(values) => format!("[{}]", list(values, literal)),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(key, value)| format!("'{key}': {}", literal(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => text(other),
    }
}
