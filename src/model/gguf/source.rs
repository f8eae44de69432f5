//! A GGUF file as a model: its architecture from the metadata, its tensors in Hugging Face's names and order.

use candle_core::{DType, Device, Tensor};

use super::names::{Arch, gguf_name, reorder_rows, reordered_heads};
use super::{GgufFile, Value};
use crate::model::error::{Error, Result};
use crate::model::limits;
use crate::model::spec::{AttentionSpec, DecoderSpec, FeedForwardSpec, LayerSpec, LongFactors, QkvNames, RopeScaling, RopeSpec};
use crate::model::weights::TensorSource;

/// The tensor with the divisors of the rotation's frequencies.
pub const FREQUENCIES: &str = "rope_freqs.weight";
/// The same of sequences up to the first context, and of longer ones (longrope).
pub const SHORT_FACTORS: &str = "rope_factors_short.weight";
/// See [`SHORT_FACTORS`].
pub const LONG_FACTORS: &str = "rope_factors_long.weight";
/// All of them.
const TABLES: [&str; 3] = [FREQUENCIES, SHORT_FACTORS, LONG_FACTORS];

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
        let unused = self.file.tensors().keys().find(|n| !used.contains(*n) && !TABLES.contains(&n.as_str()));
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
        if shape.len() == 1 && name.ends_with("norm.weight") {
            values.iter_mut().for_each(|v| *v -= self.arch.norm_offset());
        }
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
        let embedding = file.tensors().get("token_embd.weight");
        let vocab_size = embedding.and_then(|t| t.shape.first()).copied();
        let vocab_size = vocab_size.ok_or_else(|| Error::tensor(file.path(), "token_embd.weight", "is missing from the file"))?;
        let rms = f.number("attention.layer_norm_rms_epsilon");
        let norm_eps = rms.or_else(|| f.number("attention.layer_norm_epsilon"));
        let max_positions = f.count("context_length")?;
        let hidden_size = f.count("embedding_length")?;
        let long = f.long_factors(max_positions)?;
        let max_positions = long.as_ref().map_or(Ok(max_positions), |_| f.count("rope.scaling.original_context_length"))?;
        let remarks = long.iter().map(|l| l.remark(max_positions)).collect();
        let rope =
            RopeSpec { theta: f.number("rope.freq_base").unwrap_or(10_000.0), scaling: f.rope(max_positions)?, dim: f.turned(arch)?, long };
        // Layers with a window turn by frequencies of their own, which are not stretched.
        let windows = arch.window_pattern().is_some() && f.window().is_some();
        let theta = f.number("rope.freq_base_swa").unwrap_or(if arch == Arch::Gemma3 { 10_000.0 } else { rope.theta });
        let local = windows.then_some(RopeSpec { theta, scaling: RopeScaling::None, dim: None, long: None });
        let (blocks, held) = (f.count("block_count")?, file.tensors().len());
        if blocks > held {
            return Err(Self::bad(file, "block_count", format!("says {blocks} blocks, and the file holds {held} tensors")));
        }
        let layers = (0..blocks).map(|i| f.layer(arch, i, hidden_size)).collect::<Result<_>>()?;
        let spec = DecoderSpec {
            family: arch.family(windows),
            architecture: arch.architecture(windows).into(),
            prefix: "model".into(),
            vocab_size,
            hidden_size,
            max_positions,
            norm: arch.norm(),
            norm_eps: norm_eps.ok_or_else(|| Self::bad(file, "attention.layer_norm_rms_epsilon", "is missing"))?,
            ropes: [rope].into_iter().chain(local).collect(),
            layers,
            embedding_scale: if arch == Arch::Gemma3 { (hidden_size as f64).sqrt() } else { f.scale(arch, "embedding_scale")? },
            logits_scale: 1.0 / f.scale(arch, "logit_scale")?,
            tie_word_embeddings: !file.tensors().contains_key("output.weight"),
            sees_images: false,
            remarks,
        };
        match limits::out_of_range(&spec) {
            Some((field, message)) => Err(Self::bad(file, field, message)),
            None => Ok((arch, spec)),
        }
    }

    /// One layer, as its tensors show it.
    fn layer(&self, arch: Arch, i: usize, hidden_size: usize) -> Result<LayerSpec> {
        let has = |name: &str| self.file.tensors().contains_key(&format!("blk.{i}.{name}"));
        let heads = self.count("attention.head_count")?;
        let head_dim = self.count("attention.key_length").unwrap_or(hidden_size / heads);
        let window = match (arch, arch.window_pattern()) {
            (_, Some(pattern)) if (i + 1).is_multiple_of(pattern) => None,
            (Arch::Gemma3, _) => Some(self.count("attention.sliding_window")?),
            (Arch::Olmo2 | Arch::Phi3, _) => self.window(),
            _ => None,
        };
        let local = window.is_some() && arch.window_pattern().is_some();
        let attention = AttentionSpec {
            heads,
            kv_heads: self.count("attention.head_count_kv").unwrap_or(heads),
            head_dim,
            rope: arch.rotates(i).then_some(usize::from(local)),
            window,
            scale: self.number("attention.scale").filter(|s| arch.has_scales() && *s != 0.0).unwrap_or(1.0 / (head_dim as f64).sqrt()),
            qk_norm: arch.qk_norm(),
            clip: self.number("attention.clamp_kqv"),
            qkv_bias: has("attn_q.bias") || has("attn_qkv.bias"),
            o_bias: has("attn_output.bias"),
            qkv: if arch == Arch::Phi3 && has("attn_qkv.weight") { QkvNames::Fused } else { QkvNames::Apart },
        };
        let width = self.count("feed_forward_length")?;
        let fused = arch == Arch::Phi3 && !has("ffn_gate.weight");
        let feed_forward = FeedForwardSpec { width, activation: arch.activation(), bias: has("ffn_gate.bias"), fused };
        Ok(LayerSpec { norms: arch.norms(), attention, feed_forward, residual_scale: self.scale(arch, "residual_scale")? })
    }

    /// A multiplier of an architecture that has them; 1 where there is none, as where it says 0.
    fn scale(&self, arch: Arch, key: &str) -> Result<f64> {
        let given = self.number(key).filter(|v| *v != 0.0);
        match given {
            Some(v) if !arch.has_scales() && v != 1.0 => {
                Err(Self::bad(self.file, key, format!("{v} is not supported for this architecture")))
            }
            Some(v) if !v.is_finite() => Err(Self::bad(self.file, key, format!("{v} is no multiplier"))),
            given => Ok(given.unwrap_or(1.0)),
        }
    }

    /// The window of layers that have one; 0 stands for none.
    fn window(&self) -> Option<usize> {
        self.count("attention.sliding_window").ok()
    }

    /// How many elements of a head turn, where not all do.
    fn turned(&self, arch: Arch) -> Result<Option<usize>> {
        const KEY: &str = "rope.dimension_count";
        let head_dim = self
            .count("attention.key_length")
            .or_else(|_| Ok::<_, Error>(self.count("embedding_length")? / self.count("attention.head_count")?))?;
        let turned = self.get(KEY).and_then(Value::as_u64).map(|n| n as usize).filter(|n| *n != head_dim);
        match turned {
            Some(n) if arch != Arch::Phi3 || n == 0 || n > head_dim || !n.is_multiple_of(2) => {
                Err(Self::bad(self.file, KEY, format!("{n} of heads with {head_dim} elements is not supported for this architecture")))
            }
            turned => Ok(turned),
        }
    }

    /// Divisors of the frequencies beyond the first context, with the whole one.
    fn long_factors(&self, max_positions: usize) -> Result<Option<LongFactors>> {
        let given = self.file.tensors().contains_key(LONG_FACTORS).then(|| self.file.float(LONG_FACTORS)).transpose()?;
        Ok(given.map(|factors| LongFactors { factors, max_positions }))
    }

    /// As llama.cpp reads them: the type, and beside it the divisors.
    fn rope(&self, max_positions: usize) -> Result<RopeScaling> {
        let factor = self.number("rope.scaling.factor").unwrap_or(1.0);
        let attention = self.number("rope.scaling.attn_factor").unwrap_or(1.0);
        if let Some(table) = [FREQUENCIES, SHORT_FACTORS].into_iter().find(|t| self.file.tensors().contains_key(*t)) {
            return Ok(RopeScaling::Factors { factors: self.file.float(table)?, attention_factor: attention });
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
