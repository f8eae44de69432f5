//! Passes over a packed batch: loss with gradients, loss alone, logits.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Tensor};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::embedding::{embedding, embedding_backward};
use tallow_kernels::matmul::matmul;
use tallow_kernels::scale::scale_inplace;

use super::compute::{Compute, Training};
use super::engine::Engine;
use super::pass::Stack;
use super::tape::Policy;
use super::{Decoder, Error, Grads, Result};
use crate::base::cancel::Cancel;
use crate::data::PackedBatch;
use crate::model::linear::Linear;
use crate::model::norm::Norm;

/// How a training pass runs.
#[derive(Debug, Clone, Copy)]
pub struct StepOptions {
    /// Gradients are those of `grad_scale * sum of losses`; 1/targets of the whole window makes them those of its mean.
    pub grad_scale: f32,
    /// Seed of the dropout masks; `None` switches dropout off.
    pub dropout_seed: Option<u64>,
    /// What is kept between the passes.
    pub policy: Policy,
}

/// What a pass measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossOut {
    /// Sum of the losses of all targets, times their weights.
    pub loss_sum: f64,
    /// Number of targets.
    pub tokens: u64,
    /// Targets that were the most likely token.
    pub correct: u64,
}

impl Decoder {
    /// Adds the gradients of `grad_scale * sum of losses` to `grads` and returns the losses.
    ///
    /// # Errors
    /// When the batch does not fit the model, or a kernel refuses.
    pub fn loss_and_grads(&self, batch: &PackedBatch, options: &StepOptions, grads: &mut Grads) -> Result<LossOut> {
        self.loss_and_grads_measured(batch, options, grads).map(|(loss, _)| loss)
    }

    /// The same, and the bytes of activations that were kept on the device for the backward pass.
    ///
    /// # Errors
    /// As [`Self::loss_and_grads`].
    pub fn loss_and_grads_measured(&self, batch: &PackedBatch, options: &StepOptions, grads: &mut Grads) -> Result<(LossOut, u64)> {
        if grads.tensors.len() != self.params.len() {
            return Err(Error::Value(format!("{} gradients for {} parameters", grads.tensors.len(), self.params.len())));
        }
        self.on_pool(|| self.loss_and_grads_here(batch, options, grads))
    }

