//! Speed on random token ids, beside what this machine can do at most.

mod fit;
mod generate;
mod gpu;
mod model;
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
pub use model::{BenchModelReport, BenchModelRequest, LEVELS, LevelReport, model};
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

/// A named shape: the sizes of a model that people know, and whose family they are.
struct NamedShape {
    name: &'static str,
    qwen3: bool,
    /// Hidden, layers, heads, kv heads, intermediate, vocabulary.
    sizes: [usize; 6],
    tied: bool,
}

const fn llama(name: &'static str, sizes: [usize; 6], tied: bool) -> NamedShape {
    NamedShape { name, qwen3: false, sizes, tied }
}

const fn qwen3(name: &'static str, sizes: [usize; 6], tied: bool) -> NamedShape {
    NamedShape { name, qwen3: true, sizes, tied }
}

const SHAPES: [NamedShape; 9] = [
    llama("tiny", [64, 2, 4, 2, 172, 512], true),
    llama("15m", [288, 6, 6, 3, 768, 16384], true),
    llama("135m", [576, 30, 9, 3, 1536, 49152], true),
    llama("1b", [2048, 16, 32, 8, 8192, 128256], true),
    llama("3b", [3072, 28, 24, 8, 8192, 128256], true),
    llama("8b", [4096, 32, 32, 8, 14336, 128256], false),
    qwen3("qwen3-0.6b", [1024, 28, 16, 8, 3072, 151_936], true),
    qwen3("qwen3-4b", [2560, 36, 32, 8, 9728, 151_936], true),
    qwen3("qwen3-8b", [4096, 36, 32, 8, 12288, 151_936], false),
];

/// Writes a model with random weights: a named shape, or a config.json.
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
    let config = match SHAPES.iter().find(|s| s.name == shape) {
        Some(named) => named.config(vocabulary),
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
    let Some(named) = SHAPES.iter().find(|s| s.name == shape) else { return Err(unknown_shape(shape)) };
    let origin = Path::new("random");
    let spec = DecoderSpec::from_config_json(origin, &named.config(None))?;
    let source = RandomSource::new(&spec, options.device.clone(), options.quantization == Quantization::Nf4);
    Ok(Decoder::from_source(origin, spec, &source, options)?)
}

fn unknown_shape(shape: &str) -> Fault {
    let names: Vec<&str> = SHAPES.iter().map(|s| s.name).collect();
    Fault::new("unknown_shape", format!("`{shape}` is no shape and no file"))
        .hint(format!("give a config.json or one of {}", names.join(", ")))
}

impl NamedShape {
    /// Its config.json, with the vocabulary of a tokenizer where one is given.
    fn config(&self, vocabulary: Option<usize>) -> String {
        let [hidden, layers, heads, kv_heads, intermediate, vocab] = self.sizes;
        let (architecture, family) = if self.qwen3 { ("Qwen3ForCausalLM", "qwen3") } else { ("LlamaForCausalLM", "llama") };
        let mut config = serde_json::json!({
            "architectures": [architecture],
            "model_type": family,
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
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
        });
        if self.qwen3 {
            // Its heads are wider than a share of the residual stream.
            config["head_dim"] = 128.into();
        }
        format!("{config:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Millions of parameters as the models' owners count them.
    #[test]
    fn named_shapes_have_the_sizes_of_the_models() {
        for (name, millions) in [("1b", 1236), ("3b", 3213), ("8b", 8030), ("qwen3-0.6b", 596), ("qwen3-4b", 4022), ("qwen3-8b", 8191)] {
            let shape = SHAPES.iter().find(|s| s.name == name).unwrap();
            let spec = DecoderSpec::from_config_json(Path::new("random"), &shape.config(None)).unwrap();
            assert_eq!((spec.num_parameters() as f64 / 1e6).round() as u64, millions, "{name}");
        }
    }
}
