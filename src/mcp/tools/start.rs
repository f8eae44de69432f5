//! Starting a run, and waiting for it where that is wanted.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::{ProgressOut, StatusName};
use crate::app::jobs::{self, Progress, State};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};
use crate::runs::RunFolder;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartIn {
    project_path: String,
    /// From configure_training_run.
    run_id: String,
    /// Only this stage; left out: all that are left.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// Default true: return once it is under way. false: wait for its end; cancelling the call pauses the run.
    async_mode: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StartOut {
    success: bool,
    run_id: String,
    /// Whether its worker trains already; false while it is queued.
    training_started: bool,
    status: StatusName,
    /// From measured steps, once there are two.
    estimated_duration_minutes: Option<f64>,
    log_file: String,
    /// The same from a shell.
    monitor_command: String,
    /// As monitor_training_progress gives it.
    progress: ProgressOut,
}

/// How long the first steps are waited for, to tell how long the run will take.
const FIRST_STEPS_WAIT: Duration = Duration::from_secs(8);
/// Steps that the first estimate is made from.
const FIRST_STEPS: u64 = 3;
/// How long a queued run is watched before it is said to wait.
const QUEUE_LOOK: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(50);

/// start_training
pub(super) struct Start;

impl Tool for Start {
    const NAME: &'static str = "start_training";
    const TITLE: &'static str = "Start or continue a run";
    const ABOUT: &'static str = "Start a configured run, or go on with one that was paused or failed, from its newest checkpoint. It trains \
        in a process that outlives this server; runs wait in a queue for the device.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Wait;
    type In = StartIn;
    type Out = StartOut;

    fn call(input: StartIn, shared: &Shared, call: &Call) -> Result<StartOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        // What was configured inside of the roots may have been changed by hand since.
        shared.roots.settings(&run.manifest()?.config)?;
        let before = jobs::progress(&run)?.done;
        let started = jobs::start(&run, input.stage.map(|s| s as usize))?;
        jobs::watch_over(run.clone(), started);
        let waiting = input.async_mode == Some(false);
        let progress = if waiting { until_end(&run, call)? } else { until_measured(&run, before, call)? };
        if let (State::Failed, Some(reason)) = (progress.state, &progress.reason) {
            let hint = reason.hint.clone().unwrap_or_else(|| "monitor_training_progress shows more".into());
            return Err(Fault::new("training_failed", format!("{}: {} ({})", run.id(), reason.message, reason.code)).hint(hint));
        }
        let project = run.path().parent().and_then(std::path::Path::parent).unwrap_or(run.path()).display().to_string();
        Ok(StartOut {
            success: true,
            run_id: run.id(),
            training_started: progress.state != State::Queued,
            status: progress.state.into(),
            estimated_duration_minutes: progress.seconds_left.map(|s| s / 60.0),
            log_file: run.path().join("training.log").display().to_string(),
            monitor_command: format!("tallow runs show {} --project {project}", run.id()),
            progress: progress.into(),
        })
    }
}

fn until_measured(run: &RunFolder, before: u64, call: &Call) -> Result<Progress, Fault> {
    let begun = Instant::now();
    loop {
        let progress = jobs::progress(run)?;
        let measured = progress.done >= before + FIRST_STEPS && progress.seconds_left.is_some();
        // A small run may begin beside those before it: a moment shows.
        let queued_behind = progress.queue_position.is_some_and(|n| n > 0) && begun.elapsed() > QUEUE_LOOK;
        if measured || queued_behind || !progress.state.is_active() || begun.elapsed() > FIRST_STEPS_WAIT || !call.pause(LOOK) {
            return Ok(progress);
        }
    }
}

fn until_end(run: &RunFolder, call: &Call) -> Result<Progress, Fault> {
    let mut paused = false;
    let mut told = None;
    loop {
        let progress = jobs::progress(run)?;
        if told != Some(progress.done) {
            told = Some(progress.done);
            call.tell(progress.done as f64, Some(progress.total as f64), in_words(&progress));
        }
        if !progress.state.is_active() {
            return Ok(progress);
        }
        if !call.pause(LOOK) && !paused {
            // It may have ended meanwhile, or could not be told: the next look shows it, or tries again.
            paused = jobs::stop(run, jobs::Stop::Pause).is_ok();
        }
    }
}

pub(super) fn in_words(p: &Progress) -> String {
    if p.state == State::Queued {
        let before = p.queued_behind.join(", ");
        return format!("queued, {} before it{}{before}", p.queue_position.unwrap_or(0), if before.is_empty() { "" } else { ": " });
    }
    let mut text = format!("step {}/{}", p.done, p.total);
    if let Some(loss) = p.metrics.train_loss {
        text += &format!(", loss {loss:.4}");
    }
    if let Some(rate) = p.metrics.tokens_per_second {
        text += &format!(", {rate:.0} tokens/s");
    }
    if let Some(left) = p.seconds_left {
        text += &format!(", {left:.0} s left");
    }
    text
}
