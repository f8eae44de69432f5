//! One trial: a run with the settings of the space, watched, and ended early where others are
//! better.

use std::path::Path;

use super::{Bench, Shared, Table, Told, open};
use crate::app::plot::{Curves, Figure};
use crate::app::prepare;
use crate::app::train::{self, TrainRequest};
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::runs::{RunFolder, Status, list};
use crate::search::{Metric, Point, Record, State, Trial, is_poor};
use crate::train::{Event, Observer};

/// Faults that say something about the settings and nothing about the machine or the rows.
const OF_SETTINGS: [&str; 3] = ["diverged", "out_of_memory_plan", "out_of_memory"];

/// Trains the trial to its end, to where it is told to be poor, or to a stop; then it is still
/// `Running`.
pub(super) fn train(bench: &Bench, table: &Shared<'_>, index: usize, stop: &Cancel) -> Result<(), Fault> {
    let resume = match begin(bench, open(table).record, index)? {
        Begin::Ended => return Ok(()),
        Begin::New => None,
        Begin::Resume(run) => Some(run),
    };
    let cancel = stop.or_when(|| false);
    let request = request(bench, open(table).record, index, resume, &cancel);
    let stages = bench.resolved.config.training.num_stages;
    let mut watch = Watching { bench, table, index, cancel, stages, stage: 0, total: 0, is_poor: false, fault: None };
    let result = train::run(&request, &mut watch);
    let (is_poor, fault) = (watch.is_poor, watch.fault.take());
    if let Some(fault) = fault {
        return Err(fault);
    }
    let record = &mut *open(table).record;
    match result {
        Ok(report) if report.status == Status::Finished => finish(record, index, &RunFolder::open(&report.run)?),
        Ok(_) if is_poor => end_early(record, index),
        Ok(_) => Ok(()),
        Err(fault) if fault.code == "cancelled" && stop.is_requested() => Ok(()),
        Err(fault) if OF_SETTINGS.contains(&fault.code) => {
            let trial = &mut record.trials[index];
            (trial.state, trial.value, trial.reason) = (State::Failed, None, Some(fault.message));
            Ok(())
        }
        Err(fault) => Err(Fault { message: format!("trial {}: {}", record.trials[index].number, fault.message), ..fault }),
    }
}

/// How a trial is gone on with.
enum Begin {
    New,
    /// The folder of its run.
    Resume(String),
    /// It had ended when it was broken off.
    Ended,
}

fn begin(bench: &Bench, record: &mut Record, index: usize) -> Result<Begin, Fault> {
    let Some(run) = find(bench, record, index)? else { return Ok(Begin::New) };
    let manifest = run.manifest()?;
    record.trials[index].run = Some(run.id());
    record.trials[index].curve = curve(&run, record.metric, manifest.config.training.num_stages)?;
    if manifest.status == Status::Finished {
        return finish(record, index, &run).map(|()| Begin::Ended);
    }
    let total = prepare::stage(&manifest.config, manifest.config.training.num_stages).iterations;
    if is_poor_now(record, index, total) {
        return end_early(record, index).map(|()| Begin::Ended);
    }
    Ok(Begin::Resume(run.path().to_string_lossy().into_owned()))
}

/// Name of a trial's run; the time is added.
fn run_name(record: &Record, number: u64) -> String {
    format!("{}-{number:03}", record.name)
}

/// The run of a trial that was broken off. A kill may have come between its folder and the record.
fn find(bench: &Bench, record: &Record, index: usize) -> Result<Option<RunFolder>, Fault> {
    let trial = &record.trials[index];
    let runs = bench.project.runs_of(&bench.resolved.config);
    if let Some(id) = &trial.run {
        // A run that somebody removed is made again.
        return Ok(RunFolder::open(&runs.join(id)).ok());
    }
    if !runs.is_dir() {
        return Ok(None);
    }
    let prefix = format!("{}-", run_name(record, trial.number));
    let is_stamp = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let all = list(&runs)?;
    let found = all.iter().find(|r| r.run_id.strip_prefix(&prefix).is_some_and(is_stamp) && is_of(record, trial, &r.path));
    Ok(found.and_then(|r| RunFolder::open(&r.path).ok()))
}

/// Whether a run has the settings of a trial: an older search of the same name may have left one.
fn is_of(record: &Record, trial: &Trial, run: &Path) -> bool {
    let Some(manifest) = RunFolder::open(run).ok().and_then(|folder| folder.manifest().ok()) else { return false };
    let own = super::own_settings(&manifest.config, &record.space);
    record.space.places(&own) == record.space.places(&trial.settings)
}

