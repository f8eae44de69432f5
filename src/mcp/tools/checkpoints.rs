//! Which weights of a run a call is about: its result, what a stage gave, or a checkpoint.

use crate::app::jobs::{self, State};
use crate::app::outcome::{self, Outcome};
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// The weights that are named; what is not there is refused with what can be done as the run stands.
pub(super) fn weights(run: &RunFolder, stage: Option<u64>, step: Option<u64>) -> Result<Outcome, Fault> {
    let stages = jobs::manifest(run)?.config.training.num_stages as u64;
    if let Some(wanted) = stage.filter(|n| *n > stages) {
        return Err(Fault::new("no_such_stage", format!("{}: there is no stage {wanted}", run.id())).hint(match stages {
            1 => "the run has one stage: leave `stage` out".to_owned(),
            n => format!("the run has {n} stages"),
        }));
    }
    let stage = stage.map(|n| n as usize);
    match step {
        Some(step) => outcome::of_checkpoint(run, stage, step).map_err(|f| f.hint(kept(run))),
        None => outcome::of_run(run, stage).map_err(|fault| match fault.code {
            "no_result" => fault.hint(what_to_do(run)),
            _ => fault,
        }),
    }
}

fn kept(run: &RunFolder) -> String {
    match outcome::checkpoints(run).as_slice() {
        [] => "no checkpoint has been written yet".to_owned(),
        all => format!("there are {}", all.iter().map(|c| format!("step {} of stage {}", c.step, c.stage)).collect::<Vec<_>>().join(", ")),
    }
}

/// What a run without a result can still do.
fn what_to_do(run: &RunFolder) -> String {
    let mut usable = outcome::checkpoints(run).into_iter().filter(|c| outcome::has_weights(&c.path));
    let newest = usable.next_back().map(|c| format!("checkpoint_step: {} uses what it has learnt so far", c.step));
    let or_newest = newest.map(|n| format!("; {n}")).unwrap_or_default();
    let next = match jobs::status(run).map(|(state, _)| state) {
        Ok(State::NotStarted) => "start_training starts it",
        Ok(State::Queued | State::Running) => "it is under way: wait until it is completed",
        Ok(State::Paused) => "it is paused: start_training goes on with it",
        Ok(State::Failed) => "it failed: monitor_training_progress says why, start_training goes on with it",
        Ok(State::Cancelled) => "it was cancelled and cannot go on: configure_training_run makes a new run",
        Ok(State::Completed) | Err(_) => "its folder is not complete: configure_training_run makes a new run",
    };
    format!("{next}{or_newest}")
}
