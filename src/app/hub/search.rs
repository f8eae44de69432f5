//! Searches on the Hub. Of each model they say whether its family is known and what of it fits this machine.
//!
//! ```text
//!   config.json of a result (a kilobyte, not kept) ──> DecoderSpec ──> memory plan     basis: config
//!   where it is not given (gated): number of parameters from the search                basis: parameters
//! ```

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::app::device;
use crate::base::error::Fault;
use crate::model::hub::{self, FoundDataset, FoundModel, HubOptions, Query};
use crate::model::{DecoderSpec, LoraConfig, Policy, Quantization, Trainable};
use crate::train::{GPU_HELD, HeldOut, MemoryRequest, OptimizerKind, PROGRAM_HELD, available_memory, predict};

/// Tokens of the row that [`Fit`] is reckoned for.
const ROW_TOKENS: usize = 512;
/// The ways to hold a model, and bytes of a weight in each.
const HELD: [(&str, Quantization, f64); 3] =
    [("nf4", Quantization::Nf4, 0.52), ("q8", Quantization::Q8, 1.06), ("bf16", Quantization::None, 2.0)];

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words, order, number.
    pub query: Query,
    /// Only models of this task; `None`: text-generation. `any`: all.
    pub task: Option<String>,
}

/// The memory that results are held against.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// `cpu` or `cuda:N`: what `device: auto` takes.
    pub device: String,
    /// What is free on the CPU, or all that the GPU has.
    pub bytes: u64,
}

/// What training takes with a base that is held so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// `nf4`, `q8` or `bf16`.
    pub quantization: &'static str,
    /// LoRA of rank 16 on all linear layers, one row of 512 tokens a step, activations recomputed.
    pub train_bytes: u64,
    /// Whether the machine has so much.
    pub fits: bool,
}

/// A model that was found.
#[derive(Debug, Clone, Serialize)]
pub struct ModelHit {
    /// What the Hub says.
    #[serde(flatten)]
    pub found: FoundModel,
    /// Its family, where this program can train it.
    pub family: Option<String>,
    /// Why it cannot, where it cannot.
    pub why_not: Option<String>,
    /// Whether its weights are in the cache.
    pub cached: bool,
    /// What of it fits.
    pub fits: Vec<Fit>,
    /// `config`: by the memory plan; `parameters`: estimated from their number alone.
    pub basis: Option<&'static str>,
}

/// What a search for models found.
#[derive(Debug, Clone, Serialize)]
pub struct ModelsFound {
    /// The memory that results are held against.
    pub machine: Machine,
    /// In the order that was asked for.
    pub models: Vec<ModelHit>,
}

/// A dataset that was found.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetHit {
    /// What the Hub says.
    #[serde(flatten)]
    pub found: FoundDataset,
    /// Whether some of its files are of a format that is read here.
    pub readable: bool,
}

/// What a search for datasets found.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetsFound {
    /// In the order that was asked for.
    pub datasets: Vec<DatasetHit>,
}

/// Searches models.
///
/// # Errors
/// Offline, or when the Hub cannot be reached or refuses.
pub fn models(search: &Search) -> Result<ModelsFound, Fault> {
    let options = HubOptions::from_env();
    let mut query = search.query.clone();
    match search.task.as_deref() {
        Some("any") => {}
        task => query.tags.push(task.unwrap_or("text-generation").to_owned()),
    }
    query.tags.push("safetensors".into());
    let found = hub::search_models(&options, &query)?;
    let wanted: Vec<(String, String)> = found.iter().map(|m| (m.id.clone(), m.commit.clone().unwrap_or_else(|| "main".into()))).collect();
    let configs = hub::small_files(&options, &wanted, "config.json")?;
    let cached = super::cached_models();
    let machine = machine();
    let hit = |(found, config): (FoundModel, Result<String, hub::Refused>)| {
        let cached = cached.contains(&found.id);
        hit(found, config.ok().as_deref(), cached, &machine)
    };
    let models = found.into_iter().zip(configs).map(hit).collect();
    Ok(ModelsFound { models, machine })
}

