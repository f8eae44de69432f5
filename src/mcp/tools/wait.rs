//! Waiting for a run, so that an assistant need not ask over and over.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::ProgressOut;
use super::start::in_words;
use crate::app::jobs;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitIn {
    project_path: String,
    run_id: String,
    /// Wait at most so long. Default 60.
    #[schemars(range(min = 0, max = 600))]
    seconds: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WaitOut {
    /// Whether the run is over; otherwise the time is up.
    ended: bool,
    progress: ProgressOut,
}

const LOOK: Duration = Duration::from_millis(100);

/// wait
pub(super) struct Wait;

impl Tool for Wait {
    const NAME: &'static str = "wait";
    const TITLE: &'static str = "Wait for a run";
    const ABOUT: &'static str = "Wait until a run is over, or for some seconds; then how it stands. Sends progress meanwhile.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Wait;
    type In = WaitIn;
    type Out = WaitOut;

    fn call(input: WaitIn, shared: &Shared, call: &Call) -> Result<WaitOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let until = Instant::now() + Duration::from_secs_f64(input.seconds.unwrap_or(60.0));
        let mut told = None;
        loop {
            let progress = jobs::progress(&run)?;
            if told != Some(progress.done) {
                told = Some(progress.done);
                call.tell(progress.done as f64, Some(progress.total as f64), in_words(&progress));
            }
            let ended = !progress.state.is_active();
            let left = until.saturating_duration_since(Instant::now());
            if ended || left.is_zero() {
                return Ok(WaitOut { ended, progress: progress.into() });
            }
            if !call.pause(LOOK.min(left)) {
                return Err(Fault::new("cancelled", "the call was cancelled; the run goes on"));
            }
        }
    }
}
