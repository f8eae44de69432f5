//! A run's models on test rows: the base before training, and what each stage gave.
//!
//! ```text
//!   stage1/evaluation/base.json   the base on stage 1's test rows
//!   stage1/evaluation/test.json   {base, tuned}: what stage 1 gave, on the same rows
//!   stage2/evaluation/base.json   the base on stage 2's test rows
//!   stage2/evaluation/test.json   {base, tuned, stage1_rows: {base, after_stage1, tuned}}
//! ```
//! Each stage is judged by its own rows. The last part says what stage 2 cost on stage 1's rows.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Session, write_json};
use crate::app::eval::held_out_while;
use crate::base::error::Fault;
use crate::data::Dataset;
use crate::model::Decoder;
use crate::train::{Evaluation, Event, Observer};

impl Session<'_> {
    /// The test rows of a stage.
    fn test_rows(&self, number: usize) -> Option<&Dataset> {
        let data = &self.materials.data;
        let rows = match &data.stage2 {
            Some(second) if number == 2 => second.test.as_ref(),
            _ => data.test.as_ref(),
        };
        rows.filter(|_| self.config.evaluation.enabled)
    }

    /// How a person calls them.
    fn rows_name(&self, number: usize) -> String {
        if self.config.training.num_stages == 1 { "the test rows".into() } else { format!("stage {number}'s test rows") }
    }

    pub(super) fn figures_path(&self, number: usize, name: &str) -> PathBuf {
        self.folder.stage(number).join("evaluation").join(name)
    }

    /// A stop request breaks it off with the fault `cancelled`: it is made after a resume.
    fn measure(&mut self, number: usize, what: &'static str, model: &Decoder) -> Result<Option<Evaluation>, Fault> {
        if self.test_rows(number).is_none() {
            return Ok(None);
        }
        let (rows, stop) = (self.rows_name(number), self.request.stop.clone());
        self.record.event(&Event::doing(format!("evaluating the {what} model on {rows}")));
        let tokens = self.materials.plan.evaluation_tokens;
        let judge = |test| held_out_while(model, test, tokens, &|| !stop.is_requested());
        let evaluation = self.test_rows(number).map(judge).transpose()?;
        if let Some(evaluation) = evaluation {
            self.record.event(&Event::Judged { what: what.into(), rows, evaluation });
        }
        Ok(evaluation)
    }

    /// The base on a stage's test rows; of a resumed run what was measured at its beginning.
    pub(super) fn base_figures(&self, number: usize) -> Option<Evaluation> {
        let bytes = std::fs::read(self.figures_path(number, "base.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Measures the untrained model on a stage's test rows, unless that is known.
    pub(super) fn judge_base(&mut self, number: usize, model: &Decoder) -> Result<(), Fault> {
        if self.base_figures(number).is_some() {
            return Ok(());
        }
        match self.measure(number, "base", model)? {
            Some(evaluation) => write_json(&self.figures_path(number, "base.json"), &evaluation),
            None => Ok(()),
        }
    }

    /// Measures what a stage gave, and writes it beside the base's figures.
    pub(super) fn judge_stage(&mut self, number: usize, model: &Decoder) -> Result<Option<Evaluation>, Fault> {
        let Some(tuned) = self.measure(number, "tuned", model)? else { return Ok(None) };
        let mut figures = json!({"base": self.base_figures(number), "tuned": tuned});
        if number == 2
            && let Some(kept) = self.measure(1, "tuned", model)?
        {
            let before = std::fs::read(self.figures_path(1, "test.json")).ok();
            let before: Option<Value> = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let after_stage1 = before.map(|figures| figures["tuned"].clone());
            figures["stage1_rows"] = json!({"base": self.base_figures(1), "after_stage1": after_stage1, "tuned": kept});
        }
        let path = self.figures_path(number, "test.json");
        write_json(&path, &figures)?;
        self.record.manifest.stages[number - 1].evaluation = vec![self.folder.relative(&path)];
        Ok(Some(tuned))
    }
}
