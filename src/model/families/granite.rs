//! Granite 3 (dense): a Llama with multipliers on embeddings, scores, residuals and logits.

use super::{ConfigJson, DecoderSpec, Family, Result, llama};

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let number = |field: &str| c.f64(field).map(|v| v.unwrap_or(1.0));
    let (embedding_scale, logits) = (number("embedding_multiplier")?, number("logits_scaling")?);
    let (scores, residual_scale) = (number("attention_multiplier")?, number("residual_multiplier")?);
    if logits == 0.0 {
        return Err(c.bad("logits_scaling", "must not be 0"));
    }
    let base = llama::spec(c, architecture)?;
    let base = DecoderSpec { family: Family::Granite, embedding_scale, logits_scale: 1.0 / logits, ..base };
    Ok(base.each(|l| {
        l.attention.scale = scores;
        l.residual_scale = residual_scale;
    }))
}
