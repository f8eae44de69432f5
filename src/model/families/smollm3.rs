//! SmolLM3: a Llama in which every fourth layer does not rotate.

use super::{ConfigJson, DecoderSpec, Family, Result, layer_types, llama};

pub(super) const DEFAULTS: &str = r#"{
    "tie_word_embeddings": true, "rope_theta": 2000000.0, "num_key_value_heads": 4, "no_rope_layer_interval": 4,
    "max_position_embeddings": 32768
}"#;

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let mut base = DecoderSpec { family: Family::SmolLM3, ..llama::spec(c, architecture)? };
    let (n, interval) = (base.num_layers(), c.count("no_rope_layer_interval")?);
    // 1 for a layer that rotates, in spite of the field's name.
    let rotates = match c.usizes("no_rope_layers")? {
        Some(list) if list.len() < n => {
            return Err(c.bad("no_rope_layers", format!("has {} entries for {n} layers", list.len())));
        }
        Some(list) => list.into_iter().map(|r| r != 0).collect(),
        None => (0..n).map(|i| (i + 1) % interval != 0).collect::<Vec<bool>>(),
    };
    let window = if c.bool("use_sliding_window")?.unwrap_or(false) { c.usize("sliding_window")? } else { None };
    let windows = layer_types(c, n, window)?.unwrap_or_else(|| rotates.iter().map(|r| window.filter(|_| !r)).collect());
    for (layer, rotates) in base.layers.iter_mut().zip(&rotates) {
        layer.attention.rope = rotates.then_some(0);
    }
    Ok(base.windows(windows))
}