fn request(bench: &Bench, record: &Record, index: usize, resume: Option<String>, stop: &Cancel) -> TrainRequest {
    let asked = bench.request;
    let trial = &record.trials[index];
    let mut request = TrainRequest { name: run_name(record, trial.number), stop: stop.clone(), ..TrainRequest::new(asked.config.clone()) };
    if resume.is_some() {
        return TrainRequest { resume, ..request };
    }
    (request.set, request.flags) = (asked.set.clone(), asked.flags.clone());
    // The first trial is the configuration as it is.
    if trial.number > 1 {
        request.flags.extend(trial.settings.iter().map(|(key, value)| ("space".into(), key.clone(), value.clone())));
    }
    // The test rows are kept for whoever judges the result.
    request.flags.push(("search".into(), "evaluation.enabled".into(), false.into()));
    request
}

/// The metric after each evaluation of the last stage.
fn curve(run: &RunFolder, metric: Metric, stage: usize) -> Result<Vec<Point>, Fault> {
    let figure = if metric == Metric::Loss { Figure::EvalLoss } else { Figure::EvalAccuracy };
    let curves = Curves::read(run.path())?;
    Ok(curves.of(stage, figure).iter().map(|(step, value)| (*step as u64, *value)).collect())
}

/// Whether the trial is poor after its last evaluation, which is not the one at its end.
fn is_poor_now(record: &Record, index: usize, total: u64) -> bool {
    let trial = &record.trials[index];
    if trial.curve.last().is_none_or(|(step, _)| *step >= total) {
        return false;
    }
    let others = record.other_curves(trial.number);
    let others: Vec<&[Point]> = others.iter().map(Vec::as_slice).collect();
    is_poor(record.prune, &record.costs(&trial.curve), &others)
}

fn end_early(record: &mut Record, index: usize) -> Result<(), Fault> {
    let trial = &mut record.trials[index];
    let (step, value) = trial.curve.last().copied().unwrap_or_default();
    (trial.state, trial.value, trial.steps) = (State::Pruned, Some(value), step);
    trial.reason = Some(format!("worse than the others at step {step}"));
    Ok(())
}

/// Takes the value of the weights that the run gave: after early stopping those of its best
/// evaluation, else the last.
fn finish(record: &mut Record, index: usize, run: &RunFolder) -> Result<(), Fault> {
    let manifest = run.manifest()?;
    let training = &manifest.config.training;
    let stage = manifest.stages.last();
    let best_step = stage.and_then(|s| s.best_step).filter(|_| training.early_stopping.is_some());
    let points = curve(run, record.metric, training.num_stages)?;
    let value = match best_step {
        Some(step) => points.iter().find(|(s, _)| *s == step),
        None => points.last(),
    };
    let Some(&(_, value)) = value else {
        return Err(Fault::new("no_validation_rows", format!("{}: the run was never evaluated on validation rows", run.id()))
            .hint("the validation rows of the last stage are empty: give more rows, or a larger share of them"));
    };
    let trial = &mut record.trials[index];
    (trial.state, trial.value, trial.run) = (State::Complete, Some(value), Some(run.id()));
    trial.steps = stage.map_or(0, |s| s.iterations_done);
    trial.curve = points;
    Ok(())
}

/// Hears the trial's run.
struct Watching<'w, 'a> {
    bench: &'w Bench<'w>,
    table: &'w Shared<'a>,
    index: usize,
    cancel: Cancel,
    stages: usize,
    stage: usize,
    total: u64,
    is_poor: bool,
    /// Why the record could not be written.
    fault: Option<Fault>,
}

impl Watching<'_, '_> {
    fn keep(&mut self, record: &Record) {
        if let Err(fault) = record.write(&self.bench.folder) {
            self.fault.get_or_insert(fault);
            self.cancel.request();
        }
    }

    fn evaluated(&mut self, record: &mut Record, step: u64, value: f64) {
        let curve = &mut record.trials[self.index].curve;
        // After a kill some steps are made again.
        curve.retain(|(s, _)| *s < step);
        curve.push((step, value));
        if is_poor_now(record, self.index, self.total) {
            self.is_poor = true;
            self.cancel.request();
        }
        self.keep(record);
    }
}

impl Observer for Watching<'_, '_> {
    fn event(&mut self, event: &Event) {
        let table = self.table;
        let Table { record, heard, .. } = &mut *open(table);
        match event {
            Event::Run { path } => {
                record.trials[self.index].run = path.file_name().map(|name| name.to_string_lossy().into_owned());
                self.keep(record);
            }
            Event::Stage { number, total_steps, .. } => (self.stage, self.total) = (*number, *total_steps),
            Event::Step { step, .. } if self.stage == self.stages => record.trials[self.index].steps = *step,
            Event::Eval { step, loss, accuracy, .. } if self.stage == self.stages => {
                let value = if record.metric == Metric::Loss { *loss } else { *accuracy };
                self.evaluated(record, *step, value);
            }
            _ => {}
        }
        heard(Told::Event(record.trials[self.index].number, event));
    }
}
