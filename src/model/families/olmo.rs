//! OLMo 1: LayerNorm without parameters, and q, k, v clamped where the config says so.

use super::{ConfigJson, DecoderSpec, Family, NormKind, Result, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    let clip = c.f64("clip_qkv")?;
    if clip.is_some_and(|clip| clip <= 0.0) {
        return Err(c.bad("clip_qkv", "must be above 0"));
    }
    let base = plain(c, architecture, Family::Olmo)?;
    // The reference fixes epsilon at 1e-5; the config has no field for it.
    let base = DecoderSpec { norm: NormKind::LayerNormPlain, norm_eps: 1e-5, ..base };
    Ok(base.attention_bias(bias).each(|l| l.attention.clip = clip))
}
