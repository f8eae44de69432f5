//! Checks JSON against the part of JSON Schema that the service's document uses.

use std::collections::BTreeSet;

use serde_json::Value;

/// The operations that are used, as the service's OpenAPI document describes them, without its
/// prose.
pub fn document() -> Value {
    serde_json::from_str(include_str!("operations.json")).unwrap()
}

/// What is wrong with a value; empty: nothing.
pub fn problems(doc: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    check(doc, schema, value, "$", &mut all);
    all
}

fn resolve<'a>(doc: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(at) => doc.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("{at} is missing")),
        None => schema,
    }
}

fn is_type(name: &str, v: &Value) -> bool {
    match name {
        "object" => v.is_object(),
        "array" => v.is_array(),
        "string" => v.is_string(),
        "integer" => v.is_i64() || v.is_u64(),
        "number" => v.is_number(),
        "boolean" => v.is_boolean(),
        "null" => v.is_null(),
        other => panic!("type {other}"),
    }
}

/// Names of properties that a schema speaks of, in all its parts.
fn known(doc: &Value, schema: &Value, names: &mut BTreeSet<String>) {
    let s = resolve(doc, schema);
    names.extend(s["properties"].as_object().into_iter().flatten().map(|(k, _)| k.clone()));
    s["allOf"].as_array().into_iter().flatten().for_each(|part| known(doc, part, names));
}

fn check(doc: &Value, schema: &Value, v: &Value, at: &str, out: &mut Vec<String>) {
    if schema.get("$ref").is_some() {
        check(doc, resolve(doc, schema), v, at, out);
    }
    let mut wrong = |what: String| out.push(format!("{at}: {what}"));
    match &schema["type"] {
        Value::String(t) if !is_type(t, v) => wrong(format!("not of type {t}: {v}")),
        Value::Array(ts) if !ts.iter().any(|t| is_type(t.as_str().unwrap(), v)) => wrong(format!("not one of {ts:?}: {v}")),
        _ => {}
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(v)
    {
        wrong(format!("{v} is not one of {words:?}"));
    }
    if schema.get("const").is_some_and(|only| only != v) {
        wrong(format!("{v} is not {}", schema["const"]));
    }
    if let (Some(a), Some(least)) = (v.as_array(), schema["minItems"].as_u64())
        && (a.len() as u64) < least
    {
        wrong("too few items".into());
    }
    if let (Some(n), Some(least)) = (v.as_f64(), schema["minimum"].as_f64())
        && n < least
    {
        wrong(format!("{n} is below {least}"));
    }
    if let (Some(n), Some(most)) = (v.as_f64(), schema["maximum"].as_f64())
        && n > most
    {
        wrong(format!("{n} is above {most}"));
    }
    if let (Some(s), Some(least)) = (v.as_str(), schema["minLength"].as_u64())
        && (s.len() as u64) < least
    {
        wrong("too short".into());
    }
    if let (Some(a), Some(most)) = (v.as_array(), schema["maxItems"].as_u64())
        && a.len() as u64 > most
    {
        wrong("too many items".into());
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if v.is_object() && v.get(name).is_none() {
            wrong(format!("`{name}` is missing"));
        }
    }
    parts(doc, schema, v, at, out);
}

fn parts(doc: &Value, schema: &Value, v: &Value, at: &str, out: &mut Vec<String>) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(doc, part, v, at, out);
    }
    if let Some(any) = schema["anyOf"].as_array()
        && !any.iter().any(|s| problems(doc, s, v).is_empty())
    {
        out.push(format!("{at}: fits none of anyOf: {v}"));
    }
    if let Some(all) = schema["oneOf"].as_array()
        && all.iter().filter(|s| problems(doc, s, v).is_empty()).count() != 1
    {
        out.push(format!("{at}: does not fit exactly one of oneOf: {v}"));
    }
    if let Some(condition) = schema.get("if") {
        let holds = match condition.get("not") {
            Some(not) => !problems(doc, not, v).is_empty(),
            None => problems(doc, condition, v).is_empty(),
        };
        if let Some(then) = schema.get("then").filter(|_| holds) {
            check(doc, then, v, at, out);
        }
    }
    if let (Some(items), Some(schema)) = (v.as_array(), schema.get("items")) {
        items.iter().enumerate().for_each(|(i, item)| check(doc, schema, item, &format!("{at}[{i}]"), out));
    }
    let Some(map) = v.as_object() else { return };
    let own = &schema["properties"];
    for (name, value) in map {
        let at = format!("{at}.{name}");
        if let Some(schema) = own.get(name) {
            check(doc, schema, value, &at, out);
            continue;
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => out.push(format!("{at}: unknown")),
            Some(s @ Value::Object(_)) => check(doc, s, value, &at, out),
            _ => {}
        }
    }
    if schema["unevaluatedProperties"] == Value::Bool(false) {
        let mut names = BTreeSet::new();
        known(doc, schema, &mut names);
        map.keys().filter(|k| !names.contains(*k)).for_each(|k| out.push(format!("{at}.{k}: unknown")));
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let doc = document();
    let schema = doc.pointer("/operations/POST ~1v2~1pods/request").unwrap().clone();
    let good = serde_json::json!({"name": "a", "image": "i", "gpu": {"id": "g", "count": 1}, "ports": ["22/tcp"]});
    assert_eq!(problems(&doc, &schema, &good), [] as [String; 0]);
    let changes: [(&str, Value); 6] = [
        ("name", Value::Null),
        ("imgae", "x".into()),
        ("cloud", "CLOUDY".into()),
        ("disk", 0.into()),
        ("mounts", serde_json::json!({"network": [{"volumeId": "v"}]})),
        ("env", serde_json::json!({"A": 1})),
    ];
    for (name, value) in changes {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(!problems(&doc, &schema, &bad).is_empty(), "{name}");
    }
    let mut bad = good.clone();
    bad.as_object_mut().unwrap().remove("image");
    assert!(!problems(&doc, &schema, &bad).is_empty());
}