/// Searches datasets.
///
/// # Errors
/// As [`models`].
pub fn datasets(query: &Query) -> Result<DatasetsFound, Fault> {
    const READ: [&str; 3] = ["json", "csv", "parquet"];
    let hit = |found: FoundDataset| DatasetHit { readable: found.formats.iter().any(|f| READ.contains(&f.as_str())), found };
    Ok(DatasetsFound { datasets: hub::search_datasets(&HubOptions::from_env(), query)?.into_iter().map(hit).collect() })
}

/// The device that `auto` takes.
fn machine() -> Machine {
    let gpu = device::available().ok().and_then(|all| all.into_iter().next());
    gpu.map_or_else(|| Machine { device: "cpu".into(), bytes: available_memory() }, |g| Machine { device: g.device, bytes: g.memory_bytes })
}

fn hit(found: FoundModel, config: Option<&str>, cached: bool, machine: &Machine) -> ModelHit {
    let spec = config.map(|text| DecoderSpec::from_config_json(Path::new("config.json"), text));
    let (family, why_not, fits, basis) = match &spec {
        Some(Ok(spec)) => (Some(family_of(spec)), None, planned(spec, machine), Some("config")),
        Some(Err(e)) => (None, Some(e.to_string()), Vec::new(), None),
        None => {
            let family = DecoderSpec::known_family(found.architecture.as_deref(), found.model_type.as_deref());
            let fits = found.parameters.filter(|_| family.is_some()).map(|n| estimated(n, machine)).unwrap_or_default();
            let basis = (!fits.is_empty()).then_some("parameters");
            let unknown = match &found.architecture {
                Some(name) => format!("{name} is not known"),
                None => "the Hub does not say what architecture it is".to_owned(),
            };
            (family.map(str::to_owned), family.is_none().then_some(unknown), fits, basis)
        }
    };
    ModelHit { found, family, why_not, cached, fits, basis }
}

/// The family's name.
pub fn family_of(spec: &DecoderSpec) -> String {
    json!(spec.family).as_str().unwrap_or_default().to_owned()
}

/// By the memory plan.
fn planned(spec: &DecoderSpec, machine: &Machine) -> Vec<Fit> {
    let lora = LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, use_rslora: false, target_modules: vec!["all-linear".into()] };
    let trainable = Trainable::Lora(lora);
    let gpu = machine.device != "cpu";
    let fit = |(name, quantization, _): (&'static str, Quantization, f64)| {
        let request = MemoryRequest {
            spec,
            quantization,
            compute_dtype: candle_core::DType::BF16,
            trainable: &trainable,
            optimizer: OptimizerKind::AdamW,
            window_tokens: ROW_TOKENS,
            longest: ROW_TOKENS,
            held_out: HeldOut::default(),
            tokens_per_pass: Some(ROW_TOKENS),
            policy: Some(Policy::Recompute),
            budget: Some(u64::MAX),
            held: if gpu { GPU_HELD } else { PROGRAM_HELD },
            gpu,
            host_budget: None,
        };
        let train_bytes = predict(&request, Policy::Recompute, ROW_TOKENS).peak_bytes;
        Fit { quantization: name, train_bytes, fits: train_bytes <= machine.bytes }
    };
    HELD.map(fit).into()
}

/// From the number of parameters: the weights, a tenth for adapters and activations, and half a gigabyte for the rest.
fn estimated(parameters: u64, machine: &Machine) -> Vec<Fit> {
    let fit = |(name, _, bytes): (&'static str, Quantization, f64)| {
        let train_bytes = ((parameters as f64 * bytes * 1.1) as u64).saturating_add(512 << 20);
        Fit { quantization: name, train_bytes, fits: train_bytes <= machine.bytes }
    };
    HELD.map(fit).into()
}

impl ModelHit {
    /// The widest weights that fit.
    pub fn best_fit(&self) -> Option<&Fit> {
        self.fits.iter().rev().find(|f| f.fits)
    }
}
