//! One or more models on the same rows: what they answer, judged by metrics, and the report.

mod files;
mod judge;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::load::ModelRequest;
use crate::base::error::Fault;
use crate::data::{DataOptions, read_table};
use crate::eval::report::{Answered, Difference, Group, Measured, Report, Side};
use crate::eval::{Metric, Rubric, Table, Threshold, resample};
use crate::model::Quantization;
use crate::model::generate::BatchOptions;

pub use files::{Written, write};
use judge::{Judged, judge};

/// Seed of all resamplings: the same rows give the same intervals.
const SEED: u64 = 20;
/// Most groups of a field in a report; the smallest are left out.
const MOST_GROUPS: usize = 40;

/// A model to be judged.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name in the report.
    pub label: String,
    /// The model.
    pub model: ModelRequest,
    /// The adapter whose tokenizer and chat template it uses, where that is not its own: a base
    /// beside what was tuned from it is asked in the same words.
    pub asked_as: Option<PathBuf>,
}

/// How answers are judged.
#[derive(Debug, Clone)]
pub struct JudgeOptions {
    /// What is measured, in this order.
    pub metrics: Vec<Metric>,
    /// Limits on the last model's figures.
    pub thresholds: Vec<Threshold>,
    /// Several metrics as one score.
    pub rubric: Option<Rubric>,
    /// Fields of the rows by which figures are also given, dotted for nested ones.
    pub by: Vec<String>,
    /// Most new tokens of an answer.
    pub max_new_tokens: usize,
    /// How many answers are made together.
    pub batch: BatchOptions,
    /// Rows shown with their answers, the worst first.
    pub worst: usize,
}

impl JudgeOptions {
    /// By these metrics, with the usual limits.
    pub fn new(metrics: Vec<Metric>) -> Self {
        Self {
            metrics,
            thresholds: Vec::new(),
            rubric: None,
            by: Vec::new(),
            max_new_tokens: 256,
            batch: BatchOptions::default(),
            worst: 10,
        }
    }

    /// Whether answers must be made.
    fn needs_answers(&self) -> bool {
        self.rubric.is_some() || self.metrics.iter().any(Metric::needs_answers)
    }

    /// Refuses what cannot be reported.
    fn check(&self) -> Result<(), Fault> {
        let names: Vec<String> = self.metrics.iter().map(Metric::name).collect();
        if let Some(twice) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)) {
            return Err(Fault::new("bad_metric", format!("`{}` is asked for twice", twice.1)).hint("name each metric once"));
        }
        for t in &self.thresholds {
            if !names.contains(&t.metric) {
                return Err(Fault::new("bad_threshold", format!("`{}` is not among the metrics that are measured", t.metric))
                    .hint(format!("these are measured: {}", names.join(", "))));
            }
        }
        Ok(())
    }
}

/// A request to judge.
#[derive(Debug, Clone)]
pub struct ScoreRequest {
    /// Heading of the report.
    pub title: String,
    /// The models; the later ones are compared with the first.
    pub contenders: Vec<Contender>,
    /// The rows.
    pub data: PathBuf,
    /// How they are read.
    pub options: DataOptions,
    /// At most this many rows.
    pub max_rows: Option<usize>,
    /// How answers are judged.
    pub judge: JudgeOptions,
}

/// A report, and every answer for another judge.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The report.
    pub report: Report,
    /// All answered rows, in file order; empty where no answers were made.
    pub answered: Vec<Answered>,
}

