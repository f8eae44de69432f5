//! A row under a layout: the content to learn, checked.

use serde_json::Value;

use super::conversation::{Conversation, Message, Refusal, list_of};
use super::error::{Location, RowProblem};
use super::fingerprint::short_hash;
use super::layout::{Fields, Layout};
use super::source::{Row, kind_name};

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Messages, in OpenAI's or ShareGPT's form.
    Chat(Conversation),
    /// A question and its answer.
    Pair {
        /// System prompt.
        system: Option<String>,
        /// The instruction or prompt.
        prompt: String,
        /// Further input (alpaca).
        input: Option<String>,
        /// The answer.
        completion: String,
        /// True for alpaca rows: without a chat template they get the alpaca prompt around them.
        alpaca: bool,
    },
    /// Plain text, all of it trained.
    Text(String),
}

/// One usable row.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub at: Location,
    /// What it holds.
    pub content: Content,
    /// The quality field's value as a number: a score, or 1 / 0 for a grade in words.
    pub quality: Option<f64>,
}

/// Reads a row under a layout.
///
/// # Errors
/// The reason why the row cannot be used.
pub(crate) fn read_record(row: &Row, layout: Layout, fields: &Fields) -> Result<Record, RowProblem> {
    let content = match layout {
        Layout::Chat | Layout::Sharegpt => conversation(row, layout, fields),
        Layout::Alpaca => alpaca(row, fields),
        Layout::Completion => completion(row, fields),
        Layout::Text => text(row, fields),
    };
    let quality = match &fields.quality {
        None => Ok(None),
        Some(name) => quality(name, row.fields.get(name)),
    };
    match (content, quality) {
        (Ok(content), Ok(quality)) => Ok(Record { at: row.at.clone(), content, quality }),
        (Err((code, message)), _) if code == "empty_output" => Err(RowProblem::skip(&row.at, code, message)),
        (Err((code, message)), _) | (_, Err((code, message))) => Err(RowProblem::error(&row.at, code, message)),
    }
}

fn conversation(row: &Row, layout: Layout, fields: &Fields) -> Result<Content, Refusal> {
    let Some((name, value)) = fields.messages_of(row) else {
        return Err(missing(row, &fields.messages));
    };
    let list = list_of(name, value)?;
    let tools = row.fields.get(&fields.tools);
    let chat = if layout == Layout::Chat {
        Conversation::from_chat(name, &list, tools)?
    } else {
        Conversation::from_sharegpt(name, &list, row.fields.get(&fields.system).and_then(Value::as_str), tools)?
    };
    Ok(Content::Chat(chat))
}

fn alpaca(row: &Row, fields: &Fields) -> Result<Content, Refusal> {
    let prompt = required(row, &fields.instruction)?;
    let input = optional(row, &fields.input)?;
    if prompt.trim().is_empty() && input.is_none() {
        return Err(("empty_prompt", format!("`{}` is empty", fields.instruction)));
    }
    let completion = answer(row, &fields.output)?;
    Ok(Content::Pair { system: optional(row, &fields.system)?, prompt, input, completion, alpaca: true })
}

fn completion(row: &Row, fields: &Fields) -> Result<Content, Refusal> {
    let Some((name, value)) = fields.completion_of(row) else {
        return Err(missing(row, &fields.completion));
    };
    if let (Some(Value::Array(prompt)), Value::Array(reply)) = (row.fields.get(&fields.prompt), value) {
        return conversational_pair(prompt, reply, row.fields.get(&fields.tools));
    }
    let completion = answer(row, name)?;
    Ok(Content::Pair {
        system: optional(row, &fields.system)?,
        prompt: required(row, &fields.prompt)?,
        input: None,
        completion,
        alpaca: false,
    })
}

/// Both sides as lists of messages: a chat of which only the completion's answers are trained.
fn conversational_pair(prompt: &[Value], reply: &[Value], tools: Option<&Value>) -> Result<Content, Refusal> {
    let all: Vec<Value> = prompt.iter().chain(reply).cloned().collect();
    let mut chat = Conversation::from_chat("prompt+completion", &all, tools)?;
    for message in chat.messages.iter_mut().take(prompt.len()) {
        message.trained = false;
    }
    if !chat.messages.iter().any(|m| m.trained) {
        return Err(("no_assistant", "`completion` has no assistant message".into()));
    }
    Ok(Content::Chat(chat))
}

fn text(row: &Row, fields: &Fields) -> Result<Content, Refusal> {
    let text = required(row, &fields.text)?;
    if text.trim().is_empty() { Err(("empty_output", format!("`{}` is empty", fields.text))) } else { Ok(Content::Text(text)) }
}

