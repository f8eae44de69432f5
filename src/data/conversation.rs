//! Conversations in one form, whatever the file calls the parts: what a chat template is given.

use serde_json::{Map, Value, json};

use super::source::kind_name;

/// One message as the template sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// All members, `role` among them; tool call arguments are objects, not text.
    pub value: Map<String, Value>,
    /// Whether an assistant's message is trained (`weight: 0` or `train: false` switch it off).
    pub trained: bool,
}

impl Message {
    /// A message with plain content.
    pub fn new(role: &str, content: &str) -> Self {
        let mut value = Map::new();
        value.insert("role".into(), json!(role));
        value.insert("content".into(), json!(content));
        Self { role: role.to_string(), value, trained: role == "assistant" }
    }

    /// The content where it is text.
    pub fn text(&self) -> &str {
        self.value.get("content").and_then(Value::as_str).unwrap_or_default()
    }

    /// The tool calls; none for most messages.
    pub fn tool_calls(&self) -> &[Value] {
        self.value.get("tool_calls").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// A chat: messages and the tools the assistant could call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages; the last one is the assistant's.
    pub messages: Vec<Message>,
    /// Tools as `{type: "function", function: {name, ...}}`.
    pub tools: Vec<Value>,
    /// Messages after the last answer, left out because nothing in them is learnt.
    pub trailing_dropped: usize,
}

/// Why a row is no conversation: a stable code and words. `empty_output` means the row is left out, not refused.
pub(crate) type Refusal = (&'static str, String);

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err((code, message.into()))
}

/// A list, or the JSON text of one (CSV and many Parquet files hold it so).
pub(crate) fn list_of(name: &str, value: &Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(list) => Ok(list.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(list)) => Ok(list),
            _ => refuse("wrong_type", format!("`{name}` is text that does not hold a JSON list")),
        },
        other => refuse("wrong_type", format!("`{name}` is {}, not a list", kind_name(other))),
    }
}

impl Conversation {
    /// From OpenAI messages.
    pub(crate) fn from_chat(name: &str, list: &[Value], tools: Option<&Value>) -> Result<Self, Refusal> {
        let messages = each(name, list, chat_message)?;
        Self { messages, tools: tools_of(tools)?, trailing_dropped: 0 }.finished(name)
    }

    /// From ShareGPT turns.
    pub(crate) fn from_sharegpt(name: &str, list: &[Value], system: Option<&str>, tools: Option<&Value>) -> Result<Self, Refusal> {
        let mut messages = each(name, list, sharegpt_message)?;
        if let Some(system) = system.filter(|s| !s.is_empty() && messages.first().is_none_or(|m| m.role != "system")) {
            messages.insert(0, Message::new("system", system));
        }
        Self { messages, tools: tools_of(tools)?, trailing_dropped: 0 }.finished(name)
    }

    fn finished(mut self, name: &str) -> Result<Self, Refusal> {
        if self.messages.is_empty() {
            return refuse("empty_conversation", format!("`{name}` is empty"));
        }
        check_tool_replies(name, &self.messages)?;
        let Some(last) = self.messages.iter().rposition(|m| m.role == "assistant") else {
            return refuse("no_assistant", format!("`{name}` has no assistant message, so there is nothing to learn"));
        };
        self.trailing_dropped = self.messages.len() - last - 1;
        self.messages.truncate(last + 1);
        for (i, message) in self.messages.iter().enumerate().filter(|(_, m)| m.role == "assistant") {
            let reasons = ["reasoning_content", "thinking"].iter().any(|k| message.value.get(*k).is_some_and(|v| !v.is_null()));
            if message.text().trim().is_empty() && message.tool_calls().is_empty() && !reasons {
                return refuse("empty_output", format!("{name}[{i}]: the assistant's message is empty"));
            }
        }
        if !self.messages.iter().any(|m| m.trained) {
            return refuse("nothing_trained", format!("`{name}`: every assistant message has weight 0"));
        }
        Ok(self)
    }
}

fn each(name: &str, list: &[Value], read: fn(&Map<String, Value>) -> Result<Message, Refusal>) -> Result<Vec<Message>, Refusal> {
    let one = |(i, value): (usize, &Value)| {
        let Value::Object(map) = value else {
            return refuse("wrong_type", format!("{name}[{i}] is {}, not an object", kind_name(value)));
        };
        read(map).map_err(|(code, message)| (code, format!("{name}[{i}]: {message}")))
    };
    list.iter().enumerate().map(one).collect()
}

