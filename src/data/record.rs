//! A row under a layout: the content to learn, checked.

use serde_json::Value;

use super::columns::Columns;
use super::conversation::{Conversation, Message, REASONING, Refusal, list_of};
use super::error::{Location, RowProblem};
use super::fingerprint::short_hash;
use super::flags;
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
        /// The reasoning before the answer.
        reasoning: Option<String>,
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

/// Reads a row under a layout. Also gives the columns that nothing read.
///
/// # Errors
/// The reason why the row cannot be used.
pub(crate) fn read_record(row: &Row, layout: Layout, fields: &Fields) -> (Result<Record, RowProblem>, Vec<String>) {
    let columns = Columns::new(row);
    let record = read(&columns, layout, fields);
    fields.metadata.iter().for_each(|name| columns.mark(name));
    let unread = columns.unread();
    let problem = |(code, message): Refusal| match code {
        "empty_output" | "unwanted_answer" => RowProblem::skip(&row.at, code, message),
        _ => RowProblem::error(&row.at, code, message),
    };
    (record.map_err(problem), unread)
}

fn read(columns: &Columns, layout: Layout, fields: &Fields) -> Result<Record, Refusal> {
    let content = match layout {
        Layout::Chat | Layout::Sharegpt => conversation(columns, layout, fields),
        Layout::Alpaca => alpaca(columns, fields),
        Layout::Completion => completion(columns, fields),
        Layout::Text => text(columns, fields),
    };
    let quality = match &fields.quality {
        None => None,
        Some(name) => quality(name, columns.get(name))?,
    };
    for name in flags::LABELS.iter().filter(|name| !fields.is_metadata(name)) {
        let Some(value) = columns.peek(name).filter(|v| flags::is_label(v)) else { continue };
        columns.mark(name);
        if flags::is_unwanted(value) {
            let message = format!("`{name}` is false: the answer is one not to give; left out");
            return Err(("unwanted_answer", message));
        }
    }
    let content = content?;
    heed_unread(columns, fields)?;
    Ok(Record { at: columns.at().clone(), content, quality })
}

/// Columns that nothing read, and that would change what the row teaches: a row without them is another row.
fn heed_unread(columns: &Columns, fields: &Fields) -> Result<(), Refusal> {
    for name in columns.unread().into_iter().filter(|name| !fields.is_metadata(name)) {
        let Some(value) = columns.peek(&name) else { continue };
        let refuse = |why: &str| Err(("unread_column", format!("`{name}` {why}, or name it in dataset.metadata_field")));
        match name.to_ascii_lowercase().as_str() {
            flag if flags::ROW_FLAGS.contains(&flag) && flags::is_off(flag, value) => {
                columns.mark(&name);
                return Err(("unwanted_answer", format!("`{name}` is off: left out")));
            }
            label if flags::LABELS.contains(&label) && flags::is_zero_or_one(value) => {
                return refuse("may say that the answer is not wanted, or be a class: write true or false");
            }
            "history" => return refuse("holds earlier turns, which are read beside instruction and output only: put them into messages"),
            "system" | "system_prompt" => return refuse("is not read beside a text: put it into the text"),
            reasoning if REASONING.contains(&reasoning) => {
                return refuse("is not read in this layout: put it into the assistant's message, or into the text");
            }
            "image" | "images" | "audio" | "audios" | "video" | "videos" => {
                return refuse("holds what a text model does not read: leave such rows out");
            }
            _ => {}
        }
    }
    Ok(())
}

fn conversation(columns: &Columns, layout: Layout, fields: &Fields) -> Result<Content, Refusal> {
    let Some((name, value)) = columns.messages(fields) else {
        return Err(missing(columns, &fields.messages));
    };
    let list = list_of(name, value)?;
    let tools = columns.tools(fields);
    let mut chat = match layout {
        Layout::Chat => Conversation::from_chat(name, &list, tools)?,
        _ => Conversation::from_sharegpt(name, &list, tools)?,
    };
    for name in flags::TURN_LISTS.iter().filter(|name| !fields.is_metadata(name)) {
        if let Some(marks) = columns.filled(name) {
            chat = chat.marked_by(name, marks, list.len())?;
        }
    }
    Ok(Content::Chat(chat.with_system(columns.system(fields)?.as_deref())))
}

fn alpaca(columns: &Columns, fields: &Fields) -> Result<Content, Refusal> {
    let prompt = required(columns, &fields.instruction)?;
    let input = match columns.input(fields) {
        Some((name, value)) => filled(as_text(name, value)?),
        None => None,
    };
    if prompt.trim().is_empty() && input.is_none() {
        return Err(("empty_prompt", format!("`{}` is empty", fields.instruction)));
    }
    let name = columns.output_name(fields);
    let completion = answer(columns, name)?;
    let system = columns.system(fields)?;
    let reasoning = reasoning(columns, fields)?;
    let history = match columns.filled("history").filter(|_| !fields.is_metadata("history")) {
        Some(value) => history(value)?,
        None => Vec::new(),
    };
    if history.is_empty() {
        return Ok(Content::Pair { system, prompt, input, reasoning, completion, alpaca: true });
    }
    let last = Content::Pair { system: None, prompt, input, reasoning, completion, alpaca: true };
    let last = Record { at: columns.at().clone(), content: last, quality: None };
    let mut chat = last.messages(false).unwrap_or_default().with_system(system.as_deref());
    let at = usize::from(chat.messages[0].role == "system");
    chat.messages.splice(at..at, history);
    Ok(Content::Chat(chat))
}

