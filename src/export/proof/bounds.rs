//! What an export may lose.
//!
//! Two limits for each type. `usual`: what well-made files of trained models lose, with a margin;
//! an export beyond it stands, with a warning. The other is absolute: beyond it the file does not
//! compute what the model computes, and there is no export. Neither depends on the size of the
//! model's logits. `benches/peers/proof_bounds.py` measures what each type loses on trained models.

use serde::Serialize;

/// Positions whose likeliest token is clear that are needed to judge by their share.
pub(super) const FEWEST_CLEAR: usize = 20;

/// Limits of an export's difference from the live model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bounds {
    /// Largest mean KL divergence of the next token's distribution, in nats; beyond it the export fails.
    pub kl: f64,
    /// Smallest share of the clear positions with the same likeliest token; below it the export fails.
    pub same_top: f64,
    /// Mean KL divergence beyond which the export is weak.
    pub usual_kl: f64,
    /// Share of the clear positions below which the export is weak.
    pub usual_same_top: f64,
    /// Largest difference of a logit in standard deviations, for forms that lose nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_abs: Option<f64>,
}

const fn limits(usual_kl: f64, usual_same_top: f64, kl: f64, same_top: f64) -> Bounds {
    Bounds { kl, same_top, usual_kl, usual_same_top, max_abs: None }
}

/// Exports that lose nothing: the same numbers in f32, summed in another order.
pub const EXACT: Bounds = Bounds { max_abs: Some(0.005), ..limits(1e-6, 0.99, 1e-6, 0.99) };
/// Weights in f16.
pub const F16: Bounds = limits(1e-4, 0.99, 1e-3, 0.95);
/// Weights in bf16.
pub const BF16: Bounds = limits(2e-3, 0.97, 0.02, 0.9);
/// Eight bits.
pub const EIGHT: Bounds = limits(5e-3, 0.97, 0.05, 0.9);
/// Six bits.
pub const SIX: Bounds = limits(0.025, 0.95, 0.3, 0.75);
/// Five bits.
pub const FIVE: Bounds = limits(0.2, 0.9, 1.0, 0.6);
/// Four bits.
pub const FOUR: Bounds = limits(0.3, 0.85, 2.0, 0.4);
/// Three bits.
pub const THREE: Bounds = limits(0.5, 0.75, 2.5, 0.3);
/// Two bits.
pub const TWO: Bounds = limits(1.0, 0.6, 3.0, 0.2);
