//! Calls as JSON values that stand anywhere in a text.

use serde_json::{Deserializer, Map, Value};

use super::{Parsed, ToolCall, broken};

/// The first JSON value of a text and the number of bytes it took; the rest is not looked at.
pub(super) fn first(text: &str) -> Result<(Value, usize), String> {
    let mut stream = Deserializer::from_str(text).into_iter::<Value>();
    match stream.next() {
        Some(Ok(value)) => Ok((value, stream.byte_offset())),
        Some(Err(e)) => Err(format!("no JSON: {e}")),
        None => Err("nothing stands here".into()),
    }
}

/// Names of the member that holds the arguments.
const ARGUMENTS: [&str; 5] = ["arguments", "parameters", "args", "input", "kwargs"];

/// One call out of a JSON object: `{name, arguments}`, OpenAI's `{function: {..}}` and their like.
pub(super) fn call(value: &Value) -> Result<ToolCall, String> {
    let object = value.as_object().ok_or("a call is a JSON object")?;
    let inner = object.get("function").and_then(Value::as_object).unwrap_or(object);
    let name = ["name", "tool_name", "tool", "function"].iter().find_map(|key| inner.get(*key)?.as_str());
    let name = name.filter(|n| !n.trim().is_empty()).ok_or("the object has no `name`")?;
    let arguments = ARGUMENTS.iter().find_map(|key| inner.get(*key));
    Ok(ToolCall::new(name.trim(), object_of(arguments)?))
}

/// Arguments as an object; text is read as JSON, as OpenAI's API writes it.
pub(super) fn object_of(value: Option<&Value>) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(map),
            _ => Err("the arguments are text that holds no JSON object".into()),
        },
        Some(_) => Err("the arguments are no object".into()),
    }
}

/// Calls out of an object or a list of objects, added to `into`.
pub(super) fn add(value: &Value, source: &str, into: &mut Parsed) {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    for one in list {
        match call(one) {
            Ok(call) => into.calls.push(call),
            Err(why) => into.broken.push(broken(source, why)),
        }
    }
}

/// Whether a value looks like calls: an object with a name and arguments, or a list of such.
fn looks_like_calls(value: &Value) -> bool {
    let one = |v: &Value| {
        let Some(object) = v.as_object() else { return false };
        let inner = object.get("function").and_then(Value::as_object).unwrap_or(object);
        let named = ["name", "tool_name", "tool", "function"].iter().any(|key| inner.get(*key).is_some_and(Value::is_string));
        named && ARGUMENTS.iter().any(|key| inner.contains_key(*key))
    };
    match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(one),
        other => one(other),
    }
}

/// Plain JSON: every object or list in the text that looks like calls. A text that is meant to be a
/// call and breaks off is a broken piece.
pub(super) fn plain(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let (mut at, mut kept) = (0, 0);
    let mut tries = 0;
    while let Some(start) = text[at..].find(['{', '[']).map(|i| at + i) {
        tries += 1;
        if tries > MOST_TRIES {
            break;
        }
        match first(&text[start..]) {
            Ok((value, len)) if looks_like_calls(&value) => {
                parsed.text.push_str(&text[kept..start]);
                add(&value, &text[start..start + len], &mut parsed);
                at = start + len;
                kept = at;
            }
            // A value of another kind is stepped over, but a list may hold text with calls after it.
            Ok((_, len)) => at = start + len,
            Err(why) => {
                if is_begun(&text[start..]) {
                    parsed.broken.push(broken(&text[start..], why));
                    break;
                }
                at = start + 1;
            }
        }
    }
    parsed.text.push_str(&text[kept..]);
    for fence in ["```json", "```tool_call", "```"] {
        if !parsed.calls.is_empty() {
            parsed.text = parsed.text.replace(fence, "");
        }
    }
    parsed
}

/// Most places at which a value is looked for: each failed one may read to the end of the text.
const MOST_TRIES: usize = 200;

/// Whether a text that is no JSON begins as a call.
fn is_begun(text: &str) -> bool {
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).take(40).collect();
    ["{\"name\":\"", "[{\"name\":\"", "{\"type\":\"function\"", "{\"function\":", "{\"tool\":\""].iter().any(|s| squeezed.starts_with(s))
}
