//! JSON files that hold something else than a row a line: what they are, said once.

use serde_json::Value;

use super::Row;

/// What a text is whose first line is no whole JSON value; `None` where the lines have faults of their own.
pub(super) fn not_lines(bytes: &[u8]) -> Option<String> {
    let first = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    let begun = matches!(serde_json::from_slice::<serde::de::IgnoredAny>(first), Err(e) if e.is_eof());
    if !begun {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let Value::Object(object) = values.next()?.ok()? else { return None };
    let more = values.filter_map(Result::ok).count();
    if more > 0 {
        return Some(format!(
            "{} JSON objects over several lines each (pretty-printed): write one object a line (jq -c . FILE), or one list [...]",
            more + 1
        ));
    }
    Some(describe(&object).unwrap_or_else(|| {
        "one JSON object over several lines (pretty-printed), not rows: write one object a line, or one list [...]".into()
    }))
}

/// What a file is that holds one object, which is no row but holds the rows.
pub(super) fn not_rows(rows: &[Row]) -> Option<String> {
    let [only] = rows else { return None };
    describe(&only.fields)
}

/// An object that wraps rows, or holds columns.
fn describe(object: &serde_json::Map<String, Value>) -> Option<String> {
    let is_rows = |v: &Value| v.as_array().is_some_and(|a| !a.is_empty() && a.iter().all(Value::is_object));
    let is_messages = |v: &Value| v.as_array().is_some_and(|a| a.iter().any(|m| m.get("role").is_some() || m.get("from").is_some()));
    let known = ["instruction", "prompt", "text", "output", "question"].iter().any(|k| object.get(*k).is_some_and(Value::is_string));
    let chat = object.values().any(is_messages);
    if !known
        && !chat
        && let Some((name, list)) = object.iter().find(|(name, v)| is_rows(v) && !is_messages(v) && name.as_str() != "tools")
    {
        let rows = list.as_array().map_or(0, Vec::len);
        return Some(format!(
            "one JSON object that wraps the rows: `{name}` holds a list of {rows}; save that list as the file (jq '.{name}' FILE)"
        ));
    }
    let numbered = |v: &Value| v.as_object().is_some_and(|o| !o.is_empty() && o.keys().all(|k| k.bytes().all(|b| b.is_ascii_digit())));
    let texts = |v: &Value| v.as_array().is_some_and(|a| !a.is_empty() && !a.iter().any(Value::is_object));
    if object.len() > 1 && (object.values().all(numbered) || object.values().all(texts)) {
        return Some(
            "one JSON object of columns (as pandas writes it by default): write rows instead (to_json(orient=\"records\"))".into(),
        );
    }
    None
}

/// What a file is whose lines are lists.
pub(super) fn lists_by_line(bytes: &[u8]) -> Option<String> {
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let values = [lines.next()?, lines.next()?].map(|line| serde_json::from_slice::<Value>(line).ok().map(|v| (0, v)));
    let [Some(first), Some(second)] = values else { return None };
    not_objects(&[first, second]).map(|message| message.replacen("a list of lists", "each line is a list", 1))
}

/// What an array is whose members are no rows.
pub(super) fn not_objects(values: &[(u64, Value)]) -> Option<String> {
    let lists = values.iter().filter(|(_, v)| v.is_array()).count();
    if values.is_empty() || lists < values.len() {
        return None;
    }
    let messages = values.iter().all(|(_, v)| v.as_array().is_some_and(|a| a.iter().all(|m| m.get("role").is_some())));
    Some(match messages {
        true => "a list of lists of messages: put each list into an object, {\"messages\": [...]}".into(),
        false => "a list of lists, not of objects: each row needs named fields, {\"instruction\": ..., \"output\": ...}".into(),
    })
}
