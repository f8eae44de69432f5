//! Figures of a run's result on held-out rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::checkpoints::weights;
use crate::app::{eval, outcome, score};
use crate::base::error::Fault;
use crate::eval::report::{Group, Report};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvaluateIn {
    project_path: String,
    /// The run.
    run_id: String,
    /// The rows to evaluate on.
    test_dataset: String,
    /// What this stage gave; left out: the final result.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// This checkpoint instead (get_run lists them).
    checkpoint_step: Option<u64>,
    /// Judge answers: exact_match, bleu, chrf, rouge_l, numeric_match, json_valid, regex:PATTERN, tools, bfcl.
    metrics: Option<Vec<String>>,
    /// Limits such as `bleu>=20`.
    thresholds: Option<Vec<String>>,
}

/// Figures on the test rows.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ResultsOut {
    /// Share of the trained tokens that the model predicts right.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
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
    /// Whether every threshold is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    /// A page about the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
}

/// evaluate_model
pub(super) struct Evaluate;

impl Tool for Evaluate {
    const NAME: &'static str = "evaluate_model";
    const TITLE: &'static str = "Evaluate a run";
    const ABOUT: &'static str = "Loss, perplexity and token accuracy of a run's result on a file of rows, beside those of the base model; \
        with metrics, answers judged too.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Model;
    type In = EvaluateIn;
    type Out = EvaluateOut;

    fn call(input: EvaluateIn, shared: &Shared, call: &Call) -> Result<EvaluateOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let data = shared.roots.allow(&input.test_dataset)?;
        let found = weights(&run, input.stage, input.checkpoint_step)?;
        let options = outcome::data_options(&run)?;
        let words = outcome::evaluation_of(&run)?;
        let metrics = input.metrics.unwrap_or(words.metrics);
        let thresholds = input.thresholds.unwrap_or(words.thresholds);
        let asked = outcome::EvaluationWords { metrics, thresholds };
        let judge = asked.judges_answers().then(|| super::judging::options(shared, &asked.metrics, &asked.thresholds)).transpose()?;
        let scored = |judge: score::JudgeOptions| {
            let contenders = score::contenders(&found.model, &[]);
            let (data, options) = (data.clone(), options.clone());
            let request = score::ScoreRequest { title: run.id(), contenders, data, options, max_rows: None, judge };
            let scored = score::run(&request, &|| call.go_on())?;
            let written = score::write(&scored, &run.stage(found.stage).join("evaluation").join("answers"))?;
            Ok::<_, Fault>((scored.report, written))
        };
        let is_leaderboard = judge.as_ref().is_some_and(score::JudgeOptions::is_leaderboard);
        let judged = judge.map(scored).transpose()?;
        let mut custom_metrics: Map<String, Value> = judged.iter().flat_map(|(r, _)| judged_figures(r)).collect();
        // The leaderboard's questions have no one right answer whose loss could be measured.
        let losses = if is_leaderboard {
            None
        } else {
            let request = eval::EvalRequest { model: found.model.clone(), data, options, max_rows: None, with_base: true };
            call.tell(0.0, None, "evaluating".into());
            Some(eval::run_while(&request, &|| call.go_on())?)
        };
        let results_file = match (&losses, &judged) {
            (None, Some((_, written))) => written.json.clone(),
            (Some(report), _) => outcome::write_evaluation(&run, found.stage, report)?,
            (None, None) => return Err(Fault::new("bad_metric", "nothing was measured")),
        };
        let figures = |prefix: &str, e: &crate::train::Evaluation| {
            [("loss", e.loss), ("perplexity", e.perplexity), ("accuracy", e.accuracy), ("tokens", e.tokens as f64)]
                .map(|(name, value)| (format!("{prefix}{name}"), json!(value)))
        };
        if let Some(report) = &losses {
            let of_losses = figures("", &report.result).into_iter().chain(report.base.iter().flat_map(|b| figures("base_", b)));
            custom_metrics = of_losses.chain(custom_metrics).collect();
        }
        let (accuracy, perplexity) = losses.as_ref().map(|r| (r.result.accuracy, r.result.perplexity)).unzip();
        Ok(EvaluateOut {
            success: true,
            run_id: run.id(),
            stage: found.stage as u64,
            evaluation_results: ResultsOut { accuracy, perplexity, custom_metrics },
            results_file: results_file.display().to_string(),
            passed: judged.as_ref().and_then(|(r, _)| r.passed),
            report: judged.map(|(_, written)| written.html.display().to_string()),
        })
    }
}

/// The figures of all models by name; the leading metric also by group, as `bfcl:category=simple_java`.
fn judged_figures(report: &Report) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for side in &report.sides {
        let prefix = if side.label == "base" { "base_" } else { "" };
        out.extend(side.metrics.iter().map(|m| (format!("{prefix}{}", m.name), json!(m.figure.value))));
        let Some(lead) = side.metrics.first() else { continue };
        let named = |g: &Group| format!("{prefix}{}:{}={}", lead.name, g.field, g.label);
        out.extend(side.groups.iter().map(|g| (named(g), json!(g.figures[0].value))));
    }
    out
}
