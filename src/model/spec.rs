//! A decoder described by data: the model as a whole, and the parts of each layer.

use std::path::Path;

use candle_core::DType;
pub use tallow_kernels::rope::RopeScaling;

use super::config_json::ConfigJson;
use super::error::Result;
use super::families;
pub use super::families::Family;
pub use super::layer_spec::{Activation, AttentionSpec, FeedForwardSpec, LayerSpec, LinearSpec, NormNames, QkNorm, QkvNames};

/// What is done with an architecture that is not known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It is refused: fields that fit do not say how a model computes.
    #[default]
    Refuse,
    /// It is read as a Llama, if every field of its config fits one; [`DecoderSpec::remarks`] says so.
    ReadAsLlama,
}

/// How norms are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square, times a weight.
    Rms,
    /// Root mean square, times one plus a weight (Gemma).
    RmsPlusOne,
    /// LayerNorm without weight or bias (OLMo 1).
    LayerNormPlain,
}

impl NormKind {
    /// Whether the checkpoint holds a weight for it.
    pub fn has_weight(self) -> bool {
        self != Self::LayerNormPlain
    }
}

/// One rotation of queries and keys; layers name theirs by its place in [`DecoderSpec::ropes`].
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: RopeScaling,
    /// How many elements of a head it turns, from the first on; `None`: all.
    pub dim: Option<usize>,
    /// The frequencies of longer sequences, which are not used here (longrope).
    pub long: Option<LongFactors>,
}

/// Divisors of the frequencies in sequences beyond [`DecoderSpec::max_positions`].
#[derive(Debug, Clone, PartialEq)]
pub struct LongFactors {
    /// One for each frequency.
    pub factors: Vec<f32>,
    /// The longest sequence that they are for.
    pub max_positions: usize,
}

impl LongFactors {
    /// What a person should know of a model that has them; `original` is how far it is used here.
    pub fn remark(&self, original: usize) -> String {
        format!(
            "sequences of up to {original} tokens are computed as the model was made; its long factors, for up to {}, are not used",
            self.max_positions
        )
    }
}

/// What a tensor of the checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Token embedding `[vocab, hidden]`.
    Embedding,
    /// Output projection `[vocab, hidden]`.
    Head,
    /// A norm's weight.
    Norm,
    /// A linear layer's bias.
    Bias,
    /// A linear layer's matrix `[out, in]`.
    Linear,
}

/// One tensor that the checkpoint must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name, as Hugging Face writes it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
}

/// A decoder-only transformer, described by data.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// The family it was read as.
    pub family: Family,
    /// `architectures[0]` of the config.
    pub architecture: String,
    /// What the names of its tensors begin with: `model`, or `language_model.model` inside a multimodal checkpoint.
    pub prefix: String,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// The longest sequence that the model was made for.
    pub max_positions: usize,
    /// How all its norms are computed.
    pub norm: NormKind,
    /// Their epsilon.
    pub norm_eps: f64,
    /// The rotations that layers use.
    pub ropes: Vec<RopeSpec>,
    /// The layers, from the bottom.
    pub layers: Vec<LayerSpec>,
    /// What embeddings are multiplied by.
    pub embedding_scale: f64,
    /// What logits are multiplied by.
    pub logits_scale: f64,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
    /// The checkpoint also holds an image model, which is not used.
    pub sees_images: bool,
    /// What a person should know about how the config was read.
    pub remarks: Vec<String>,
}