/// Earlier turns of an alpaca row: `[[question, answer], ...]`. Their answers are trained too.
fn history(value: &Value) -> Result<Vec<Message>, Refusal> {
    let mut messages = Vec::new();
    for (i, pair) in list_of("history", value)?.iter().enumerate() {
        let texts = pair.as_array().map(|p| p.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        let Some([question, answer]) = texts.as_deref().and_then(|t| <[&str; 2]>::try_from(t).ok()) else {
            return Err(("wrong_type", format!("history[{i}] is not a question and its answer")));
        };
        messages.push(Message::new("user", question));
        messages.push(Message::new("assistant", answer));
    }
    Ok(messages)
}

/// Reasoning in a column beside the answer.
fn reasoning(columns: &Columns, fields: &Fields) -> Result<Option<String>, Refusal> {
    for name in REASONING.iter().filter(|name| !fields.is_metadata(name)) {
        if let Some(value) = columns.get(name) {
            return Ok(filled(as_text(name, value)?));
        }
    }
    Ok(None)
}

fn completion(columns: &Columns, fields: &Fields) -> Result<Content, Refusal> {
    let Some((name, value)) = columns.completion(fields) else {
        return Err(missing(columns, &fields.completion));
    };
    if let (Some(Value::Array(prompt)), Value::Array(reply)) = (columns.get(&fields.prompt), value) {
        let chat = conversational_pair(prompt, reply, columns.tools(fields))?;
        return Ok(Content::Chat(chat.with_system(columns.system(fields)?.as_deref())));
    }
    let completion = answer(columns, name)?;
    Ok(Content::Pair {
        system: columns.system(fields)?,
        prompt: required(columns, &fields.prompt)?,
        input: None,
        reasoning: reasoning(columns, fields)?,
        completion,
        alpaca: false,
    })
}

/// Both sides as lists of messages: a chat of which only the completion's answers are trained.
fn conversational_pair(prompt: &[Value], reply: &[Value], tools: Option<&Value>) -> Result<Conversation, Refusal> {
    let all: Vec<Value> = prompt.iter().chain(reply).cloned().collect();
    let mut chat = Conversation::from_chat("prompt+completion", &all, tools)?;
    for message in chat.messages.iter_mut().take(prompt.len()) {
        message.trained = false;
    }
    if !chat.messages.iter().any(|m| m.trained) {
        return Err(("no_assistant", "`completion` has no assistant message".into()));
    }
    Ok(chat)
}

fn text(columns: &Columns, fields: &Fields) -> Result<Content, Refusal> {
    let text = required(columns, &fields.text)?;
    if text.trim().is_empty() { Err(("empty_output", format!("`{}` is empty", fields.text))) } else { Ok(Content::Text(text)) }
}

fn missing(columns: &Columns, name: &str) -> Refusal {
    if columns.peek_any(name).is_some() {
        return ("null_field", format!("`{name}` is null"));
    }
    let there: Vec<String> = columns.names().map(|k| format!("`{k}`")).collect();
    ("missing_field", format!("no field `{name}` (the row has {})", if there.is_empty() { "none".into() } else { there.join(", ") }))
}

fn required(columns: &Columns, name: &str) -> Result<String, Refusal> {
    match columns.get(name) {
        Some(value) => as_text(name, value),
        None => Err(missing(columns, name)),
    }
}

fn answer(columns: &Columns, name: &str) -> Result<String, Refusal> {
    if columns.peek_any(name).is_some_and(Value::is_null) {
        return Err(("empty_output", format!("`{name}` is null")));
    }
    let text = required(columns, name)?;
    if text.trim().is_empty() { Err(("empty_output", format!("`{name}` is empty"))) } else { Ok(text) }
}

fn filled(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

/// Text, or a number or boolean written out; lists and objects are refused.
pub(super) fn as_text(name: &str, value: &Value) -> Result<String, Refusal> {
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
    /// The messages a chat template is given; `None` for plain text. With `apart` the user's message also holds the
    /// instruction and its input apart, for a template that writes them so.
    pub(crate) fn messages(&self, apart: bool) -> Option<Conversation> {
        match &self.content {
            Content::Chat(chat) => Some(chat.clone()),
            Content::Text(_) => None,
            Content::Pair { system, prompt, input, reasoning, completion, .. } => {
                let mut messages = Vec::new();
                if let Some(system) = system {
                    messages.push(Message::new("system", system));
                }
                let question = match input {
                    Some(input) => format!("{prompt}\n\n{input}"),
                    None => prompt.clone(),
                };
                let mut question = Message::new("user", &question);
                if let Some(input) = input.as_ref().filter(|_| apart) {
                    question.value.insert("instruction".into(), prompt.as_str().into());
                    question.value.insert("input".into(), input.as_str().into());
                }
                messages.push(question);
                let mut answer = Message::new("assistant", completion);
                if let Some(reasoning) = reasoning {
                    for name in &REASONING[..2] {
                        answer.value.insert((*name).into(), reasoning.as_str().into());
                    }
                }
                messages.push(answer);
                Some(Conversation { messages, ..Conversation::default() })
            }
        }
    }

    /// What the model is asked: all but the last answer (the whole of a plain text).
    pub(crate) fn question(&self) -> String {
        match (&self.content, self.messages(false)) {
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
