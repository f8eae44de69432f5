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
            // `anyOf: [X, null]` where X has a plain type becomes X with `null` as one more type.
            let Some(Value::Array(choices)) = map.get("anyOf") else { return };
            let [one, null] = choices.as_slice() else { return };
            let (Some(inner), true) = (one.as_object().cloned(), null["type"] == "null") else { return };
            let Some(Value::String(kind)) = inner.get("type").cloned() else { return };
            map.remove("anyOf");
            for (key, value) in inner {
                map.entry(key).or_insert(value);
            }
            map.insert("type".into(), json!([kind, "null"]));
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.push(Value::Null);
            }
        }
        _ => {}
    }
}
