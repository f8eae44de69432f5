//! Two models on the same rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoints::weights;
use crate::app::{compare, load, outcome, score};
use crate::base::error::Fault;
use crate::eval::Figure;
use crate::eval::report::Report;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};
use crate::runs::RunFolder;

// One side of a comparison: a model, a run's result, or a checkpoint of a run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SideIn {
    /// Folder, Hub id or `embedded`. Not with run_id.
    model: Option<String>,
    /// The result of a run.
    run_id: Option<String>,
    /// With run_id: this checkpoint.
    checkpoint_step: Option<u64>,
    /// With run_id: the base it started from.
    base: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareIn {
    /// Needed where a run is named.
    project_path: Option<String>,
    first: SideIn,
    second: SideIn,
    /// The rows to compare on.
    test_dataset: String,
    /// At most this many rows. Default 200.
    #[schemars(range(min = 1, max = 10000))]
    max_rows: Option<u64>,
    /// Rows that both answer, greedily. Default 3.
    #[schemars(range(min = 0, max = 20))]
    samples: Option<u64>,
    /// Judge answers by these instead, as evaluate_model.
    metrics: Option<Vec<String>>,
}

/// A figure with the middle 95 % of what resampled rows give.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FigureOut {
    value: f64,
    low: f64,
    high: f64,
}

/// A metric of both.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MetricOut {
    name: String,
    first: FigureOut,
    second: FigureOut,
    /// Second minus first.
    difference: FigureOut,
    /// Whether the interval of the difference leaves out zero.
    significant: bool,
}

/// A row answered by both.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SampleOut {
    prompt: String,
    wanted: String,
    first: String,
    second: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompareOut {
    first: String,
    second: String,
    rows: u64,
    metrics: Vec<MetricOut>,
    samples: Vec<SampleOut>,
}

/// compare_models
pub(super) struct Compare;

fn side(shared: &Shared, project: Option<&String>, side: &SideIn) -> Result<(String, load::ModelRequest, Option<RunFolder>), Fault> {
    let bad = |m: &str| {
        Fault::new("invalid_arguments", m).hint("each side is {model}, {run_id}, {run_id, checkpoint_step} or {run_id, base: true}")
    };
    match (&side.model, &side.run_id) {
        (Some(name), None) => Ok((name.clone(), load::ModelRequest::named(&shared.roots.model(name)?), None)),
        (None, Some(id)) => {
            let run = shared.roots.run(project.ok_or_else(|| bad("project_path is missing"))?, id)?;
            let (label, model) = match (side.base == Some(true), side.checkpoint_step) {
                (true, _) => (format!("base of {}", run.id()), outcome::base_of_run(&run)?),
                (_, Some(step)) => (format!("{} at step {step}", run.id()), weights(&run, None, Some(step))?.model),
                _ => (run.id(), weights(&run, None, None)?.model),
            };
            Ok((label, model, Some(run)))
        }
        _ => Err(bad("a side must name a model or a run")),
    }
}

impl Tool for Compare {
    const NAME: &'static str = "compare_models";
    const TITLE: &'static str = "Compare two models";
    const ABOUT: &'static str = "Two of run, checkpoint and base on the same rows: loss, perplexity and accuracy with 95 % confidence \
        intervals, and answers side by side.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = CompareIn;
    type Out = CompareOut;

    fn call(input: CompareIn, shared: &Shared, call: &Call) -> Result<CompareOut, Fault> {
        let sides = [&input.first, &input.second].map(|s| side(shared, input.project_path.as_ref(), s));
        let [first, second] = sides;
        let (first, second) = (first?, second?);
        let options = match first.2.as_ref().or(second.2.as_ref()) {
            Some(run) => outcome::data_options(run)?,
            None => crate::data::DataOptions::default(),
        };
        let labels = [first.0.clone(), second.0.clone()];
        let samples = within("samples", input.samples.unwrap_or(3), 0, 20)? as usize;
        if let Some(names) = &input.metrics {
            let judge = score::JudgeOptions { worst: samples, ..super::judging::options(shared, names, &[])? };
            let side = |(label, model, _): (String, load::ModelRequest, _)| score::Contender { label, model, asked_as: None };
            let request = score::ScoreRequest {
                title: format!("{} and {}", labels[0], labels[1]),
                contenders: vec![side(first), side(second)],
                data: shared.roots.allow(&input.test_dataset)?,
                options,
                max_rows: Some(within("max_rows", input.max_rows.unwrap_or(200), 1, 10_000)? as usize),
                judge,
            };
            return Ok(judged(score::run(&request, &|| call.go_on())?.report, labels));
        }
        let request = compare::CompareRequest {
            models: [(first.0, first.1), (second.0, second.1)],
            data: shared.roots.allow(&input.test_dataset)?,
            options,
            max_rows: Some(within("max_rows", input.max_rows.unwrap_or(200), 1, 10_000)? as usize),
            samples,
            max_new_tokens: 128,
        };
        call.tell(0.0, None, "comparing".into());
        let report = compare::run(&request, &|| call.go_on())?;
        let figure = |f: compare::Figure| FigureOut { value: f.value, low: f.low, high: f.high };
        let metric = |m: compare::Metric| MetricOut {
            name: m.name.into(),
            significant: m.difference.low > 0.0 || m.difference.high < 0.0,
            first: figure(m.first),
            second: figure(m.second),
            difference: figure(m.difference),
        };
        let sample = |s: compare::Sample| SampleOut { prompt: s.prompt, wanted: s.wanted, first: s.first, second: s.second };
        let [first, second] = labels;
        Ok(CompareOut {
            first,
            second,
            rows: report.rows as u64,
            metrics: report.metrics.into_iter().map(metric).collect(),
            samples: report.samples.into_iter().map(sample).collect(),
        })
    }
}

/// An evaluation by metrics in this tool's form.
fn judged(report: Report, labels: [String; 2]) -> CompareOut {
    let figure = |f: Figure| FigureOut { value: f.value, low: f.low, high: f.high };
    let metric = |(i, d): (usize, &crate::eval::report::Difference)| MetricOut {
        name: d.metric.clone(),
        first: figure(report.sides[0].metrics[i].figure),
        second: figure(report.sides[1].metrics[i].figure),
        difference: figure(d.paired.difference),
        significant: d.verdict != "unclear",
    };
    let metrics = report.differences.iter().enumerate().map(metric).collect();
    let sample = |a: &crate::eval::report::Answered| SampleOut {
        prompt: a.prompt.clone(),
        wanted: a.wanted.clone(),
        first: a.answers[0].clone(),
        second: a.answers[1].clone(),
    };
    let [first, second] = labels;
    CompareOut { first, second, rows: report.rows as u64, metrics, samples: report.cases.iter().map(sample).collect() }
}