    /// Runs `work` on a thread of the pool with the others awake, where the CPU computes: the thousands of parallel loops of a
    /// step then start and end without waking a thread.
    pub(super) fn on_pool<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if tallow_kernels::device::launches(&self.device) {
            return work();
        }
        let token = Cancel::current();
        tallow_kernels::pool::awake(|| token.lend(work))
    }

    fn loss_and_grads_here(&self, batch: &PackedBatch, options: &StepOptions, grads: &Grads) -> Result<(LossOut, u64)> {
        let positions = self.positions(&batch.input_ids, &batch.cu_seqlens)?;
        let ropes = self.rope_tables(longest(&batch.cu_seqlens))?;
        let head_grad = if self.spec.tie_word_embeddings { self.embedding_param } else { self.head_param };
        let training = Training {
            spec: &self.spec,
            batch,
            head: &self.head,
            head_grad: head_grad.map(|id| grads.get(id)),
            grad_scale: options.grad_scale,
            grads,
            device: &self.device,
            offload: RefCell::default(),
            loss: Cell::default(),
        };
        let forward = Compute::forward(&self.params, &positions, &batch.cu_seqlens, &ropes);
        let engine = Compute { dropout_seed: options.dropout_seed, training: Some(training), ..forward };
        let out = self.stack().train(&engine, self.embed(&batch.input_ids)?, options.policy)?;
        if let (Some(id), Some(dx)) = (self.embedding_param, out.dx) {
            if self.spec.embedding_scale != 1.0 {
                engine.scale(&dx, self.embedding_scale())?;
            }
            embedding_backward(&dx, &batch.input_ids, grads.get(id))?;
        }
        Ok((engine.training.map(|t| t.loss.get()).unwrap_or_default(), out.kept))
    }

    pub(super) fn stack(&self) -> Stack<'_, Linear, Norm> {
        let embedding_trains = self.embedding_param.is_some();
        Stack { blocks: &self.layers, final_norm: &self.final_norm, embedding_trains }
    }

    /// The embeddings `[T, hidden]` of ids.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let x = embedding(&self.embedding, ids, self.compute_dtype)?;
        if self.spec.embedding_scale != 1.0 {
            scale_inplace(&x, self.embedding_scale() as f32)?;
        }
        Ok(x)
    }

    /// The embedding's factor as the compute dtype holds it, as the reference has it.
    fn embedding_scale(&self) -> f64 {
        self.spec.embedding_scale_in(self.compute_dtype)
    }

    /// Logits f32 `[T, vocab]` of the last norm's output.
    pub(super) fn logits_of(&self, y: &Tensor) -> Result<Tensor> {
        let logits = matmul(y, &self.head)?.to_dtype(DType::F32)?;
        if self.spec.logits_scale != 1.0 {
            scale_inplace(&logits, self.spec.logits_scale as f32)?;
        }
        Ok(logits)
    }

    /// The losses of a batch, without gradients and without dropout.
    ///
    /// # Errors
    /// As [`Self::loss_and_grads`].
    pub fn evaluate(&self, batch: &PackedBatch) -> Result<LossOut> {
        let ce = self.on_pool(|| {
            let y = self.scaled_hidden(batch)?;
            let token_weights = batch.token_weights.as_deref();
            let options = CeOptions { grad_scale: None, token_weights, dw: None, want_token_losses: false, chunk_tokens: 0 };
            Ok::<_, Error>(linear_cross_entropy(&y, &self.head, &batch.targets, &options)?)
        })?;
        Ok(LossOut { loss_sum: ce.loss_sum, tokens: ce.tokens, correct: ce.correct })
    }

    /// The loss of each token, 0 where there is no target.
    ///
    /// # Errors
    /// As [`Self::loss_and_grads`].
    pub fn token_losses(&self, batch: &PackedBatch) -> Result<Vec<f32>> {
        let options = CeOptions { grad_scale: None, token_weights: None, dw: None, want_token_losses: true, chunk_tokens: 0 };
        let ce = self.on_pool(|| {
            let y = self.scaled_hidden(batch)?;
            Ok::<_, Error>(linear_cross_entropy(&y, &self.head, &batch.targets, &options)?)
        })?;
        ce.token_losses.ok_or_else(|| Error::Value("the loss kernel returned no token losses".into()))
    }

    /// Logits f32 `[T, vocab]` of sequences end to end.
    ///
    /// # Errors
    /// As [`Self::loss_and_grads`].
    pub fn logits(&self, ids: &[u32], cu_seqlens: &[u32]) -> Result<Tensor> {
        let y = self.hidden(ids, cu_seqlens)?;
        self.logits_of(&y)
    }

    /// The final norm's output `[T, hidden]`.
    fn hidden(&self, ids: &[u32], cu_seqlens: &[u32]) -> Result<Tensor> {
        let positions = self.positions(ids, cu_seqlens)?;
        let ropes = self.rope_tables(longest(cu_seqlens))?;
        self.stack().forward(&Compute::forward(&self.params, &positions, cu_seqlens, &ropes), self.embed(ids)?)
    }

    /// The same, times what logits are multiplied by.
    fn scaled_hidden(&self, batch: &PackedBatch) -> Result<Tensor> {
        let y = self.hidden(&batch.input_ids, &batch.cu_seqlens)?;
        if self.spec.logits_scale != 1.0 {
            scale_inplace(&y, self.spec.logits_scale as f32)?;
        }
        Ok(y)
    }

    /// Position of each token in its sequence, after checking that ids and boundaries fit.
    pub(super) fn positions(&self, ids: &[u32], cu_seqlens: &[u32]) -> Result<Vec<u32>> {
        let total = cu_seqlens.last().copied().unwrap_or(0) as usize;
        if ids.is_empty() || cu_seqlens.first() != Some(&0) || total != ids.len() || cu_seqlens.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::Value(format!("sequence boundaries {cu_seqlens:?} do not fit {} tokens", ids.len())));
        }
        if let Some((i, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= self.spec.vocab_size) {
            let vocab = self.spec.vocab_size;
            return Err(Error::Value(format!(
                "token {i} has id {id}, the model's vocabulary has {vocab}: is the tokenizer another model's?"
            )));
        }
        Ok(cu_seqlens.windows(2).flat_map(|w| 0..w[1] - w[0]).collect())
    }
}

pub(super) fn longest(cu_seqlens: &[u32]) -> usize {
    cu_seqlens.windows(2).map(|w| w[1].saturating_sub(w[0])).max().unwrap_or(0) as usize
}
