//! A model as it is used: prompt and decoding at each level of quantisation, beside the machine's ceilings.

use std::time::Instant;

use candle_core::DType;
use serde::Serialize;
use tallow_kernels::alloc;

use super::{PeakReport, ceilings, median};
use crate::app::load::{check_vocabulary, tokenizer_at};
use crate::app::models;
use crate::base::error::Fault;
use crate::base::{cancel, progress};
use crate::data::Rng;
use crate::model::generate::{Generator, SamplingOptions};
use crate::model::spec::Role;
use crate::model::{Decoder, LoadOptions, Quantization};

/// A request to measure a model.
#[derive(Debug, Clone)]
pub struct BenchModelRequest {
    /// The model.
    pub model: String,
    /// The prompt; unset: random tokens.
    pub prompt: Option<String>,
    /// Tokens of the random prompt.
    pub prompt_tokens: usize,
    /// Timed repetitions, after one that warms up.
    pub iterations: usize,
    /// New tokens.
    pub max_new_tokens: usize,
    /// Of `f32`, `bf16`, `q8` and `nf4` (the last two compute in bf16), in this order.
    pub levels: Vec<String>,
}

/// The levels that are measured where none is asked for.
pub const LEVELS: [&str; 3] = ["bf16", "q8", "nf4"];

