//! A row of metrics.jsonl, and its place among all rows of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Where a row stands: stage, step, and 0 for a step, 1 for an evaluation after it, 2 for its samples. Rows are made
/// in this order, so everything up to a place is one prefix of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place(pub usize, pub u64, pub u8);

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its place.
    pub place: Place,
    /// Milliseconds since 1970 at which it was written.
    pub time_ms: i64,
    /// Its figures by name, as metrics.jsonl names them; without `stage`, `step` and `time`.
    pub figures: Vec<(String, f64)>,
    /// Prompts and the model's answers.
    pub samples: Vec<(String, String)>,
    /// The line, without its end.
    pub line: String,
}

impl Row {
    /// Reads a line. `started_ms`: when the run began, for rows that carry no time of their own.
    /// `None` for what is no row.
    pub fn parse(line: &[u8], started_ms: i64) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_end();
        let value: Value = serde_json::from_str(line).ok()?;
        let fields = value.as_object()?;
        let stage = usize::try_from(fields.get("stage")?.as_u64()?).ok()?;
        let step = fields.get("step")?.as_u64()?;
        let kind = if fields.contains_key("samples") { 2 } else { u8::from(fields.contains_key("eval_loss")) };
        let own = fields.get("time").and_then(Value::as_str).and_then(millis);
        let since_start = || fields.get("elapsed_seconds").and_then(Value::as_f64).map_or(0, |s| (s * 1e3) as i64);
        let figure = |(name, value): (&String, &Value)| {
            let is_place = matches!(name.as_str(), "stage" | "step" | "time");
            value.as_f64().filter(|_| !is_place).map(|v| (name.clone(), v))
        };
        let sample = |s: &Value| Some((s["prompt"].as_str()?.to_owned(), s["text"].as_str()?.to_owned()));
        Some(Self {
            place: Place(stage, step, kind),
            time_ms: own.unwrap_or_else(|| started_ms + since_start()),
            figures: fields.iter().filter_map(figure).collect(),
            samples: fields.get("samples").and_then(Value::as_array).into_iter().flatten().filter_map(sample).collect(),
            line: line.to_owned(),
        })
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> f64 {
        self.time_ms as f64 / 1e3
    }
}

/// Milliseconds since 1970 of a time as [`crate::base::clock::now_utc`] writes it.
pub fn millis(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// A hash over all rows so far, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain(String);

impl Chain {
    /// Adds a row.
    pub fn add(&mut self, row: &Row) {
        let mut hasher = Sha256::new();
        hasher.update(self.0.as_bytes());
        hasher.update(row.line.as_bytes());
        self.0 = hasher.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    }
}
