//! Llama 2, 3 and 3.x.

use super::{ConfigJson, DecoderSpec, Family, Result, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let (bias, mlp_bias) = (c.bool("attention_bias")?.unwrap_or(false), c.bool("mlp_bias")?.unwrap_or(false));
    let base = plain(c, architecture, Family::Llama)?;
    Ok(base.attention_bias(bias).each(|l| l.feed_forward.bias = mlp_bias))
}
