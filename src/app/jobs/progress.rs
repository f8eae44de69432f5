//! How far a run is, read from its folder alone.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::estimate::{Pace, Work, pace, seconds_left};
use super::queue::{holder, queue_dir, tickets};
use super::record::{Reason, State, status};
use super::rows::{Step, manifest, rows};
use crate::app::device::Chosen;
use crate::base::error::Fault;
use crate::runs::{self, Manifest, RunFolder};

/// The newest figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// Loss of the last step.
    pub train_loss: Option<f64>,
    /// Loss of the last evaluation.
    pub validation_loss: Option<f64>,
    /// Of the last step.
    pub learning_rate: Option<f64>,
    /// Of the last step.
    pub tokens_per_second: Option<f64>,
    /// Largest resident size of the worker so far.
    pub peak_memory_bytes: Option<u64>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Its name.
    pub run_id: String,
    /// Its folder.
    pub path: PathBuf,
    /// How it stands.
    pub state: State,
    /// Why it ended as it did.
    pub reason: Option<Reason>,
    /// Workers before it, where it is queued.
    pub queue_position: Option<usize>,
    /// Who they are: the folder of each run and its process.
    pub queued_behind: Vec<String>,
    /// 1 or 2.
    pub stage: usize,
    /// Steps made in this stage.
    pub iteration: u64,
    /// Steps of this stage.
    pub stage_iterations: u64,
    /// Steps made, of all stages.
    pub done: u64,
    /// Steps of all stages.
    pub total: u64,
    /// The newest figures.
    pub metrics: Metrics,
    /// Kilograms of CO2 equivalents so far, where they are tracked.
    pub carbon_kg: Option<f64>,
    /// Seconds from the newest step until the run is over, evaluations and checkpoints included; from what they have taken.
    pub seconds_left: Option<f64>,
    /// The newest checkpoint.
    pub last_checkpoint: Option<PathBuf>,
    /// UTC.
    pub created_at: String,
}

/// The scores that a finished run did not reach.
fn missed(manifest: &Manifest) -> Option<Reason> {
    let all: Vec<String> = manifest.verdicts.iter().filter(|v| !v.passed).map(ToString::to_string).collect();
    (!all.is_empty()).then(|| Reason { code: "threshold_missed".into(), message: all.join("; "), hint: None })
}

/// How far a run is.
///
/// # Errors
/// When the folder cannot be read.
pub fn progress(run: &RunFolder) -> Result<Progress, Fault> {
    let (state, job) = status(run)?;
    let manifest = manifest(run)?;
    let work = Work::of(&manifest.config, &manifest.dataset);
    let total: u64 = work.steps.iter().sum();
    let rows = rows(run)?;
    let steps: Vec<Step> = rows.steps.iter().copied().collect();
    let last = steps.last();
    let stage = last.map_or(1, |s| s.stage).clamp(1, 2);
    let iteration = last.map_or(0, |s| s.step);
    let done = iteration + if stage == 2 { work.steps[0] } else { 0 };
    let metrics = Metrics {
        train_loss: last.map(|s| s.loss),
        validation_loss: rows.validation_loss,
        learning_rate: last.map(|s| s.learning_rate),
        tokens_per_second: last.map(|s| s.tokens_per_second),
        peak_memory_bytes: last.map(|s| s.peak_rss_bytes),
    };
    let left = if state == State::Completed { None } else { seconds_left(&steps, &work) };
    // Where the device has gone meanwhile, nobody waits for it.
    let queue = Chosen::of(&manifest.config).map_or_else(|_| "cpu".into(), Chosen::name);
    let ahead = |ticket: &str| -> Vec<String> {
        let before = tickets(&queue_dir(&queue)).into_iter().filter(|(_, p)| p.file_name().is_some_and(|n| *n < *ticket));
        before.map(|(_, path)| holder(&path)).collect()
    };
    let ticket = job.as_ref().and_then(|j| j.ticket.as_deref()).filter(|_| state == State::Queued);
    let behind = ticket.map(ahead);
    Ok(Progress {
        run_id: run.id(),
        path: run.path().to_path_buf(),
        state,
        queue_position: behind.as_ref().map(Vec::len),
        queued_behind: behind.unwrap_or_default(),
        reason: job
            .and_then(|j| j.reason)
            .or_else(|| manifest.error.as_ref().map(|e| Reason { code: e.code.clone(), message: e.message.clone(), hint: e.hint.clone() }))
            .or_else(|| missed(&manifest)),
        stage,
        iteration,
        stage_iterations: work.steps[stage - 1],
        done,
        total,
        metrics,
        carbon_kg: crate::track::energy::known(run.path()).map(|t| t.kg),
        seconds_left: left,
        last_checkpoint: newest_checkpoint(run),
        created_at: manifest.created_at.clone(),
    })
}

/// The folder with the highest step, of the last stage that has one.
fn newest_checkpoint(run: &RunFolder) -> Option<PathBuf> {
    let of_stage = |stage| {
        let folders = std::fs::read_dir(run.checkpoints(stage)).into_iter().flatten().flatten().map(|e| e.path());
        let named = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("step-"));
        folders.filter(named).max()
    };
    of_stage(2).or_else(|| of_stage(1))
}

/// All runs of a project, newest first; those that cannot be read are left out and named.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(project: &Path) -> Result<(Vec<Progress>, Vec<Fault>), Fault> {
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for summary in runs::list(project)? {
        match RunFolder::open(&summary.path).and_then(|run| progress(&run)) {
            Ok(progress) => all.push(progress),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((all, faults))
}

/// What a step of this run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What its steps, evaluations and checkpoints took.
    pub pace: Pace,
    /// Mean tokens of a step.
    pub tokens_step: f64,
}

/// What a step of this run took; `None` where none was timed.
pub fn measured(run: &RunFolder) -> Option<Measured> {
    let manifest = manifest(run).ok()?;
    let rows = rows(run).ok()?;
    let steps: Vec<Step> = rows.steps.iter().copied().collect();
    let pace = pace(&steps, &Work::of(&manifest.config, &manifest.dataset))?;
    Some(Measured { pace, tokens_step: steps.iter().map(|s| s.tokens as f64).sum::<f64>() / steps.len() as f64 })
}