/// A model as it is, or base and tuned where it has an adapter; each at several levels of
/// quantisation where `levels` names some.
pub fn contenders(model: &ModelRequest, levels: &[Quantization]) -> Vec<Contender> {
    let own = [model.quantization];
    let mut all = Vec::new();
    for quantization in if levels.is_empty() { &own[..] } else { levels } {
        let at = if levels.is_empty() { String::new() } else { format!(" at {}", quantization.name()) };
        let tuned = ModelRequest { quantization: *quantization, ..model.clone() };
        if model.adapter.is_some() {
            let base = ModelRequest { adapter: None, ..tuned.clone() };
            all.push(Contender { label: format!("base{at}"), model: base, asked_as: model.adapter.clone() });
        }
        let name = if model.adapter.is_some() { "tuned" } else { "model" };
        all.push(Contender { label: format!("{name}{at}"), model: tuned, asked_as: None });
    }
    all
}

/// Judges; `go_on` is asked before each pass.
///
/// # Errors
/// When a model, the data or a metric cannot be used, two models read the rows differently, or
/// `go_on` said no.
pub fn run(request: &ScoreRequest, go_on: &dyn Fn() -> bool) -> Result<Scored, Fault> {
    request.judge.check()?;
    let rows = labels(request)?;
    let mut all: Vec<Judged> = Vec::new();
    for contender in &request.contenders {
        let judged = judge(request, contender, &rows, go_on)?;
        if let Some(first) = all.first()
            && first.lines() != judged.lines()
        {
            let labels = [&request.contenders[0].label, &contender.label];
            return Err(Fault::new("not_comparable", format!("{} and {} read different rows of the file", labels[0], labels[1]))
                .hint("compare models whose tokenizer and chat template take the same rows"));
        }
        all.push(judged);
    }
    let answered = answered(&all, &request.judge);
    let report = report(request, &all, &rows, &answered)?;
    Ok(Scored { report, answered })
}

/// The rows' fields by line; what scorers and groups read.
type Labels = std::collections::HashMap<u64, Value>;

fn labels(request: &ScoreRequest) -> Result<Labels, Fault> {
    let wants = |m: &Metric| matches!(m, Metric::Command(_));
    let rubric = request.judge.rubric.iter().flat_map(|r| &r.criteria).any(|c| wants(&c.metric));
    if request.judge.by.is_empty() && !rubric && !request.judge.metrics.iter().any(wants) {
        return Ok(Labels::new());
    }
    let table = read_table(&request.data, request.options.format)?;
    for field in &request.judge.by {
        if !table.rows.iter().any(|r| field_of(&r.fields, field).is_some()) {
            let mut there: Vec<&str> = table.rows.first().map_or(Vec::new(), |r| r.fields.keys().map(String::as_str).collect());
            there.truncate(30);
            return Err(Fault::new("no_such_field", format!("{}: no row has the field `{field}`", request.data.display()))
                .hint(format!("the first row has {}", there.join(", "))));
        }
    }
    Ok(table.rows.into_iter().map(|r| (r.at.line, Value::Object(r.fields))).collect())
}

/// A field by its dotted name.
fn field_of<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut parts = name.split('.');
    let first = fields.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn report(request: &ScoreRequest, all: &[Judged], labels: &Labels, answered: &[Answered]) -> Result<Report, Fault> {
    let options = &request.judge;
    let mut sides = Vec::new();
    for (contender, judged) in request.contenders.iter().zip(all) {
        let measured = |t: &Table| Measured {
            name: t.metric.name(),
            figure: resample::interval(t, SEED),
            lower_is_better: t.metric.lower_is_better(),
            top: t.metric.top(),
        };
        sides.push(Side {
            label: contender.label.clone(),
            model: contender.model.model.clone(),
            adapter: contender.model.adapter.as_ref().map(|a| a.display().to_string()),
            quantization: judged.quantization.clone(),
            metrics: judged.tables.iter().map(measured).collect(),
            rubric: options.rubric.as_ref().map(|r| r.score(&judged.rubric, SEED)),
            groups: groups(&options.by, judged, labels),
            cost: judged.cost.clone(),
        });
    }
    let mut differences = Vec::new();
    for (contender, judged) in request.contenders.iter().zip(all).skip(1) {
        for (first, own) in all[0].tables.iter().zip(&judged.tables) {
            let paired = resample::paired(first, own, SEED);
            let verdict = Difference::verdict(&paired, own.metric.lower_is_better());
            differences.push(Difference { label: contender.label.clone(), metric: own.metric.name(), paired, verdict });
        }
    }
    let judged_by = |t: &Threshold| {
        let last = sides.last().map_or(&[][..], |s| &s.metrics);
        t.judge(last.iter().map(|m| (m.name.as_str(), m.figure)))
    };
    let thresholds = options.thresholds.iter().map(judged_by).collect::<Result<Vec<_>, _>>()?;
    Ok(Report {
        title: request.title.clone(),
        data: request.data.display().to_string(),
        rows: all.first().map_or(0, |j| j.rows.len()),
        rows_without_prompt: all.first().map_or(0, |j| j.without_prompt),
        passed: (!thresholds.is_empty()).then(|| thresholds.iter().all(|v| v.passed)),
        cases: worst(answered, options, all),
        sides,
        differences,
        thresholds,
    })
}

