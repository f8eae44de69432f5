//! Whole training steps on random token ids.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device};
use serde::Serialize;
use tallow_kernels::device::launch_count;
use tallow_kernels::{alloc, peak};

use super::fit::longest_row;
use super::{median, random_decoder};
use crate::app::device::Chosen;
use crate::app::models;
use crate::base::error::Fault;
use crate::data::{PackedBatch, Rng};
use crate::model::{Decoder, DecoderSpec, LoadOptions, LoraConfig, Policy, Quantization};
use crate::train::{Optimizer, OptimizerConfig, Sft, StepSettings, train_step};

/// A request to measure training steps.
#[derive(Debug, Clone)]
pub struct BenchTrainRequest {
    /// The model: a folder, `embedded`, or `random:` and a named shape, whose weights are made on the device.
    pub model: String,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Sequences a step.
    pub batch: usize,
    /// Tokens a sequence.
    pub seq: usize,
    /// A file of lengths, one a line, of which the first `batch` are a step's sequences; instead of `seq`.
    pub lengths: Option<PathBuf>,
    /// One sequence instead, as long as so many bytes of memory have room for, and whatever policy makes it so.
    pub fit: Option<u64>,
    /// Timed steps, after one that warms up.
    pub steps: usize,
    /// `f32`, `bf16` or `nf4` (bf16 over a 4-bit base).
    pub dtype: String,
    /// LoRA rank; adapters sit on all seven linear layers.
    pub rank: usize,
    /// What the forward pass keeps.
    pub policy: Policy,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchTrainReport {
    /// The model.
    pub model: String,
    /// Where it ran.
    pub device: String,
    /// As asked for.
    pub dtype: String,
    /// Sequences a step.
    pub batch: usize,
    /// Tokens of the longest sequence.
    pub seq: usize,
    /// Tokens a step.
    pub tokens: usize,
    /// LoRA rank.
    pub rank: usize,
    /// What the forward pass kept.
    pub policy: Policy,
    /// Threads.
    pub threads: usize,
    /// Tokens a second of the median step.
    pub tokens_per_second: f64,
    /// Seconds of each step.
    pub step_seconds: Vec<f64>,
    /// Loss of each step.
    pub losses: Vec<f64>,
    /// Largest resident size of the process.
    pub peak_rss_bytes: u64,
    /// Most bytes that were allocated at once while stepping.
    pub peak_allocated_bytes: u64,
    /// Host memory in which activations waited, in bytes.
    pub host_bytes: u64,
    /// Kernels and matrix products that the host launches on a GPU for one step.
    pub launches_per_step: u64,
    /// Operations that the step's mathematics needs (recomputation not counted).
    pub model_flops_per_step: f64,
    /// The ceiling that they are compared with, measured here and now.
    pub peak_flops: f64,
    /// Share of the ceiling that the median step reached.
    pub model_flops_utilisation: f64,
}

/// Measures.
///
/// # Errors
/// When the model cannot be loaded or a kernel refuses.
pub fn train(request: &BenchTrainRequest) -> Result<BenchTrainReport, Fault> {
    let chosen = Chosen::named(&request.device)?;
    let device = chosen.open()?;
    let (quantization, compute_dtype) = match request.dtype.as_str() {
        "f32" => (Quantization::None, DType::F32),
        "nf4" => (Quantization::Nf4, DType::BF16),
        _ => (Quantization::None, DType::BF16),
    };
    let peak_flops = match (&device, request.dtype.as_str()) {
        (Device::Cpu, "f32") => peak::measure().f32_flops,
        (Device::Cpu, _) => peak::measure().bf16_flops(),
        _ => super::gpu::gemm_flops(&device, compute_dtype)?,
    };
    let options = LoadOptions { quantization, compute_dtype, device: device.clone(), ..LoadOptions::default() };
    let mut model = adapted(request, &options)?;
    let (lengths, policy) = match (request.fit, &request.lengths) {
        (Some(room), _) => {
            let (tokens, policy) = longest_row(&model, room, !matches!(device, Device::Cpu))?;
            (vec![tokens], policy)
        }
        (None, Some(file)) => (read_lengths(file, request.batch)?, request.policy),
        (None, None) => (vec![request.seq; request.batch], request.policy),
    };
    let batch = random_batch(model.spec().vocab_size, &lengths);
    // A model made at random has not come through the loader, which does this.
    alloc::keep_freed_pages();
    alloc::prefer_small_pages();
    let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
    let mut grads = model.zero_grads()?;
    let settings = StepSettings { lr: 1e-4, max_grad_norm: Some(1.0), policy, dropout_seed: None };
    let (mut step_seconds, mut losses) = (Vec::new(), Vec::new());
    tallow_kernels::device::reset_peak(&device)?;
    let launched = launch_count();
    for i in 0..=request.steps {
        let start = Instant::now();
        let out = train_step(&mut model, &mut optimizer, &Sft, std::slice::from_ref(&batch), &mut grads, &settings)?;
        if i > 0 {
            step_seconds.push(start.elapsed().as_secs_f64());
            losses.push(out.loss);
        }
    }
    let median = median(&step_seconds);
    let tokens: usize = lengths.iter().sum();
    let flops = model_flops(model.spec(), &lengths, request.rank);
    Ok(BenchTrainReport {
        model: request.model.clone(),
        device: chosen.name(),
        dtype: request.dtype.clone(),
        batch: lengths.len(),
        seq: lengths.iter().copied().max().unwrap_or(0),
        tokens,
        rank: request.rank,
        policy,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        tokens_per_second: tokens as f64 / median,
        step_seconds,
        losses,
        peak_rss_bytes: alloc::peak_rss_bytes(),
        peak_allocated_bytes: tallow_kernels::device::peak_bytes(&device)?,
        host_bytes: tallow_kernels::offload::host_peak_bytes(),
        launches_per_step: (launch_count() - launched) / (request.steps as u64 + 1),
        model_flops_per_step: flops,
        peak_flops,
        model_flops_utilisation: flops / median / peak_flops,
    })
}

/// The model with an adapter on all its linear layers.
fn adapted(request: &BenchTrainRequest, options: &LoadOptions) -> Result<Decoder, Fault> {
    let mut model = match request.model.strip_prefix("random:") {
        Some(shape) => random_decoder(shape, options)?,
        None => Decoder::load(&models::resolve(&request.model, None)?, options)?,
    };
    let (rank, target_modules) = (request.rank, vec!["all-linear".into()]);
    model.add_lora(&LoraConfig { rank, alpha: 2.0 * rank as f64, dropout: 0.0, use_rslora: false, target_modules }, 1)?;
    Ok(model)
}

/// The first `rows` lengths of a file.
fn read_lengths(file: &Path, rows: usize) -> Result<Vec<usize>, Fault> {
    let text = std::fs::read_to_string(file).map_err(|e| Fault::io("read", file, &e))?;
    let bad = |line: usize, what: &str| Fault::new("bad_lengths", format!("{}:{line}: {what}", file.display()));
    let mut all = Vec::with_capacity(rows);
    for (i, line) in text.lines().enumerate().take(rows) {
        match line.trim().parse::<usize>() {
            Ok(n) if n > 0 => all.push(n),
            _ => return Err(bad(i + 1, &format!("`{line}` is no length")).hint("one number of tokens a line, 1 or more")),
        }
    }
    if all.len() < rows {
        return Err(bad(all.len() + 1, &format!("the file ends, and the step has {rows} rows")).hint("give a smaller --batch"));
    }
    Ok(all)
}

fn random_batch(vocab: usize, lengths: &[usize]) -> PackedBatch {
    let mut random = Rng::for_parts(&[7]);
    let mut b = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
    for n in lengths {
        let row: Vec<u32> = (0..*n).map(|_| random.below(vocab as u64) as u32).collect();
        b.targets.extend(row[1..].iter().map(|id| i64::from(*id)).chain([-100]));
        b.input_ids.extend(row);
        b.cu_seqlens.push(b.input_ids.len() as u32);
    }
    b
}

/// Operations of one step with a frozen base: a forward and an input-gradient product for each weight, three for each
/// adapter, and causal attention (two products forward, five backward, half of each masked away).
fn model_flops(spec: &DecoderSpec, lengths: &[usize], rank: usize) -> f64 {
    let tokens = lengths.iter().sum::<usize>() as f64;
    let pairs: usize = lengths.iter().map(|n| n * n).sum();
    let linears = spec.linears();
    let base: usize = linears.iter().map(|l| l.out * l.inp).sum();
    let adapters: usize = linears.iter().map(|l| (l.out + l.inp) * rank).sum();
    let head = spec.vocab_size * spec.hidden_size;
    let q_widths: usize = spec.layers.iter().map(|l| l.attention.q_width()).sum();
    let attention = 7.0 * 2.0 * 0.5 * (pairs * q_widths) as f64;
    4.0 * base as f64 * tokens + 6.0 * adapters as f64 * tokens + attention + 4.0 * head as f64 * tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lengths.txt");
        std::fs::write(&file, "3\n 1 \n5\n").unwrap();
        let rows = read_lengths(&file, 2).unwrap();
        assert_eq!(rows, [3, 1]);
        let batch = random_batch(10, &rows);
        assert_eq!((batch.cu_seqlens, batch.input_ids.len()), (vec![0, 3, 4], 4));
        assert_eq!((batch.targets[2], batch.targets[3]), (-100, -100));
        assert!(read_lengths(&file, 4).unwrap_err().to_string().contains("lengths.txt:4"));
        std::fs::write(&file, "3\nlong\n").unwrap();
        assert!(read_lengths(&file, 2).unwrap_err().to_string().contains("lengths.txt:2"));
    }
}
