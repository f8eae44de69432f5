//! Mistral and Devstral: Llama with a sliding window.

use super::{ConfigJson, DecoderSpec, Family, Result, layer_types, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let base = plain(c, Family::Mistral, architecture, 1e-6)?;
    let window = c.usize("sliding_window")?;
    let windows = layer_types(c, base.num_layers, window)?.unwrap_or_else(|| vec![window; base.num_layers]);
    Ok(DecoderSpec { windows, ..base })
}
