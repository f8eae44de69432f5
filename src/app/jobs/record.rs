//! `job.json` and its lock.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::start::Stop;
use crate::base::atomic;
use crate::base::clock::now_utc;
use crate::base::error::Fault;
use crate::runs::{Manifest, RunFolder, Status};

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has started it.
    NotStarted,
    /// Its worker waits for the device.
    Queued,
    /// Its worker trains.
    Running,
    /// It was stopped and can go on.
    Paused,
    /// All steps are done.
    Completed,
    /// An error, or the end of its worker, ended it; starting it again goes on from its newest checkpoint.
    Failed,
    /// It was given up.
    Cancelled,
}

impl State {
    /// Whether a worker should be at it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a job ended as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable name.
    pub code: String,
    /// In words.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Fault> for Reason {
    fn from(f: &Fault) -> Self {
        Self { code: f.code.into(), message: f.message.clone(), hint: f.hint.clone() }
    }
}

/// A state that a job was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state.
    pub state: State,
    /// Since when, UTC.
    pub at: String,
}

/// `job.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// How it stands.
    pub state: State,
    /// The worker's process, while it is at it.
    pub pid: Option<u32>,
    /// The process that worked on it last.
    #[serde(default)]
    pub worker: Option<u32>,
    /// The only stage to train; `None`: all that are left.
    pub stage: Option<usize>,
    /// Place of its ticket in the queue's order, once it has one.
    pub ticket: Option<String>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// Every state it was in, oldest first.
    pub history: Vec<Transition>,
}

/// Transitions that are kept.
const MOST_HISTORY: usize = 100;

impl JobRecord {
    pub(super) fn new() -> Self {
        Self { state: State::NotStarted, pid: None, worker: None, stage: None, ticket: None, reason: None, history: Vec::new() }
    }

    /// The record of a run; `None` for one that was never a job.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(run: &RunFolder) -> Result<Option<Self>, Fault> {
        let path = run.path().join("job.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Fault::io("read", &path, &e)),
        };
        let damaged = |e: serde_json::Error| {
            Fault::new("job_damaged", format!("{}: {e}", path.display())).hint("remove the file; the run itself is not touched by that")
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Changes the state and writes it down. For the holder of the lock.
    pub(super) fn turn(&mut self, run: &RunFolder, state: State, reason: Option<Reason>) -> Result<(), Fault> {
        self.state = state;
        self.reason = reason;
        self.history.push(Transition { state, at: now_utc() });
        let excess = self.history.len().saturating_sub(MOST_HISTORY);
        self.history.drain(..excess);
        self.write(run)
    }

    pub(super) fn write(&self, run: &RunFolder) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("io", e.to_string()))?;
        atomic::write_file(&run.path().join("job.json"), text.as_bytes())
    }
}

fn lock_file(run: &RunFolder) -> Result<File, Fault> {
    let path = run.path().join("job.lock");
    File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))
}

/// Takes the job; `None` when somebody has it.
pub(super) fn own(run: &RunFolder) -> Result<Option<File>, Fault> {
    let file = lock_file(run)?;
    // One that only looks whether the lock is held, holds it for a moment.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(Fault::io("lock", &run.path().join("job.lock"), &e)),
        }
    }
    Ok(None)
}

/// Whether somebody holds the job. On a disk that cannot be written nobody does.
pub(super) fn is_owned(run: &RunFolder) -> bool {
    let Ok(file) = File::open(run.path().join("job.lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// A file in a run's folder: its worker is on another machine, and this folder is a copy.
pub const ELSEWHERE: &str = "elsewhere";

/// Refuses work on a run whose worker is on another machine.
///
/// # Errors
/// `run_elsewhere`.
pub fn only_here(run: &RunFolder) -> Result<(), Fault> {
    if !is_elsewhere(run) {
        return Ok(());
    }
    Err(Fault::new("run_elsewhere", format!("{}: its worker is on another machine", run.id()))
        .hint("`tallow remote attach RUN --resume` goes on with it there, `tallow remote clean RUN` takes it here"))
}

/// Whether the run is a copy of one on another machine.
pub(super) fn is_elsewhere(run: &RunFolder) -> bool {
    run.path().join(ELSEWHERE).is_file()
}

/// Takes the job for a mirror of a run elsewhere; `None` when another process has it.
///
/// # Errors
/// When the lock cannot be opened.
pub fn hold(run: &RunFolder) -> Result<Option<File>, Fault> {
    own(run)
}

/// Takes away the wish to stop that was left here.
pub fn forget_wish(run: &RunFolder) {
    let _ = std::fs::remove_file(wish_path(run));
}

/// Where the wish to stop is left.
pub(super) fn wish_path(run: &RunFolder) -> PathBuf {
    run.path().join("job.stop")
}

/// The wish to stop.
pub fn wish(run: &RunFolder) -> Option<Stop> {
    match std::fs::read_to_string(wish_path(run)).ok()?.trim() {
        "cancel" => Some(Stop::Cancel),
        _ => Some(Stop::Pause),
    }
}

/// How a run stands, and why. A worker that is gone without a word is found out here, and written down.
///
/// # Errors
/// When the folder cannot be read.
pub fn status(run: &RunFolder) -> Result<(State, Option<JobRecord>), Fault> {
    let Some(job) = JobRecord::read(run)? else {
        let state = match run.manifest()?.status {
            Status::Created => State::NotStarted,
            Status::Running => State::Running,
            Status::Finished => State::Completed,
            Status::Stopped => State::Paused,
            Status::Interrupted | Status::Failed | Status::Diverged => State::Failed,
        };
        return Ok((state, None));
    };
    if job.state.is_active() {
        // The record of a run on another machine is a copy: its worker is there.
        if is_owned(run) || is_elsewhere(run) {
            return Ok((job.state, Some(job)));
        }
        let job = settle(run, "its worker process is gone")?;
        return Ok((job.state, Some(job)));
    }
    // `tallow train --resume` may have gone on with it since.
    let state = match (job.state, run.manifest()?.status) {
        (State::Cancelled, _) => State::Cancelled,
        (_, Status::Finished) => State::Completed,
        (_, Status::Running) => State::Running,
        (state, _) => state,
    };
    Ok((state, Some(job)))
}

/// Writes down that a worker is gone, unless it has said so itself, or another one is at it.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn settle(run: &RunFolder, how: &str) -> Result<JobRecord, Fault> {
    let lock = own(run)?;
    let mut job = JobRecord::read(run)?.unwrap_or_else(JobRecord::new);
    if lock.is_none() || !job.state.is_active() {
        return Ok(job);
    }
    job.pid = None;
    if Manifest::read(&run.manifest_path())?.status == Status::Finished {
        job.turn(run, State::Completed, None)?;
    } else {
        let message = format!("{how}; it was {}", job.state.name());
        let hint = "start_training goes on from the newest checkpoint (worker.log in the run's folder may say more)";
        job.turn(run, State::Failed, Some(Reason { code: "worker_gone".into(), message, hint: Some(hint.into()) }))?;
    }
    Ok(job)
}
