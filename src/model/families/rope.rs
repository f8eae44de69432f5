//! The rotation: `rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters` that hold both.

use super::{ConfigJson, Result};
use crate::model::spec::RopeScaling;

pub(super) fn read(c: &ConfigJson, max_positions: usize) -> Result<(f64, RopeScaling)> {
    let top_theta = c.f64("rope_theta")?;
    let scaling = c.object("rope_scaling")?;
    let parameters = c.object("rope_parameters")?;
    let theta = match &parameters {
        Some(p) => p.f64("rope_theta")?.or(top_theta),
        None => top_theta,
    };
    let theta = theta.unwrap_or(10_000.0);
    if theta.is_nan() || theta <= 0.0 {
        return Err(c.bad("rope_theta", format!("{theta} must be above 0")));
    }
    let scaling = match parameters.or(scaling) {
        Some(s) => self::scaling(&s, max_positions)?,
        None => RopeScaling::None,
    };
    Ok((theta, scaling))
}

fn scaling(s: &ConfigJson, max_positions: usize) -> Result<RopeScaling> {
    let kind = match s.str("rope_type")? {
        Some(k) => k,
        None => s.str("type")?.unwrap_or("default"),
    };
    if s.f64("partial_rotary_factor")?.is_some_and(|f| f != 1.0) {
        return Err(s.bad("partial_rotary_factor", "is not supported"));
    }
    let need = |field: &str| s.f64(field)?.ok_or_else(|| s.bad(field, "is missing"));
    let original = || s.usize("original_max_position_embeddings").map(|n| n.unwrap_or(max_positions));
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: need("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_max_position: original()?,
        }),
        "yarn" => {
            let factor = need("factor")?;
            Ok(RopeScaling::Yarn {
                factor,
                original_max_position: original()?,
                beta_fast: s.f64("beta_fast")?.unwrap_or(32.0),
                beta_slow: s.f64("beta_slow")?.unwrap_or(1.0),
                attention_factor: Some(yarn_attention_factor(s, factor)?),
                truncate: s.bool("truncate")?.unwrap_or(true),
            })
        }
        other => Err(s.bad("rope_type", format!("`{other}` is not supported; default, linear, llama3 and yarn are"))),
    }
}

/// What cos and sin are multiplied by, as transformers resolves it.
fn yarn_attention_factor(s: &ConfigJson, factor: f64) -> Result<f64> {
    let magnitude = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    let (mscale, mscale_all) = (s.f64("mscale")?.unwrap_or(0.0), s.f64("mscale_all_dim")?.unwrap_or(0.0));
    Ok(match s.f64("attention_factor")? {
        Some(given) => given,
        None if mscale != 0.0 && mscale_all != 0.0 => magnitude(mscale) / magnitude(mscale_all),
        None => magnitude(1.0),
    })
}
