//! Models that stay loaded for `generate_text`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::Nothing;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};
use crate::mcp::warm::{HeldOut, Which};

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LoadOut {
    success: bool,
    /// It was loaded before this call.
    was_loaded: bool,
    /// What list_loaded_models says of it.
    model: HeldOut,
    /// Models that had to go for it.
    dropped: Vec<String>,
}

fn elsewhere() -> Fault {
    Fault::new("internal", "loaded models belong to the server")
}

/// load_model
pub(super) struct Load;

impl Tool for Load {
    const NAME: &'static str = "load_model";
    const TITLE: &'static str = "Keep a model loaded";
    const ABOUT: &'static str = "Load a model, or a run's result, and keep it for generate_text, which then answers without loading it. It \
        goes when its files change, and when too many models are kept the least used one does.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE.reaching_out() };
    const LANE: Lane = Lane::Model;
    type In = Which;
    type Out = LoadOut;

    fn call(_: Which, _: &Shared, _: &Call) -> Result<LoadOut, Fault> {
        Err(elsewhere())
    }

    fn in_server(arguments: &Value, shared: &Shared, call: &Call) -> Option<Result<Value, Fault>> {
        let named = arguments["model"].is_string();
        let of_run = arguments["project_path"].is_string() && arguments["run_id"].is_string();
        if named == of_run {
            return Some(Err(Fault::new("invalid_arguments", "the model is not named, or named twice")
                .hint("give either `model` (with `adapter` where there is one), or `project_path` and `run_id`")));
        }
        let load = shared.warm.load(arguments, shared, call);
        let out =
            |l: crate::mcp::warm::Load| json!(LoadOut { success: true, was_loaded: l.was_loaded, model: l.model, dropped: l.dropped });
        Some(load.map(out))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ListOut {
    /// The one used last first.
    models: Vec<HeldOut>,
    memory_bytes: u64,
    /// Free beside them.
    free_bytes: u64,
}

/// list_loaded_models
pub(super) struct List;

impl Tool for List {
    const NAME: &'static str = "list_loaded_models";
    const TITLE: &'static str = "List loaded models";
    const ABOUT: &'static str = "Models that load_model keeps: memory, seconds that loading took, answers.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = Nothing;
    type Out = ListOut;

    fn call(_: Nothing, shared: &Shared, _: &Call) -> Result<ListOut, Fault> {
        let models = shared.warm.list();
        let memory_bytes = models.iter().map(HeldOut::bytes).sum();
        Ok(ListOut { models, memory_bytes, free_bytes: crate::train::available_memory() })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnloadIn {
    /// From list_loaded_models; left out: all.
    number: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnloadOut {
    /// Those that went.
    unloaded: Vec<String>,
}

/// unload_model
pub(super) struct Unload;

impl Tool for Unload {
    const NAME: &'static str = "unload_model";
    const TITLE: &'static str = "Unload a model";
    const ABOUT: &'static str = "Give the memory of a model back that load_model keeps, or of all.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Cheap;
    type In = UnloadIn;
    type Out = UnloadOut;

    fn call(input: UnloadIn, shared: &Shared, _: &Call) -> Result<UnloadOut, Fault> {
        Ok(UnloadOut { unloaded: shared.warm.unload(input.number)? })
    }
}
