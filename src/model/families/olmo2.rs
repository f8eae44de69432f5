//! OLMo 2: norms on the outputs of the blocks, and one norm over the whole width of q and of k.

use super::{ConfigJson, DecoderSpec, Family, NormPlacement, QkNorm, Result, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    Ok(DecoderSpec {
        norm_placement: NormPlacement::Post,
        qk_norm: QkNorm::Full,
        qkv_bias: bias,
        o_bias: bias,
        ..plain(c, Family::Olmo2, architecture, 1e-5)?
    })
}
