//! The metrics by their names, and what they make of rows.

use std::path::Path;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::answer;
use super::command::Scorer;
use super::schema::Schema;
use super::text::rouge::Rouge;
use super::text::{bleu, chrf, rouge};
use super::tools::{ToolAnswers, ToolMetric};
use crate::base::error::Fault;

/// One row with an answer.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the model was given.
    pub prompt: &'a str,
    /// What it said.
    pub answer: &'a str,
    /// What the row says.
    pub wanted: &'a str,
    /// The row's labels, or null.
    pub row: &'a Value,
    /// All turns of the row; needed by the metrics of tool calls alone.
    pub tools: Option<&'a ToolAnswers>,
}

/// What a row is judged by.
#[derive(Debug, Clone)]
pub enum Metric {
    /// `exp` of the mean loss over the wanted tokens.
    Perplexity,
    /// Share of the wanted tokens that are the model's first choice.
    TokenAccuracy,
    /// The answer is the wanted one, but for white space at its ends.
    ExactMatch,
    /// BLEU, 0 to 100.
    Bleu,
    /// chrF2, 0 to 100.
    Chrf,
    /// ROUGE's F measure.
    Rouge(Rouge),
    /// The same final number, as in GSM8K.
    NumericMatch,
    /// The answer is JSON.
    JsonValid,
    /// The answer is JSON that a schema allows.
    JsonSchema(Arc<Schema>),
    /// A regular expression is found in the answer.
    Pattern(Regex),
    /// Another program's score.
    Command(Scorer),
    /// Shorter over longer of the lengths of answer and wanted text.
    Length,
    /// Something about the tool calls of all turns.
    Tool(ToolMetric),
    /// The Berkeley Function-Calling Leaderboard's verdict, on its own files.
    Bfcl,
    /// Values from 0 to 1 that were computed elsewhere.
    Given(String),
}

/// A word that stands for all metrics of tool calls.
const ALL_TOOL_METRICS: &str = "tools";

/// Names without an argument.
const PLAIN: [(&str, Metric); 12] = [
    ("perplexity", Metric::Perplexity),
    ("accuracy", Metric::TokenAccuracy),
    ("exact_match", Metric::ExactMatch),
    ("bleu", Metric::Bleu),
    ("chrf", Metric::Chrf),
    ("rouge_1", Metric::Rouge(Rouge::Grams(1))),
    ("rouge_2", Metric::Rouge(Rouge::Grams(2))),
    ("rouge_l", Metric::Rouge(Rouge::Longest)),
    ("numeric_match", Metric::NumericMatch),
    ("json_valid", Metric::JsonValid),
    ("length", Metric::Length),
    ("bfcl", Metric::Bfcl),
];

/// Names before a colon and an argument.
const WITH_ARGUMENT: [&str; 3] = ["json_schema", "regex", "command"];

impl Metric {
    /// The names that [`Self::parse`] takes.
    pub fn names() -> Vec<String> {
        PLAIN
            .iter()
            .map(|(n, _)| (*n).to_owned())
            .chain(ToolMetric::ALL.map(|m| m.name().to_owned()))
            .chain(["json_schema:FILE", "regex:PATTERN", "command:PROGRAM ARGS"].map(str::to_owned))
            .collect()
    }

