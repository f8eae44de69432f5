//! A GGUF file as a model: its architecture from the metadata, its tensors in Hugging Face's names and order.

use candle_core::{DType, Device, Tensor};

use super::names::{Arch, gguf_name, reorder_rows, reordered_heads};
use super::{GgufFile, Value};
use crate::model::error::{Error, Result};
use crate::model::limits;
use crate::model::spec::{DecoderSpec, Family, NormKind, NormPlacement, QkNorm, RopeScaling};
use crate::model::weights::TensorSource;

/// The tensor with the divisors of the rotation's frequencies.
const FREQUENCIES: &str = "rope_freqs.weight";

/// A GGUF file with the architecture that its metadata describe.
#[derive(Debug)]
pub struct GgufSource {
    file: GgufFile,
    arch: Arch,
    spec: DecoderSpec,
}

impl GgufSource {
    /// Reads the architecture of a file and checks that its tensors fit.
    ///
    /// # Errors
    /// When it is no model, or of an architecture that is not known.
    pub fn new(file: GgufFile) -> Result<Self> {
        let (arch, spec) = Fields::read(&file)?;
        let source = Self { file, arch, spec };
        for t in source.spec.tensors() {
            let name = source.name(&t.name)?;
            let info = source.file.tensors().get(&name);
            let info = info.ok_or_else(|| Error::tensor(source.file.path(), &name, "is missing from the file"))?;
            if info.shape != t.shape {
                let message = format!("has shape {:?}, the metadata ask for {:?}", info.shape, t.shape);
                return Err(Error::tensor(source.file.path(), &name, message));
            }
        }
        source.check_all_used()?;
        Ok(source)
    }

    /// Refuses a tensor of the file that the model does not read.
    fn check_all_used(&self) -> Result<()> {
        let used: std::collections::HashSet<String> = self.spec.tensors().iter().map(|t| self.name(&t.name)).collect::<Result<_>>()?;
        let unused = self.file.tensors().keys().find(|n| !used.contains(*n) && n.as_str() != FREQUENCIES);
        match unused {
            Some(name) => {
                let message = format!("is in the file but `{}` has no place for it here", self.arch.name());
                Err(Error::tensor(self.file.path(), name, message))
            }
            None => Ok(()),
        }
    }

    /// The architecture.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The file.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    fn name(&self, name: &str) -> Result<String> {
        gguf_name(self.arch, name).ok_or_else(|| Error::tensor(self.file.path(), name, "has no name in GGUF files"))
    }
}

impl TensorSource for GgufSource {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let at = self.name(name)?;
        let mut values = self.file.float(&at)?;
        let shape = &self.file.tensors()[&at].shape;
        if let Some(heads) = reordered_heads(self.arch, &self.spec, name) {
            values = reorder_rows(&values, shape[0], heads, true);
        }
        Ok(Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        if reordered_heads(self.arch, &self.spec, name).is_none() {
            return self.file.rows(&self.name(name)?, from, count);
        }
        Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?)
    }
}

struct Fields<'a> {
    file: &'a GgufFile,
    prefix: &'static str,
}

