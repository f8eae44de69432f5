//! Speed on random token ids, beside what this machine can do at most.

mod fit;
mod generate;
mod gpu;
mod train;

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::Serialize;
use tallow_kernels::peak;

use super::models;
use crate::base::error::Fault;
use crate::model::random_init::{RandomInit, RandomSource, write_random_model};
use crate::model::{Decoder, DecoderSpec, LoadOptions, Quantization};

pub use generate::{BenchGenerateReport, BenchGenerateRequest, generate};
pub use gpu::{BenchGpuReport, BenchGpuRequest, gpu};
pub use train::{BenchTrainReport, BenchTrainRequest, train};

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

/// This machine's ceilings.
#[derive(Debug, Clone, Serialize)]
pub struct PeakReport {
    /// Threads.
    pub threads: usize,
    /// f32 multiply-adds, operations a second.
    pub f32_flops: f64,
    /// The bf16 dot product, summed in f32, where the processor has it.
    pub bf16_dot_flops: Option<f64>,
    /// AMX tiles in bf16, where the processor has them and the system permits them.
    pub amx_flops: Option<f64>,
    /// The instructions that kernels use here, and why.
    pub instructions: String,
    /// Bytes read from memory a second.
    pub read_bytes_per_second: f64,
}

/// Measures them.
pub fn ceilings() -> PeakReport {
    let p = peak::measure();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    PeakReport {
        threads,
        f32_flops: p.f32_flops,
        bf16_dot_flops: p.bf16_dot_flops,
        amx_flops: p.amx_flops,
        instructions: tallow_kernels::isa::isa().to_string(),
        read_bytes_per_second: p.read_bytes,
    }
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
