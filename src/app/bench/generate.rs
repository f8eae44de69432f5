//! Greedy generation from random token ids.

use candle_core::DType;
use serde::Serialize;
use tallow_kernels::alloc;

use super::median;
use crate::app::models;
use crate::base::error::Fault;
use crate::data::Rng;
use crate::model::generate::{Generator, SamplingOptions};
use crate::model::{Decoder, LoadOptions, Quantization};

/// A request to measure generation.
#[derive(Debug, Clone)]
pub struct BenchGenerateRequest {
    /// The model.
    pub model: String,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// New tokens.
    pub new: usize,
    /// Timed repetitions, after one that warms up.
    pub rounds: usize,
    /// `f32`, `bf16` or `nf4` (bf16 over a 4-bit base).
    pub dtype: String,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchGenerateReport {
    /// The model.
    pub model: String,
    /// As asked for.
    pub dtype: String,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// New tokens.
    pub new: usize,
    /// Threads.
    pub threads: usize,
    /// New tokens a second after the prompt, of the median repetition.
    pub decode_tokens_per_second: f64,
    /// The same of each repetition.
    pub decode_rounds: Vec<f64>,
    /// Seconds for the prompt, median.
    pub prompt_seconds: f64,
    /// Bytes of weights that one token reads, a second.
    pub weight_bytes_per_second: f64,
    /// Largest resident size of the process.
    pub peak_rss_bytes: u64,
    /// The first new tokens.
    pub tokens: Vec<u32>,
}

/// Measures.
///
/// # Errors
/// When the model cannot be loaded or a kernel refuses.
pub fn generate(request: &BenchGenerateRequest) -> Result<BenchGenerateReport, Fault> {
    let folder = models::resolve(&request.model, None)?;
    let (quantization, compute_dtype) = match request.dtype.as_str() {
        "f32" => (Quantization::None, DType::F32),
        "nf4" => (Quantization::Nf4, DType::BF16),
        _ => (Quantization::None, DType::BF16),
    };
    let model = Decoder::load(&folder, &LoadOptions { quantization, compute_dtype, ..LoadOptions::default() })?;
    let mut random = Rng::for_parts(&[11]);
    let vocab = model.spec().vocab_size as u64;
    let prompt: Vec<u32> = (0..request.prompt).map(|_| random.below(vocab) as u32).collect();
    let options = SamplingOptions { max_new_tokens: request.new, ..SamplingOptions::default() };
    let (mut rates, mut prompts, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=request.rounds {
        let out = Generator::new(&model).run(&prompt, &options, &mut |_| true)?;
        if i > 0 {
            rates.push(out.tokens_per_second);
            prompts.push(out.prompt_seconds);
        }
        tokens = out.tokens;
    }
    let rate = median(&rates);
    tokens.truncate(16);
    Ok(BenchGenerateReport {
        model: request.model.clone(),
        dtype: request.dtype.clone(),
        prompt: request.prompt,
        new: request.new,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        decode_tokens_per_second: rate,
        decode_rounds: rates,
        prompt_seconds: median(&prompts),
        weight_bytes_per_second: rate * model.weight_bytes() as f64,
        peak_rss_bytes: alloc::peak_rss_bytes(),
        tokens,
    })
}
