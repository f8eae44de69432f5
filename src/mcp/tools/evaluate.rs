//! Figures of a run's result on held-out rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::checkpoints::weights;
use crate::app::{eval, outcome};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvaluateIn {
    project_path: String,
    /// The run; its result is evaluated, and the base beside it.
    run_id: String,
    /// The rows to evaluate on.
    test_dataset: String,
    /// What this stage gave; left out: the final result.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// This checkpoint instead (get_run lists them).
    checkpoint_step: Option<u64>,
}

/// Figures on the test rows.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ResultsOut {
    /// Share of the trained tokens that the model predicts right.
    accuracy: f64,
    perplexity: f64,
    /// `loss`, `tokens`, and the same figures of the base as `base_*`.
    custom_metrics: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EvaluateOut {
    success: bool,
    run_id: String,
    stage: u64,
    evaluation_results: ResultsOut,
    /// Where they were written.
    results_file: String,
}

/// evaluate_model
pub(super) struct Evaluate;

impl Tool for Evaluate {
    const NAME: &'static str = "evaluate_model";
    const TITLE: &'static str = "Evaluate a run";
    const ABOUT: &'static str = "Loss, perplexity and token accuracy of a run's result on a file of rows, beside those of the base model. \
       ";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Model;
    type In = EvaluateIn;
    type Out = EvaluateOut;

    fn call(input: EvaluateIn, shared: &Shared, call: &Call) -> Result<EvaluateOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let data = shared.roots.allow(&input.test_dataset)?;
        let found = weights(&run, input.stage, input.checkpoint_step)?;
        let options = outcome::data_options(&run)?;
        let request = eval::EvalRequest { model: found.model, data, options, max_rows: None, with_base: true };
        call.tell(0.0, None, "evaluating".into());
        let report = eval::run_while(&request, &|| call.go_on())?;
        let results_file = outcome::write_evaluation(&run, found.stage, &report)?;
        let figures = |prefix: &str, e: &crate::train::Evaluation| {
            [("loss", e.loss), ("perplexity", e.perplexity), ("accuracy", e.accuracy), ("tokens", e.tokens as f64)]
                .map(|(name, value)| (format!("{prefix}{name}"), json!(value)))
        };
        let custom_metrics = figures("", &report.result).into_iter().chain(report.base.iter().flat_map(|b| figures("base_", b))).collect();
        Ok(EvaluateOut {
            success: true,
            run_id: run.id(),
            stage: found.stage as u64,
            evaluation_results: ResultsOut { accuracy: report.result.accuracy, perplexity: report.result.perplexity, custom_metrics },
            results_file: results_file.display().to_string(),
        })
    }
}
