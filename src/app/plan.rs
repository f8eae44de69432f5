//! What a run will take in memory, and how it should run to fit.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use tallow_kernels::alloc;

use super::device::Chosen;
use super::prepare::Lengths;
use super::ready::{self, Ready, Until};
use super::{jobs, prepare};
use crate::base::error::Fault;
use crate::config::{AutoBool, Method, Resolved, RunConfig, Said};
use crate::model::{DecoderSpec, Policy, Trainable};
use crate::runs::DatasetRecord;
use crate::train::{GPU_HELD, HeldOut, MemoryPlan, MemoryRequest, PROGRAM_HELD, plan};

/// A request for a plan.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// A configuration file or a project folder; `None`: flags say everything.
    pub config: Option<PathBuf>,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Settings that flags stand for: the flag, the key, the value.
    pub flags: Vec<(String, String, Value)>,
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
    /// The most rows of a batch that one pass has room for, with whatever is recomputed.
    pub largest_batch: usize,
    /// Its rows; `None` where a file of them is not there yet.
    pub data: Option<DatasetRecord>,
    /// What each stage will do.
    pub stages: Vec<StagePlan>,
    /// Seconds that it will take, and where the figure comes from; `None` where nothing is known.
    pub time: Option<Time>,
    /// Bytes on disk that checkpoints and result will take at most.
    pub disk_bytes: u64,
    /// Files of rows or weights that training needs and that are not there.
    pub absent: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// The plan.
    #[serde(flatten)]
    pub plan: MemoryPlan,
}

/// A stage as it will run.
#[derive(Debug, Clone, Serialize)]
pub struct StagePlan {
    /// Optimiser steps.
    pub steps: u64,
    /// Passes over its rows; `None` where the rows are not there.
    pub epochs: Option<f64>,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Whether each row of a batch is as many sequences as fit into the longest allowed.
    pub packed: bool,
    /// Batches in an optimiser step.
    pub gradient_accumulation: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which it rises.
    pub warmup_steps: u64,
}

/// How long a run will take.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Time {
    /// Seconds.
    pub seconds: f64,
    /// Whether an earlier run of this project was measured; otherwise it is reckoned from this machine's speed.
    pub measured: bool,
}

/// Plans as training would run: the rows are read, the model's weights are not. Where a file of rows is not there yet,
/// they are taken to be as long as they may be.
///
/// # Errors
/// When the configuration, the model or the rows cannot be used, or nothing fits; then with what would.
pub fn run(request: &PlanRequest) -> Result<PlanReport, Fault> {
    let (project, resolved) = super::train::configuration_of(request.config.as_deref(), &request.set, &request.flags)?;
    let room = match (request.gpu_memory, request.memory) {
        (Some(bytes), _) => Room::Gpu(bytes),
        (None, Some(bytes)) => Room::Bytes(bytes),
        (None, None) => Room::Here,
    };
    of_resolved(&resolved, &project.root, room)
}

/// The same for settings that are resolved already; `root` is the project's folder.
///
/// # Errors
/// As [`run`].
pub fn of_resolved(resolved: &Resolved, root: &Path, room: Room) -> Result<PlanReport, Fault> {
    let mut report = of_settings(&resolved.config, Some(&resolved.said), root, room)?;
    report.warnings.splice(0..0, resolved.warnings.iter().cloned());
    Ok(report)
}

/// The same for the settings of a run.
///
/// # Errors
/// As [`run`].
pub fn of_config(config: &RunConfig, root: &Path, room: Room) -> Result<PlanReport, Fault> {
    of_settings(config, None, root, room)
}

fn of_settings(config: &RunConfig, said: Option<&Said>, root: &Path, room: Room) -> Result<PlanReport, Fault> {
    let ready = ready::ready(config, said, Until::Planned, room, &mut |_| {})?;
    let config = &ready.config;
    let record = ready.data.as_ref().map(|d| d.record.clone());
    Ok(PlanReport {
        model: ready.base.name.clone(),
        parameters: ready.base.spec.num_parameters(),
        window_tokens: window_tokens(config),
        largest_batch: ready::largest_batch(config, &ready.base.spec, ready.lengths, room, MOST_ROWS)?,
        stages: (1..=config.training.num_stages).map(|n| stage(config, n, ready.epoch_steps[n - 1])).collect(),
        time: time(&ready, root, room),
        disk_bytes: disk_bytes(config, &ready.plan),
        data: record,
        absent: ready.absent,
        warnings: ready.warnings,
        plan: ready.plan,
    })
}

/// Largest batch that is looked for.
const MOST_ROWS: usize = 4096;

fn stage(config: &RunConfig, number: usize, epoch_steps: Option<f64>) -> StagePlan {
    let settings = prepare::stage(config, number);
    StagePlan {
        steps: settings.iterations,
        epochs: epoch_steps.map(|steps| settings.iterations as f64 / steps),
        batch_size: settings.batch_size.rows(),
        packed: config.training.packing,
        gradient_accumulation: config.training.gradient_accumulation,
        learning_rate: settings.learning_rate,
        warmup_steps: settings.warmup_steps,
    }
}

