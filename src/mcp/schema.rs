//! JSON Schemas that every client understands: no references, no number formats, no `anyOf` for what may be absent.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of a type, in one piece.
pub(super) fn of<T: JsonSchema>() -> Arc<JsonObject> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    let mut object = schema.as_object().cloned().unwrap_or_default();
    object.remove("title");
    object.entry("type").or_insert_with(|| json!("object"));
    object.entry("properties").or_insert_with(|| json!({}));
    Arc::new(object)
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
            // A whole section's default only repeats its own.
            if map.get("default").is_some_and(|d| d.is_object() || d.is_null()) {
                map.remove("default");
            }
            without_null(map);
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

/// An answer without what is null, as its schema has it.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(drop_nulls),
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}
