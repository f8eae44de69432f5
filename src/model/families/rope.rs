//! The rotation: `rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters` that hold both.

use super::{ConfigJson, Result, RopeSpec, max_positions};
use crate::model::spec::RopeScaling;

pub(super) fn read(c: &ConfigJson) -> Result<RopeSpec> {
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
    let contexts = Contexts { beside, max_positions: max_positions(c)? };
    let scaling = match parameters.or(scaling) {
        Some(s) => self::scaling(&s, contexts)?,
        None => RopeScaling::None,
    };
    Ok(RopeSpec { theta, scaling, dim: None, long: None })
}

/// The same for a family that turns whole heads, by frequencies that do not depend on the sequence.
pub(super) fn read_plain(c: &ConfigJson) -> Result<RopeSpec> {
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(s) = c.object(field)? else { continue };
        if s.f64("partial_rotary_factor")?.is_some_and(|f| f != 1.0) {
            return Err(s.bad("partial_rotary_factor", "is not supported for this architecture"));
        }
        let kind = s.str("rope_type")?.map_or_else(|| s.str("type"), |k| Ok(Some(k)))?;
        if let Some(kind @ ("longrope" | "su")) = kind {
            return Err(s.bad("rope_type", format!("`{kind}` is not supported for this architecture")));
        }
    }
    read(c)
}

/// The rotations of layers that see everything and of those with a window: `rope_parameters` by kind of layer, or as older
/// configs have it: `rope_theta` and `rope_scaling` for the first kind, and `local` with its default for the second.
pub(super) fn by_kind(c: &ConfigJson, local: (&str, f64)) -> Result<Vec<RopeSpec>> {
    let contexts = Contexts { beside: None, max_positions: max_positions(c)? };
    let parameters = c.object("rope_parameters")?;
    let of = |kind: &str, theta: f64, scaling: Option<ConfigJson>| -> Result<RopeSpec> {
        let given = parameters.as_ref().map(|p| p.object(kind)).transpose()?.flatten();
        let theta = given.as_ref().map(|p| p.f64("rope_theta")).transpose()?.flatten().unwrap_or(theta);
        if theta.is_nan() || theta <= 0.0 {
            return Err(c.bad("rope_theta", format!("{theta} must be above 0")));
        }
        let scaling = given.or(scaling).map(|s| self::scaling(&s, contexts)).transpose()?.unwrap_or_default();
        Ok(RopeSpec { theta, scaling, dim: None, long: None })
    };
    let theta = c.f64("rope_theta")?.unwrap_or(10_000.0);
    let local_theta = c.f64(local.0)?.unwrap_or(local.1);
    if parameters.as_ref().is_some_and(|p| p.get("rope_theta").is_some()) {
        return Err(c.bad("rope_parameters", "has one rotation; this architecture has one for each kind of layer"));
    }
    Ok(vec![of("full_attention", theta, c.object("rope_scaling")?)?, of("sliding_attention", local_theta, None)?])
}

/// Contexts that a scaling may be relative to.
#[derive(Clone, Copy)]
struct Contexts {
    /// That of the first training, where it stands beside the scaling.
    beside: Option<usize>,
    /// That of the model.
    max_positions: usize,
}

/// Rotations for kinds of layers that the family does not have: transformers warns and turns as if none were given.
pub(super) fn remarks(c: &ConfigJson) -> Result<Option<String>> {
    let Some(parameters) = c.object("rope_parameters")? else { return Ok(None) };
    let kinds: Vec<&str> = ["full_attention", "sliding_attention"].into_iter().filter(|k| parameters.get(k).is_some()).collect();
    Ok((!kinds.is_empty()).then(|| {
        format!("rope_parameters of {} are not used by this architecture, which has one rotation for all layers", kinds.join(" and "))
    }))
}

fn scaling(s: &ConfigJson, contexts: Contexts) -> Result<RopeScaling> {
    let Contexts { beside, max_positions } = contexts;
    let kind = match s.str("rope_type")? {
        Some(k) => k,
        None => s.str("type")?.unwrap_or("default"),
    };
    let need = |field: &str| s.f64(field)?.ok_or_else(|| s.bad(field, "is missing"));
    if let Some(beta) = s.get("llama_4_scaling_beta") {
        return Err(s.bad("llama_4_scaling_beta", format!("{beta} is not supported: queries would be scaled by their position")));
    }
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
        "longrope" | "su" => longrope(s, original, max_positions),
        other => Err(s.bad("rope_type", format!("`{other}` is not supported; default, linear, llama3, yarn and longrope are"))),
    }
}

/// The frequencies of sequences that are no longer than the first context.
fn longrope(s: &ConfigJson, original: usize, max_positions: usize) -> Result<RopeScaling> {
    let short = s.f64s("short_factor")?.ok_or_else(|| s.bad("short_factor", "is missing"))?;
    if s.f64s("long_factor")?.is_none() {
        return Err(s.bad("long_factor", "is missing"));
    }
    let factor = s.f64("factor")?.unwrap_or(max_positions as f64 / original as f64);
    let stretched = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
    let attention_factor = s.f64("attention_factor")?.unwrap_or(stretched);
    Ok(RopeScaling::Factors { factors: short.into_iter().map(|f| f as f32).collect(), attention_factor })
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
