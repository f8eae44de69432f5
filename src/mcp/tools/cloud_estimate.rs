//! What a run will cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{IMAGE, value};
use crate::app::cloud::{Cloud, RentRequest, offer_for_run};
use crate::app::configure;
use crate::base::error::Fault;
use crate::cloud::{Caps, OVERHEAD_HOURS};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EstimateIn {
    project_path: String,
    /// A GPU type, or a part of its name that fits one; default: the cheapest that the run fits.
    gpu: Option<String>,
    /// Other hosts instead of the service's own data centres.
    community: Option<bool>,
    /// Container disk; default 30.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// What a step took there, where it is known.
    step_seconds: Option<f64>,
    max_hours: Option<f64>,
    max_cost: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EstimateOut {
    /// Memory that the run needs on a GPU, rounded up to an offered size.
    needed_bytes: u64,
    /// Hours beside the steps: the pod's start, copying.
    overhead_hours: f64,
    /// For each GPU: steps, seconds, price_hour, storage_hour, hours, total, most; basis says where
    /// seconds come from: measured, given, reckoned (an estimate), unknown.
    costs: Vec<Value>,
    /// The basis of the first in words.
    said: String,
}

/// runpod_estimate_cost
pub(super) struct EstimateCost;

impl Tool for EstimateCost {
    const NAME: &'static str = "runpod_estimate_cost";
    const TITLE: &'static str = "Estimate what a run costs";
    const ABOUT: &'static str = "What a project's run takes and costs on the rented GPUs that it fits: the time of its steps there (measured \
        by an earlier run there, or reckoned) times the price, with disks.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = EstimateIn;
    type Out = EstimateOut;

    fn call(input: EstimateIn, shared: &Shared, _: &Call) -> Result<EstimateOut, Fault> {
        let service = Cloud::from_env()?;
        let project = shared.roots.project(&input.project_path)?;
        configure::settings(&project.config, &[], &|config| shared.roots.settings(config))?;
        let mut wish = RentRequest {
            gpu: input.gpu,
            count: 1,
            secure: input.community != Some(true),
            image: Some(IMAGE.into()),
            disk_gb: Some(within("disk_gb", input.disk_gb.unwrap_or(30), 1, 10_000)? as u32),
            caps: Caps { max_hours: input.max_hours, max_cost: input.max_cost },
            ..RentRequest::default()
        };
        let (_, costs) = offer_for_run(&service, &project.config, &[], &mut wish, input.step_seconds)?;
        let said = costs.first().map_or_else(String::new, |c| c.basis.words());
        let costs = costs.iter().map(value).collect::<Result<_, _>>()?;
        Ok(EstimateOut { needed_bytes: wish.memory_bytes, overhead_hours: OVERHEAD_HOURS, costs, said })
    }
}
