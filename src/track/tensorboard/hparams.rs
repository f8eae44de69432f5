//! The hyperparameters plugin: which settings a run had, and which figures it is judged by.

use serde_json::Value;

use super::{event, plugin};
use crate::track::facts::{Facts, Standing, in_words};
use crate::track::proto::Message;

/// Sections whose settings shape the result.
const SECTIONS: [&str; 3] = ["base_model.", "training.", "lora."];
/// Figures that runs are compared by, in each stage.
const METRICS: [&str; 4] = ["train/loss", "eval/loss", "eval/perplexity", "eval/accuracy"];

const STRING: i64 = 1;
const BOOL: i64 = 2;
const FLOAT64: i64 = 3;

fn settings(facts: &Facts) -> impl Iterator<Item = &(String, Value)> {
    facts.settings.iter().filter(|(key, value)| SECTIONS.iter().any(|s| key.starts_with(s)) && !value.is_null())
}

/// A summary without a value whose metadata say everything.
fn summary(seconds: f64, tag: &str, content: Message) -> Vec<u8> {
    const VERSION: i64 = 0;
    let content = content.int(1, VERSION);
    // The reader asks for a tensor: an empty one of one dimension, as the Python writer has it.
    const FLOAT: i64 = 1;
    let shape = Message::default().message(2, Message::default().int(1, 0));
    let tensor = Message::default().int(1, FLOAT).message(2, shape);
    let value = Message::default().text(1, tag).message(8, tensor).message(9, plugin("hparams", content));
    event(seconds, 0).message(5, Message::default().message(1, value)).bytes()
}

/// What there is to compare.
pub(super) fn experiment(facts: &Facts, seconds: f64) -> Vec<u8> {
    let hparam = |(key, value): &(String, Value)| {
        let kind = match value {
            Value::Bool(_) => BOOL,
            Value::Number(_) => FLOAT64,
            _ => STRING,
        };
        Message::default().text(1, key).int(4, kind)
    };
    let names = (1..=facts.stages).flat_map(|n| METRICS.map(|tag| (format!("stage{n}"), tag)));
    let metric = |(group, tag): (String, &str)| Message::default().message(1, Message::default().text(1, group).text(2, tag));
    let all = Message::default().double(3, seconds).messages(4, settings(facts).map(hparam)).messages(5, names.map(metric));
    summary(seconds, "_hparams_/experiment", Message::default().message(2, all))
}

/// The settings of this run.
pub(super) fn start(facts: &Facts, seconds: f64) -> Vec<u8> {
    let entry = |(key, value): &(String, Value)| {
        let value = match value {
            Value::Bool(b) => Message::default().int(4, i64::from(*b)),
            Value::Number(n) => Message::default().double(2, n.as_f64().unwrap_or(f64::NAN)),
            other => Message::default().text(3, in_words(other)),
        };
        Message::default().text(1, key).message(2, value)
    };
    let all = Message::default().messages(1, settings(facts).map(entry)).text(4, &facts.id).double(5, seconds);
    summary(seconds, "_hparams_/session_start_info", Message::default().message(3, all))
}

/// How it ended.
pub(super) fn end(standing: Standing, seconds: f64) -> Vec<u8> {
    const SUCCESS: i64 = 1;
    const FAILURE: i64 = 2;
    let status = if standing == Standing::Finished { SUCCESS } else { FAILURE };
    let all = Message::default().int(1, status).double(2, seconds);
    summary(seconds, "_hparams_/session_end_info", Message::default().message(4, all))
}
