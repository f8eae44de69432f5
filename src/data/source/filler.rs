//! Nulls that say nothing. Writers of tables (`datasets.to_json`) give every object of a column the members of all: a
//! message without tool calls gets `tool_calls: null`, a call gets the arguments of every other function. Such a file is
//! known by its messages: all have the same members, and one that is null in some holds something in others.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Row;

/// Takes filler out of rows; what was done, where something was.
pub(super) fn strip(rows: &mut [Row]) -> Option<String> {
    if !is_filled(rows) {
        return None;
    }
    let mut taken = 0;
    for value in rows.iter_mut().flat_map(|row| row.fields.values_mut()) {
        if let Value::Array(list) = value {
            list.iter_mut().for_each(|v| taken += strip_nulls(v));
        }
    }
    (taken > 0)
        .then(|| format!("{taken} null members in lists of objects were left out: the file was written by a table writer that adds them"))
}

fn is_filled(rows: &[Row]) -> bool {
    let mut keys: Option<Vec<&String>> = None;
    let mut seen: HashMap<&String, [bool; 2]> = HashMap::new();
    let lists = rows.iter().flat_map(|row| row.fields.values()).filter_map(Value::as_array);
    for message in lists.flatten().filter_map(Value::as_object).filter(|m| m.contains_key("role") || m.contains_key("from")) {
        let own: Vec<&String> = message.keys().collect();
        if keys.get_or_insert_with(|| own.clone()) != &own {
            return false;
        }
        for (name, value) in message.iter().filter(|(name, _)| *name != "content") {
            seen.entry(name).or_default()[usize::from(value.is_null())] = true;
        }
    }
    seen.values().any(|[some, null]| *some && *null)
}

fn strip_nulls(value: &mut Value) -> usize {
    match value {
        Value::Object(map) => strip_map(map),
        Value::Array(list) => list.iter_mut().map(strip_nulls).sum(),
        _ => 0,
    }
}

fn strip_map(map: &mut Map<String, Value>) -> usize {
    let before = map.len();
    map.retain(|name, v| !v.is_null() || name == "content");
    before - map.len() + map.values_mut().map(strip_nulls).sum::<usize>()
}