impl Fields<'_> {
    fn bad(file: &GgufFile, key: &str, message: impl Into<String>) -> Error {
        Error::Field { path: file.path().to_path_buf(), field: key.into(), message: message.into() }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.file.get(&format!("{}.{key}", self.prefix))
    }

    fn count(&self, key: &str) -> Result<usize> {
        let n = self.get(key).and_then(Value::as_u64).filter(|n| *n > 0 && *n < 1 << 31);
        n.map(|n| n as usize).ok_or_else(|| Self::bad(self.file, key, "is missing or no count"))
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Value::as_f64)
    }

    fn read(file: &GgufFile) -> Result<(Arch, DecoderSpec)> {
        let name = file.get("general.architecture").and_then(Value::as_str).unwrap_or("");
        let arch = Arch::from_name(name)
            .ok_or_else(|| Self::bad(file, "general.architecture", format!("`{name}` is not a known architecture")))?;
        let f = Fields { file, prefix: arch.name() };
        let has = |name: &str| file.tensors().contains_key(name);
        let (hidden_size, num_heads, num_layers) =
            (f.count("embedding_length")?, f.count("attention.head_count")?, f.count("block_count")?);
        if num_layers > file.tensors().len() {
            let held = file.tensors().len();
            return Err(Self::bad(file, "block_count", format!("says {num_layers} blocks, and the file holds {held} tensors")));
        }
        let head_dim = f.count("attention.key_length").unwrap_or(hidden_size / num_heads);
        let embedding = file.tensors().get("token_embd.weight");
        let vocab_size = embedding.and_then(|t| t.shape.first()).copied();
        let vocab_size = vocab_size.ok_or_else(|| Error::tensor(file.path(), "token_embd.weight", "is missing from the file"))?;
        let rms = f.number("attention.layer_norm_rms_epsilon");
        let norm_eps = rms.or_else(|| f.number("attention.layer_norm_epsilon"));
        let max_positions = f.count("context_length")?;
        let rope_theta = f.number("rope.freq_base").unwrap_or(10_000.0);
        let spec = DecoderSpec {
            family: arch.family(),
            architecture: architecture(arch.family()).into(),
            vocab_size,
            hidden_size,
            intermediate_size: f.count("feed_forward_length")?,
            num_layers,
            num_heads,
            num_kv_heads: f.count("attention.head_count_kv").unwrap_or(num_heads),
            head_dim,
            norm: if arch == Arch::Olmo { NormKind::LayerNormPlain } else { NormKind::Rms },
            norm_placement: if arch == Arch::Olmo2 { NormPlacement::Post } else { NormPlacement::Pre },
            norm_eps: norm_eps.ok_or_else(|| Self::bad(file, "attention.layer_norm_rms_epsilon", "is missing"))?,
            qk_norm: match arch {
                Arch::Qwen3 => QkNorm::PerHead,
                Arch::Olmo2 => QkNorm::Full,
                _ => QkNorm::None,
            },
            qkv_bias: has("blk.0.attn_q.bias"),
            o_bias: has("blk.0.attn_output.bias"),
            mlp_bias: has("blk.0.ffn_gate.bias"),
            clip_qkv: f.number("attention.clamp_kqv"),
            rope_theta,
            rope_scaling: f.rope(max_positions)?,
            max_positions,
            windows: vec![None; num_layers],
            tie_word_embeddings: !has("output.weight"),
            remarks: Vec::new(),
        };
        match limits::out_of_range(&spec) {
            Some((field, message)) => Err(Self::bad(file, field, message)),
            None => Ok((arch, spec)),
        }
    }

    /// As llama.cpp reads them: the type, and beside it the divisors.
    fn rope(&self, max_positions: usize) -> Result<RopeScaling> {
        let factor = self.number("rope.scaling.factor").unwrap_or(1.0);
        let attention = self.number("rope.scaling.attn_factor").unwrap_or(1.0);
        if self.file.tensors().contains_key(FREQUENCIES) {
            return Ok(RopeScaling::Factors { factors: self.file.float(FREQUENCIES)?, attention_factor: attention });
        }
        Ok(match self.get("rope.scaling.type").and_then(Value::as_str).unwrap_or("none") {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor },
            "yarn" => RopeScaling::Yarn {
                factor,
                original_max_position: self.count("rope.scaling.original_context_length").unwrap_or(max_positions),
                // llama.cpp reads no others for these architectures.
                beta_fast: 32.0,
                beta_slow: 1.0,
                attention_factor: Some((0.1 * factor.ln() + 1.0) * attention),
                truncate: true,
            },
            other => return Err(Self::bad(self.file, "rope.scaling.type", format!("`{other}` is not supported"))),
        })
    }
}

fn architecture(family: Family) -> &'static str {
    match family {
        Family::Llama | Family::Custom => "LlamaForCausalLM",
        Family::Mistral => "MistralForCausalLM",
        Family::Qwen2 => "Qwen2ForCausalLM",
        Family::Qwen3 => "Qwen3ForCausalLM",
        Family::Olmo => "OlmoForCausalLM",
        Family::Olmo2 => "Olmo2ForCausalLM",
    }
}