/// From an earlier run of the project, else from what this machine can multiply.
fn time(ready: &Ready, root: &Path, room: Room) -> Option<Time> {
    let data = ready.data.as_ref()?;
    if let Some(rate) = super::configure::rate(root, &ready.config, &data.record) {
        return Some(Time { seconds: rate.seconds, measured: true });
    }
    // Another machine's memory is another machine's speed.
    if !matches!(room, Room::Here) || !matches!(Chosen::of(&ready.config), Ok(Chosen::Cpu)) {
        return None;
    }
    let peak = tallow_kernels::peak::measure();
    let bf16 = prepare::load_options(&ready.config).compute_dtype == candle_core::DType::BF16;
    let operations_per_second = USED * if bf16 { peak.bf16_flops() } else { peak.f32_flops };
    let full = ready.config.training.method == Method::Full;
    let again = !matches!(ready.plan.policy, Policy::KeepAll | Policy::Minimal);
    // Two operations a weight in each of: the forward pass, the gradient of the input, that of the weights, the pass again.
    let passes = 2 + u64::from(full) + u64::from(again);
    let weights = ready.base.spec.num_parameters() as f64;
    let token = 2.0 * weights * passes as f64 / operations_per_second;
    let work = jobs::WorkAhead::of(&ready.config, &data.record);
    let step = token * tokens_a_step(ready, data);
    let pace = jobs::Pace { step, evaluation: 0.0, checkpoint: 0.0, forward_token: token / passes as f64 };
    Some(Time { seconds: jobs::seconds_of(&work, &pace), measured: false })
}

/// Share of the machine's peak that training reaches, roughly.
const USED: f64 = 0.6;

/// Tokens of a mean optimiser step of the first stage.
fn tokens_a_step(ready: &Ready, data: &prepare::Prepared) -> f64 {
    let steps = ready.epoch_steps[0].unwrap_or(1.0).max(f64::MIN_POSITIVE);
    data.record.train.tokens as f64 / steps
}

/// What is kept on disk at the worst moment: the checkpoints that are kept, the best one, the one being written, and the
/// result.
fn disk_bytes(config: &RunConfig, plan: &MemoryPlan) -> u64 {
    let t = &config.training;
    let trained = plan.part("adapters") + plan.part("master weights");
    let checkpoint = trained + plan.part("optimizer");
    let longest = t.stage1.iterations.max(if t.num_stages == 2 { t.stage2.iterations } else { 0 });
    let made = if t.save_steps == 0 { 1 } else { longest.div_ceil(t.save_steps).max(1) };
    let kept = if t.keep_checkpoints == 0 { made } else { made.min(t.keep_checkpoints as u64) } + 2;
    let stages = t.num_stages as u64;
    checkpoint.saturating_mul(kept).saturating_mul(stages).saturating_add(trained.saturating_mul(stages + 1))
}

/// Most tokens in one optimiser step of any stage.
fn window_tokens(config: &RunConfig) -> usize {
    let t = &config.training;
    let batch = (1..=t.num_stages).map(|n| prepare::stage(config, n).batch_size.rows()).max().unwrap_or(1);
    batch * t.max_seq_length * t.gradient_accumulation
}

/// The plan of a run whose rows have these lengths.
///
/// # Errors
/// When nothing fits.
pub(super) fn for_run(config: &RunConfig, spec: &DecoderSpec, lengths: Lengths, room: Room) -> Result<MemoryPlan, Fault> {
    Ok(with_request(config, spec, lengths, room, plan)??)
}

/// What the memory planner is asked for such a run, as the rest of `app` needs it.
///
/// # Errors
/// When the adapters or the device cannot be had.
pub(super) fn with_request<T>(
    config: &RunConfig,
    spec: &DecoderSpec,
    lengths: Lengths,
    room: Room,
    ask: impl FnOnce(&MemoryRequest) -> T,
) -> Result<T, Fault> {
    let t = &config.training;
    let trainable = if t.method == Method::Full { Trainable::Full } else { Trainable::Lora(prepare::lora(config)) };
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
        longest: lengths.longest.min(t.max_seq_length),
        held_out: HeldOut { tokens: lengths.held_out_tokens, longest: lengths.longest_held_out.min(t.max_seq_length) },
        tokens_per_pass: None,
        policy,
        budget,
        held,
        gpu,
        host_budget: host,
    };
    Ok(ask(&request))
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
    let on_cpu = |budget| Space { gpu: false, budget, held: alloc::live_bytes() + PROGRAM_HELD, host: None };
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

/// Bytes of a size as people write it: `24GiB`, `24GB`, `512M`; without a unit from a mebibyte on.
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
    // 24 means 24 GiB to a person and 24 bytes to nobody.
    const LEAST_WITHOUT_UNIT: f64 = 1024.0 * 1024.0;
    if unit.is_empty() && number < LEAST_WITHOUT_UNIT {
        return Err(Fault::new("usage", format!("`{text}` has no unit")).hint(format!("for example {text}GiB or {text}GB")));
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
        assert_eq!(parse_size("16000000000").unwrap(), 16_000_000_000);
        for bad in ["", "GiB", "-1", "3 apples", "24", "1000"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
