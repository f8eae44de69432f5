//! OLMo 2: norms on the outputs of the blocks, and one norm over the whole width of q and of k.

use super::{ConfigJson, DecoderSpec, Family, NormNames, QkNorm, Result, plain};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let bias = c.bool("attention_bias")?.unwrap_or(false);
    let base = plain(c, architecture, Family::Olmo2)?;
    Ok(base.attention_bias(bias).each(|l| {
        l.norms = NormNames::AFTER;
        l.attention.qk_norm = QkNorm::Full;
    }))
}