fn chat_message(map: &Map<String, Value>) -> Result<Message, Refusal> {
    let role = match map.get("role") {
        Some(Value::String(role)) => role.clone(),
        Some(other) => return refuse("wrong_type", format!("`role` is {}, not a string", kind_name(other))),
        None => return refuse("missing_field", "no `role`"),
    };
    if !["system", "developer", "user", "assistant", "tool"].contains(&role.as_str()) {
        return refuse("unknown_role", format!("unknown role `{role}` (known: system, developer, user, assistant, tool)"));
    }
    let mut value = map.clone();
    let weight = value.remove("weight");
    let train = value.remove("train");
    // A null list is no list; a template that asks `'tool_calls' in message` must not see it.
    value.retain(|key, v| !v.is_null() || key == "content");
    if let Some(content) = map.get("content") {
        value.insert("content".into(), plain_content(content)?);
    } else if role != "assistant" {
        return refuse("missing_field", "no `content`");
    }
    if let Some(calls) = value.get("tool_calls").cloned() {
        let calls = tool_calls(&calls)?;
        if calls.is_empty() {
            value.remove("tool_calls")
        } else {
            value.insert("tool_calls".into(), Value::Array(calls))
        };
    }
    let off = weight.and_then(|w| w.as_f64()) == Some(0.0) || train == Some(Value::Bool(false));
    Ok(Message { trained: role == "assistant" && !off, role, value })
}

/// Text stays; `[{type: "text", text}]` is joined; null stays (templates ask for it beside tool calls).
fn plain_content(content: &Value) -> Result<Value, Refusal> {
    match content {
        Value::String(_) | Value::Null => Ok(content.clone()),
        Value::Array(parts) => {
            let mut text = String::new();
            for part in parts {
                match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str), part.as_str()) {
                    (Some("text") | None, Some(t), _) | (_, _, Some(t)) => text.push_str(t),
                    (kind, ..) => {
                        return refuse(
                            "not_text",
                            format!("`content` holds a part of type `{}`; only text is supported", kind.unwrap_or("?")),
                        );
                    }
                }
            }
            Ok(Value::String(text))
        }
        other => refuse("wrong_type", format!("`content` is {}, not text", kind_name(other))),
    }
}

/// Tool calls in the form templates expect: `arguments` as an object. OpenAI's API writes them as JSON text.
fn tool_calls(calls: &Value) -> Result<Vec<Value>, Refusal> {
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

/// A tool's reply must answer a call that was made.
fn check_tool_replies(name: &str, messages: &[Message]) -> Result<(), Refusal> {
    let mut open: Vec<&str> = Vec::new();
    let mut called = false;
    for (i, message) in messages.iter().enumerate() {
        called |= !message.tool_calls().is_empty();
        open.extend(message.tool_calls().iter().filter_map(|c| c.get("id")?.as_str()));
        if message.role != "tool" {
            continue;
        }
        if !called {
            return refuse("orphan_tool_reply", format!("{name}[{i}]: a tool replies, but the assistant has called none"));
        }
        let id = message.value.get("tool_call_id").and_then(Value::as_str);
        if let Some(id) = id.filter(|id| !open.is_empty() && !open.contains(id)) {
            return refuse("orphan_tool_reply", format!("{name}[{i}]: tool_call_id `{id}` answers no earlier call"));
        }
    }
    Ok(())
}

fn tools_of(tools: Option<&Value>) -> Result<Vec<Value>, Refusal> {
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
    list.into_iter().enumerate().map(one).collect()
}

fn sharegpt_message(map: &Map<String, Value>) -> Result<Message, Refusal> {
    let text = |key: &str| match map.get(key) {
        Some(Value::String(s)) => Ok(s.as_str()),
        Some(other) => refuse("wrong_type", format!("`{key}` is {}, not a string", kind_name(other))),
        None => refuse("missing_field", format!("no `{key}`")),
    };
    let (from, value) = (text("from")?, text("value")?);
    let role = match from {
        "system" => "system",
        "human" | "user" => "user",
        "gpt" | "assistant" | "chatgpt" | "bard" | "bing" | "model" => "assistant",
        "tool" | "observation" | "function_response" => "tool",
        "function_call" => return function_call(value),
        other => {
            return refuse(
                "unknown_role",
                format!("unknown speaker `{other}` (known: system, human, gpt, function_call, observation, tool)"),
            );
        }
    };
    let mut message = Message::new(role, value);
    message.trained &= map.get("weight").and_then(Value::as_f64) != Some(0.0);
    Ok(message)
}

/// `function_call` turns hold `{"name", "arguments"}` (or a list of them) as JSON text.
fn function_call(text: &str) -> Result<Message, Refusal> {
    let calls = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(list)) => list,
        Ok(object @ Value::Object(_)) => vec![object],
        _ => return refuse("bad_tool_call", "`function_call` does not hold a JSON object"),
    };
    let mut message = Message::new("assistant", "");
    message.value.insert("tool_calls".into(), Value::Array(tool_calls(&Value::Array(calls))?));
    Ok(message)
}
