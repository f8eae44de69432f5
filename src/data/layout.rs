//! Which fields of a row mean what: detected from the rows, with the reason in words, or set by the caller.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::DataError;
use super::source::Row;

pub use crate::config::Layout;

impl Layout {
    /// The name used in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::Chat => "chat",
            Self::Sharegpt => "sharegpt",
            Self::Completion => "completion",
            Self::Text => "text",
        }
    }
}

/// The names of the fields. Where a field is absent under its name, the usual other names are tried
/// (`messages`/`conversations`, `completion`/`response`), except for names the caller changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fields {
    /// What the user asks (alpaca).
    pub instruction: String,
    /// Further input to the instruction (alpaca), may be absent.
    pub input: String,
    /// The answer (alpaca).
    pub output: String,
    /// A system prompt beside the row, may be absent.
    pub system: String,
    /// The prompt (completion).
    pub prompt: String,
    /// The completion (completion).
    pub completion: String,
    /// The text (text).
    pub text: String,
    /// The list of messages (chat, sharegpt).
    pub messages: String,
    /// Tool definitions beside a chat, may be absent.
    pub tools: String,
    /// A quality score or grade; `None`: every row weighs the same.
    pub quality: Option<String>,
    /// Fields that are left out on purpose: they are not read, and not told of.
    pub metadata: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        let name = |s: &str| s.to_string();
        Self {
            instruction: name("instruction"),
            input: name("input"),
            output: name("output"),
            system: name("system"),
            prompt: name("prompt"),
            completion: name("completion"),
            text: name("text"),
            messages: name("messages"),
            tools: name("tools"),
            quality: None,
            metadata: vec![name("metadata")],
        }
    }
}

impl Fields {
    /// The list of messages of a row.
    pub(crate) fn messages_of<'a>(&self, row: &'a Row) -> Option<(&'a str, &'a Value)> {
        first_of(row, &self.messages, "messages", &["conversations", "conversation"])
    }

    /// The answer of an alpaca row.
    pub(crate) fn output_of<'a>(&self, row: &'a Row) -> Option<(&'a str, &'a Value)> {
        first_of(row, &self.output, "output", &["response"])
    }

    /// Whether a field is left out on purpose.
    pub(crate) fn is_metadata(&self, name: &str) -> bool {
        self.metadata.iter().any(|m| m == name)
    }

    pub(crate) fn completion_of<'a>(&self, row: &'a Row) -> Option<(&'a str, &'a Value)> {
        first_of(row, &self.completion, "completion", &["response"])
    }
}

/// The field `name`, or, where the caller left the default name, the first of `others` that is there.
pub(super) fn first_of<'a>(row: &'a Row, name: &str, default: &str, others: &[&str]) -> Option<(&'a str, &'a Value)> {
    let others = if name == default { others } else { &[] };
    let names = std::iter::once(name).chain(others.iter().copied());
    names.filter_map(|n| row.fields.get_key_value(n)).map(|(k, v)| (k.as_str(), v)).find(|(_, v)| !v.is_null())
}

/// The layout found, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// The layout.
    pub layout: Layout,
    /// The reason, one sentence.
    pub reason: String,
}

/// How many rows are looked at.
const SAMPLE: usize = 200;

/// Finds the layout that most of the first 200 rows have.
///
/// # Errors
/// [`DataError::Layout`] when no row fits a layout; the hint names the fields that are there and what to set.
pub fn detect(rows: &[Row], fields: &Fields, path: &str) -> Result<Detection, DataError> {
    let sample = &rows[..rows.len().min(SAMPLE)];
    let mut votes: Vec<(Layout, String, usize)> = Vec::new();
    for (layout, sign) in sample.iter().filter_map(|row| classify(row, fields)) {
        match votes.iter_mut().find(|v| v.0 == layout) {
            Some(vote) => vote.2 += 1,
            None => votes.push((layout, sign, 1)),
        }
    }
    // The stable sort keeps the layout that was seen first among equals.
    votes.sort_by_key(|v| std::cmp::Reverse(v.2));
    let Some((layout, sign, count)) = votes.first().cloned() else {
        return Err(unknown_layout(sample, path));
    };
    let mut reason = format!("{count} of the first {} rows have {sign}", sample.len());
    for (other, _, n) in &votes[1..] {
        reason.push_str(&format!("; {n} look like {}", other.name()));
    }
    Ok(Detection { layout, reason })
}

