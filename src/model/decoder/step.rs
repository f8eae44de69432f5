//! Passes over a packed batch: loss with gradients, loss alone, logits.

use candle_core::{DType, Tensor};
use tallow_kernels::cross_entropy::{CeOptions, CeOut, linear_cross_entropy};
use tallow_kernels::embedding::{embedding, embedding_backward};
use tallow_kernels::matmul::matmul;

use super::layer::Pass;
use super::tape::Policy;
use super::tapes::Tapes;
use super::{Decoder, Error, Grads, Result};
use crate::base::cancel::Token;
use crate::data::PackedBatch;

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
        let token = Token::current();
        tallow_kernels::pool::awake(|| token.lend(work))
    }

    fn loss_and_grads_here(&self, batch: &PackedBatch, options: &StepOptions, grads: &Grads) -> Result<(LossOut, u64)> {
        let positions = self.positions(&batch.input_ids, &batch.cu_seqlens)?;
        let rope = self.rope_table(longest(&batch.cu_seqlens))?;
        let pass = Pass {
            params: &self.params,
            positions: &positions,
            cu_seqlens: &batch.cu_seqlens,
            rope: &rope,
            dropout_seed: options.dropout_seed,
        };
        let mut x = embedding(&self.embedding, &batch.input_ids, self.compute_dtype)?;
        let count = self.layers.len();
        let mut tapes = Tapes::new(&self.device);
        for (i, layer) in self.layers.iter().enumerate() {
            let (policy, waits) = options.policy.of_layer(i, count);
            let (out, tape) = layer.forward(x, &pass, policy)?;
            tapes.push(tape, waits)?;
            x = out;
        }
        let kept_bytes = tapes.settle()?;
        let (y, stats) = self.final_norm.forward(&x)?;
        let trains_below = self.embedding_param.is_some() || self.layers.last().is_some_and(|l| l.needs.any);
        let head_grad = match self.spec.tie_word_embeddings {
            true => self.embedding_param,
            false => self.head_param,
        };
        let ce = self.cross_entropy(&y, batch, Some(options.grad_scale), head_grad.map(|id| grads.get(id)))?;
        drop(y);
        let loss = LossOut { loss_sum: ce.loss_sum, tokens: ce.tokens, correct: ce.correct };
        let (true, Some(dy)) = (trains_below || self.final_norm.trains(), ce.dx) else { return Ok((loss, kept_bytes)) };
        let mut dx = self.final_norm.backward(&dy, &x, &stats, None, grads)?;
        drop((dy, x, stats));
        for layer in self.layers.iter().rev() {
            match layer.backward(dx, tapes.pop()?, &pass, grads)? {
                Some(below) => dx = below,
                None => return Ok((loss, kept_bytes)),
            }
        }
        if let Some(id) = self.embedding_param {
            embedding_backward(&dx, &batch.input_ids, grads.get(id))?;
        }
        Ok((loss, kept_bytes))
    }

    /// The losses of a batch, without gradients and without dropout.
    ///
    /// # Errors
    /// As [`Self::loss_and_grads`].
    pub fn evaluate(&self, batch: &PackedBatch) -> Result<LossOut> {
        let ce = self.on_pool(|| {
            let y = self.hidden(&batch.input_ids, &batch.cu_seqlens)?;
            self.cross_entropy(&y, batch, None, None)
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
            let y = self.hidden(&batch.input_ids, &batch.cu_seqlens)?;
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
        Ok(matmul(&y, &self.head)?.to_dtype(DType::F32)?)
    }

    /// The final norm's output `[T, hidden]`.
    fn hidden(&self, ids: &[u32], cu_seqlens: &[u32]) -> Result<Tensor> {
        let positions = self.positions(ids, cu_seqlens)?;
        let rope = self.rope_table(longest(cu_seqlens))?;
        let pass = Pass { params: &self.params, positions: &positions, cu_seqlens, rope: &rope, dropout_seed: None };
        let mut x = embedding(&self.embedding, ids, self.compute_dtype)?;
        for layer in &self.layers {
            crate::base::cancel::checkpoint();
            x = layer.forward_plain(x, &pass)?;
        }
        Ok(self.final_norm.forward(&x)?.0)
    }

    fn cross_entropy(&self, y: &Tensor, batch: &PackedBatch, grad_scale: Option<f32>, dw: Option<&Tensor>) -> Result<CeOut> {
        let options =
            CeOptions { grad_scale, token_weights: batch.token_weights.as_deref(), dw, want_token_losses: false, chunk_tokens: 0 };
        Ok(linear_cross_entropy(y, &self.head, &batch.targets, &options)?)
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

    pub(super) fn head_logits(&self, y: &Tensor) -> Result<Vec<f32>> {
        Ok(matmul(y, &self.head)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }
}

pub(super) fn longest(cu_seqlens: &[u32]) -> usize {
    cu_seqlens.windows(2).map(|w| w[1].saturating_sub(w[0])).max().unwrap_or(0) as usize
}
