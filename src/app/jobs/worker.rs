//! The worker: one run, from its place in the queue to its end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::queue::{Ticket, queue_dir};
use super::record::{JobRecord, Reason, State, own, wish};
use super::start::Stop;
use crate::app::device::Chosen;
use crate::app::train::{Happening, TrainReport, TrainRequest, run as train};
use crate::base::error::Fault;
use crate::runs::{RunFolder, Status};
use crate::train::StopFlag;

/// How often the queue and the wish to stop are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Works on a run until it is done, stopped or failed; the state stands in its `job.json` before this returns.
///
/// # Errors
/// What ended the run.
pub fn work(run: &Path, stop: &StopFlag, on: &mut dyn FnMut(Happening)) -> Result<State, Fault> {
    let run = RunFolder::open(&run.canonicalize().map_err(|e| Fault::io("open", run, &e))?)?;
    // Started by hand it has to take the lock itself; otherwise it was born with it.
    let _lock = own(&run)?;
    let mut job = JobRecord::read(&run)?.unwrap_or_else(JobRecord::new);
    job.pid = Some(std::process::id());
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
        let result = wait_and_train(&run, &mut job, stop, on);
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

fn wait_and_train(run: &RunFolder, job: &mut JobRecord, stop: &StopFlag, on: &mut dyn FnMut(Happening)) -> Result<State, Fault> {
    let manifest = run.manifest()?;
    let ticket = Ticket::take(&queue_dir(&Chosen::of(&manifest.config)?.name()))?;
    job.ticket = Some(ticket.name());
    if job.state == State::Queued {
        job.write(run)?;
    } else {
        job.turn(run, State::Queued, None)?;
    }
    while !ticket.is_first()? {
        if stop.is_requested() {
            return Ok(stopped(run));
        }
        std::thread::sleep(LOOK);
    }
    job.turn(run, State::Running, None)?;
    let only_first = job.stage == Some(1) && manifest.config.training.num_stages > 1;
    let mut watch = |happening: Happening| {
        if only_first && matches!(happening, Happening::Stage { number: 2, .. }) {
            stop.request();
        }
        on(happening);
    };
    let report: TrainReport = train(&request(run, stop), &mut watch)?;
    Ok(if report.status == Status::Finished { State::Completed } else { stopped(run) })
}

fn request(run: &RunFolder, stop: &StopFlag) -> TrainRequest {
    let project = run.path().parent().and_then(Path::parent).unwrap_or(run.path());
    let resume = Some(run.path().to_string_lossy().into_owned());
    TrainRequest { resume, stop: stop.clone(), ..TrainRequest::new(project) }
}

/// A stop without a wish came by a signal: then it can go on.
fn stopped(run: &RunFolder) -> State {
    if wish(run) == Some(Stop::Cancel) { State::Cancelled } else { State::Paused }
}
