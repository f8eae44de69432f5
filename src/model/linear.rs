//! The one linear layer: a dense or quantised base, an optional bias, an optional LoRA.

use std::ops::Range;

use candle_core::Tensor;
use tallow_kernels::elementwise::{add_bias_inplace, sum_rows_add};
use tallow_kernels::lora::{Dropout, InputGradient, Lora, lora_inner, lora_matmul, lora_matmul_backward};
use tallow_kernels::matmul::{matmul, matmul_backward_input, matmul_backward_input_add, matmul_backward_weight};
use tallow_kernels::weight::Weight;

use super::error::Result;
use super::params::{Grads, ParamId, Params};
use super::seed::derive;

/// An adapter's place: its two parameters and how they are applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoraSlot {
    pub(crate) a: ParamId,
    pub(crate) b: ParamId,
    pub(crate) scale: f32,
    pub(crate) dropout: f32,
}

/// A product of a layer: all rows of a stored matrix, or those of one part of a fused one.
///
/// Parameters belong to the stored matrix. A part reads and writes its rows of them, so that the adapter of a fused matrix
/// is one adapter, as its owners have it.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// Path of the stored matrix, without `.weight`.
    pub(crate) name: String,
    /// The rows of the stored matrix that this is.
    pub(crate) rows: Range<usize>,
    /// Whether these are all.
    pub(crate) whole: bool,
    /// Tells this layer's dropout masks from the others'.
    pub(crate) stream: u64,
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Tensor>,
    pub(crate) weight_param: Option<ParamId>,
    pub(crate) bias_param: Option<ParamId>,
    pub(crate) lora: Option<LoraSlot>,
}

impl Linear {
    /// True when its backward pass needs its input.
    pub(crate) fn trains(&self) -> bool {
        self.weight_param.is_some() || self.lora.is_some()
    }

    /// This part's rows of a tensor of the stored matrix. They share its storage.
    pub(crate) fn part(&self, t: &Tensor) -> Result<Tensor> {
        Ok(if self.whole { t.clone() } else { t.narrow(0, self.rows.start, self.rows.len())? })
    }

    /// The adapter, where there is one.
    fn with_adapter<R>(
        &self,
        params: &Params,
        dropout_seed: Option<u64>,
        then: impl FnOnce(&LoraSlot, &Lora) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(slot) = &self.lora else { return Ok(None) };
        let dropout = dropout_seed.filter(|_| slot.dropout > 0.0);
        let dropout = dropout.map(|seed| Dropout { p: slot.dropout, seed: derive(seed, self.stream) });
        let b = self.part(params.get(slot.b))?;
        then(slot, &Lora { a: params.get(slot.a), b: &b, scale: slot.scale, dropout }).map(Some)
    }

    /// y `[T, out]` of x `[T, in]`, and the adapter's inner activation `[T, r]` for the backward pass.
    pub(crate) fn forward(&self, x: &Tensor, params: &Params, dropout_seed: Option<u64>) -> Result<(Tensor, Option<Tensor>)> {
        let adapted = self.with_adapter(params, dropout_seed, |_, lora| Ok(lora_matmul(x, &self.weight, lora)?))?;
        let (y, h) = match adapted {
            Some((y, h)) => (y, Some(h)),
            None => (matmul(x, &self.weight)?, None),
        };
        if let Some(bias) = &self.bias {
            add_bias_inplace(&y, bias)?;
        }
        Ok((y, h))
    }

    /// Only the adapter's inner activation.
    pub(crate) fn adapter_inner(&self, x: &Tensor, params: &Params, dropout_seed: Option<u64>) -> Result<Option<Tensor>> {
        self.with_adapter(params, dropout_seed, |_, lora| Ok(lora_inner(x, lora)?))
    }

    /// Adds the gradients of what trains here, and makes the gradient of x when `want_dx`, added to `onto` in place
    /// where given. `x` and `h` are the forward pass's; x may be missing when nothing trains here.
    pub(crate) fn backward(
        &self,
        dy: &Tensor,
        x: Option<&Tensor>,
        h: Option<&Tensor>,
        params: &Params,
        dropout_seed: Option<u64>,
        want_dx: bool,
        onto: Option<Tensor>,
        grads: &Grads,
    ) -> Result<Option<Tensor>> {
        let wanted = || match (want_dx, &onto) {
            (false, _) => InputGradient::No,
            (true, None) => InputGradient::New,
            (true, Some(dx)) => InputGradient::Onto(dx),
        };
        let adapted = match (x, h) {
            (Some(x), Some(h)) => self.with_adapter(params, dropout_seed, |slot, lora| {
                let (da, db) = (grads.get(slot.a), self.part(grads.get(slot.b))?);
                Ok(lora_matmul_backward(dy, x, h, &self.weight, lora, wanted(), da, &db)?)
            })?,
            _ => None,
        };
        let made = match (adapted, wanted()) {
            (Some(made), _) => made,
            (None, InputGradient::New) => Some(matmul_backward_input(dy, &self.weight)?),
            (None, InputGradient::Onto(dx)) => {
                matmul_backward_input_add(dy, &self.weight, dx)?;
                None
            }
            (None, InputGradient::No) => None,
        };
        let dx = made.or(onto);
        if let (Some(id), Some(x)) = (self.weight_param, x) {
            matmul_backward_weight(dy, x, &self.part(grads.get(id))?)?;
        }
        if let Some(id) = self.bias_param {
            sum_rows_add(dy, &self.part(grads.get(id))?)?;
        }
        Ok(dx)
    }
}
