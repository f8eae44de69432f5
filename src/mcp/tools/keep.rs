//! A run's checkpoints: listed, pruned, gone on from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::branch::{self, BranchRequest};
use crate::app::checkpoints;
use crate::app::outcome::Checkpoint;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListIn {
    project_path: String,
    run_id: String,
    /// Compare every file with the hash that was written. Default false.
    check: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CheckpointOut {
    #[serde(flatten)]
    at: Checkpoint,
    bytes: u64,
    /// Validation loss after its step.
    eval_loss: Option<f64>,
    is_best: bool,
    /// What is wrong with its files.
    problem: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ListOut {
    /// Oldest first.
    checkpoints: Vec<CheckpointOut>,
}

/// list_checkpoints
pub(super) struct List;

impl Tool for List {
    const NAME: &'static str = "list_checkpoints";
    const TITLE: &'static str = "List a run's checkpoints";
    const ABOUT: &'static str =
        "A run's checkpoints with size, validation loss and which is best. Each can be evaluated or exported by its step.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Data;
    type In = ListIn;
    type Out = ListOut;

    fn call(input: ListIn, shared: &Shared, _: &Call) -> Result<ListOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let all = checkpoints::list(&run, input.check == Some(true))?;
        let out = |c: checkpoints::Listed| CheckpointOut {
            at: c.at,
            bytes: c.bytes,
            eval_loss: c.eval_loss,
            is_best: c.is_best,
            problem: c.problem,
        };
        Ok(ListOut { checkpoints: all.into_iter().map(out).collect() })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneIn {
    project_path: String,
    run_id: String,
    /// How many of each stage stay, beside the best one and what the run needs to go on.
    #[schemars(range(min = 1))]
    keep: usize,
    /// Only say what would go. Default false.
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PruneOut {
    removed: Vec<Checkpoint>,
    kept: Vec<Checkpoint>,
    freed_bytes: u64,
}

/// prune_checkpoints
pub(super) struct Prune;

impl Tool for Prune {
    const NAME: &'static str = "prune_checkpoints";
    const TITLE: &'static str = "Remove old checkpoints";
    const ABOUT: &'static str = "Remove all but a run's newest checkpoints, for good; the best one and what the run goes on from stay.";
    const HINTS: Hints = Hints::DESTROY;
    const LANE: Lane = Lane::Inspect;
    type In = PruneIn;
    type Out = PruneOut;

    fn call(input: PruneIn, shared: &Shared, _: &Call) -> Result<PruneOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let done = checkpoints::prune(&run, input.keep, input.dry_run == Some(true))?;
        Ok(PruneOut { removed: done.removed, kept: done.kept, freed_bytes: done.bytes })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BranchIn {
    project_path: String,
    run_id: String,
    /// Step of the checkpoint.
    checkpoint_step: u64,
    /// Left out: the last stage that has the step.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// A name for the new run; left out: that of the other.
    run_name: Option<String>,
    /// Dotted keys and values from there on: learning rates, steps, schedule, decay, clipping, early stopping, evaluation.
    override_params: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BranchOut {
    success: bool,
    /// The new run; start_training goes on with it.
    run_id: String,
    run_directory: String,
    parent_run_id: String,
    from: Checkpoint,
    /// Keys that are set otherwise.
    changed: Vec<String>,
}

/// branch_run
pub(super) struct Branch;

impl Tool for Branch {
    const NAME: &'static str = "branch_run";
    const TITLE: &'static str = "Go on from a checkpoint";
    const ABOUT: &'static str = "Make a new run that goes on from any checkpoint of a run, with other settings where they are given, for \
        example a lower learning rate after it diverged. The run itself stays as it is.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Inspect;
    type In = BranchIn;
    type Out = BranchOut;

    fn call(input: BranchIn, shared: &Shared, _: &Call) -> Result<BranchOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let set = super::overrides::checked_overrides(shared, input.override_params.as_ref())?;
        let request = BranchRequest { step: input.checkpoint_step, stage: input.stage.map(|s| s as usize), name: input.run_name, set };
        let made = branch::branch(&run, &request)?;
        Ok(BranchOut {
            success: true,
            run_id: made.run_id,
            run_directory: made.run.display().to_string(),
            parent_run_id: made.parent,
            from: made.from,
            changed: made.changed,
        })
    }
}