fn classify(row: &Row, fields: &Fields) -> Option<(Layout, String)> {
    if let Some((name, value)) = fields.messages_of(row) {
        match first_message_keys(value) {
            Some((true, _)) => return Some((Layout::Chat, format!("`{name}`, a list of {{role, content}}"))),
            Some((_, true)) => return Some((Layout::Sharegpt, format!("`{name}`, a list of {{from, value}}"))),
            _ => {}
        }
    }
    let has = |name: &str| row.fields.contains_key(name);
    let output = fields.output_of(row).map(|(name, _)| name).or(has(&fields.output).then_some(fields.output.as_str()));
    if let Some(output) = output.filter(|_| has(&fields.instruction)) {
        return Some((Layout::Alpaca, format!("`{}` and `{output}`", fields.instruction)));
    }
    if has(&fields.prompt)
        && let Some((name, _)) = fields.completion_of(row)
    {
        return Some((Layout::Completion, format!("`{}` and `{name}`", fields.prompt)));
    }
    // After the others: many sets carry a `text` beside the fields it was made from.
    has(&fields.text).then(|| (Layout::Text, format!("`{}`", fields.text)))
}

/// Whether the first message of a list (or of its JSON text) has `role`, and whether it has `from`.
fn first_message_keys(value: &Value) -> Option<(bool, bool)> {
    let parsed;
    let list = match value {
        Value::Array(list) => list,
        Value::String(text) => {
            parsed = serde_json::from_str::<Vec<Value>>(text).ok()?;
            &parsed
        }
        _ => return None,
    };
    let first = list.first()?.as_object()?;
    Some((first.contains_key("role"), first.contains_key("from")))
}

/// Pairs of names that sets in the wild use for a question and its answer.
const USUAL_PAIRS: [(&str, &str); 6] = [
    ("question", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("problem", "solution"),
    ("question", "response"),
    ("user", "assistant"),
];

/// Fields that an error lists.
const NAMED: usize = 30;

fn unknown_layout(sample: &[Row], path: &str) -> DataError {
    let mut seen: HashSet<&str> = HashSet::new();
    let names: Vec<&str> = sample.iter().flat_map(|row| row.fields.keys()).map(String::as_str).filter(|name| seen.insert(name)).collect();
    let has = |name: &str| seen.contains(name);
    let hint = if has("chosen") && has("rejected") {
        "these are preference pairs; supervised fine-tuning needs one answer a row: name the field of the answers to train \
         (dataset.instruction_field and dataset.output_field: chosen), and set dataset.metadata_field: rejected"
            .to_string()
    } else if let Some((q, a)) = USUAL_PAIRS.iter().find(|(q, a)| has(q) && has(a)) {
        let mut hint =
            format!("set dataset.instruction_field: {q} and dataset.output_field: {a} (or --instruction-field {q} --output-field {a})");
        // What would be left out is named too: a hint that loses a prompt is worse than none.
        if let Some(system) = ["system", "system_prompt"].iter().find(|name| has(name)) {
            hint.push_str(&format!("; `{system}` is read as the system prompt"));
        }
        hint
    } else {
        "set dataset.layout and the field names (dataset.instruction_field, dataset.output_field)".to_string()
    };
    let mut list = names.iter().take(NAMED).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        list.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    DataError::Layout { path: path.to_string(), message: format!("no known layout; the rows have the fields {list}"), hint }
}