fn missing(row: &Row, name: &str) -> Refusal {
    let there: Vec<String> = row.fields.keys().map(|k| format!("`{k}`")).collect();
    ("missing_field", format!("no field `{name}` (the row has {})", if there.is_empty() { "none".into() } else { there.join(", ") }))
}

fn required(row: &Row, name: &str) -> Result<String, Refusal> {
    match row.fields.get(name) {
        Some(value) => as_text(name, value),
        None => Err(missing(row, name)),
    }
}

fn answer(row: &Row, name: &str) -> Result<String, Refusal> {
    if row.fields.get(name).is_some_and(Value::is_null) {
        return Err(("empty_output", format!("`{name}` is null")));
    }
    let text = required(row, name)?;
    if text.trim().is_empty() { Err(("empty_output", format!("`{name}` is empty"))) } else { Ok(text) }
}

/// An absent, null or empty field is `None`.
fn optional(row: &Row, name: &str) -> Result<Option<String>, Refusal> {
    match row.fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Ok(Some(as_text(name, value)?).filter(|s| !s.trim().is_empty())),
    }
}

/// Text, or a number or boolean written out; lists and objects are refused.
fn as_text(name: &str, value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        other => Err(("wrong_type", format!("`{name}` is {}, not text", kind_name(other)))),
    }
}

/// A score, or a grade in words.
fn quality(name: &str, value: Option<&Value>) -> Result<Option<f64>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(b)) => Ok(Some(f64::from(u8::from(*b)))),
        Some(Value::Number(n)) => Ok(n.as_f64().filter(|v| v.is_finite())),
        Some(Value::String(s)) => match (s.trim().to_ascii_lowercase().as_str(), s.trim().parse::<f64>()) {
            ("", _) => Ok(None),
            (_, Ok(v)) if v.is_finite() => Ok(Some(v)),
            ("high" | "excellent" | "gold" | "good" | "true", _) => Ok(Some(1.0)),
            ("medium" | "low" | "silver" | "bronze" | "fair" | "average" | "poor" | "bad" | "false", _) => Ok(Some(0.0)),
            _ => Err(("bad_quality", format!("`{name}` is `{s}`: neither a score nor one of high, medium, low"))),
        },
        Some(other) => Err(("bad_quality", format!("`{name}` is {}, not a score", kind_name(other)))),
    }
}

impl Record {
    /// The messages a chat template is given; `None` for plain text.
    pub(crate) fn messages(&self) -> Option<Conversation> {
        match &self.content {
            Content::Chat(chat) => Some(chat.clone()),
            Content::Text(_) => None,
            Content::Pair { system, prompt, input, completion, .. } => {
                let mut messages = Vec::new();
                if let Some(system) = system {
                    messages.push(Message::new("system", system));
                }
                let question = match input {
                    Some(input) => format!("{prompt}\n\n{input}"),
                    None => prompt.clone(),
                };
                messages.push(Message::new("user", &question));
                messages.push(Message::new("assistant", completion));
                Some(Conversation { messages, ..Conversation::default() })
            }
        }
    }

    /// What the model is asked: all but the last answer (the whole of a plain text).
    pub(crate) fn question(&self) -> String {
        match (&self.content, self.messages()) {
            (Content::Text(text), _) => text.clone(),
            (_, Some(chat)) => flatten(&chat.messages[..chat.messages.len() - 1]),
            (_, None) => String::new(),
        }
    }

    /// The last answer (the whole of a plain text).
    pub(crate) fn answer(&self) -> String {
        match &self.content {
            Content::Text(text) => text.clone(),
            Content::Pair { completion, .. } => completion.clone(),
            Content::Chat(chat) => chat.messages.last().map(|m| flatten(std::slice::from_ref(m))).unwrap_or_default(),
        }
    }

    /// Key of the question: equal for rows that ask the same, up to case and white space.
    pub(crate) fn question_key(&self) -> u64 {
        short_hash(normalised(&self.question()).as_bytes())
    }

    /// Key of question and answer together.
    pub(crate) fn content_key(&self) -> u64 {
        short_hash(format!("{}\u{1f}{}", normalised(&self.question()), normalised(&self.answer())).as_bytes())
    }
}

fn flatten(messages: &[Message]) -> String {
    let one = |m: &Message| {
        let calls = if m.tool_calls().is_empty() { String::new() } else { Value::from(m.tool_calls().to_vec()).to_string() };
        format!("{}\u{1e}{}{calls}\u{1e}", m.role, m.text())
    };
    messages.iter().map(one).collect()
}

fn normalised(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}
