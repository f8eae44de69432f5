//! The content of a message: text, or parts of it.

use std::ops::Range;

use serde_json::Value;

use super::conversation::Refusal;
use super::flags::take_turn_flag;
use super::source::kind_name;

/// Content as one text.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) text: String,
    /// Reasoning that stood in parts of its own.
    pub(super) reasoning: Option<String>,
    /// Byte ranges of parts that are switched off.
    pub(super) untrained: Vec<Range<usize>>,
}

/// Text stays, null is no text, `[{type: "text", text}]` is joined.
pub(super) fn read(content: &Value) -> Result<Text, Refusal> {
    match content {
        Value::Null => Ok(Text::default()),
        Value::String(text) => Ok(Text { text: text.clone(), ..Text::default() }),
        Value::Array(parts) => {
            let mut whole = Text::default();
            parts.iter().try_for_each(|part| add(&mut whole, part))?;
            Ok(whole)
        }
        other => Err(("wrong_type", format!("`content` is {}, not text", kind_name(other)))),
    }
}

fn add(whole: &mut Text, part: &Value) -> Result<(), Refusal> {
    if let Value::String(text) = part {
        whole.text.push_str(text);
        return Ok(());
    }
    let kind = part.get("type").and_then(Value::as_str);
    let named = |name: &str| part.get(name).and_then(Value::as_str);
    match (kind, named("text")) {
        (Some("text" | "input_text" | "output_text") | None, Some(text)) => {
            let from = whole.text.len();
            whole.text.push_str(text);
            let mut members = part.as_object().cloned().unwrap_or_default();
            if take_turn_flag(&mut members)? == Some(false) && from < whole.text.len() {
                match whole.untrained.last_mut() {
                    Some(last) if last.end == from => last.end = whole.text.len(),
                    _ => whole.untrained.push(from..whole.text.len()),
                }
            }
            Ok(())
        }
        (Some(kind @ ("thinking" | "reasoning")), text) if text.is_some() || named(kind).is_some() => {
            let thought = text.or(named(kind)).unwrap_or_default();
            whole.reasoning.get_or_insert_default().push_str(thought);
            Ok(())
        }
        (kind, _) => {
            let message = format!("`content` holds a part of type `{}`; only text is supported", kind.unwrap_or("?"));
            Err(("not_text", message))
        }
    }
}
