//! Llama 2, 3 and 3.x.

use super::{ConfigJson, DecoderSpec, Family, Result, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    Ok(DecoderSpec {
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: c.bool("mlp_bias")?.unwrap_or(false),
        ..plain(c, Family::Llama, architecture, 1e-6)?
    })
}
