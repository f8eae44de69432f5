//! Phi-3, Phi-3.5 and Phi-4-mini: projections stored in one matrix, a rotation of a part of each head, and frequencies that
//! are stretched one by one (longrope).

use super::{ConfigJson, DecoderSpec, Family, QkvNames, Result, rope, with_ropes};
use crate::model::spec::{LongFactors, RopeScaling};

pub(super) const DEFAULTS: &str = r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 4096}"#;

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let top = c.f64("partial_rotary_factor")?;
    let inside = match c.object("rope_parameters")? {
        Some(p) => p.f64("partial_rotary_factor")?,
        None => None,
    };
    let mut base = with_ropes(c, architecture, Family::Phi3, vec![rope::read(c)?])?;
    let share = inside.or(top).unwrap_or(1.0);
    let head_dim = base.head_dim();
    let turned = (head_dim as f64 * share) as usize;
    if turned == 0 || turned > head_dim || !turned.is_multiple_of(2) {
        return Err(c.bad("partial_rotary_factor", format!("{share} of {head_dim} elements is no even number of them")));
    }
    base.ropes[0].dim = (turned < head_dim).then_some(turned);
    if let RopeScaling::Factors { factors, .. } = &base.ropes[0].scaling {
        if factors.len() != turned / 2 {
            return Err(c.bad("rope_scaling.short_factor", format!("has {} numbers, expected {}", factors.len(), turned / 2)));
        }
        // Longer sequences turn by other frequencies, all of them, so a model is used up to here.
        let original = c.count("original_max_position_embeddings")?;
        if original < base.max_positions {
            let factors = long_factors(c, turned / 2)?;
            let long = LongFactors { factors, max_positions: base.max_positions };
            base.remarks.push(long.remark(original));
            base.ropes[0].long = Some(long);
            base.max_positions = original;
        }
    }
    let (window, n) = (c.usize("sliding_window")?, base.num_layers());
    Ok(base.windows(vec![window; n]).each(|l| {
        l.attention.qkv = QkvNames::Fused;
        l.feed_forward.fused = true;
    }))
}

/// The frequencies that longer sequences turn by.
fn long_factors(c: &ConfigJson, count: usize) -> Result<Vec<f32>> {
    for field in ["rope_parameters", "rope_scaling"] {
        let Some(s) = c.object(field)? else { continue };
        let Some(factors) = s.f64s("long_factor")? else { continue };
        if factors.len() != count {
            return Err(s.bad("long_factor", format!("has {} numbers, expected {count}", factors.len())));
        }
        return Ok(factors.into_iter().map(|f| f as f32).collect());
    }
    Err(c.bad("rope_scaling.long_factor", "is missing"))
}
