//! What a run will take, before it is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::overrides::checked_overrides;
use crate::app::{configure, plan};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};
use crate::train::MemoryPlan;

/// Memory as it will be used.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanOut {
    /// Most bytes in use at once.
    peak_bytes: u64,
    /// Bytes that there are.
    budget_bytes: u64,
    /// What is kept between forward and backward.
    policy: String,
    /// Most tokens in one pass.
    tokens_per_pass: u64,
    /// What the peak consists of, in bytes.
    parts: Map<String, Value>,
    /// Layers, counted from the bottom, whose activations wait in host memory.
    offloaded_layers: Vec<usize>,
    /// Bytes of host memory that they take there.
    host_bytes: u64,
}

impl From<&MemoryPlan> for PlanOut {
    fn from(p: &MemoryPlan) -> Self {
        Self {
            peak_bytes: p.peak_bytes,
            budget_bytes: p.budget,
            policy: match json!(p.policy) {
                Value::String(word) => word,
                mixed => mixed.to_string(),
            },
            tokens_per_pass: p.tokens_per_pass as u64,
            parts: p.parts.iter().map(|part| (part.name.clone(), json!(part.bytes))).collect(),
            offloaded_layers: p.offloaded_layers.clone(),
            host_bytes: p.host_bytes,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanIn {
    /// The project folder, or a configuration file.
    project_path: String,
    /// Plan this run, with its own settings.
    run_id: Option<String>,
    /// Settings that differ from the project's, as in configure_training_run. Not with run_id.
    override_params: Option<Map<String, Value>>,
    /// Plan for this much memory instead of what is free, for example 24GiB.
    memory: Option<String>,
    /// Plan for a GPU with this much memory, which need not be here.
    gpu_memory: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanTrainingOut {
    /// The base model.
    model: String,
    parameters: u64,
    /// Tokens in one optimiser step.
    window_tokens: u64,
    /// Memory as it will be used.
    memory: PlanOut,
    /// From measured steps of runs like it, where there are any.
    tokens_per_second: Option<f64>,
    /// From the same steps, or from this machine's speed; left out where the rows are not there.
    predicted_minutes: Option<f64>,
    /// What a person should know about the settings.
    warnings: Vec<String>,
}

/// plan_training
pub(super) struct Plan;

impl Tool for Plan {
    const NAME: &'static str = "plan_training";
    const TITLE: &'static str = "Plan memory and time";
    const ABOUT: &'static str = "Predict peak memory by part, steps, epochs and time as training would run, and choose the fastest plan that \
        fits. Downloads no weights. A plan that cannot fit is an error that names settings which would.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Inspect;
    type In = PlanIn;
    type Out = PlanTrainingOut;

    fn call(input: PlanIn, shared: &Shared, _: &Call) -> Result<PlanTrainingOut, Fault> {
        let room = match (&input.memory, &input.gpu_memory) {
            (None, None) => plan::Room::Here,
            (Some(size), None) => plan::Room::Bytes(plan::parse_size(size)?),
            (None, Some(size)) => plan::Room::Gpu(plan::parse_size(size)?),
            (Some(_), Some(_)) => {
                return Err(
                    Fault::new("invalid_arguments", "`memory` and `gpu_memory` are mutually exclusive").hint("leave out one of them")
                );
            }
        };
        let (report, rate) = if let Some(run_id) = &input.run_id {
            if input.override_params.is_some() {
                return Err(
                    Fault::new("invalid_arguments", "a run's settings cannot be overridden").hint("leave out run_id or override_params")
                );
            }
            let manifest = shared.roots.run(&input.project_path, run_id)?.manifest()?;
            let config = &manifest.config;
            shared.roots.settings(config)?;
            let root = shared.roots.project(&input.project_path)?.root;
            (plan::of_config(config, &root, room)?, configure::rate(&root, config, &manifest.dataset))
        } else {
            let project = shared.roots.project(&input.project_path)?;
            let set = checked_overrides(shared, input.override_params.as_ref())?;
            let resolved = configure::settings(&project.config, &set, &|c| shared.roots.settings(c))?;
            let report = plan::of_resolved(&resolved, &project.root, room)?;
            let data = report.data.clone().unwrap_or_default();
            let rate = configure::rate(&project.root, &resolved.config, &data);
            (report, rate)
        };
        let absent = report.absent.iter().map(|what| format!("{what}; start_training needs it"));
        let warnings: Vec<String> = absent.chain(report.warnings.iter().cloned()).collect();
        Ok(PlanTrainingOut {
            model: report.model,
            parameters: report.parameters,
            window_tokens: report.window_tokens as u64,
            memory: PlanOut::from(&report.plan),
            tokens_per_second: rate.map(|r| r.tokens_per_second),
            predicted_minutes: report.time.map(|t| t.seconds / 60.0),
            warnings,
        })
    }
}
