//! Scores that the configuration asks of a run: token accuracy on test rows, judged when a stage is done.
//!
//! ```text
//!   evaluation.stage1_threshold       stage 1's result on its own test rows; missed: stage 2 does not begin
//!   evaluation.stage2_threshold       stage 2's result on its own test rows
//!   evaluation.sequential_threshold   stage 2's result on stage 1's test rows
//! ```
//! What the last stage misses does not take the result away: the run is finished, and says that it does not pass.

use serde_json::Value;

use super::{Materials, Session};
use crate::base::error::Fault;
use crate::config::{EvaluationConfig, RunConfig};
use crate::runs::Verdict;
use crate::train::{Event, Observer};

/// A score: its key, its limit, and where its figure stands in the stage's `test.json`.
type Asked = (&'static str, Option<f64>, &'static str);

/// What is asked when a stage is done.
fn asked(evaluation: &EvaluationConfig, stage: usize) -> Vec<Asked> {
    const OWN: &str = "/tuned/accuracy";
    if stage == 1 {
        return vec![("evaluation.stage1_threshold", evaluation.stage1_threshold, OWN)];
    }
    vec![
        ("evaluation.stage2_threshold", evaluation.stage2_threshold, OWN),
        ("evaluation.sequential_threshold", evaluation.sequential_threshold, "/stage1_rows/tuned/accuracy"),
    ]
}

/// Refuses scores that nothing could be judged by, before anything is trained.
///
/// # Errors
/// Where a score is asked for and there are no test rows.
pub(super) fn check(config: &RunConfig, materials: &Materials) -> Result<(), Fault> {
    let data = &materials.data;
    let first = data.test.is_some();
    let second = data.stage2.as_ref().map_or(first, |own| own.test.is_some());
    let rows = |key: &str| if key.contains("stage2") { second } else { first };
    let all = (1..=config.training.num_stages).flat_map(|stage| asked(&config.evaluation, stage));
    match all.into_iter().find(|(key, limit, _)| limit.is_some() && !rows(key)) {
        None => Ok(()),
        Some((key, ..)) => {
            let message = format!("{key} asks for a score on test rows, and there are none");
            Err(Fault::new("config_invalid", message).hint("set dataset.test_split above 0 or dataset.test_path, or unset the score"))
        }
    }
}

impl Session<'_> {
    /// Judges what a stage gave; the verdicts stand in the manifest, which the caller writes.
    ///
    /// # Errors
    /// When the figures of the stage cannot be read; when it misses its score and another stage would follow.
    pub(super) fn decide(&mut self, stage: usize) -> Result<(), Fault> {
        let asked = asked(&self.config.evaluation, stage);
        let asked: Vec<(&str, f64, &str)> = asked.into_iter().filter_map(|(key, limit, at)| Some((key, limit?, at))).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let path = self.figures_path(stage, "test.json");
        let bytes = std::fs::read(&path).map_err(|e| Fault::io("read", &path, &e))?;
        let figures: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        for (key, limit, at) in asked {
            let accuracy = figures.pointer(at).and_then(Value::as_f64).ok_or_else(|| {
                let message = format!("{}: no {at}, which {key} is judged by", path.display());
                Fault::new("evaluation_damaged", message).hint("start a new run")
            })?;
            let verdict = Verdict { key: key.into(), limit, accuracy, passed: accuracy >= limit };
            let all = &mut self.record.manifest.verdicts;
            all.retain(|v| v.key != key);
            all.push(verdict.clone());
            if !verdict.passed && stage < self.config.training.num_stages {
                let hint = "stage 1's adapter is kept in stage1/adapters; in a new run raise training.stage1.iterations or its \
                            learning rate, or lower the score";
                return Err(Fault::new("threshold_missed", format!("stage 2 was not begun: {verdict}")).hint(hint));
            }
            if !verdict.passed {
                self.record.event(&Event::warning("threshold_missed", verdict.to_string()));
            }
        }
        Ok(())
    }
}
