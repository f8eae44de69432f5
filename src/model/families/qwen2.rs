//! Qwen2 and Qwen2.5: biases on q, k and v, and windows on the upper layers.

use super::{ConfigJson, DecoderSpec, Family, Result, plain, qwen_windows};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let base = plain(c, architecture, Family::Qwen2)?;
    let windows = qwen_windows(c, base.num_layers())?;
    Ok(base.windows(windows).each(|l| l.attention.qkv_bias = true))
}
