//! The memory plan: the bytes of a run by part, known before anything is loaded.
//!
//! What is predicted is what the allocator has given out at the worst moment of a step (`tallow_kernels::alloc::peak_bytes`).
//! Pages of mapped model files are not in it: they are given back as soon as a tensor is read. The resident size of the
//! process lies a little above, by the program itself and by pages that the allocator keeps: [`HEADROOM`] stands for that.

mod available;
mod search;
mod suggest;

use candle_core::DType;
use serde::{Deserialize, Serialize};

pub use available::available_memory;

pub use search::OPERATIONS_PER_BYTE;
use search::best;

use super::error::{Result, TrainError};
use super::optimiser::OptimizerKind;
use crate::model::{DecoderSpec, Hardware, PassShape, Policy, Quantization, Sketch, Trainable};

/// What a budget must leave beside the predicted peak, as parts of 100: pages that the allocator keeps.
pub const HEADROOM: u64 = 5;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct MemoryRequest<'a> {
    /// The architecture.
    pub spec: &'a DecoderSpec,
    /// How the matrices are held. A checkpoint that is stored in NF4 is held so whatever the settings say.
    pub quantization: Quantization,
    /// The dtype of activations.
    pub compute_dtype: DType,
    /// What trains.
    pub trainable: &'a Trainable,
    /// The optimiser.
    pub optimizer: OptimizerKind,
    /// Most tokens of one optimiser step: all its batches together.
    pub window_tokens: usize,
    /// Tokens of the longest sequence, or of the longest group that must stay in one pass.
    pub longest: usize,
    /// The rows that are evaluated beside training.
    pub held_out: HeldOut,
    /// Most tokens in one pass, where it is set; else the plan chooses.
    pub tokens_per_pass: Option<usize>,
    /// What is kept between forward and backward, where it is set; else the plan chooses.
    pub policy: Option<Policy>,
    /// Bytes that the process may take in all, or on the GPU; else what it holds and what is available to it on the CPU.
    pub budget: Option<u64>,
    /// Bytes that it holds already: tokenizer, rows; on a GPU what is not tensors ([`GPU_HELD`]).
    pub held: u64,
    /// Whether it runs on a GPU.
    pub gpu: bool,
    /// Bytes of host memory that activations of a GPU may wait in; else half of what is available.
    pub host_budget: Option<u64>,
}

/// Rows that are evaluated beside training; of none: no tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeldOut {
    /// Tokens of all.
    pub tokens: usize,
    /// Tokens of the longest.
    pub longest: usize,
}

/// What a process takes on a GPU beside its tensors: context, machine code, the matrix library's workspace. An allowance,
/// not a measurement.
pub const GPU_HELD: u64 = 640 << 20;

/// What the program itself keeps resident in main memory, beside the blocks in use: its code, threads' stacks, and pages
/// of freed blocks. Measured over runs of 0.1 to 2.5 GiB: 80 to 130 MB.
pub const PROGRAM_HELD: u64 = 96 << 20;

/// Most tokens in a pass of an evaluation: enough to keep the kernels busy.
pub const EVALUATION_TOKENS: usize = 2048;

/// One part of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// What is kept between forward and backward.
    pub policy: Policy,
    /// Most tokens in one pass.
    pub tokens_per_pass: usize,
    /// Most tokens in one pass of an evaluation: [`EVALUATION_TOKENS`], or fewer where the memory is short.
    #[serde(default = "evaluation_tokens")]
    pub evaluation_tokens: usize,
    /// What the peak consists of; the sum is [`Self::peak_bytes`].
    pub parts: Vec<Part>,
    /// The most bytes in use at once.
    pub peak_bytes: u64,
    /// The bytes that there are.
    pub budget: u64,
    /// Whether the peak and its headroom lie within the budget, and what waits in host memory within that for it.
    pub fits: bool,
    /// Layers, counted from the bottom, whose activations wait in host memory between forward and backward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offloaded_layers: Vec<usize>,
    /// The most that they take there, beside the peak.
    #[serde(default)]
    pub host_bytes: u64,
}

fn evaluation_tokens() -> usize {
    EVALUATION_TOKENS
}

impl MemoryPlan {
    /// The bytes of a part; 0 when it has none.
    pub fn part(&self, name: &str) -> u64 {
        self.parts.iter().find(|p| p.name == name).map_or(0, |p| p.bytes)
    }
}

