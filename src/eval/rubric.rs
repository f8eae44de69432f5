//! Several metrics as one score: a weighted mean, from a YAML file.
//!
//! ```yaml
//! criteria:
//!   format:    {metric: json_valid, weight: 2}
//!   words:     {metric: rouge_l, weight: 1}
//!   length:    {metric: length, weight: 0.5}
//! ```

use std::path::Path;

use saphyr::{LoadableYamlNode, Yaml};

use super::metric::{Metric, Table};
use super::resample::{Figure, interval_of};
use crate::base::error::Fault;

/// One part of the score.
#[derive(Debug, Clone)]
pub struct Criterion {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// How much it counts; above 0.
    pub weight: f64,
}

/// The parts of one score.
#[derive(Debug, Clone)]
pub struct Rubric {
    /// In the file's order.
    pub criteria: Vec<Criterion>,
}

impl Rubric {
    /// From a YAML file.
    ///
    /// # Errors
    /// When the file cannot be read or says something else.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("."))).map_err(|m| {
            Fault::new("bad_rubric", format!("{}: {m}", path.display()))
                .hint("write `criteria:` with lines such as `format: {metric: json_valid, weight: 2}`")
        })
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|e| e.to_string())?;
        let document = documents.first().ok_or("it is empty")?;
        let named = document.as_mapping().filter(|m| m.len() == 1).and_then(|_| document.as_mapping_get("criteria"));
        let criteria = named.and_then(Yaml::as_mapping).ok_or("expected `criteria:` with a mapping, and nothing else")?;
        let one = |(name, what): (&Yaml, &Yaml)| {
            let name = name.as_str().ok_or("the name of a criterion must be text")?.to_owned();
            let keys = what.as_mapping().ok_or_else(|| format!("`{name}` must be a mapping with `metric` and `weight`"))?;
            if let Some(other) = keys.keys().find(|k| !matches!(k.as_str(), Some("metric" | "weight"))) {
                return Err(format!("`{name}`: unknown key {other:?}"));
            }
            let metric = what.as_mapping_get("metric").and_then(Yaml::as_str).ok_or_else(|| format!("`{name}` needs a `metric`"))?;
            let metric = Metric::parse(metric, base).map_err(|e| format!("`{name}`: {e}"))?;
            if metric.top() == 0.0 || metric.lower_is_better() {
                return Err(format!("`{name}`: {} has no best value above 0, so it cannot be part of a score", metric.name()));
            }
            if matches!(metric, Metric::Bfcl) {
                return Err(format!("`{name}`: bfcl judges its own files and stands alone"));
            }
            let number = |y: &Yaml| y.as_floating_point().or_else(|| y.as_integer().map(|i| i as f64));
            let weight = what.as_mapping_get("weight").map_or(Some(1.0), number).filter(|w| *w > 0.0 && w.is_finite());
            Ok(Criterion { metric, weight: weight.ok_or_else(|| format!("`{name}`: `weight` must be a number above 0"))?, name })
        };
        let criteria = criteria.iter().map(one).collect::<Result<Vec<_>, String>>()?;
        if criteria.is_empty() {
            return Err("there is no criterion".into());
        }
        Ok(Self { criteria })
    }

    /// The score from 0 to 1, from one table for each criterion, over these rows.
    pub fn over(&self, tables: &[Table], rows: &[usize]) -> f64 {
        let weights: f64 = self.criteria.iter().map(|c| c.weight).sum();
        let part = |(c, t): (&Criterion, &Table)| c.weight * t.over(rows.iter().copied()) / c.metric.top();
        self.criteria.iter().zip(tables).map(part).sum::<f64>() / weights
    }

    /// The score with its interval.
    pub fn score(&self, tables: &[Table], seed: u64) -> Figure {
        interval_of(tables.first().map_or(0, |t| t.rows.len()), seed, |rows| self.over(tables, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_refusals() {
        let text = "criteria:\n  a: {metric: exact_match, weight: 3}\n  b: {metric: bleu}\n";
        let rubric = Rubric::parse(text, Path::new(".")).unwrap();
        let bleu = Table { metric: Metric::Bleu, rows: vec![crate::eval::text::bleu::sums("a b c d", "a b c d"); 2] };
        let tables = [Table::given("exact", &[1.0, 0.0]), bleu];
        assert!((rubric.score(&tables, 1).value - (3.0 * 0.5 + 1.0) / 4.0).abs() < 1e-12);
        for bad in [
            "",
            "criteria: {}",
            "criteria: [a]",
            "criteria: {a: {metric: none}}",
            "criteria: {a: {metric: bleu, weight: 0}}",
            "criteria: {a: {metric: perplexity}}",
            "criteria: {a: {metric: tool_missing}}",
            "criteria: {a: {metric: bfcl}}",
            "criteria: {a: {metric: tools}}",
            "criteria: {a: {metric: bleu, wieght: 2}}",
            "criteria: {a: {weight: 2}}",
            "other: 1",
            "criteria: {a: {metric: bleu}}\nother: 1",
            "[",
        ] {
            assert!(Rubric::parse(bad, Path::new(".")).is_err(), "{bad:?}");
        }
    }
}
