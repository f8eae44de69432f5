//! One optimiser step: gradients of a whole window, checks, clipping, AdamW.

use super::diagnosis::Symptom;
use super::error::Result;
use super::objective::Objective;
use super::optimiser::Optimizer;
use crate::data::PackedBatch;
use crate::model::{Decoder, Grads, Policy, StepOptions};

/// What a step needs beside model and data.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// Learning rate.
    pub lr: f64,
    /// Gradients are scaled down to this norm; `None` leaves them.
    pub max_grad_norm: Option<f64>,
    /// What the forward pass keeps.
    pub policy: Policy,
    /// Seed of this step's dropout; `None` when there is none.
    pub dropout_seed: Option<u64>,
}

/// What a step gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOut {
    /// Mean loss over the window.
    pub loss: f64,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Where a value was not finite. Then parameters and optimiser are as before the step.
    pub symptom: Option<Symptom>,
}

/// Makes one step over `passes`. `grads` is zeroed first and holds the step's gradients after.
///
/// # Errors
/// The model's and the kernels' own.
pub fn train_step(
    model: &mut Decoder,
    optimizer: &mut Optimizer,
    objective: &dyn Objective,
    passes: &[PackedBatch],
    grads: &mut Grads,
    s: &StepSettings,
) -> Result<StepOut> {
    let weight: f64 = passes.iter().map(|p| objective.weight(p)).sum();
    grads.zero()?;
    let mut loss_sum = 0.0;
    for (i, pass) in passes.iter().enumerate() {
        let dropout_seed = s.dropout_seed.map(|seed| mix(seed, i as u64));
        let options = StepOptions { grad_scale: (1.0 / weight) as f32, dropout_seed, policy: s.policy };
        loss_sum += objective.gradients(model, pass, &options, grads)?.loss_sum;
    }
    let loss = loss_sum / weight;
    let grad_norm = tallow_kernels::optim::global_norm(&grads.tensors.iter().collect::<Vec<_>>())?;
    let symptom = match (loss.is_finite(), grad_norm.is_finite()) {
        (false, _) => Some(Symptom::Loss),
        (true, false) => Some(Symptom::Gradient),
        (true, true) => None,
    };
    if symptom.is_none() {
        optimizer.step(model.params(), grads, s.lr, clip_factor(grad_norm, s.max_grad_norm))?;
        model.sync_params()?;
    }
    Ok(StepOut { loss, grad_norm, symptom })
}

/// What gradients are multiplied by, as `torch.nn.utils.clip_grad_norm_` has it.
fn clip_factor(norm: f64, max: Option<f64>) -> f32 {
    max.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0)) as f32
}

/// A seed for part `n` of what `seed` stands for (splitmix64).
pub(super) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_only_above_the_limit() {
        assert_eq!(clip_factor(5.0, None), 1.0);
        assert_eq!(clip_factor(0.5, Some(1.0)), 1.0);
        assert!((clip_factor(4.0, Some(1.0)) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn seeds_differ() {
        let mut seen: Vec<u64> = (0..1000).map(|n| mix(42, n)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }
}