impl DecoderSpec {
    /// Reads `config.json` of a model folder, or the metadata of a GGUF file.
    ///
    /// # Errors
    /// When the file cannot be read, the architecture is unknown, or a field does not fit; the error names the field.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::open(dir, Unknown::Refuse)
    }

    /// The same, with a say about architectures that are not known by name.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn open(dir: &Path, unknown: Unknown) -> Result<Self> {
        if super::gguf::is_gguf(dir) {
            return Ok(super::gguf::GgufSource::new(super::gguf::GgufFile::open(dir)?)?.spec().clone());
        }
        let path = dir.join("config.json");
        if !path.is_file() {
            let message = if dir.is_dir() { "there is no config.json in this folder" } else { "there is no such folder" };
            return Err(super::error::Error::NotAModel { path: dir.to_path_buf(), message: message.into() });
        }
        let mut spec = families::read(ConfigJson::read(&path)?, unknown)?;
        if spec.sees_images {
            spec.prefix = super::weights::text_prefix(dir)?;
        }
        Ok(spec)
    }

    /// The family that an architecture, or without one a `model_type`, is of, as config.json files call it; `None`: not known.
    pub fn known_family(architecture: Option<&str>, model_type: Option<&str>) -> Option<&'static str> {
        families::named(architecture, model_type)
    }

    /// Reads the text of a config.json; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_config_json(path: &Path, text: &str) -> Result<Self> {
        families::read(ConfigJson::parse(path, text)?, Unknown::Refuse)
    }

    /// What embeddings are multiplied by where activations have this dtype: the reference rounds the factor to it.
    pub fn embedding_scale_in(&self, dtype: DType) -> f64 {
        match dtype {
            DType::BF16 => half::bf16::from_f64(self.embedding_scale).to_f64(),
            _ => self.embedding_scale,
        }
    }

    /// Number of layers.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// Width of a head, which is the same in all layers.
    pub fn head_dim(&self) -> usize {
        self.layers[0].attention.head_dim
    }

    /// The shortest window of a layer that has one.
    pub fn shortest_window(&self) -> Option<usize> {
        self.layers.iter().filter_map(|l| l.attention.window).min()
    }

    /// Path of a layer's parts: `model.layers.3`.
    pub fn layer_path(&self, layer: usize) -> String {
        format!("{}.layers.{layer}", self.prefix)
    }

    /// The linear layers of a layer as the checkpoint holds them, in the order of the forward pass.
    pub fn layer_linears(&self, layer: usize) -> Vec<LinearSpec> {
        self.layers[layer].linears(&self.layer_path(layer), self.hidden_size)
    }

    /// The linear layers of all layers, which can carry adapters.
    pub fn linears(&self) -> Vec<LinearSpec> {
        (0..self.num_layers()).flat_map(|i| self.layer_linears(i)).collect()
    }

    /// Whether a tensor belongs to the image model of the checkpoint.
    pub fn is_of_images(&self, name: &str) -> bool {
        let name = name.strip_prefix("model.").unwrap_or(name);
        self.sees_images && (name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector."))
    }

    /// Name of the embedding's tensor.
    pub fn embedding_name(&self) -> String {
        format!("{}.embed_tokens.weight", self.prefix)
    }

    /// Path of the last norm.
    pub fn final_norm_path(&self) -> String {
        format!("{}.norm", self.prefix)
    }

    /// Name of the tensor that makes the logits.
    pub fn head_name(&self) -> String {
        if self.tie_word_embeddings { self.embedding_name() } else { self.own_head_name() }
    }

    /// Name of the head's own tensor, where it has one.
    pub fn own_head_name(&self) -> String {
        self.prefix.strip_suffix(".model").map_or("lm_head.weight".into(), |at| format!("{at}.lm_head.weight"))
    }

    /// Every tensor that the checkpoint must hold, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let d = self.hidden_size;
        let mut out = Vec::new();
        let mut push = |name: String, shape: Vec<usize>, role| out.push(TensorSpec { name, shape, role });
        push(self.embedding_name(), vec![self.vocab_size, d], Role::Embedding);
        for (i, layer) in self.layers.iter().enumerate() {
            for l in self.layer_linears(i) {
                push(format!("{}.weight", l.path), vec![l.out, l.inp], Role::Linear);
                if l.bias {
                    push(format!("{}.bias", l.path), vec![l.out], Role::Bias);
                }
            }
            let at = self.layer_path(i);
            for (name, width) in layer.attention.qk_norms() {
                push(format!("{at}.{name}.weight"), vec![width], Role::Norm);
            }
            if self.norm.has_weight() {
                for name in layer.norms.all().into_iter().flatten() {
                    push(format!("{at}.{name}.weight"), vec![d], Role::Norm);
                }
            }
        }
        if self.norm.has_weight() {
            push(format!("{}.weight", self.final_norm_path()), vec![d], Role::Norm);
        }
        if !self.tie_word_embeddings {
            push(self.own_head_name(), vec![self.vocab_size, d], Role::Head);
        }
        out
    }

    /// Number of weights.
    pub fn num_parameters(&self) -> u64 {
        self.tensors().iter().map(|t| t.shape.iter().product::<usize>() as u64).sum()
    }
}
