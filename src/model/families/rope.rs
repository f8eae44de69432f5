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
    // Some configs keep the context of the first training beside the scaling; transformers lets that go first.
    let beside = c.usize("original_max_position_embeddings")?;
    let scaling = match parameters.or(scaling) {
        Some(s) => self::scaling(&s, beside, max_positions)?,
        None => RopeScaling::None,
    };
    Ok((theta, scaling))
}

/// Rotations for kinds of layers that the family does not have: transformers warns and turns as if none were given.
pub(super) fn remarks(c: &ConfigJson) -> Result<Option<String>> {
    let Some(parameters) = c.object("rope_parameters")? else { return Ok(None) };
    let kinds: Vec<&str> = ["full_attention", "sliding_attention"].into_iter().filter(|k| parameters.get(k).is_some()).collect();
    Ok((!kinds.is_empty()).then(|| {
        format!("rope_parameters of {} are not used by this architecture, which has one rotation for all layers", kinds.join(" and "))
    }))
}

fn scaling(s: &ConfigJson, beside: Option<usize>, max_positions: usize) -> Result<RopeScaling> {
    let kind = match s.str("rope_type")? {
        Some(k) => k,
        None => s.str("type")?.unwrap_or("default"),
    };
    if s.f64("partial_rotary_factor")?.is_some_and(|f| f != 1.0) {
        return Err(s.bad("partial_rotary_factor", "is not supported"));
    }
    let need = |field: &str| s.f64(field)?.ok_or_else(|| s.bad(field, "is missing"));
    let inside = s.usize("original_max_position_embeddings")?;
    let original = beside.or(inside).unwrap_or(max_positions);
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: need("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_max_position: original,
        }),
        "yarn" => {
            // As DeepSeek's configs have it: the ratio of the two contexts where there is no factor.
            let factor = match s.f64("factor")? {
                Some(factor) => factor,
                None if original < max_positions => max_positions as f64 / original as f64,
                None => return Err(s.bad("factor", "is missing")),
            };
            Ok(RopeScaling::Yarn {
                factor,
                original_max_position: original,
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
