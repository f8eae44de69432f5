//! Loss, perplexity and accuracy of held-out rows.

use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};
use super::objective::Objective;
use super::window::passes;
use crate::data::{Dataset, Example, PackedBatch};
use crate::model::Decoder;

/// The figures of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss over all labelled tokens.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Share of labelled tokens whose most probable prediction is right.
    pub accuracy: f64,
    /// Labelled tokens.
    pub tokens: u64,
}

/// The rows of a dataset, in file order, as passes of at most `max_tokens` (a longer row alone in one).
pub fn evaluation_passes(dataset: &Dataset, max_tokens: usize, objective: &dyn Objective) -> Vec<PackedBatch> {
    let examples: Vec<&Example> = dataset.examples.iter().collect();
    passes(&[PackedBatch::from_examples(&examples)], max_tokens, objective.sequences_together())
}

/// Evaluates `passes` without dropout. `go_on` is asked before each; when it says no, there is no result.
///
/// # Errors
/// The model's own; [`TrainError::Setting`] when no token is labelled; [`TrainError::NotFinite`] when the loss is none.
pub fn evaluate(
    model: &Decoder,
    objective: &dyn Objective,
    passes: &[PackedBatch],
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<Evaluation>> {
    let (mut loss, mut weight, mut tokens, mut correct) = (0.0, 0.0, 0, 0);
    for pass in passes {
        if !go_on() {
            return Ok(None);
        }
        let out = objective.evaluate(model, pass)?;
        loss += out.loss_sum;
        weight += objective.weight(pass);
        tokens += out.tokens;
        correct += out.correct;
    }
    if tokens == 0 {
        return Err(TrainError::Setting("the validation rows have no labelled token".into()));
    }
    let loss = loss / weight;
    let perplexity = loss.exp();
    // An accuracy beside a loss that is no number would say nothing about the model.
    for (what, value) in [("the loss on the rows", loss), ("the perplexity of the rows", perplexity)] {
        if !value.is_finite() {
            return Err(TrainError::NotFinite { what, value });
        }
    }
    Ok(Some(Evaluation { loss, perplexity, accuracy: correct as f64 / tokens as f64, tokens }))
}
