//! A decoder described by data: everything that forward and backward need to know about a family.

use std::path::Path;

pub use tallow_kernels::rope::RopeScaling;

use super::config_json::ConfigJson;
use super::error::{Error, Result};
use super::families;

/// The families whose config.json is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Llama 2, 3 and 3.x.
    Llama,
    /// Mistral and Devstral.
    Mistral,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3 (dense).
    Qwen3,
    /// OLMo 1.
    Olmo,
    /// OLMo 2.
    Olmo2,
    /// Any other config whose fields all fit.
    Custom,
}

/// What is done with an architecture that is not known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It is refused: fields that fit do not say how a model computes.
    #[default]
    Refuse,
    /// It is read as a Llama, if every field of its config fits one; [`DecoderSpec::remarks`] says so.
    ReadAsLlama,
}

/// The normalisation of the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square with a weight.
    Rms,
    /// LayerNorm without weight or bias (OLMo 1).
    LayerNormPlain,
}

/// Where a block's normalisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// On the block's input: `x + block(norm(x))`.
    Pre,
    /// On the block's output, before the residual is added: `x + norm(block(x))`.
    Post,
}

/// Normalisation of queries and keys before the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// Over each head, with a weight of `[head_dim]`.
    PerHead,
    /// Over the whole width, with a weight of `[heads * head_dim]`.
    Full,
}

/// The seven linear layers of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinearKind {
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output.
    O,
    /// Gate of the feed-forward block.
    Gate,
    /// Up projection.
    Up,
    /// Down projection.
    Down,
}

impl LinearKind {
    /// All seven, in the order of the forward pass.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Its path inside a layer.
    pub fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// The last part of its path, as `target_modules` name it.
    pub fn short(self) -> &'static str {
        self.path().split_once('.').map_or(self.path(), |(_, s)| s)
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
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The norm.
    pub norm: NormKind,
    /// Where it stands.
    pub norm_placement: NormPlacement,
    /// Its epsilon.
    pub norm_eps: f64,
    /// Norm of queries and keys.
    pub qk_norm: QkNorm,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the attention output.
    pub o_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// Clamp q, k and v to this magnitude (OLMo 1).
    pub clip_qkv: Option<f64>,
    /// Base of the rotation.
    pub rope_theta: f64,
    /// How its frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// The longest sequence that the model was made for.
    pub max_positions: usize,
    /// Sliding window of each layer.
    pub windows: Vec<Option<usize>>,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
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
            return Err(Error::NotAModel { path: dir.to_path_buf(), message: message.into() });
        }
        families::read(&ConfigJson::read(&path)?, unknown)
    }

    /// Reads the text of a config.json; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_config_json(path: &Path, text: &str) -> Result<Self> {
        families::read(&ConfigJson::parse(path, text)?, Unknown::Refuse)
    }

    /// Width of the queries: `heads * head_dim`.
    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of keys, and of values.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// What attention scores are multiplied by.
    pub fn attention_scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }

    /// `(out, in)` of a linear layer.
    pub fn linear_shape(&self, kind: LinearKind) -> (usize, usize) {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        match kind {
            LinearKind::Q => (self.q_width(), d),
            LinearKind::K | LinearKind::V => (self.kv_width(), d),
            LinearKind::O => (d, self.q_width()),
            LinearKind::Gate | LinearKind::Up => (f, d),
            LinearKind::Down => (d, f),
        }
    }

    /// Whether a linear layer has a bias.
    pub fn linear_bias(&self, kind: LinearKind) -> bool {
        match kind {
            LinearKind::Q | LinearKind::K | LinearKind::V => self.qkv_bias,
            LinearKind::O => self.o_bias,
            LinearKind::Gate | LinearKind::Up | LinearKind::Down => self.mlp_bias,
        }
    }

    /// The names of a layer's two norms: the attention block's and the feed-forward block's.
    pub fn norm_names(&self) -> [&'static str; 2] {
        match self.norm_placement {
            NormPlacement::Pre => ["input_layernorm", "post_attention_layernorm"],
            NormPlacement::Post => ["post_attention_layernorm", "post_feedforward_layernorm"],
        }
    }

    /// Every tensor that the checkpoint must hold, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let d = self.hidden_size;
        let mut out = Vec::new();
        let mut push = |name: String, shape: Vec<usize>, role| out.push(TensorSpec { name, shape, role });
        push("model.embed_tokens.weight".into(), vec![self.vocab_size, d], Role::Embedding);
        for i in 0..self.num_layers {
            let at = format!("model.layers.{i}");
            for kind in LinearKind::ALL {
                let (o, n) = self.linear_shape(kind);
                push(format!("{at}.{}.weight", kind.path()), vec![o, n], Role::Linear);
                if self.linear_bias(kind) {
                    push(format!("{at}.{}.bias", kind.path()), vec![o], Role::Bias);
                }
            }
            let widths = match self.qk_norm {
                QkNorm::None => None,
                QkNorm::PerHead => Some((self.head_dim, self.head_dim)),
                QkNorm::Full => Some((self.q_width(), self.kv_width())),
            };
            if let Some((q, k)) = widths {
                push(format!("{at}.self_attn.q_norm.weight"), vec![q], Role::Norm);
                push(format!("{at}.self_attn.k_norm.weight"), vec![k], Role::Norm);
            }
            if self.norm == NormKind::Rms {
                for name in self.norm_names() {
                    push(format!("{at}.{name}.weight"), vec![d], Role::Norm);
                }
            }
        }
        if self.norm == NormKind::Rms {
            push("model.norm.weight".into(), vec![d], Role::Norm);
        }
        if !self.tie_word_embeddings {
            push("lm_head.weight".into(), vec![self.vocab_size, d], Role::Head);
        }
        out
    }

    /// Number of weights.
    pub fn num_parameters(&self) -> u64 {
        self.tensors().iter().map(|t| t.shape.iter().product::<usize>() as u64).sum()
    }
}
