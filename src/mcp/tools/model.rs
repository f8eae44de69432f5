//! The installation, and what is known about models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{doctor, hub, info};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A device that can train.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceOut {
    name: String,
    description: String,
    memory_bytes: Option<u64>,
    free_bytes: u64,
}

/// A finding.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FindingOut {
    name: String,
    /// ok, note or problem.
    state: String,
    message: String,
    /// What to do.
    hint: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CheckOut {
    version: String,
    commit: Option<String>,
    devices: Vec<DeviceOut>,
    findings: Vec<FindingOut>,
    /// Folders that this server may use.
    roots: Vec<String>,
    /// True when no finding is a problem.
    ok: bool,
}

/// GPUs that can train. What is free on one is not known without opening it: the whole of it is given.
fn gpus() -> Vec<DeviceOut> {
    let out = |g: crate::app::device::Gpu| DeviceOut {
        name: g.device,
        description: format!("{}, compute capability {}", g.name, g.compute_capability),
        memory_bytes: Some(g.memory_bytes),
        free_bytes: g.memory_bytes,
    };
    crate::app::device::available().unwrap_or_default().into_iter().map(out).collect()
}

/// check_installation
pub(super) struct Check;

impl Tool for Check {
    const NAME: &'static str = "check_installation";
    const TITLE: &'static str = "Check the installation";
    const ABOUT: &'static str = "Version, devices with memory, processor features, embedded model, Hub settings, and what to fix.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = Nothing;
    type Out = CheckOut;

    fn call(_: Nothing, shared: &Shared, _: &Call) -> Result<CheckOut, Fault> {
        let report = doctor::run();
        let m = &report.machine;
        let cpu = DeviceOut {
            name: "cpu".into(),
            description: format!("{}, {} threads", m.cpu_model.as_deref().unwrap_or(&m.arch), m.cpu_count),
            memory_bytes: m.memory_bytes,
            free_bytes: crate::train::available_memory(),
        };
        let finding = |f: &doctor::Finding| FindingOut {
            name: f.name.into(),
            state: f.state.into(),
            message: f.message.clone(),
            hint: f.hint.clone(),
        };
        Ok(CheckOut {
            version: report.version.into(),
            commit: report.commit.map(str::to_owned),
            devices: std::iter::once(cpu).chain(gpus()).collect(),
            ok: report.findings.iter().all(|f| f.state != "problem"),
            findings: report.findings.iter().map(finding).collect(),
            roots: shared.roots.all().map(|r| r.display().to_string()).collect(),
        })
    }
}

/// A family.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FamilyOut {
    /// What base_model.type calls it.
    family: String,
    models: String,
    /// Ids to begin with.
    examples: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FamiliesOut {
    families: Vec<FamilyOut>,
    cached: Vec<String>,
    /// How a base can be held.
    quantizations: Vec<String>,
    /// How it can be trained.
    methods: Vec<String>,
    note: String,
}

/// list_supported_models
pub(super) struct Families;

impl Tool for Families {
    const NAME: &'static str = "list_supported_models";
    const TITLE: &'static str = "List supported models";
    const ABOUT: &'static str = "Model families that can be tuned, and Hub models whose weights are here.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = Nothing;
    type Out = FamiliesOut;

    fn call(_: Nothing, _: &Shared, _: &Call) -> Result<FamiliesOut, Fault> {
        let family = |f: &info::FamilyInfo| FamilyOut {
            family: f.family.into(),
            models: f.models.into(),
            examples: f.examples.iter().map(|e| (*e).to_owned()).collect(),
        };
        Ok(FamiliesOut {
            families: info::FAMILIES.iter().map(family).collect(),
            cached: hub::cached_models(),
            quantizations: ["none", "q4", "q8"].map(str::to_owned).into(),
            methods: ["lora", "full"].map(str::to_owned).into(),
            note: "A model is known by its config.json; weights are read from safetensors. QLoRA is lora over a q4 or q8 base.".into(),
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InfoIn {
    /// Folder, `embedded`, or a Hub id (its weights are not fetched).
    model_name: String,
}

/// Memory of one way to train.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NeedOut {
    method: String,
    quantization: String,
    /// One row of 512 tokens a step, rank 16 on all linear layers, activations recomputed.
    train_bytes: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InfoOut {
    model: String,
    path: String,
    architecture: String,
    family: String,
    parameters: u64,
    layers: u64,
    hidden_size: u64,
    vocabulary: u64,
    context_length: u64,
    licence: Option<String>,
    has_chat_template: bool,
    weights_here: bool,
    memory: Vec<NeedOut>,
}

/// get_model_info
pub(super) struct Info;

impl Tool for Info {
    const NAME: &'static str = "get_model_info";
    const TITLE: &'static str = "Describe a model";
    const ABOUT: &'static str = "Architecture, size, context, licence, chat template, and the memory that each way to train takes.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Inspect;
    type In = InfoIn;
    type Out = InfoOut;

    fn call(input: InfoIn, shared: &Shared, _: &Call) -> Result<InfoOut, Fault> {
        let i = info::model(&shared.roots.model(&input.model_name)?)?;
        let need = |n: &info::Need| NeedOut { method: n.method.into(), quantization: n.quantization.into(), train_bytes: n.train_bytes };
        Ok(InfoOut {
            path: i.path.display().to_string(),
            parameters: i.parameters,
            layers: i.layers as u64,
            hidden_size: i.hidden_size as u64,
            vocabulary: i.vocabulary as u64,
            context_length: i.context_length as u64,
            has_chat_template: i.has_chat_template,
            weights_here: i.weights_here,
            memory: i.needs.iter().map(need).collect(),
            model: i.model,
            architecture: i.architecture,
            family: i.family,
            licence: i.licence,
        })
    }
}
