//! One or more models on the same rows: what they answer, judged by metrics, and the report.

mod files;
mod groups;
mod judge;
mod leaderboard;
mod turns;

use std::path::{Path, PathBuf};

use super::load::ModelRequest;
use crate::base::error::Fault;
use crate::data::DataOptions;
use crate::eval::report::{Answered, Difference, Measured, NamedFault, Report, Side};
use crate::eval::{Metric, Rubric, Table, Threshold, resample};
use crate::model::Quantization;
use crate::model::generate::BatchOptions;

pub use files::{Written, write};
use groups::{Labels, groups, labels};
use judge::{Judged, judge};

/// Seed of all resamplings: the same rows give the same intervals.
const SEED: u64 = 20;

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

    /// Whether every turn of a conversation is answered, not the last one alone.
    fn needs_turns(&self) -> bool {
        let criteria = self.rubric.iter().flat_map(|r| &r.criteria).map(|c| &c.metric);
        self.metrics.iter().chain(criteria).any(Metric::needs_turns)
    }

    /// Whether the rows are the leaderboard's own files.
    pub fn is_leaderboard(&self) -> bool {
        self.metrics.iter().any(|m| matches!(m, Metric::Bfcl))
    }

    /// Refuses what cannot be reported.
    fn check(&self) -> Result<(), Fault> {
        if self.is_leaderboard() && (self.metrics.len() > 1 || self.rubric.is_some() || !self.by.is_empty()) {
            return Err(Fault::new("bad_metric", "`bfcl` judges the leaderboard's own files and stands alone")
                .hint("ask for `bfcl` without other metrics, rubric or groups; its figures come by category"));
        }
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
    let questions = if request.judge.is_leaderboard() { leaderboard::read(request)? } else { Vec::new() };
    let rows = if request.judge.is_leaderboard() { leaderboard::labels(&questions) } else { labels(request)? };
    let mut all: Vec<Judged> = Vec::new();
    for contender in &request.contenders {
        let judged = match request.judge.is_leaderboard() {
            true => leaderboard::judge(request, contender, &questions, go_on)?,
            false => judge(request, contender, &rows, go_on)?,
        };
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

fn report(request: &ScoreRequest, all: &[Judged], labels: &Labels, answered: &[Answered]) -> Result<Report, Fault> {
    let options = &request.judge;
    let by = groups::fields(options, all, labels);
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
            groups: groups(&by, judged, labels),
            faults: faults(&judged.faults),
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

/// Counts names; the commonest first.
fn faults(names: &[String]) -> Vec<NamedFault> {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    names.iter().filter(|n| !n.is_empty()).for_each(|n| *counts.entry(n).or_default() += 1);
    let mut faults: Vec<NamedFault> = counts.into_iter().map(|(name, rows)| NamedFault { name: name.to_owned(), rows }).collect();
    faults.sort_by_key(|f| std::cmp::Reverse(f.rows));
    faults
}

/// The number of the metric that orders rows: the first that judges answers.
fn leading(options: &JudgeOptions) -> Option<usize> {
    options.metrics.iter().position(Metric::needs_answers)
}

fn answered(all: &[Judged], options: &JudgeOptions) -> Vec<Answered> {
    let Some(first) = all.first().filter(|j| !j.answers.is_empty()) else { return Vec::new() };
    let value = |j: &Judged, row: usize| leading(options).map_or(f64::NAN, |m| j.tables[m].over(std::iter::once(row)));
    let one = |(i, row): (usize, &turns::Asked)| Answered {
        row: row.number,
        prompt: row.turns.first().map_or(String::new(), |t| t.prompt.clone()),
        wanted: turns::joined(row.turns.iter().map(|t| t.wanted.as_str())),
        answers: all.iter().map(|j| turns::joined(j.answers[i].iter().map(String::as_str))).collect(),
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

/// The metrics and limits that words name (`tools` names all of tool calls); relative files are looked for in `base`.
///
/// # Errors
/// When a word names none.
pub fn options_of(metrics: &[String], thresholds: &[String], base: &Path) -> Result<JudgeOptions, Fault> {
    let metrics = Metric::parse_all(metrics, base)?;
    let thresholds = thresholds.iter().map(|t| t.parse()).collect::<Result<_, _>>()?;
    Ok(JudgeOptions { thresholds, ..JudgeOptions::new(metrics) })
}
