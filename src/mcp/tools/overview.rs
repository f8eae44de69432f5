//! One run, whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::ProgressOut;
use crate::app::{jobs, overview};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OverviewIn {
    project_path: String,
    /// The run; `latest` is the newest.
    run_id: String,
    /// Most points of the curve. Default 200.
    #[schemars(range(min = 2, max = 2000))]
    points: Option<u64>,
    /// Newest lines of the log. Default 40.
    #[schemars(range(min = 0, max = 1000))]
    log_lines: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OverviewOut {
    progress: ProgressOut,
    #[serde(flatten)]
    run: overview::Overview,
}

/// get_run
pub(super) struct Overview;

impl Tool for Overview {
    const NAME: &'static str = "get_run";
    const TITLE: &'static str = "Show a whole run";
    const ABOUT: &'static str =
        "One run, whole: status, the curve over all stages, evaluations, samples, the log, checkpoints, exports, settings.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Inspect;
    type In = OverviewIn;
    type Out = OverviewOut;

    fn call(input: OverviewIn, shared: &Shared, _: &Call) -> Result<OverviewOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let (points, lines) = (input.points.unwrap_or(200) as usize, input.log_lines.unwrap_or(40) as usize);
        Ok(OverviewOut { progress: jobs::progress(&run)?.into(), run: overview::run(&run, points, lines)? })
    }
}
