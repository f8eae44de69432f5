//! What an evaluation found: one value that the shell, an assistant and three files show.

mod chart;
mod html;
mod markdown;

use serde::Serialize;

use super::resample::{Figure, Paired};
use super::threshold::Verdict;

pub use html::page;
pub(crate) use html::{STYLE, escape, table};
pub use markdown::markdown;

/// An evaluation of one or more models on the same rows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was evaluated, as a heading.
    pub title: String,
    /// The file of rows.
    pub data: String,
    /// Rows judged.
    pub rows: usize,
    /// Rows that were left out, since nothing stands before their answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows_without_prompt: usize,
    /// The models. The others are compared with the first.
    pub sides: Vec<Side>,
    /// Each later model against the first.
    pub differences: Vec<Difference>,
    /// Rows answered by all, where answers were made: those that got worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<Answered>,
    /// The limits, judged on the last model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Verdict>,
    /// Whether every limit is kept; none without limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One model.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Its name in the report.
    pub label: String,
    /// The model.
    pub model: String,
    /// Its adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// How its base is held: `none`, `nf4` or `q8`.
    pub quantization: String,
    /// Its metrics.
    pub metrics: Vec<Measured>,
    /// The rubric's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rubric: Option<Figure>,
    /// The same metrics by group of rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What was wrong with answers, the commonest first, where a metric names it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<NamedFault>,
    /// What it took.
    pub cost: Cost,
}

/// A metric of one model.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its figure.
    #[serde(flatten)]
    pub figure: Figure,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// The best figure; 0 for a metric without one.
    pub top: f64,
}

/// A fault of answers by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedFault {
    /// The name.
    pub name: String,
    /// Rows that have it.
    pub rows: usize,
}

/// Rows that share a label.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The label's field.
    pub field: String,
    /// The label.
    pub label: String,
    /// How many rows.
    pub rows: usize,
    /// The figures, in the order of the model's metrics.
    pub figures: Vec<Figure>,
}

/// What judging a model took.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// Bytes of the weights as held.
    pub weight_bytes: u64,
    /// The most bytes of keys and values held at a time while answering.
    pub cache_bytes: u64,
    /// Seconds that answering took.
    pub answer_seconds: f64,
    /// Tokens answered.
    pub new_tokens: u64,
    /// Answered tokens a second, prompts included in the time.
    pub tokens_per_second: f64,
}

/// A metric of a later model against the first.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The later model.
    pub label: String,
    /// The metric.
    pub metric: String,
    /// Its difference and how sure that is.
    #[serde(flatten)]
    pub paired: Paired,
    /// `better`, `worse`, or `unclear` where p is not below 0.05.
    pub verdict: &'static str,
}

/// A row with all answers.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    /// Its number, from 1.
    pub row: usize,
    /// What was asked.
    pub prompt: String,
    /// What the row says.
    pub wanted: String,
    /// One answer for each model.
    pub answers: Vec<String>,
    /// The value of the leading metric of each answer.
    pub values: Vec<f64>,
}

impl Difference {
    /// Names what a paired comparison says.
    pub fn verdict(paired: &Paired, lower_is_better: bool) -> &'static str {
        let gain = if lower_is_better { -paired.difference.value } else { paired.difference.value };
        match (paired.p < 0.05, gain > 0.0) {
            (false, _) => "unclear",
            (true, true) => "better",
            (true, false) => "worse",
        }
    }
}

/// A figure in a table: percent for shares, else plain.
pub fn shown(value: f64, top: f64) -> String {
    match () {
        () if !value.is_finite() => "-".into(),
        () if top == 1.0 => format!("{:.1} %", 100.0 * value),
        () if top == 100.0 => format!("{value:.2}"),
        () => format!("{value:.3}"),
    }
}

/// A difference in a table, with its sign; that of two shares is in points of a hundred.
fn signed(value: f64, top: f64) -> String {
    let text = shown(value.abs(), top).replace(" %", " points");
    if value < 0.0 { format!("-{text}") } else { format!("+{text}") }
}

/// A figure with its interval.
pub fn with_interval(f: &Figure, top: f64) -> String {
    if !f.value.is_finite() {
        return shown(f.value, top);
    }
    format!("{} ({} to {})", shown(f.value, top), shown(f.low, top), shown(f.high, top))
}

/// Bytes for a table.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// p for a table.
fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}
