//! What is minimised. The loop, the accumulation and the checkpoints are the same for every objective.

use crate::data::PackedBatch;
use crate::model::{Decoder, Grads, LossOut, Result, StepOptions};

/// A loss over packed sequences.
///
/// The loss of a window of batches is `sum over terms / sum over weights`, so however the window is cut into passes, its
/// gradient is that of one big batch.
pub trait Objective: std::fmt::Debug {
    /// What the batch adds to the denominator.
    fn weight(&self, batch: &PackedBatch) -> f64;

    /// Adds the batch's gradients, scaled by `options.grad_scale`, to `grads`.
    ///
    /// # Errors
    /// The model's own.
    fn gradients(&self, model: &Decoder, batch: &PackedBatch, options: &StepOptions, grads: &mut Grads) -> Result<LossOut>;

    /// The batch's loss without gradients or dropout.
    ///
    /// # Errors
    /// The model's own.
    fn evaluate(&self, model: &Decoder, batch: &PackedBatch) -> Result<LossOut>;

    /// Sequences that must stay in one pass: 1, or 2 where they come in pairs.
    fn sequences_together(&self) -> usize {
        1
    }
}

/// Supervised fine-tuning: the next token, where it is labelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sft;

impl Objective for Sft {
    fn weight(&self, batch: &PackedBatch) -> f64 {
        match &batch.token_weights {
            None => batch.target_tokens() as f64,
            Some(w) => batch.targets.iter().zip(w).filter(|(t, _)| **t >= 0).map(|(_, w)| f64::from(*w)).sum(),
        }
    }

    fn gradients(&self, model: &Decoder, batch: &PackedBatch, options: &StepOptions, grads: &mut Grads) -> Result<LossOut> {
        model.loss_and_grads(batch, options, grads)
    }

    fn evaluate(&self, model: &Decoder, batch: &PackedBatch) -> Result<LossOut> {
        model.evaluate(batch)
    }
}
