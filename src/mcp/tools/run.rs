//! Runs: how they stand, and stopping them.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::jobs::{self, State};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusName {
    NotStarted,
    Queued,
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl From<State> for StatusName {
    fn from(state: State) -> Self {
        match state {
            State::NotStarted => Self::NotStarted,
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Paused => Self::Paused,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Why a run ended as it did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ReasonOut {
    /// Stable name.
    code: String,
    message: String,
    hint: Option<String>,
}

/// The newest figures.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct MetricsOut {
    train_loss: Option<f64>,
    validation_loss: Option<f64>,
    learning_rate: Option<f64>,
    tokens_per_second: Option<f64>,
    /// Largest resident size of the worker so far.
    peak_memory_mb: Option<f64>,
}

/// As monitor_training_progress gives it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ProgressOut {
    run_id: String,
    status: StatusName,
    /// Why it failed, or which scores it missed.
    reason: Option<ReasonOut>,
    /// Runs before it, while it is queued.
    queue_position: Option<u64>,
    /// Their folders and processes.
    queued_behind: Option<Vec<String>>,
    current_stage: u64,
    /// Steps made in this stage.
    current_iteration: u64,
    /// Steps of this stage.
    total_iterations: u64,
    /// Of all stages.
    progress_percentage: f64,
    metrics: MetricsOut,
    /// Measured or estimated.
    carbon_emissions_kg: Option<f64>,
    /// UTC; from the third step on.
    estimated_completion_time: Option<String>,
    estimated_seconds_left: Option<f64>,
    last_checkpoint: Option<String>,
}

impl From<jobs::Progress> for ProgressOut {
    fn from(p: jobs::Progress) -> Self {
        let percent = if p.state == State::Completed { 100.0 } else { 100.0 * p.done as f64 / p.total.max(1) as f64 };
        let m = &p.metrics;
        Self {
            status: p.state.into(),
            reason: p.reason.filter(|_| matches!(p.state, State::Failed | State::Completed)).map(|r| ReasonOut {
                code: r.code,
                message: r.message,
                hint: r.hint,
            }),
            queue_position: p.queue_position.map(|n| n as u64),
            queued_behind: Some(p.queued_behind).filter(|all| !all.is_empty()),
            current_stage: p.stage as u64,
            current_iteration: p.iteration,
            total_iterations: p.stage_iterations,
            progress_percentage: percent,
            metrics: MetricsOut {
                train_loss: m.train_loss,
                validation_loss: m.validation_loss,
                learning_rate: m.learning_rate,
                tokens_per_second: m.tokens_per_second,
                peak_memory_mb: m.peak_memory_bytes.map(|b| b as f64 / 1e6),
            },
            carbon_emissions_kg: p.carbon_kg,
            estimated_completion_time: p.seconds_left.filter(|_| p.state == State::Running).map(crate::base::clock::utc_in),
            estimated_seconds_left: p.seconds_left,
            last_checkpoint: p.last_checkpoint.map(|p| p.display().to_string()),
            run_id: p.run_id,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MonitorIn {
    project_path: String,
    /// The run; `latest` is the newest.
    run_id: String,
}

/// monitor_training_progress
pub(super) struct Monitor;

impl Tool for Monitor {
    const NAME: &'static str = "monitor_training_progress";
    const TITLE: &'static str = "Monitor a run";
    const ABOUT: &'static str = "How a run stands: status, step, losses, speed, time left. Cheap to ask.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = MonitorIn;
    type Out = ProgressOut;

    fn call(input: MonitorIn, shared: &Shared, _: &Call) -> Result<ProgressOut, Fault> {
        Ok(jobs::progress(&shared.roots.run(&input.project_path, &input.run_id)?)?.into())
    }
}

/// How a run shall stop.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeName {
    Pause,
    Cancel,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopIn {
    project_path: String,
    run_id: String,
    /// cancel keeps the checkpoints on disk.
    mode: ModeName,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StopOut {
    run_id: String,
    /// As it stands now; a worker at its step still goes on to paused or cancelled.
    status: StatusName,
    /// Whether the run has ended.
    stopped: bool,
    last_checkpoint: Option<String>,
}

/// How long a stop is waited for: the step at hand and a checkpoint.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// stop_training
pub(super) struct Stop;

impl Tool for Stop {
    const NAME: &'static str = "stop_training";
    const TITLE: &'static str = "Pause or cancel a run";
    const ABOUT: &'static str = "Stop a run after a checkpoint. `pause` goes on with start_training, to the same result; `cancel` cannot.";
    const HINTS: Hints = Hints::DESTROY;
    const LANE: Lane = Lane::Control;
    type In = StopIn;
    type Out = StopOut;

    fn call(input: StopIn, shared: &Shared, call: &Call) -> Result<StopOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let how = match input.mode {
            ModeName::Pause => jobs::Stop::Pause,
            ModeName::Cancel => jobs::Stop::Cancel,
        };
        let mut state = jobs::stop(&run, how)?;
        let begun = Instant::now();
        while state.is_active() && begun.elapsed() < STOP_WAIT && call.pause(Duration::from_millis(30)) {
            state = jobs::status(&run)?.0;
        }
        let progress = jobs::progress(&run)?;
        Ok(StopOut {
            run_id: run.id(),
            status: progress.state.into(),
            stopped: !progress.state.is_active(),
            last_checkpoint: progress.last_checkpoint.map(|p| p.display().to_string()),
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListIn {
    project_path: String,
    /// Only runs with this status.
    filter: Option<StatusName>,
}

/// A run in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunOut {
    run_id: String,
    status: StatusName,
    /// UTC.
    created_at: String,
    progress_percentage: f64,
    train_loss: Option<f64>,
    validation_loss: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ListOut {
    /// Newest first.
    runs: Vec<RunOut>,
    /// Folders that cannot be read as runs, and why.
    unreadable: Vec<String>,
}

/// list_runs
pub(super) struct List;

impl Tool for List {
    const NAME: &'static str = "list_runs";
    const TITLE: &'static str = "List runs";
    const ABOUT: &'static str = "The runs of a project, newest first, with status and losses.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = ListIn;
    type Out = ListOut;

    fn call(input: ListIn, shared: &Shared, _: &Call) -> Result<ListOut, Fault> {
        let (all, faults) = jobs::list(&shared.roots.project(&input.project_path)?.root)?;
        let run = |p: jobs::Progress| {
            let created_at = p.created_at.clone();
            let p = ProgressOut::from(p);
            RunOut {
                run_id: p.run_id,
                status: p.status,
                created_at,
                progress_percentage: p.progress_percentage,
                train_loss: p.metrics.train_loss,
                validation_loss: p.metrics.validation_loss,
            }
        };
        let runs = all.into_iter().map(run).filter(|r| input.filter.is_none_or(|wanted| wanted == r.status)).collect();
        Ok(ListOut { runs, unreadable: faults.into_iter().map(|f| f.message).collect() })
    }
}
