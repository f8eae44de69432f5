//! Conversations in one form, whatever the file calls the parts: what a chat template is given.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::columns::UnreadCounts;
use super::flags::take_turn_flag;
use super::source::kind_name;
use super::tools::{check_tool_replies, function_call, strip_filler, tool_calls, tools_of};

/// One message as the template sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// All members, `role` among them; tool call arguments are objects, not text, and content is text.
    pub value: Map<String, Value>,
    /// Whether an assistant's message is trained (`weight: 0`, `train: false` and their like switch it off).
    pub trained: bool,
    /// Byte ranges of the content that are not trained, ascending: parts that were switched off.
    pub untrained: Vec<Range<usize>>,
}

impl Message {
    /// A message with plain content.
    pub fn new(role: &str, content: &str) -> Self {
        let mut value = Map::new();
        value.insert("role".into(), json!(role));
        value.insert("content".into(), json!(content));
        Self { role: role.to_string(), value, trained: role == "assistant", untrained: Vec::new() }
    }

    /// The content where it is text.
    pub fn text(&self) -> &str {
        self.value.get("content").and_then(Value::as_str).unwrap_or_default()
    }

    /// The reasoning before the answer, where there is some.
    pub fn reasoning(&self) -> &str {
        let text = |key: &&str| self.value.get(*key).and_then(Value::as_str).filter(|t| !t.trim().is_empty());
        REASONING.iter().find_map(text).unwrap_or_default()
    }

