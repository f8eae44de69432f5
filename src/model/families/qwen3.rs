//! Qwen3 (dense): a norm on each head of q and k; heads of 128 unless told.

use super::{ConfigJson, DecoderSpec, Family, QkNorm, Result, plain, qwen_windows};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let base = plain(c, architecture, Family::Qwen3)?;
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    let windows = qwen_windows(c, base.num_layers())?;
    Ok(base.windows(windows).attention_bias(bias).each(|l| l.attention.qk_norm = QkNorm::PerHead))
}
