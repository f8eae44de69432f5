//! Whole training steps on random token ids, beside what this machine can do at most.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device};
use safetensors::Dtype;
use serde::Serialize;
use tallow_kernels::{alloc, peak};

use super::device::Chosen;
use super::models;
use crate::base::error::Fault;
use crate::data::{PackedBatch, Rng};
use crate::model::random_init::{RandomInit, RandomSource, write_random_model};
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
    /// Tokens a sequence.
    pub seq: usize,
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
        (Device::Cpu, _) => {
            let ceilings = peak::measure();
            ceilings.bf16_flops.unwrap_or(ceilings.f32_flops)
        }
        _ => super::bench_gpu::gemm_flops(&device, compute_dtype)?,
    };
    let options = LoadOptions { quantization, compute_dtype, device: device.clone() };
    let mut model = match request.model.strip_prefix("random:") {
        Some(shape) => random_decoder(shape, &options)?,
        None => Decoder::load(&models::resolve(&request.model, None)?, &options)?,
    };
    let lora = LoraConfig {
        rank: request.rank,
        alpha: 2.0 * request.rank as f64,
        dropout: 0.0,
        use_rslora: false,
        target_modules: vec!["all-linear".into()],
    };
    model.add_lora(&lora, 1)?;
    let batch = random_batch(model.spec().vocab_size, request.batch, request.seq);
    let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
    let mut grads = model.zero_grads()?;
    let settings = StepSettings { lr: 1e-4, max_grad_norm: Some(1.0), policy: request.policy, dropout_seed: None };
    let (mut step_seconds, mut losses) = (Vec::new(), Vec::new());
    tallow_kernels::device::reset_peak(&device)?;
    for i in 0..=request.steps {
        let start = Instant::now();
        let out = train_step(&mut model, &mut optimizer, &Sft, std::slice::from_ref(&batch), &mut grads, &settings)?;
        if i > 0 {
            step_seconds.push(start.elapsed().as_secs_f64());
            losses.push(out.loss);
        }
    }
    let median = median(&step_seconds);
    let tokens = (request.batch * request.seq) as f64;
    let flops = model_flops(model.spec(), request.batch, request.seq, request.rank);
    Ok(BenchTrainReport {
        model: request.model.clone(),
        device: chosen.name(),
        dtype: request.dtype.clone(),
        batch: request.batch,
        seq: request.seq,
        rank: request.rank,
        policy: request.policy,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        tokens_per_second: tokens / median,
        step_seconds,
        losses,
        peak_rss_bytes: alloc::peak_rss_bytes(),
        peak_allocated_bytes: tallow_kernels::device::peak_bytes(&device)?,
        model_flops_per_step: flops,
        peak_flops,
        model_flops_utilisation: flops / median / peak_flops,
    })
}

/// A model of a named shape with random weights, made on the device.
fn random_decoder(shape: &str, options: &LoadOptions) -> Result<Decoder, Fault> {
    let Some((_, sizes, tied)) = SHAPES.iter().find(|(name, ..)| *name == shape) else { return Err(unknown_shape(shape)) };
    let origin = Path::new("random");
    let spec = DecoderSpec::from_config_json(origin, &llama_config(*sizes, *tied, None))?;
    let source = RandomSource::new(&spec, options.device.clone(), options.quantization == Quantization::Nf4);
    Ok(Decoder::from_source(origin, spec, &source, options)?)
}