    /// The tool calls; none for most messages.
    pub fn tool_calls(&self) -> &[Value] {
        self.value.get("tool_calls").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Names of an answer's reasoning. Templates know one of the first two; the third is read as both.
pub(super) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A chat: messages and the tools the assistant could call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages; the last one is the assistant's.
    pub messages: Vec<Message>,
    /// Tools as `{type: "function", function: {name, ...}}`.
    pub tools: Vec<Value>,
    /// Messages after the last answer, left out because nothing in them is learnt.
    pub trailing_dropped: usize,
    /// Tool replies to calls that stand in the text of an answer.
    pub calls_in_text: usize,
    /// Members of messages that nothing reads, once each.
    pub unread: Vec<String>,
}

/// Why a row is no conversation: a stable code and words. `empty_output` means the row is left out, not refused.
pub(crate) type Refusal = (&'static str, String);

pub(super) fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
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

/// Most messages in a row: the chat template is rendered for each answer, up to it.
pub(super) const MOST_MESSAGES: usize = 2048;

impl Conversation {
    /// From OpenAI messages.
    pub(crate) fn from_chat(name: &str, list: &[Value], tools: Option<&Value>) -> Result<Self, Refusal> {
        Self::prompt(name, list, tools)?.finished(name)
    }

    /// From OpenAI messages that a model is to go on with: the last one need not be the assistant's.
    pub(crate) fn prompt(name: &str, list: &[Value], tools: Option<&Value>) -> Result<Self, Refusal> {
        let (mut messages, tools) = (each(name, list, chat_message)?, tools_of(tools)?);
        strip_filler(&mut messages, &tools);
        Ok(Self { messages, tools, ..Self::default() })
    }

    /// From ShareGPT turns.
    pub(crate) fn from_sharegpt(name: &str, list: &[Value], tools: Option<&Value>) -> Result<Self, Refusal> {
        let (mut messages, tools) = (each(name, list, sharegpt_message)?, tools_of(tools)?);
        strip_filler(&mut messages, &tools);
        let mut chat = Self { messages, tools, ..Self::default() };
        let known = ["from", "value"].iter().chain(&REASONING);
        for key in list.iter().filter_map(Value::as_object).flat_map(|m| m.iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k)) {
            if chat.unread.len() >= UnreadCounts::MOST {
                break;
            }
            let mut alone = Map::from_iter([(key.clone(), Value::Null)]);
            let is_flag = take_turn_flag(&mut alone).is_ok() && alone.is_empty();
            if !is_flag && !known.clone().any(|k| k == key) && !chat.unread.contains(key) {
                chat.unread.push(key.clone());
            }
        }
        chat.finished(name)
    }

    /// Whether it has tools or calls of them.
    pub fn has_tools(&self) -> bool {
        !self.tools.is_empty() || self.messages.iter().any(|m| !m.tool_calls().is_empty())
    }

    /// Members of messages that neither the reader nor a template with this text reads, once each.
    pub(crate) fn unread_by(&self, template: &str) -> Vec<String> {
        const KNOWN: [&str; 5] = ["role", "content", "tool_calls", "tool_call_id", "name"];
        let mut unread = self.unread.clone();
        for name in self.messages.iter().flat_map(|m| m.value.keys()) {
            if unread.len() >= UnreadCounts::MOST {
                break;
            }
            let known = KNOWN.contains(&name.as_str()) || REASONING.contains(&name.as_str()) || template.contains(name.as_str());
            if !known && !unread.contains(name) {
                unread.push(name.clone());
            }
        }
        unread
    }

    /// Puts a system prompt that stands beside the messages before them, unless they begin with one.
    pub(crate) fn with_system(mut self, system: Option<&str>) -> Self {
        let has = self.messages.first().is_some_and(|m| m.role == "system" || m.role == "developer");
        if let Some(system) = system.filter(|s| !s.trim().is_empty() && !has) {
            self.messages.insert(0, Message::new("system", system));
        }
        self
    }

    /// Takes the marks of a column, one for each turn as the file has them.
    pub(crate) fn marked_by(mut self, name: &str, marks: &Value, turns: usize) -> Result<Self, Refusal> {
        let marks = super::flags::turn_list(name, marks, turns)?;
        self.messages.iter_mut().zip(marks).for_each(|(message, on)| message.trained &= on);
        self.some_trained(name)
    }

    fn some_trained(self, name: &str) -> Result<Self, Refusal> {
        if !self.messages.iter().any(|m| m.trained) {
            return refuse("nothing_trained", format!("`{name}`: every assistant message is switched off"));
        }
        Ok(self)
    }

    fn finished(mut self, name: &str) -> Result<Self, Refusal> {
        if self.messages.is_empty() {
            return refuse("empty_conversation", format!("`{name}` is empty"));
        }
        self.calls_in_text = check_tool_replies(name, &self.messages)?;
        let Some(last) = self.messages.iter().rposition(|m| m.role == "assistant") else {
            return refuse("no_assistant", format!("`{name}` has no assistant message, so there is nothing to learn"));
        };
        self.trailing_dropped = self.messages.len() - last - 1;
        self.messages.truncate(last + 1);
        for (i, message) in self.messages.iter().enumerate().filter(|(_, m)| m.role == "assistant") {
            if message.text().trim().is_empty() && message.tool_calls().is_empty() && message.reasoning().is_empty() {
                return refuse("empty_output", format!("{name}[{i}]: the assistant's message is empty"));
            }
        }
        self.some_trained(name)
    }
}

fn each(name: &str, list: &[Value], read: fn(&Map<String, Value>) -> Result<Message, Refusal>) -> Result<Vec<Message>, Refusal> {
    if list.len() > MOST_MESSAGES {
        return refuse("too_many_messages", format!("`{name}` has {} messages; at most {MOST_MESSAGES}", list.len()));
    }
    let one = |(i, value): (usize, &Value)| {
        let Value::Object(map) = value else {
            return refuse("wrong_type", format!("{name}[{i}] is {}, not an object", kind_name(value)));
        };
        read(map).map_err(|(code, message)| (code, format!("{name}[{i}]: {message}")))
    };
    list.iter().enumerate().map(one).collect()
}

fn chat_message(map: &Map<String, Value>) -> Result<Message, Refusal> {
    let role = match map.get("role").map(|role| (role, role.as_str())) {
        // OpenAI's older form of a tool's reply.
        Some((_, Some("function"))) => "tool".to_owned(),
        Some((_, Some(role))) => role.to_owned(),
        Some((other, None)) => return refuse("wrong_type", format!("`role` is {}, not a string", kind_name(other))),
        None => return refuse("missing_field", "no `role`"),
    };
    if !["system", "developer", "user", "assistant", "tool"].contains(&role.as_str()) {
        return refuse("unknown_role", format!("unknown role `{role}` (known: system, developer, user, assistant, tool)"));
    }
    let mut value = map.clone();
    value.insert("role".into(), json!(role));
    let mut on = take_turn_flag(&mut value)?;
    // A null list is no list; a template that asks `'tool_calls' in message` must not see it.
    value.retain(|_, v| !v.is_null());
    if role != "assistant" && !map.contains_key("content") {
        return refuse("missing_field", "no `content`");
    }
    let content = super::parts::read(map.get("content").unwrap_or(&Value::Null))?;
    // No content is OpenAI's form of no text beside tool calls; a template must not print it as a word.
    value.insert("content".into(), json!(content.text));
    if let Some(reasoning) = content.reasoning {
        value.entry("reasoning_content").or_insert_with(|| json!(reasoning));
    }
    if let Some(call) = value.shift_remove("function_call") {
        value.entry("tool_calls").or_insert_with(|| json!([call]));
    }
    if let Some(calls) = value.get("tool_calls").cloned() {
        let calls = tool_calls(&calls)?;
        if calls.is_empty() {
            value.shift_remove("tool_calls")
        } else {
            value.insert("tool_calls".into(), Value::Array(calls))
        };
    }
    if role == "assistant" {
        alias_reasoning(&mut value);
    }
    if !content.untrained.is_empty() && content.untrained.iter().map(Range::len).sum::<usize>() == content.text.len() {
        on = Some(false);
    }
    Ok(Message { trained: role == "assistant" && on != Some(false), role, value, untrained: content.untrained })
}

/// Fills the names that templates know from the one that is there.
fn alias_reasoning(value: &mut Map<String, Value>) {
    let Some(text) = REASONING.iter().find_map(|k| value.get(*k).filter(|v| v.is_string())).cloned() else { return };
    for name in ["reasoning_content", "thinking"] {
        value.entry(name).or_insert_with(|| text.clone());
    }
}

fn sharegpt_message(map: &Map<String, Value>) -> Result<Message, Refusal> {
    let text = |key: &str| match map.get(key) {
        Some(Value::String(s)) => Ok(s.as_str()),
        Some(other) => refuse("wrong_type", format!("`{key}` is {}, not a string", kind_name(other))),
        None => refuse("missing_field", format!("no `{key}`")),
    };
    let (from, value) = (text("from")?, text("value")?);
    let on = take_turn_flag(&mut map.clone())?;
    let role = match from {
        "system" => "system",
        "human" | "user" => "user",
        "gpt" | "assistant" | "chatgpt" | "bard" | "bing" | "model" => "assistant",
        "tool" | "observation" | "function_response" => "tool",
        "function_call" => {
            let mut message = function_call(value)?;
            message.trained &= on != Some(false);
            return Ok(message);
        }
        other => {
            return refuse(
                "unknown_role",
                format!("unknown speaker `{other}` (known: system, human, gpt, function_call, observation, tool)"),
            );
        }
    };
    let mut message = Message::new(role, value);
    message.trained &= on != Some(false);
    for name in REASONING {
        if let Some(Value::String(text)) = map.get(name) {
            message.value.insert(name.into(), json!(text));
        }
    }
    if role == "assistant" {
        alias_reasoning(&mut message.value);
    }
    Ok(message)
}
