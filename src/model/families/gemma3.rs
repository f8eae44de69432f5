//! Gemma 3, its text model: norms around each block with one plus a weight, a GELU gate, embeddings times the root of their
//! width, and two rotations: one for layers with a window, one for those that see everything.

use super::{ConfigJson, DecoderSpec, Family, NormKind, NormNames, QkNorm, Result, layer_types, rope, with_ropes};

pub(super) const DEFAULTS: &str = r#"{
    "tie_word_embeddings": true, "hidden_activation": "gelu_pytorch_tanh", "vocab_size": 262208, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072, "query_pre_attn_scalar": 256,
    "sliding_window": 4096, "sliding_window_pattern": 6, "rope_theta": 1000000.0
}"#;

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let ropes = rope::by_kind(c, ("rope_local_base_freq", 10_000.0))?;
    let base = with_ropes(c, architecture, Family::Gemma3, ropes)?;
    let (window, pattern, n) = (c.usize("sliding_window")?, c.count("sliding_window_pattern")?, base.num_layers());
    let by_pattern = || (0..n).map(|i| window.filter(|_| (i + 1) % pattern != 0)).collect();
    let windows = layer_types(c, n, window)?.unwrap_or_else(by_pattern);
    let scale = 1.0 / (c.count("query_pre_attn_scalar")? as f64).sqrt();
    let embedding_scale = (base.hidden_size as f64).sqrt();
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    let base = DecoderSpec { norm: NormKind::RmsPlusOne, embedding_scale, ..base.windows(windows) };
    Ok(base.attention_bias(bias).each(|l| {
        l.norms = NormNames::AROUND;
        l.attention.qk_norm = QkNorm::PerHead;
        l.attention.scale = scale;
        l.attention.rope = Some(usize::from(l.attention.window.is_some()));
    }))
}
