//! Limits on figures that decide whether a model passes: `exact_match>=0.5`, `perplexity<=8`.

use std::str::FromStr;

use serde::Serialize;

use super::resample::Figure;
use crate::base::error::Fault;

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The metric's name in the report.
    pub metric: String,
    /// Whether the figure must be at least the limit; else at most.
    pub at_least: bool,
    /// The limit.
    pub limit: f64,
}

/// What became of a limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The limit as it was written.
    pub threshold: String,
    /// The figure.
    pub value: f64,
    /// Whether it is kept.
    pub passed: bool,
}

impl FromStr for Threshold {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = || Fault::new("bad_threshold", format!("`{text}` is no threshold")).hint("write METRIC>=NUMBER or METRIC<=NUMBER");
        let (at_least, (metric, limit)) = match text.split_once(">=") {
            Some(parts) => (true, parts),
            None => (false, text.split_once("<=").ok_or_else(bad)?),
        };
        let limit = limit.trim().parse().ok().filter(|l: &f64| l.is_finite()).ok_or_else(bad)?;
        match metric.trim() {
            "" => Err(bad()),
            metric => Ok(Self { metric: metric.to_owned(), at_least, limit }),
        }
    }
}

impl Threshold {
    /// Judges the figures of a model, which have names.
    ///
    /// # Errors
    /// When there is no such figure.
    pub fn judge<'a>(&self, figures: impl Iterator<Item = (&'a str, Figure)>) -> Result<Verdict, Fault> {
        let figures: Vec<_> = figures.collect();
        let Some((_, figure)) = figures.iter().find(|(name, _)| *name == self.metric) else {
            let known: Vec<&str> = figures.iter().map(|(name, _)| *name).collect();
            return Err(Fault::new("bad_threshold", format!("`{}` is not among the metrics that are measured", self.metric))
                .hint(format!("these are measured: {}", known.join(", "))));
        };
        let passed = if self.at_least { figure.value >= self.limit } else { figure.value <= self.limit };
        let sign = if self.at_least { ">=" } else { "<=" };
        Ok(Verdict { threshold: format!("{}{sign}{}", self.metric, self.limit), value: figure.value, passed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_judges() {
        let figure = |value| Figure { value, low: value, high: value };
        let judge = |text: &str, value| text.parse::<Threshold>().unwrap().judge([("bleu", figure(value))].into_iter()).map(|v| v.passed);
        assert_eq!(judge("bleu>=20", 20.0), Ok(true));
        assert_eq!(judge("bleu >= 20.5", 20.0), Ok(false));
        assert_eq!(judge("bleu<=20", 21.0), Ok(false));
        // A figure that is none passes nothing.
        assert_eq!(judge("bleu<=20", f64::NAN), Ok(false));
        assert_eq!(judge("rouge>=1", 1.0).unwrap_err().code, "bad_threshold");
        for bad in ["", "bleu", "bleu>1", ">=1", "bleu>=x", "bleu>=inf"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
