//! llama.cpp's names for architectures and tensors, and the order in which it keeps the rows of q and k.

use crate::model::spec::{Activation, DecoderSpec, Family, NormKind, NormNames, QkNorm};

/// The architectures of llama.cpp that a decoder can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// Llama, Mistral, and what is built like them.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3.
    Qwen3,
    /// OLMo 1.
    Olmo,
    /// OLMo 2, and OLMo 3, whose files have windows.
    Olmo2,
    /// Gemma 3, its text model.
    Gemma3,
    /// Phi-3, Phi-3.5 and Phi-4-mini.
    Phi3,
    /// SmolLM3.
    SmolLm3,
    /// Granite 3, dense.
    Granite,
}

impl Arch {
    const ALL: [Self; 9] =
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Olmo, Self::Olmo2, Self::Gemma3, Self::Phi3, Self::SmolLm3, Self::Granite];

    /// The one that runs a family.
    pub fn of(family: Family) -> Self {
        match family {
            Family::Llama | Family::Mistral | Family::Custom => Self::Llama,
            Family::Qwen2 => Self::Qwen2,
            Family::Qwen3 => Self::Qwen3,
            Family::Olmo => Self::Olmo,
            Family::Olmo2 | Family::Olmo3 => Self::Olmo2,
            Family::Gemma3 => Self::Gemma3,
            Family::Phi3 => Self::Phi3,
            Family::SmolLM3 => Self::SmolLm3,
            Family::Granite => Self::Granite,
        }
    }

    /// The family that it is read back as; `windows`: some of its layers have one.
    pub fn family(self, windows: bool) -> Family {
        match self {
            Self::Olmo2 if windows => Family::Olmo3,
            Self::Llama => Family::Llama,
            Self::Qwen2 => Family::Qwen2,
            Self::Qwen3 => Family::Qwen3,
            Self::Olmo => Family::Olmo,
            Self::Olmo2 => Family::Olmo2,
            Self::Gemma3 => Family::Gemma3,
            Self::Phi3 => Family::Phi3,
            Self::SmolLm3 => Family::SmolLM3,
            Self::Granite => Family::Granite,
        }
    }

    /// `architectures[0]` of the Hugging Face config of the same model.
    pub fn architecture(self, windows: bool) -> &'static str {
        match self {
            Self::Olmo2 if windows => "Olmo3ForCausalLM",
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Olmo => "OlmoForCausalLM",
            Self::Olmo2 => "Olmo2ForCausalLM",
            Self::Gemma3 => "Gemma3ForCausalLM",
            Self::Phi3 => "Phi3ForCausalLM",
            Self::SmolLm3 => "SmolLM3ForCausalLM",
            Self::Granite => "GraniteForCausalLM",
        }
    }

    /// What a norm's weight in the file is above the checkpoint's: Gemma's files hold one plus the weight.
    pub fn norm_offset(self) -> f32 {
        if self.norm() == NormKind::RmsPlusOne { 1.0 } else { 0.0 }
    }

    /// Where layers have windows: the last layer of each run of so many sees everything, the others do not. OLMo 2 is OLMo 3
    /// without any window.
    pub fn window_pattern(self) -> Option<usize> {
        match self {
            Self::Gemma3 => Some(6),
            Self::Olmo2 => Some(4),
            _ => None,
        }
    }

    /// Whether a layer turns its queries and keys.
    pub fn rotates(self, layer: usize) -> bool {
        self != Self::SmolLm3 || !(layer + 1).is_multiple_of(4)
    }

    /// Whether llama.cpp reads `rope_freqs.weight`, a table of divisors of the frequencies.
    pub fn reads_frequencies(self) -> bool {
        matches!(self, Self::Llama | Self::Granite)
    }

    /// Whether files have multipliers of embeddings, scores, blocks and logits.
    pub fn has_scales(self) -> bool {
        self == Self::Granite
    }

    /// How its norms are computed.
    pub fn norm(self) -> NormKind {
        match self {
            Self::Olmo => NormKind::LayerNormPlain,
            Self::Gemma3 => NormKind::RmsPlusOne,
            _ => NormKind::Rms,
        }
    }

    /// Where its norms stand.
    pub fn norms(self) -> NormNames {
        match self {
            Self::Olmo2 => NormNames::AFTER,
            Self::Gemma3 => NormNames::AROUND,
            _ => NormNames::BEFORE,
        }
    }

    /// Its norm of queries and keys.
    pub fn qk_norm(self) -> QkNorm {
        match self {
            Self::Qwen3 | Self::Gemma3 => QkNorm::PerHead,
            Self::Olmo2 => QkNorm::Full,
            _ => QkNorm::None,
        }
    }

    /// What its gate goes through.
    pub fn activation(self) -> Activation {
        if self == Self::Gemma3 { Activation::GeluTanh } else { Activation::Silu }
    }

    /// `general.architecture`, and what its metadata keys begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Olmo => "olmo",
            Self::Olmo2 => "olmo2",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
            Self::SmolLm3 => "smollm3",
            Self::Granite => "granite",
        }
    }

    /// The architecture of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// llama.cpp turns neighbouring elements of a head for this architecture, not halves: rows of q and k are reordered.
    pub fn interleaves(self) -> bool {
        matches!(self, Self::Llama | Self::Olmo | Self::SmolLm3 | Self::Granite)
    }
}

