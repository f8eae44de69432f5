//! How far a run is, read from its folder alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::queue::{queue_dir, tickets};
use super::record::{Reason, State, status};
use crate::app::device::Chosen;
use crate::base::error::Fault;
use crate::runs::{self, Manifest, RunFolder};

/// Bytes of metrics.jsonl that are looked at, from its end.
const TAIL: u64 = 256 << 10;

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
    /// Seconds until all steps are done, from the time that steps have taken (evaluations and checkpoints included).
    pub seconds_left: Option<f64>,
    /// The newest checkpoint.
    pub last_checkpoint: Option<PathBuf>,
    /// UTC.
    pub created_at: String,
}

/// How far a run is.
///
/// # Errors
/// When the folder cannot be read.
pub fn progress(run: &RunFolder) -> Result<Progress, Fault> {
    let (state, job) = status(run)?;
    let manifest = Manifest::read(&run.manifest_path())?;
    let training = &manifest.config.training;
    let of_stage = [training.stage1.iterations, training.stage2.iterations];
    let total: u64 = of_stage[..training.num_stages].iter().sum();
    let rows = tail(&run.path().join("metrics.jsonl"))?;
    let last = rows.iter().rev().find(|r| r["loss"].is_number());
    let number = |key: &str| last.and_then(|r| r[key].as_f64());
    let stage = rows.last().and_then(|r| r["stage"].as_u64()).map_or(1, |s| s as usize).clamp(1, 2);
    let iteration = last.filter(|r| r["stage"].as_u64() == Some(stage as u64)).and_then(|r| r["step"].as_u64()).unwrap_or(0);
    let done = iteration + if stage == 2 { of_stage[0] } else { 0 };
    let metrics = Metrics {
        train_loss: number("loss"),
        validation_loss: rows.iter().rev().find_map(|r| r["eval_loss"].as_f64()),
        learning_rate: number("learning_rate"),
        tokens_per_second: number("tokens_per_second"),
        peak_memory_bytes: last.and_then(|r| r["peak_rss_bytes"].as_u64()),
    };
    let left = (state != State::Completed).then(|| seconds_per_step(&rows)).flatten().map(|s| s * total.saturating_sub(done) as f64);
    // Where the device has gone meanwhile, nobody waits for it.
    let queue = Chosen::of(&manifest.config).map_or_else(|_| "cpu".into(), Chosen::name);
    let ahead = |ticket: &str| tickets(&queue_dir(&queue)).iter().filter(|(_, p)| p.file_name().is_some_and(|n| *n < *ticket)).count();
    let ticket = job.as_ref().and_then(|j| j.ticket.as_deref()).filter(|_| state == State::Queued);
    Ok(Progress {
        run_id: run.id(),
        path: run.path().to_path_buf(),
        state,
        queue_position: ticket.map(ahead),
        reason: job
            .and_then(|j| j.reason)
            .or_else(|| manifest.error.as_ref().map(|e| Reason { code: e.code.clone(), message: e.message.clone(), hint: e.hint.clone() })),
        stage,
        iteration,
        stage_iterations: of_stage[stage - 1],
        done,
        total,
        metrics,
        seconds_left: left,
        last_checkpoint: newest_checkpoint(run),
        created_at: manifest.created_at,
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

/// The whole rows at the end of a metrics file.
fn tail(path: &Path) -> Result<Vec<Value>, Fault> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Fault::io("read", path, &e)),
    };
    let fail = |e: std::io::Error| Fault::io("read", path, &e);
    let length = file.metadata().map_err(fail)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).map_err(fail)?;
    // The first line may be cut, and the last one still be written: neither parses. Of older rows only the newest
    // evaluation is told: a client may ask often.
    let is_evaluation = |line: &[u8]| line.windows(EVALUATION.len()).any(|w| w == EVALUATION);
    let (mut rows, mut evaluated): (Vec<Value>, bool) = (Vec::new(), false);
    for line in bytes.rsplit(|b| *b == b'\n') {
        if rows.len() < TIMED_STEPS || (!evaluated && is_evaluation(line)) {
            let row: Option<Value> = serde_json::from_slice(line).ok();
            evaluated |= row.as_ref().is_some_and(|r| r["eval_loss"].is_number());
            rows.extend(row);
        } else if evaluated {
            break;
        }
    }
    rows.reverse();
    Ok(rows)
}

/// What a row of an evaluation holds.
const EVALUATION: &[u8] = b"\"eval_loss\"";

/// Steps that the time of a step is taken from.
const TIMED_STEPS: usize = 200;

/// Seconds a step took of late, everything between the steps included; `None` before the second step.
pub fn seconds_per_step(rows: &[Value]) -> Option<f64> {
    let stage = rows.last()?["stage"].as_u64()?;
    let steps = rows.iter().rev().filter(|r| r["stage"].as_u64() == Some(stage));
    let times: Vec<(f64, f64)> =
        steps.filter_map(|r| Some((r["step"].as_f64()?, r["elapsed_seconds"].as_f64()?))).take(TIMED_STEPS).collect();
    let ((last, end), (first, begin)) = (times.first()?, times.last()?);
    (last > first).then(|| (end - begin) / (last - first))
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

/// Seconds and tokens that a step of this run took; `None` where none was timed.
pub fn measured(run: &RunFolder) -> Option<(f64, f64)> {
    let rows = tail(&run.path().join("metrics.jsonl")).ok()?;
    let tokens: Vec<f64> = rows.iter().filter_map(|r| r["tokens"].as_f64()).collect();
    Some((seconds_per_step(&rows)?, tokens.iter().sum::<f64>() / tokens.len() as f64))
}
