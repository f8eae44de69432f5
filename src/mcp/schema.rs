//! JSON Schemas that every client understands: no references, no number formats, no `anyOf` for what may be absent.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of what a tool takes, in one piece. Objects with named fields take no others (`arguments` holds to it), and
/// it is not said again for each of them: the list of tools costs a client's context.
pub(super) fn input<T: JsonSchema>() -> Arc<JsonObject> {
    let mut object = of::<T>();
    if object.get("properties").and_then(Value::as_object).is_some_and(|fields| !fields.is_empty()) {
        remove_below(&mut object, "additionalProperties");
    }
    Arc::new(object)
}

fn remove_below(map: &mut JsonObject, key: &str) {
    map.remove(key);
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(|inner| remove_below(inner, key));
    }
    if let Some(Value::Object(items)) = map.get_mut("items") {
        remove_below(items, key);
    }
}

/// The schema of what a tool gives: its fields with their types. It is listed with every tool and costs a client's
/// context, so the parts of a field are not spelled out: the answer shows them.
pub(super) fn output<T: JsonSchema>() -> Arc<JsonObject> {
    let object = of::<T>();
    let field = |(name, schema): (&String, &Value)| {
        let pick = |key: &str| schema.get(key).map(|value| (key.to_owned(), value.clone()));
        let mut short: JsonObject = ["type", "description"].iter().filter_map(|key| pick(key)).collect();
        if let Some(kind) = schema.get("items").and_then(|items| items.get("type")) {
            short.insert("items".into(), json!({ "type": kind }));
        }
        (name.clone(), Value::Object(short))
    };
    let properties = object.get("properties").and_then(Value::as_object);
    let properties: JsonObject = properties.into_iter().flatten().map(field).collect();
    let short = json!({"type": "object", "properties": properties});
    Arc::new(short.as_object().cloned().unwrap_or_default())
}

fn of<T: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    let mut object = schema.as_object().cloned().unwrap_or_default();
    object.remove("title");
    object.remove("$schema");
    object.remove("description");
    object.entry("type").or_insert_with(|| json!("object"));
    object.entry("properties").or_insert_with(|| json!({}));
    object
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(tidy),
        Value::Object(map) => {
            map.values_mut().for_each(tidy);
            // `uint32` and the like are no formats of JSON Schema.
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            // Doc comments break their lines where the source does.
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            // A whole section's default only repeats its own.
            if map.get("default").is_some_and(|d| d.is_object() || d.is_null()) {
                map.remove("default");
            }
            without_null(map);
            // Every count is a whole number from 0.
            if map.get("type") == Some(&json!("integer")) && map.get("minimum") == Some(&json!(0)) {
                map.remove("minimum");
            }
        }
        _ => {}
    }
}

/// `null` as one more type is legal and not understood everywhere: what may be null may be left out instead.
fn without_null(map: &mut JsonObject) {
    if let Some(Value::Array(kinds)) = map.get("type")
        && let [kind, null] = kinds.as_slice()
        && null == "null"
    {
        let kind = kind.clone();
        map.insert("type".into(), kind);
        if let Some(Value::Array(words)) = map.get_mut("enum") {
            words.retain(|w| !w.is_null());
        }
    }
    if let Some(Value::Array(choices)) = map.get("anyOf")
        && let [one, null] = choices.as_slice()
        && null["type"] == "null"
        && let Some(inner) = one.as_object().cloned()
    {
        map.remove("anyOf");
        for (key, value) in inner {
            map.entry(key).or_insert(value);
        }
    }
}

/// An answer without what is null, as its schema has it, and with figures of six digits: more are noise to a reader.
pub(super) fn tidy_answer(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(tidy_answer),
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(tidy_answer);
        }
        Value::Number(n) if n.is_f64() => *value = json!(n.as_f64().map(rounded)),
        _ => {}
    }
}

/// Six significant digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_rounded_and_without_nulls() {
        let mut value = json!({"a": 0.123_456_789, "b": null, "c": [2.0e-5, 1_234_567.89, 3], "d": {"e": 1e-300}});
        tidy_answer(&mut value);
        assert_eq!(value, json!({"a": 0.123_457, "c": [2.0e-5, 1_234_570.0, 3], "d": {"e": 1e-300}}));
    }
}
