//! Removing a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::jobs;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteIn {
    project_path: String,
    /// The run, by its whole name.
    run_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeleteOut {
    success: bool,
    run_id: String,
    freed_bytes: u64,
}

/// delete_run
pub(super) struct Delete;

impl Tool for Delete {
    const NAME: &'static str = "delete_run";
    const TITLE: &'static str = "Delete a run";
    const ABOUT: &'static str = "Remove a run's folder with its checkpoints and result, for good. A run that is under way, or whose result is \
        promoted, stays. Exports elsewhere stay.";
    const HINTS: Hints = Hints::DESTROY;
    const LANE: Lane = Lane::Inspect;
    type In = DeleteIn;
    type Out = DeleteOut;

    fn call(input: DeleteIn, shared: &Shared, _: &Call) -> Result<DeleteOut, Fault> {
        let project = shared.roots.project(&input.project_path)?;
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        if run.id() != input.run_id {
            // Shortened names and `latest` are for looking.
            return Err(Fault::new("run_not_found", format!("there is no run of the whole name `{}`", input.run_id))
                .hint(format!("did you mean {}?", run.id())));
        }
        let freed_bytes = jobs::delete(&project.root, &run)?;
        Ok(DeleteOut { success: true, run_id: input.run_id, freed_bytes })
    }
}
