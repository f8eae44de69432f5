//! Marks that say whether something is trained: on a turn, on a part of a turn, on a row.

use serde_json::{Map, Value};

use super::conversation::Refusal;
use super::source::kind_name;

/// Names of a turn's mark in the wild; 0, false and their text switch the turn off.
const TURN_FLAGS: [&str; 8] = ["weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask", "train_on_turn"];

/// Names whose meaning is not clear, or finer than a turn.
const UNCLEAR: [&str; 4] = ["mask", "masked", "train_detail", "training_detail"];

/// Takes the marks out of a turn (or a part of one); what they say, where they say something.
pub(super) fn take_turn_flag(map: &mut Map<String, Value>) -> Result<Option<bool>, Refusal> {
    let mut said = None;
    for name in TURN_FLAGS {
        let Some(value) = map.shift_remove(name) else { continue };
        if let Some(on) = switch(name, &value)? {
            // Switched off anywhere is off.
            said = Some(said.unwrap_or(true) && on);
        }
    }
    if let Some(name) = UNCLEAR.iter().find(|n| map.get(**n).is_some_and(|v| !v.is_null())) {
        let message = format!("`{name}` may say what is trained, but not how it is meant; write `train: true` or `train: false` instead");
        return Err(("unclear_flag", message));
    }
    Ok(said)
}

/// A switch as people write it: a boolean, 0 or 1, or the text of one.
fn switch(name: &str, value: &Value) -> Result<Option<bool>, Refusal> {
    let refuse = || {
        let message = format!("`{name}` is {}: a turn is trained (1, true) or not (0, false)", shown(value));
        Err(("bad_flag", message))
    };
    match value {
        Value::Null => Ok(None),
        Value::Bool(on) => Ok(Some(*on)),
        Value::Number(n) if n.as_f64() == Some(0.0) => Ok(Some(false)),
        Value::Number(n) if n.as_f64() == Some(1.0) => Ok(Some(true)),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "" | "none" | "null" => Ok(None),
            "false" | "no" | "off" => Ok(Some(false)),
            "true" | "yes" | "on" => Ok(Some(true)),
            number => match number.parse::<f64>() {
                Ok(0.0) => Ok(Some(false)),
                Ok(1.0) => Ok(Some(true)),
                _ => refuse(),
            },
        },
        _ => refuse(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::String(_) => format!("`{value}`"),
        other => kind_name(other).to_owned(),
    }
}

/// A column that marks the turns of a row one by one.
pub(super) fn turn_list(name: &str, value: &Value, turns: usize) -> Result<Vec<bool>, Refusal> {
    let list = super::conversation::list_of(name, value)?;
    if list.len() != turns {
        let message = format!("`{name}` marks {} turns, the row has {turns}", list.len());
        return Err(("bad_flag", message));
    }
    list.iter().map(|v| Ok(switch(name, v)?.unwrap_or(true))).collect()
}

/// Names of a column that marks the turns one by one.
pub(super) const TURN_LISTS: [&str; 3] = ["loss_mask", "train_mask", "turn_mask"];

/// Names of a column that says whether an answer is wanted (KTO).
pub(super) const LABELS: [&str; 4] = ["label", "kto_tag", "desirable", "is_desirable"];

/// Names of a column that switches a whole row off. `loss` and the like are not among them: there it is a measurement.
pub(super) const ROW_FLAGS: [&str; 5] = ["train", "training", "trainable", "train_on_turn", "weight"];

/// Whether a column switches its row off.
pub(super) fn is_off(name: &str, value: &Value) -> bool {
    matches!(switch(name, value), Ok(Some(false)))
}

/// Whether a label says that the answer is not wanted. A label that is no yes or no is a class, and says nothing.
pub(super) fn is_unwanted(value: &Value) -> bool {
    match value {
        Value::Bool(wanted) => !wanted,
        Value::String(text) => ["false", "no", "undesirable"].contains(&text.trim().to_ascii_lowercase().as_str()),
        _ => false,
    }
}

/// Whether a label is 0 or 1: a class, or a yes or no.
pub(super) fn is_zero_or_one(value: &Value) -> bool {
    match value {
        Value::Number(n) => [Some(0.0), Some(1.0)].contains(&n.as_f64()),
        Value::String(text) => ["0", "1", "0.0", "1.0"].contains(&text.trim()),
        _ => false,
    }
}

/// Whether a label is a yes or a no.
pub(super) fn is_label(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::String(text) => {
            let words = ["true", "false", "yes", "no", "desirable", "undesirable"];
            words.contains(&text.trim().to_ascii_lowercase().as_str())
        }
        _ => false,
    }
}