    /// A metric by its name; a relative file is looked for in `base`.
    ///
    /// # Errors
    /// When there is no such metric, or its argument is bad.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        let bad = |m: String| Fault::new("bad_metric", m).hint(format!("metrics are {}", Self::names().join(", ")));
        if let Some((_, metric)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(metric.clone());
        }
        if let Some(metric) = ToolMetric::ALL.into_iter().find(|m| m.name() == text) {
            return Ok(Self::Tool(metric));
        }
        match text.split_once(':') {
            Some(("json_schema", file)) => Ok(Self::JsonSchema(Arc::new(Schema::read(&base.join(file))?))),
            Some(("regex", pattern)) => Regex::new(pattern).map(Self::Pattern).map_err(|e| bad(format!("regex: {e}"))),
            Some(("command", argv)) => Scorer::parse(argv).map(Self::Command),
            _ if WITH_ARGUMENT.contains(&text) => Err(bad(format!("`{text}` needs an argument after a colon"))),
            _ if text == ALL_TOOL_METRICS => Err(bad(format!("`{text}` stands for several metrics, and one is needed here"))),
            _ => Err(bad(format!("there is no metric `{text}`"))),
        }
    }

    /// The metrics of a list of names, where `tools` stands for all metrics of tool calls.
    ///
    /// # Errors
    /// See [`Self::parse`].
    pub fn parse_all(names: &[String], base: &Path) -> Result<Vec<Self>, Fault> {
        let mut metrics = Vec::new();
        for name in names {
            match name.as_str() {
                ALL_TOOL_METRICS => metrics.extend(ToolMetric::ALL.map(Self::Tool)),
                name => metrics.push(Self::parse(name, base)?),
            }
        }
        Ok(metrics)
    }

    /// Its name in a report: the name that it is asked for by, without an argument.
    pub fn name(&self) -> String {
        match self {
            Self::JsonSchema(_) => "json_schema".into(),
            Self::Pattern(_) => "regex".into(),
            Self::Command(_) => "command".into(),
            Self::Given(name) => name.clone(),
            Self::Tool(metric) => metric.name().into(),
            plain => {
                let same = |other: &Self| match (plain, other) {
                    (Self::Rouge(a), Self::Rouge(b)) => a == b,
                    (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
                };
                PLAIN.iter().find(|(_, m)| same(m)).map(|(n, _)| (*n).to_owned()).unwrap_or_default()
            }
        }
    }

    /// Whether it judges answers; the others read losses.
    pub fn needs_answers(&self) -> bool {
        !matches!(self, Self::Perplexity | Self::TokenAccuracy)
    }

    /// Whether it judges every turn of a conversation; the others judge the last answer.
    pub fn needs_turns(&self) -> bool {
        matches!(self, Self::Tool(_))
    }

    /// Whether less is better.
    pub fn lower_is_better(&self) -> bool {
        match self {
            Self::Perplexity => true,
            Self::Tool(metric) => metric.lower_is_better(),
            _ => false,
        }
    }

    /// The end of its scale; 0 for a metric without one.
    pub fn top(&self) -> f64 {
        match self {
            Self::Perplexity => 0.0,
            Self::Bleu | Self::Chrf => 100.0,
            _ => 1.0,
        }
    }

    /// The sums of one answered row.
    ///
    /// # Errors
    /// When a scorer fails, or for a metric that is not read from answers.
    pub fn sums(&self, case: &Case) -> Result<Vec<f64>, Fault> {
        let Case { answer: a, wanted: w, .. } = *case;
        let yes = |b: bool| vec![f64::from(u8::from(b)), 1.0];
        Ok(match self {
            Self::ExactMatch => yes(answer::exact(a, w)),
            Self::NumericMatch => yes(answer::numeric(a, w)),
            Self::JsonValid => yes(answer::json(a).is_some()),
            Self::JsonSchema(schema) => yes(schema.allows(a)),
            Self::Pattern(pattern) => yes(pattern.is_match(a)),
            Self::Bleu => bleu::sums(a, w),
            Self::Chrf => chrf::sums(a, w),
            Self::Rouge(kind) => vec![rouge::score(*kind, a, w), 1.0],
            Self::Length => vec![answer::length(a, w), 1.0],
            Self::Command(scorer) => vec![scorer.score(case)?, 1.0],
            Self::Tool(metric) => match case.tools {
                Some(turns) => metric.sums(turns),
                None => return Err(Fault::new("bad_metric", format!("{} needs the turns of a conversation", self.name()))),
            },
            Self::Perplexity | Self::TokenAccuracy | Self::Bfcl | Self::Given(_) => {
                return Err(Fault::new("bad_metric", format!("{} is not read from an answer", self.name())));
            }
        })
    }

    /// The figure of the sums of some rows; NaN where they hold nothing to measure.
    pub fn value(&self, sums: &[f64]) -> f64 {
        match self {
            Self::Tool(_) if sums[1] == 0.0 => f64::NAN,
            Self::Bleu => bleu::score(sums),
            Self::Chrf => chrf::score(sums),
            Self::Perplexity => (sums[0] / sums[1]).exp(),
            _ => sums[0] / sums[1],
        }
    }
}

/// A metric's sums, row by row.
#[derive(Debug, Clone)]
pub struct Table {
    /// The metric.
    pub metric: Metric,
    /// One list of sums for each row, all of one length.
    pub rows: Vec<Vec<f64>>,
}

impl Table {
    /// Of answered rows.
    ///
    /// # Errors
    /// See [`Metric::sums`].
    pub fn of(metric: &Metric, cases: &[Case]) -> Result<Self, Fault> {
        Ok(Self { metric: metric.clone(), rows: cases.iter().map(|c| metric.sums(c)).collect::<Result<_, _>>()? })
    }

    /// Of values from 0 to 1, one for each row.
    pub fn given(name: &str, values: &[f64]) -> Self {
        Self { metric: Metric::Given(name.to_owned()), rows: values.iter().map(|v| vec![*v, 1.0]).collect() }
    }

    /// The figure over the rows with these numbers.
    pub fn over(&self, rows: impl Iterator<Item = usize>) -> f64 {
        let mut sums = vec![0.0; self.rows.first().map_or(2, Vec::len)];
        for row in rows {
            sums.iter_mut().zip(&self.rows[row]).for_each(|(s, x)| *s += x);
        }
        self.metric.value(&sums)
    }

    /// The figure over all rows.
    pub fn value(&self) -> f64 {
        self.over(0..self.rows.len())
    }
}