/// The fastest plan that fits.
///
/// The policies are tried from the fastest on, each with the window in one pass and then in more, down to passes of
/// 2048 tokens. Between making cheap activations again and recomputing every layer, in passes of that size, stand the mixtures:
/// the fewest layers that fit with their activations in host memory (on a GPU, as long as the copies can be made beside the
/// computing), and then the fewest recomputed layers. On a GPU the last policy recomputes every layer from an input in host
/// memory. When nothing fits, all again with passes down to the longest sequence.
///
/// # Errors
/// [`TrainError::Memory`] with the settings that would fit, when no plan does.
pub fn plan(request: &MemoryRequest) -> Result<MemoryPlan> {
    match best(request) {
        Ok(plan) => Ok(plan),
        Err(least) => Err(TrainError::Memory {
            needed: needed(least.peak_bytes),
            budget: least.budget,
            message: refusal(&least),
            fits: suggest::fits(request),
        }),
    }
}

/// What a run takes under this policy, with passes of so many tokens.
pub fn predict(r: &MemoryRequest, policy: Policy, tokens_per_pass: usize) -> MemoryPlan {
    let hardware = if r.gpu { Hardware::Gpu } else { Hardware::Cpu { threads: rayon::current_num_threads() } };
    let (spec, quantization, compute_dtype, trainable) = (r.spec, r.quantization, r.compute_dtype, r.trainable);
    let sketch = Sketch { spec, quantization, compute_dtype, trainable, hardware };
    let resident = sketch.resident();
    let pass = sketch.pass(PassShape { tokens: tokens_per_pass, longest: r.longest.min(tokens_per_pass).max(1), policy });
    let elements = &resident.trained_elements;
    let gradients: u64 = elements.iter().map(|n| 4 * *n as u64).sum();
    let optimizer: u64 = elements.iter().map(|n| r.optimizer.bytes(*n)).sum();
    // Ids, labels and lengths of the window, which wait for their pass in host memory.
    let window = if r.gpu { 0 } else { 16 * r.window_tokens as u64 };
    let fixed = resident.weights + resident.trained + gradients + optimizer + r.held + window;
    // The other moments of a step: values taken up into the weights; a checkpoint's largest tensor on its way to disk.
    let largest = if r.gpu { 0 } else { elements.iter().max().map_or(0, |n| 4 * *n as u64) };
    let step_peak = fixed + pass.peak.max(resident.sync).max(largest);
    let step_peak = step_peak.max(resident.load_peak + r.held);
    let budget = r.budget.unwrap_or_else(|| available_memory().saturating_add(r.held));
    // Evaluations come between steps: nothing is kept then, but their passes may be longer.
    let evaluation = |tokens: usize| match r.held_out.tokens.min(tokens) {
        0 => 0,
        tokens => fixed + sketch.evaluation(tokens.max(r.held_out.longest), r.held_out.longest.max(1)),
    };
    let shorter = tokens_per_pass.min(EVALUATION_TOKENS);
    let (evaluation_tokens, evaluation_peak) = match evaluation(EVALUATION_TOKENS) {
        long if needed(long) <= budget => (EVALUATION_TOKENS, long),
        _ => (shorter, evaluation(shorter)),
    };
    let peak_bytes = step_peak.max(evaluation_peak);
    let named = [
        ("weights", resident.weights),
        (if *trainable == Trainable::Full { "master weights" } else { "adapters" }, resident.trained),
        ("gradients", gradients),
        ("optimizer", optimizer),
        (if r.gpu { "driver" } else { "process" }, r.held + window),
        ("activations", pass.kept),
        ("logits", pass.logits),
    ];
    let known: u64 = named.iter().map(|p| p.1).sum();
    let rest = ("workspace", peak_bytes.saturating_sub(known));
    let parts = named.into_iter().chain([rest]).filter(|p| p.1 > 0).map(|(name, bytes)| Part { name: name.to_owned(), bytes }).collect();
    let fits = needed(peak_bytes) <= budget && (pass.host == 0 || pass.host <= host_budget(r));
    let offloaded_layers = if pass.host == 0 { Vec::new() } else { policy.offloaded_layers(spec.num_layers()) };
    MemoryPlan { policy, tokens_per_pass, evaluation_tokens, parts, peak_bytes, budget, fits, offloaded_layers, host_bytes: pass.host }
}

fn host_budget(r: &MemoryRequest) -> u64 {
    r.host_budget.unwrap_or_else(|| available_memory() / 2)
}

/// A peak with its headroom.
fn needed(peak: u64) -> u64 {
    peak + peak / 100 * HEADROOM
}

fn refusal(least: &MemoryPlan) -> String {
    let mut parts: Vec<&Part> = least.parts.iter().collect();
    parts.sort_by_key(|p| std::cmp::Reverse(p.bytes));
    let parts: Vec<String> = parts.iter().take(4).map(|p| format!("{} {}", p.name, size(p.bytes))).collect();
    let (needs, has) = (size(needed(least.peak_bytes)), size(least.budget));
    format!("the run needs {needs} of memory at the least ({}), and there are {has}", parts.join(", "))
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / f64::from(1 << 30)),
        b => format!("{:.0} MiB", (b as f64 / f64::from(1 << 20)).ceil()),
    }
}
