//! Mistral and Devstral: Llama with a sliding window.

use super::{ConfigJson, DecoderSpec, Family, Result, layer_types, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let base = plain(c, architecture, Family::Mistral)?;
    let (window, n) = (c.usize("sliding_window")?, base.num_layers());
    Ok(base.windows(layer_types(c, n, window)?.unwrap_or_else(|| vec![window; n])))
}