/// Figures of the rows that share a field's value.
fn groups(by: &[String], judged: &Judged, labels: &Labels) -> Vec<Group> {
    let mut out = Vec::new();
    for field in by {
        let mut found: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
        for (i, row) in judged.rows.iter().enumerate() {
            let value = labels.get(&row.line).and_then(Value::as_object).and_then(|o| field_of(o, field));
            let label = match value {
                Some(Value::String(s)) => s.clone(),
                None | Some(Value::Null) => "(none)".into(),
                Some(other) => other.to_string(),
            };
            found.entry(label.chars().take(80).collect()).or_default().push(i);
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        found.truncate(MOST_GROUPS);
        out.extend(found.into_iter().map(|(label, rows)| Group {
            field: field.clone(),
            label,
            rows: rows.len(),
            values: judged.tables.iter().map(|t| t.over(rows.iter().copied())).collect(),
        }));
    }
    out
}

/// The number of the metric that orders rows: the first that judges answers.
fn leading(options: &JudgeOptions) -> Option<usize> {
    options.metrics.iter().position(Metric::needs_answers)
}

fn answered(all: &[Judged], options: &JudgeOptions) -> Vec<Answered> {
    let Some(first) = all.first().filter(|j| !j.answers.is_empty()) else { return Vec::new() };
    let value = |j: &Judged, row: usize| leading(options).map_or(f64::NAN, |m| j.tables[m].over(std::iter::once(row)));
    let one = |(i, row): (usize, &judge::Asked)| Answered {
        row: row.number,
        prompt: row.prompt.clone(),
        wanted: row.wanted.clone(),
        answers: all.iter().map(|j| j.answers[i].clone()).collect(),
        values: all.iter().map(|j| value(j, i)).collect(),
    };
    first.rows.iter().enumerate().map(one).collect()
}

/// The rows that the last model answered worst.
fn worst(answered: &[Answered], options: &JudgeOptions, all: &[Judged]) -> Vec<Answered> {
    let last = all.len().saturating_sub(1);
    let mut order: Vec<&Answered> = answered.iter().collect();
    order.sort_by(|a, b| a.values[last].total_cmp(&b.values[last]).then(a.row.cmp(&b.row)));
    order.into_iter().take(options.worst).cloned().collect()
}

/// The metrics and limits that a configuration's words name; relative files are looked for in `base`.
///
/// # Errors
/// When a word names none.
pub fn options_of(metrics: &[String], thresholds: &[String], base: &Path) -> Result<JudgeOptions, Fault> {
    let metrics = metrics.iter().map(|m| Metric::parse(m, base)).collect::<Result<_, _>>()?;
    let thresholds = thresholds.iter().map(|t| t.parse()).collect::<Result<_, _>>()?;
    Ok(JudgeOptions { thresholds, ..JudgeOptions::new(metrics) })
}