/// A model at one level.
#[derive(Debug, Clone, Serialize)]
pub struct LevelReport {
    /// `f32`, `bf16`, `q8` or `nf4`.
    pub level: String,
    /// Seconds to load it.
    pub load_seconds: f64,
    /// Bytes of its weights in memory.
    pub weight_bytes: u64,
    /// The most that was allocated at a time, weights among it.
    pub peak_bytes: u64,
    /// Prompt tokens a second, of the median repetition.
    pub prompt_tokens_per_second: f64,
    /// Seconds to the first new token, median.
    pub first_token_seconds: f64,
    /// New tokens a second after the first, of the median repetition.
    pub decode_tokens_per_second: f64,
    /// The same of each repetition.
    pub decode_rounds: Vec<f64>,
    /// Bytes of weights that decoding reads a second, over what memory gives at most.
    pub share_of_memory: f64,
    /// Operations of the linear layers that the prompt takes a second, over what the processor gives at most.
    pub share_of_compute: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchModelReport {
    /// The model.
    pub model: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// New tokens.
    pub new_tokens: usize,
    /// Timed repetitions.
    pub iterations: usize,
    /// What this machine can do at most.
    pub ceilings: PeakReport,
    /// The levels, in the order that was asked for.
    pub levels: Vec<LevelReport>,
}

/// Measures.
///
/// # Errors
/// When a level is none, the model cannot be loaded at one, or its context is too short.
pub fn model(request: &BenchModelRequest) -> Result<BenchModelReport, Fault> {
    let levels = request.levels.iter().map(|name| Ok((name.as_str(), options(name)?))).collect::<Result<Vec<_>, Fault>>()?;
    if request.iterations == 0 || request.max_new_tokens < 2 || levels.is_empty() {
        return Err(Fault::new("usage", "at least one level, one iteration and two new tokens are needed"));
    }
    let folder = models::resolve(&request.model, None)?;
    let ceilings = ceilings();
    let (mut reports, mut prompt) = (Vec::new(), Vec::new());
    for (level, options) in levels {
        let started = Instant::now();
        alloc::reset_peak();
        let before = alloc::live_bytes();
        let decoder = Decoder::load(&folder, &options)?;
        let load_seconds = started.elapsed().as_secs_f64();
        if prompt.is_empty() {
            prompt = prompt_of(request, &folder, &decoder)?;
        }
        alloc::reset_peak();
        let mut report = measure(request, &decoder, &prompt, level)?;
        report.load_seconds = load_seconds;
        report.peak_bytes = alloc::peak_bytes().saturating_sub(before);
        report.share_of_memory = report.decode_tokens_per_second * report.weight_bytes as f64 / ceilings.read_bytes_per_second;
        let linears = decoder.spec().tensors().into_iter().filter(|t| t.role == Role::Linear);
        let weights: f64 = linears.map(|t| t.shape.iter().product::<usize>() as f64).sum();
        report.share_of_compute = 2.0 * weights * report.prompt_tokens_per_second / flops(&ceilings, level);
        reports.push(report);
    }
    Ok(BenchModelReport {
        model: request.model.clone(),
        prompt_tokens: prompt.len(),
        new_tokens: request.max_new_tokens,
        iterations: request.iterations,
        ceilings,
        levels: reports,
    })
}

fn options(level: &str) -> Result<LoadOptions, Fault> {
    let (quantization, compute_dtype) = match level {
        "f32" => (Quantization::None, DType::F32),
        "bf16" => (Quantization::None, DType::BF16),
        "q8" => (Quantization::Q8, DType::BF16),
        "nf4" => (Quantization::Nf4, DType::BF16),
        other => return Err(Fault::new("usage", format!("`{other}` is no level")).hint("levels are f32, bf16, q8 and nf4")),
    };
    Ok(LoadOptions { quantization, compute_dtype, ..LoadOptions::default() })
}

/// Operations a second that this machine gives at most in the type that a level computes in.
fn flops(p: &PeakReport, level: &str) -> f64 {
    if level == "f32" { p.f32_flops } else { p.amx_flops.or(p.bf16_dot_flops).unwrap_or(p.f32_flops) }
}

fn prompt_of(request: &BenchModelRequest, folder: &std::path::Path, decoder: &Decoder) -> Result<Vec<u32>, Fault> {
    let ids = match &request.prompt {
        Some(text) => {
            let tokenizer = tokenizer_at(folder)?;
            check_vocabulary(&tokenizer, decoder)?;
            tokenizer.encode(text, true)?
        }
        None => {
            let (mut random, vocab) = (Rng::for_parts(&[11]), decoder.spec().vocab_size as u64);
            (0..request.prompt_tokens).map(|_| random.below(vocab) as u32).collect()
        }
    };
    let (context, all) = (decoder.spec().max_positions, ids.len() + request.max_new_tokens);
    if ids.is_empty() || all > context {
        let message = format!("a prompt of {} tokens and {} new ones do not fit a context of {context}", ids.len(), request.max_new_tokens);
        return Err(Fault::new("prompt_too_long", message).hint("give a prompt of one token at least, and ask for fewer tokens"));
    }
    Ok(ids)
}

fn measure(request: &BenchModelRequest, decoder: &Decoder, prompt: &[u32], level: &str) -> Result<LevelReport, Fault> {
    let options = SamplingOptions { max_new_tokens: request.max_new_tokens, ..SamplingOptions::default() };
    let (mut rates, mut prompts, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=request.iterations {
        cancel::checkpoint();
        progress::report(&format!("measuring {level}"), "rounds", i as u64, request.iterations as u64 + 1);
        let (started, mut first) = (Instant::now(), 0.0);
        let out = Generator::new(decoder).run(prompt, &options, &mut |_| {
            first = if first == 0.0 { started.elapsed().as_secs_f64() } else { first };
            true
        })?;
        if i > 0 {
            rates.push(out.tokens_per_second);
            prompts.push(out.prompt_seconds);
            firsts.push(first);
        }
    }
    Ok(LevelReport {
        level: level.to_owned(),
        load_seconds: 0.0,
        weight_bytes: decoder.weight_bytes(),
        peak_bytes: 0,
        prompt_tokens_per_second: prompt.len() as f64 / median(&prompts).max(1e-9),
        first_token_seconds: median(&firsts),
        decode_tokens_per_second: median(&rates),
        decode_rounds: rates,
        share_of_memory: 0.0,
        share_of_compute: 0.0,
    })
}