fn unknown_shape(shape: &str) -> Fault {
    let names: Vec<&str> = SHAPES.iter().map(|s| s.0).collect();
    Fault::new("unknown_shape", format!("`{shape}` is no shape and no file"))
        .hint(format!("give a config.json or one of {}", names.join(", ")))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

fn random_batch(vocab: usize, batch: usize, seq: usize) -> PackedBatch {
    let mut random = Rng::for_parts(&[7]);
    let input_ids: Vec<u32> = (0..batch * seq).map(|_| random.below(vocab as u64) as u32).collect();
    let targets = input_ids.chunks(seq).flat_map(|row| row[1..].iter().map(|id| i64::from(*id)).chain([-100])).collect();
    PackedBatch { input_ids, targets, cu_seqlens: (0..=batch).map(|i| (i * seq) as u32).collect(), token_weights: None }
}

/// Operations of one step with a frozen base: a forward and an input-gradient product for each weight, three for each
/// adapter, and causal attention (two products forward, five backward, half of each masked away).
fn model_flops(spec: &DecoderSpec, batch: usize, seq: usize, rank: usize) -> f64 {
    let tokens = (batch * seq) as f64;
    let linears = crate::model::spec::LinearKind::ALL.map(|k| spec.linear_shape(k));
    let base: usize = linears.iter().map(|(o, i)| o * i).sum();
    let adapters: usize = linears.iter().map(|(o, i)| (o + i) * rank).sum();
    let head = spec.vocab_size * spec.hidden_size;
    let attention = 7.0 * 2.0 * 0.5 * (batch * seq * seq * spec.q_width()) as f64;
    let per_layer = 4.0 * base as f64 * tokens + 6.0 * adapters as f64 * tokens + attention;
    spec.num_layers as f64 * per_layer + 4.0 * head as f64 * tokens
}

/// This machine's ceilings.
#[derive(Debug, Clone, Serialize)]
pub struct PeakReport {
    /// Threads.
    pub threads: usize,
    /// f32 multiply-adds, operations a second.
    pub f32_flops: f64,
    /// bf16 products summed in f32, where the processor has them.
    pub bf16_flops: Option<f64>,
    /// Bytes read from memory a second.
    pub read_bytes_per_second: f64,
}

/// Measures them.
pub fn ceilings() -> PeakReport {
    let p = peak::measure();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    PeakReport { threads, f32_flops: p.f32_flops, bf16_flops: p.bf16_flops, read_bytes_per_second: p.read_bytes }
}

/// A model with random weights.
#[derive(Debug, Clone, Serialize)]
pub struct RandomModelReport {
    /// Its folder.
    pub out: PathBuf,
    /// Number of weights.
    pub parameters: u64,
}

/// Named shapes: hidden, layers, heads, kv heads, intermediate, vocabulary, tied.
const SHAPES: [(&str, [usize; 6], bool); 6] = [
    ("tiny", [64, 2, 4, 2, 172, 512], true),
    ("15m", [288, 6, 6, 3, 768, 16384], true),
    ("135m", [576, 30, 9, 3, 1536, 49152], true),
    ("1b", [2048, 16, 32, 8, 8192, 128256], true),
    ("3b", [3072, 28, 24, 8, 8192, 128256], true),
    ("8b", [4096, 32, 32, 8, 14336, 128256], false),
];

/// Writes a Llama-shaped model with random weights: a named shape, or a config.json.
///
/// # Errors
/// When the shape is unknown, or the folder exists or cannot be written.
pub fn random_model(shape: &str, out: &Path, tokenizer_of: Option<&str>) -> Result<RandomModelReport, Fault> {
    if out.exists() {
        return Err(
            Fault::new("already_exists", format!("{} exists already", out.display())).hint("choose another --out, or remove it first")
        );
    }
    let tokenizer = tokenizer_of.map(|m| models::resolve(m, None)).transpose()?;
    let vocabulary = tokenizer.as_deref().map(crate::data::TextTokenizer::load).transpose()?.map(|t| t.vocab_size());
    let config = match SHAPES.iter().find(|(name, ..)| *name == shape) {
        Some((_, sizes, tied)) => llama_config(*sizes, *tied, vocabulary),
        None if Path::new(shape).is_file() => std::fs::read_to_string(shape).map_err(|e| Fault::io("read", Path::new(shape), &e))?,
        None => return Err(unknown_shape(shape)),
    };
    let spec = write_random_model(out, &config, &RandomInit { dtype: Dtype::F32, ..RandomInit::default() })?;
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        if let Some(from) = tokenizer.as_ref().map(|t| t.join(name)).filter(|p| p.is_file()) {
            let bytes = std::fs::read(&from).map_err(|e| Fault::io("read", &from, &e))?;
            crate::base::atomic::write_file(&out.join(name), &bytes)?;
        }
    }
    Ok(RandomModelReport { out: out.to_path_buf(), parameters: spec.num_parameters() })
}

fn llama_config([hidden, layers, heads, kv_heads, intermediate, vocab]: [usize; 6], tied: bool, vocabulary: Option<usize>) -> String {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary.unwrap_or(vocab),
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
    });
    format!("{config:#}\n")
}
