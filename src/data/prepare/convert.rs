//! Rows in another layout, or the reason why a layout cannot hold them.

use serde_json::{Map, Value, json};

use crate::data::conversation::{Conversation, Message, REASONING};
use crate::data::layout::Layout;
use crate::data::record::{Content, Record};

/// The layout that holds a row as it was read.
pub(super) fn own(record: &Record) -> Layout {
    match &record.content {
        Content::Chat(_) => Layout::Chat,
        Content::Pair { alpaca: true, .. } => Layout::Alpaca,
        Content::Pair { .. } => Layout::Completion,
        Content::Text(_) => Layout::Text,
    }
}

/// The row under a layout's usual field names.
///
/// # Errors
/// In words: what the layout has no place for. Nothing of a row is lost in silence.
pub(super) fn row(record: &Record, layout: Layout) -> Result<Map<String, Value>, String> {
    if let Content::Chat(chat) = &record.content
        && chat.messages.iter().any(|m| !m.untrained.is_empty())
    {
        return Err("parts of a turn are not trained, and a prepared row cannot say so".into());
    }
    match (layout, &record.content) {
        (Layout::Text, Content::Text(text)) => Ok(fields([("text", json!(text))])),
        (_, Content::Text(_)) => Err(format!("plain text has no question and answer, which {} needs", layout.name())),
        (Layout::Text, _) => Err("a question and its answer are not plain text: their form depends on the chat template".into()),
        (Layout::Chat, _) => Ok(chat(&of(record))),
        (Layout::Sharegpt, _) => sharegpt(&of(record)),
        (Layout::Alpaca, Content::Pair { system, prompt, input, reasoning, completion, .. }) => {
            let mut row = fields([("instruction", json!(prompt)), ("input", json!(input.as_deref().unwrap_or_default()))]);
            row.insert("output".into(), json!(completion));
            Ok(beside(row, system.as_deref(), reasoning.as_deref()))
        }
        (Layout::Alpaca, Content::Chat(chat)) => alpaca(chat),
        (Layout::Completion, Content::Pair { system, prompt, input, reasoning, completion, .. }) => {
            let prompt = input.as_ref().map_or(prompt.clone(), |input| format!("{prompt}\n\n{input}"));
            let row = fields([("prompt", json!(prompt)), ("completion", json!(completion))]);
            Ok(beside(row, system.as_deref(), reasoning.as_deref()))
        }
        (Layout::Completion, Content::Chat(chat)) => {
            let (system, turns) = plain_turns(chat)?;
            let [(prompt, answer)] = turns.as_slice() else {
                return Err(format!("{} answers do not fit one completion", turns.len()));
            };
            let row = fields([("prompt", json!(prompt)), ("completion", json!(answer.text()))]);
            Ok(beside(row, system, Some(answer.reasoning())))
        }
    }
}

fn of(record: &Record) -> Conversation {
    record.messages(false).unwrap_or_default()
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn beside(mut row: Map<String, Value>, system: Option<&str>, reasoning: Option<&str>) -> Map<String, Value> {
    for (name, text) in [("system", system), ("reasoning_content", reasoning)] {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            row.insert(name.into(), json!(text));
        }
    }
    row
}

/// Reading gives reasoning several names; one is enough.
pub(super) fn one_reasoning(message: &mut Map<String, Value>) {
    for name in &REASONING[1..] {
        if message.get(*name) == message.get(REASONING[0]) {
            message.shift_remove(*name);
        }
    }
}

fn chat(chat: &Conversation) -> Map<String, Value> {
    let message = |m: &Message| {
        let mut value = m.value.clone();
        one_reasoning(&mut value);
        if m.role == "assistant" && !m.trained {
            value.insert("weight".into(), json!(0));
        }
        Value::Object(value)
    };
    let mut row = fields([("messages", chat.messages.iter().map(message).collect())]);
    if !chat.tools.is_empty() {
        row.insert("tools".into(), Value::from(chat.tools.clone()));
    }
    row
}

fn sharegpt(chat: &Conversation) -> Result<Map<String, Value>, String> {
    let mut turns = Vec::new();
    for m in &chat.messages {
        let calls = m.tool_calls();
        let says_something = !m.text().trim().is_empty() || !m.reasoning().is_empty();
        if !calls.is_empty() && says_something {
            return Err("an answer with text and calls has no place in sharegpt".into());
        }
        let (from, value) = match m.role.as_str() {
            "system" => ("system", m.text().to_owned()),
            "user" => ("human", m.text().to_owned()),
            "tool" => ("tool", m.text().to_owned()),
            "assistant" if calls.is_empty() => ("gpt", m.text().to_owned()),
            "assistant" => ("function_call", Value::from_iter(calls.iter().map(|c| c["function"].clone())).to_string()),
            other => return Err(format!("the role `{other}` has no place in sharegpt")),
        };
        let mut turn = fields([("from", json!(from)), ("value", json!(value))]);
        if !m.reasoning().is_empty() {
            turn.insert(REASONING[0].into(), json!(m.reasoning()));
        }
        if m.role == "assistant" && !m.trained {
            turn.insert("weight".into(), json!(0));
        }
        turns.push(Value::Object(turn));
    }
    let mut row = fields([("conversations", Value::from(turns))]);
    if !chat.tools.is_empty() {
        row.insert("tools".into(), Value::from(chat.tools.clone()));
    }
    Ok(row)
}

fn alpaca(chat: &Conversation) -> Result<Map<String, Value>, String> {
    let (system, turns) = plain_turns(chat)?;
    let Some(((prompt, answer), earlier)) = turns.split_last() else { return Err("there is no answer".into()) };
    if earlier.iter().any(|(_, a)| !a.reasoning().is_empty()) {
        return Err("the reasoning of an earlier answer has no place in alpaca".into());
    }
    let mut row = fields([("instruction", json!(prompt)), ("input", json!("")), ("output", json!(answer.text()))]);
    if !earlier.is_empty() {
        row.insert("history".into(), earlier.iter().map(|(q, a)| json!([q, a.text()])).collect());
    }
    Ok(beside(row, system, Some(answer.reasoning())))
}

/// A system prompt and questions with their answers, all of them trained; no tools.
fn plain_turns(chat: &Conversation) -> Result<(Option<&str>, Vec<(&str, &Message)>), String> {
    if chat.has_tools() {
        return Err("tools have no place in this layout".into());
    }
    let (system, rest) = match chat.messages.split_first() {
        Some((first, rest)) if first.role == "system" => (Some(first.text()), rest),
        _ => (None, chat.messages.as_slice()),
    };
    let pair = |pair: &'_ [Message]| match pair {
        [q, a] if q.role == "user" && a.role == "assistant" && a.trained => Ok(()),
        [q, a] if q.role == "user" && a.role == "assistant" => Err("an answer that is not trained has no place in this layout".to_owned()),
        _ => Err("questions and answers do not take turns".to_owned()),
    };
    rest.chunks(2).try_for_each(pair)?;
    Ok((system, rest.chunks(2).map(|p| (p[0].text(), &p[1])).collect()))
}
