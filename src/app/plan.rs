//! What a run will take in memory, and how it should run to fit.

use std::path::PathBuf;

use serde::Serialize;

use tallow_kernels::alloc;

use super::device::Chosen;
use super::prepare;
use crate::base::error::Fault;
use crate::config::{AutoBool, RunConfig};
use crate::model::{DecoderSpec, Policy, Trainable};
use crate::train::{GPU_HELD, MemoryPlan, MemoryRequest, plan};

/// A request for a plan.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Plan for so many bytes instead of what is free.
    pub memory: Option<u64>,
    /// Plan for a GPU with so many bytes, which need not be there.
    pub gpu_memory: Option<u64>,
}

/// For what a plan is made.
#[derive(Debug, Clone, Copy)]
pub enum Room {
    /// The configured device as it is now.
    Here,
    /// The configured device with so much memory free.
    Bytes(u64),
    /// A GPU with so much memory in all.
    Gpu(u64),
}

/// A plan beside what it is for.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// The base model.
    pub model: String,
    /// Number of its weights.
    pub parameters: u64,
    /// Tokens in one optimiser step.
    pub window_tokens: usize,
    /// The plan.
    #[serde(flatten)]
    pub plan: MemoryPlan,
}

/// Plans without reading the data: rows are taken to be as long as they may be.
///
/// # Errors
/// When the configuration or the model cannot be used, or nothing fits; then with what would.
pub fn run(request: &PlanRequest) -> Result<PlanReport, Fault> {
    let (_, resolved) = super::train::configuration(&request.config, &request.set)?;
    let room = match (request.gpu_memory, request.memory) {
        (Some(bytes), _) => Room::Gpu(bytes),
        (None, Some(bytes)) => Room::Bytes(bytes),
        (None, None) => Room::Here,
    };
    of_config(&resolved.config, room)
}

/// The same for settings that are resolved already.
///
/// # Errors
/// As [`run`].
pub fn of_config(config: &RunConfig, room: Room) -> Result<PlanReport, Fault> {
    let (model, _, spec) = prepare::base_model(config)?;
    let plan = for_run(config, &spec, config.training.max_seq_length, room)?;
    Ok(PlanReport { model, parameters: spec.num_parameters(), window_tokens: window_tokens(config), plan })
}

/// Most tokens in one optimiser step of any stage.
fn window_tokens(config: &RunConfig) -> usize {
    let t = &config.training;
    let batch = (1..=t.num_stages).map(|n| prepare::stage(config, n).batch_size).max().unwrap_or(1);
    batch * t.max_seq_length * t.gradient_accumulation
}

/// The plan of a run whose longest sequence has `longest` tokens.
///
/// # Errors
/// When nothing fits.
pub(super) fn for_run(config: &RunConfig, spec: &DecoderSpec, longest: usize, room: Room) -> Result<MemoryPlan, Fault> {
    let t = &config.training;
    let trainable = if t.method == "full" { Trainable::Full } else { Trainable::Lora(prepare::lora(config)) };
    if let Trainable::Lora(lora) = &trainable {
        lora.check(spec)?;
    }
    let load = prepare::load_options(config);
    let policy = match t.gradient_checkpointing {
        AutoBool::Fixed(true) => Some(Policy::Recompute),
        AutoBool::Fixed(false) => Some(Policy::KeepAll),
        AutoBool::Auto(_) => None,
    };
    let Space { gpu, budget, held, host } = space(config, room)?;
    let request = MemoryRequest {
        spec,
        quantization: load.quantization,
        compute_dtype: load.compute_dtype,
        trainable: &trainable,
        optimizer: prepare::optimizer(config).kind,
        window_tokens: window_tokens(config),
        longest: longest.min(t.max_seq_length),
        tokens_per_pass: None,
        policy,
        budget,
        held,
        gpu,
        host_budget: host,
    };
    Ok(plan(&request)?)
}

/// A GPU that need not be here is taken to stand in a machine with so many times its memory to spare for activations.
const HOST_OF_GPU: u64 = 2;

/// Where a run has room.
struct Space {
    gpu: bool,
    /// Bytes that may be taken; `None`: what there is.
    budget: Option<u64>,
    /// Bytes that are held already.
    held: u64,
    /// Host memory for a GPU's activations; `None`: what there is.
    host: Option<u64>,
}

fn space(config: &RunConfig, room: Room) -> Result<Space, Fault> {
    let on_gpu = |bytes: u64, held, host| Space { gpu: true, budget: Some(bytes), held, host };
    let device = match room {
        Room::Gpu(bytes) => return Ok(on_gpu(bytes, GPU_HELD, Some(HOST_OF_GPU.saturating_mul(bytes)))),
        Room::Here | Room::Bytes(_) => Chosen::of(config)?,
    };
    let on_cpu = |budget| Space { gpu: false, budget, held: alloc::live_bytes(), host: None };
    match (device, room) {
        (Chosen::Cpu, Room::Bytes(bytes)) => Ok(on_cpu(Some(bytes))),
        (Chosen::Cpu, _) => Ok(on_cpu(None)),
        (Chosen::Cuda(_), Room::Bytes(bytes)) => Ok(on_gpu(bytes, GPU_HELD, None)),
        (Chosen::Cuda(_), _) => {
            // With the context made, what is free is free for tensors, but for the matrix library's workspace.
            let free = tallow_kernels::device::memory(&device.open()?)?.map_or(0, |m| m.free);
            Ok(on_gpu(free, GPU_HELD / 4, None))
        }
    }
}

/// Bytes of a size as people write it: `24GiB`, `24GB`, `512M`, `1000000`.
///
/// # Errors
/// When it is no size.
pub fn parse_size(text: &str) -> Result<u64, Fault> {
    let bad = || Fault::new("usage", format!("`{text}` is no size")).hint("for example 24GiB, 24GB or 512MiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let unit = text[text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..].to_ascii_lowercase();
    let number: f64 = digits.parse().map_err(|_| bad())?;
    let factor: f64 = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err(bad()),
    };
    if !(number > 0.0 && number.is_finite()) {
        return Err(bad());
    }
    Ok((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("24GiB").unwrap(), 24 << 30);
        assert_eq!(parse_size("1.5 GB").unwrap(), 1_500_000_000);
        assert_eq!(parse_size("512m").unwrap(), 512 << 20);
        for bad in ["", "GiB", "-1", "3 apples"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
