//! The worker: one run, from its place in the queue to its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::queue::{Claim, Ticket};
use super::record::{JobRecord, Reason, State, own, wish};
use super::start::Stop;
use crate::app::device::Chosen;
use crate::app::train::{TrainReport, TrainRequest, run as train};
use crate::app::{plan, prepare};
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::base::panics;
use crate::config::RunConfig;
use crate::runs::{RunFolder, Status};
use crate::train::Observer;

/// How often the wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Which run to work on, and how.
#[derive(Debug, Clone)]
pub struct Work {
    /// The run's folder.
    pub run: PathBuf,
    /// The only stage to train; `None`: all that are left.
    pub stage: Option<usize>,
    /// Whether this process was started with the run's lock; by hand it has to take it.
    pub owned: bool,
}

/// Works on a run until it is done, stopped or failed; the state stands in its `job.json` before this returns.
///
/// # Errors
/// What ended the run, or `run_busy` when somebody else is at it.
pub fn work(work: &Work, stop: &Cancel, observer: &mut dyn Observer) -> Result<State, Fault> {
    let run = RunFolder::open(&work.run.canonicalize().map_err(|e| Fault::io("open", &work.run, &e))?)?;
    let lock = if work.owned { None } else { own(&run)? };
    if lock.is_none() && !work.owned {
        return Err(Fault::new("run_busy", format!("{}: another worker is at it", run.id())).hint("stop_training stops it"));
    }
    let mut job = JobRecord::read(&run)?.unwrap_or_else(JobRecord::new);
    let me = Some(std::process::id());
    (job.pid, job.worker, job.ticket, job.stage) = (me, me, None, work.stage);
    job.turn(&run, State::Queued, None)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if wish(&run).is_some() {
                    return stop.request();
                }
                std::thread::sleep(LOOK);
            }
        });
        let result = panics::caught(|| wait_and_train(&run, &mut job, stop, observer));
        done.store(true, Ordering::Relaxed);
        let (state, reason) = match &result {
            Ok(state) => (*state, None),
            Err(fault) => (State::Failed, Some(Reason::from(fault))),
        };
        job.pid = None;
        job.turn(&run, state, reason)?;
        result
    })
}

fn wait_and_train(run: &RunFolder, job: &mut JobRecord, stop: &Cancel, observer: &mut dyn Observer) -> Result<State, Fault> {
    let manifest = run.manifest()?;
    let ticket = Ticket::of(&Chosen::of(&manifest.config)?.name(), &claim(run, &manifest.config))?;
    job.ticket = Some(ticket.name());
    job.write(run)?;
    if !ticket.wait(stop, &mut |_| {})? {
        return Ok(stopped(run));
    }
    job.turn(run, State::Running, None)?;
    let report: TrainReport = match train(&TrainRequest { until_stage: job.stage, ..request(run, stop) }, observer) {
        // Stopped while it was made ready.
        Err(fault) if fault.code == "cancelled" && stop.is_requested() => return Ok(stopped(run)),
        result => result?,
    };
    Ok(if report.status == Status::Finished { State::Completed } else { stopped(run) })
}

/// What a run says to those who wait behind it.
pub fn claim(run: &RunFolder, config: &RunConfig) -> Claim {
    // A GPU is not shared, and it is not opened before it is free. What keeps a run from being planned, training says.
    let is_cpu = matches!(Chosen::of(config), Ok(Chosen::Cpu));
    let plan = || {
        let (_, _, spec) = prepare::base_model(config, false).ok()?;
        plan::for_run(config, &spec, prepare::Lengths::unknown(config.training.max_seq_length.min(spec.max_positions)), plan::Room::Here)
            .ok()
    };
    let memory_bytes = is_cpu.then(plan).flatten().map(|p| p.peak_bytes);
    Claim { who: run.path().display().to_string(), memory_bytes }
}

fn request(run: &RunFolder, stop: &Cancel) -> TrainRequest {
    let project = run.path().parent().and_then(Path::parent).unwrap_or(run.path());
    let resume = Some(run.path().to_string_lossy().into_owned());
    TrainRequest { resume, stop: stop.clone(), has_turn: true, ..TrainRequest::new(Some(project.to_path_buf())) }
}

/// A stop without a wish came by a signal: then it can go on.
fn stopped(run: &RunFolder) -> State {
    if wish(run) == Some(Stop::Cancel) { State::Cancelled } else { State::Paused }
}