/// The name in a GGUF file of a tensor with this Hugging Face name.
pub fn gguf_name(arch: Arch, name: &str) -> Option<String> {
    // Inside a checkpoint that also sees images the text model's names begin otherwise.
    let inner = name.strip_prefix("language_model.").map(str::to_owned);
    let inner = inner.or_else(|| name.strip_prefix("model.language_model.").map(|rest| format!("model.{rest}")));
    let name = inner.as_deref().unwrap_or(name);
    match name {
        "model.embed_tokens.weight" => return Some("token_embd.weight".into()),
        "model.norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (path, end) = rest.rsplit_once('.')?;
    let short = match path {
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        // Gate and up in one, under the name of the second.
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if arch.norms().after_attention.is_some() => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        _ => return None,
    };
    Some(format!("blk.{layer}.{short}.{end}"))
}

/// How many heads the rows of a tensor are reordered by, if they are.
pub fn reordered_heads(arch: Arch, spec: &DecoderSpec, name: &str) -> Option<usize> {
    if !arch.interleaves() {
        return None;
    }
    let path = name.rsplit_once('.').map_or(name, |(p, _)| p);
    match path.rsplit_once('.').map(|(_, last)| last) {
        Some("q_proj") => Some(spec.layers[0].attention.heads),
        Some("k_proj") => Some(spec.layers[0].attention.kv_heads),
        _ => None,
    }
}

/// Rows `[heads, 2, half]` put in the order `[heads, half, 2]`, or back.
pub fn reorder_rows(values: &[f32], rows: usize, heads: usize, back: bool) -> Vec<f32> {
    let (width, per_head) = (values.len() / rows, rows / heads);
    let half = per_head / 2;
    let mut out = vec![0f32; values.len()];
    for row in 0..rows {
        let (head, i) = (row / per_head, row % per_head);
        // In the file, row 2i of a head is element i of the first half, and row 2i+1 of the second.
        let other = head * per_head + (i % half) * 2 + i / half;
        let (from, to) = if back { (other, row) } else { (row, other) };
        out[to * width..(to + 1) * width].copy_from_slice(&values[from * width..(from + 1) * width]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_there_and_back() {
        let v: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let there = reorder_rows(&v, 8, 2, false);
        assert_eq!(there, [0., 1., 4., 5., 2., 3., 6., 7., 8., 9., 12., 13., 10., 11., 14., 15.]);
        assert_eq!(reorder_rows(&there, 8, 2, true), v);
    }
}
