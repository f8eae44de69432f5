//! Qwen3 (dense): a norm on each head of q and k; heads of 128 unless told.

use super::{ConfigJson, DecoderSpec, Family, QkNorm, Result, plain, qwen_windows};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let base = plain(c, Family::Qwen3, architecture, 1e-6)?;
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    let head_dim = c.usize("head_dim")?.unwrap_or(128);
    let windows = qwen_windows(c, base.num_layers)?;
    Ok(DecoderSpec { qk_norm: QkNorm::PerHead, qkv_bias: bias, o_bias: bias, head_dim, windows, ..base })
}
