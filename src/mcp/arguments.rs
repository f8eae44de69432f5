//! Arguments of a call against the tool's own input schema: everything that is wrong at once, each with its field.

use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use crate::base::error::Fault;

/// Problems that are told.
const MOST_TOLD: usize = 20;
/// Characters of a value that are shown.
const MOST_SHOWN: usize = 60;

/// The arguments without optional fields that are null.
pub(super) fn checked(tool: &str, schema: &JsonObject, arguments: JsonObject) -> Result<Value, Fault> {
    let mut value = Value::Object(arguments);
    let mut problems = Vec::new();
    check("", schema, &mut value, &mut problems);
    if problems.is_empty() {
        return Ok(value);
    }
    let more = problems.len().saturating_sub(MOST_TOLD);
    problems.truncate(MOST_TOLD);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    let message = match problems.as_slice() {
        [one] => one.clone(),
        many => format!("{} arguments are wrong:\n  {}", many.len() - usize::from(more > 0) + more, many.join("\n  ")),
    };
    Err(Fault::new("invalid_arguments", message).hint(format!("see the input schema of {tool}")))
}

fn field(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn check(path: &str, schema: &Map<String, Value>, value: &mut Value, problems: &mut Vec<String>) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "integer" {
        whole(value);
    }
    if !is_of(kind, value) {
        let wanted = match kind {
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "text",
            "boolean" => "true or false",
            "array" => "a list",
            _ => "an object",
        };
        return problems.push(format!("`{path}`: must be {wanted}, not {}", shown(value)));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array).filter(|words| !words.contains(value)) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return problems.push(format!("`{path}`: {} is not one of {}", shown(value), words.join(", ")));
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(x) = value.as_f64() {
        if kind == "integer" && x < 0.0 && number("minimum").is_none() {
            problems.push(format!("`{path}`: {} is less than 0", shown(value)));
        }
        for (bound, broken, word) in [
            (number("minimum"), number("minimum").is_some_and(|least| x < least), "is less than"),
            (number("maximum"), number("maximum").is_some_and(|most| x > most), "is more than"),
            (number("exclusiveMinimum"), number("exclusiveMinimum").is_some_and(|least| x <= least), "must be more than"),
        ] {
            if let Some(bound) = bound.filter(|_| broken) {
                problems.push(format!("`{path}`: {} {word} {bound}", shown(value)));
            }
        }
    }
    match value {
        Value::Array(items) => {
            if let Some(item) = schema.get("items").and_then(Value::as_object) {
                items.iter_mut().enumerate().for_each(|(i, v)| check(&format!("{path}[{i}]"), item, v, problems));
            }
        }
        Value::Object(map) => fields(path, schema, map, problems),
        _ => {}
    }
}

fn fields(path: &str, schema: &Map<String, Value>, map: &mut Map<String, Value>, problems: &mut Vec<String>) {
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    // Many clients send null for what they leave out.
    map.retain(|name, v| !(v.is_null() && known.contains_key(name) && !required.contains(&name.as_str())));
    for name in &required {
        if !map.contains_key(*name) {
            problems.push(format!("`{}`: is missing", field(path, name)));
        }
    }
    for (name, value) in map.iter_mut() {
        match known.get(name).and_then(Value::as_object) {
            Some(inner) => check(&field(path, name), inner, value, problems),
            // An object without named fields takes any.
            None if !known.is_empty() || schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                let near = known.keys().max_by(|a, b| likeness(name, a).total_cmp(&likeness(name, b)));
                let near = near.filter(|k| likeness(name, k) > 0.6).map(|k| format!("; did you mean `{}`?", field(path, k)));
                let name: String = field(path, name).chars().take(MOST_SHOWN).collect();
                problems.push(format!("`{name}`: there is no such field{}", near.unwrap_or_default()));
            }
            None => {}
        }
    }
}

fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&a.chars().take(MOST_SHOWN).collect::<String>(), b)
}

/// Some clients write whole numbers as 100.0.
fn whole(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(x) = value.as_f64().filter(|x| value.is_f64() && x.fract() == 0.0 && (0.0..EXACT).contains(x)) {
        *value = Value::from(x as u64);
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    }
}

/// A value of the client, short enough for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.chars().count() > MOST_SHOWN => "a long text".into(),
        Value::Number(n) if n.is_f64() => format!("{:?}", n.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> JsonObject {
        let stage = json!({"type": "integer", "minimum": 1, "maximum": 2});
        let training = json!({"type": "object", "properties": {"num_stages": stage}, "additionalProperties": false});
        let format = json!({"type": "string", "enum": ["gguf", "mlx"]});
        let top_p = json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1});
        let names = json!({"type": "array", "items": {"type": "string"}});
        let properties =
            json!({"project_path": {"type": "string"}, "training": training, "format": format, "top_p": top_p, "names": names});
        let all = json!({"type": "object", "properties": properties, "required": ["project_path"], "additionalProperties": false});
        all.as_object().unwrap().clone()
    }

    #[test]
    fn every_problem_is_told_with_its_field() {
        let bad =
            json!({"training": {"num_stages": 3, "nun_stages": 1}, "format": "zip", "top_p": 0, "names": ["a", 1], "projectpath": "x"});
        let fault = checked("t", &schema(), bad.as_object().unwrap().clone()).unwrap_err();
        for part in [
            "7 arguments are wrong:",
            "`project_path`: is missing",
            "`training.num_stages`: 3 is more than 2",
            "`training.nun_stages`: there is no such field; did you mean `training.num_stages`?",
            "`format`: \"zip\" is not one of gguf, mlx",
            "`top_p`: 0 must be more than 0",
            "`names[1]`: must be text, not 1",
            "`projectpath`: there is no such field; did you mean `project_path`?",
        ] {
            assert!(fault.message.contains(part), "{part} in {}", fault.message);
        }
        let fine = json!({"project_path": "p", "training": {"num_stages": 2.0}, "top_p": 1, "format": null});
        let wanted = json!({"project_path": "p", "training": {"num_stages": 2}, "top_p": 1});
        assert_eq!(checked("t", &schema(), fine.as_object().unwrap().clone()).unwrap(), wanted);
    }
}
