//! Tools and calls of them, in the one form that chat templates expect.

use serde_json::{Value, json};

use super::conversation::{Message, Refusal, list_of, refuse};
use super::source::kind_name;

/// Tool calls in the form templates expect: `arguments` as an object. OpenAI's API writes them as JSON text.
pub(super) fn tool_calls(calls: &Value) -> Result<Vec<Value>, Refusal> {
    let mut calls = list_of("tool_calls", calls)?;
    for (i, call) in calls.iter_mut().enumerate() {
        let place = |what: &str| format!("tool_calls[{i}]{what}");
        // Some sets leave the wrapper out: {name, arguments}.
        if call.get("function").is_none() && call.get("name").is_some() {
            *call = json!({"type": "function", "function": call.clone()});
        }
        let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) else {
            return refuse("bad_tool_call", place(" has no `function`"));
        };
        if function.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return refuse("bad_tool_call", place(".function has no `name`"));
        }
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => json!({}),
            Some(Value::String(text)) if text.trim().is_empty() => json!({}),
            Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
                Ok(parsed @ Value::Object(_)) => parsed,
                _ => return refuse("bad_tool_call", place(".function.arguments is text that does not hold a JSON object")),
            },
            Some(object @ Value::Object(_)) => object.clone(),
            Some(other) => return refuse("bad_tool_call", place(&format!(".function.arguments is {}", kind_name(other)))),
        };
        function.insert("arguments".into(), arguments);
    }
    Ok(calls)
}

/// A tool's reply must answer a call that was made. Gives the replies to calls that stand in the text of an answer
/// (the form of Hermes): they can only be taken as they are.
pub(super) fn check_tool_replies(name: &str, messages: &[Message]) -> Result<usize, Refusal> {
    let mut open: Vec<&str> = Vec::new();
    let (mut called, mut spoke, mut in_text) = (false, false, 0);
    for (i, message) in messages.iter().enumerate() {
        called |= !message.tool_calls().is_empty();
        spoke |= message.role == "assistant" && !message.text().trim().is_empty();
        open.extend(message.tool_calls().iter().filter_map(|c| c.get("id")?.as_str()));
        if message.role != "tool" {
            continue;
        }
        in_text += usize::from(!called && spoke);
        if !called && !spoke {
            return refuse("orphan_tool_reply", format!("{name}[{i}]: a tool replies, but the assistant has called none"));
        }
        let id = message.value.get("tool_call_id").and_then(Value::as_str);
        if let Some(id) = id.filter(|id| !open.is_empty() && !open.contains(id)) {
            return refuse("orphan_tool_reply", format!("{name}[{i}]: tool_call_id `{id}` answers no earlier call"));
        }
    }
    Ok(in_text)
}

pub(super) fn tools_of(tools: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    let list = match tools {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(value) => list_of("tools", value)?,
    };
    let one = |(i, tool): (usize, Value)| {
        let wrapped =
            if tool.get("function").is_none() && tool.get("name").is_some() { json!({"type": "function", "function": tool}) } else { tool };
        match wrapped.get("function").and_then(|f| f.get("name")).and_then(Value::as_str) {
            Some(_) => Ok(wrapped),
            None => refuse("bad_tool", format!("tools[{i}] has no function name")),
        }
    };
    let mut tools: Vec<Value> = list.into_iter().enumerate().map(one).collect::<Result<_, _>>()?;
    tools.iter_mut().for_each(strip_nulls);
    Ok(tools)
}

/// A null in a tool's definition says nothing: writers of tables give every row the members of all. Only a default or
/// a constant can be null itself.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, v| !v.is_null() || key == "default" || key == "const");
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Takes null arguments out of calls whose function has no such parameter.
pub(super) fn strip_filler(messages: &mut [Message], tools: &[Value]) {
    let calls = messages.iter_mut().filter_map(|m| m.value.get_mut("tool_calls")?.as_array_mut()).flatten();
    for function in calls.filter_map(|call| call.get_mut("function")) {
        let tool = tools.iter().find(|t| t["function"]["name"] == function["name"]);
        let Some(known) = tool.and_then(|t| t["function"]["parameters"]["properties"].as_object()) else { continue };
        if let Some(arguments) = function.get_mut("arguments").and_then(Value::as_object_mut) {
            arguments.retain(|name, value| !value.is_null() || known.contains_key(name));
        }
    }
}

/// `function_call` turns hold `{"name", "arguments"}` (or a list of them) as JSON text.
pub(super) fn function_call(text: &str) -> Result<Message, Refusal> {
    let calls = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(list)) => list,
        Ok(object @ Value::Object(_)) => vec![object],
        _ => return refuse("bad_tool_call", "`function_call` does not hold a JSON object"),
    };
    let mut message = Message::new("assistant", "");
    message.value.insert("tool_calls".into(), Value::Array(tool_calls(&Value::Array(calls))?));
    Ok(message)
}
