//! The one linear layer: a dense or quantised base, an optional bias, an optional LoRA.

use candle_core::Tensor;
use tallow_kernels::elementwise::{add_bias_inplace, sum_rows_add};
use tallow_kernels::lora::{Dropout, Lora, lora_backward, lora_forward};
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

#[derive(Debug)]
pub(crate) struct Linear {
    /// Hugging Face path without `.weight`.
    pub(crate) name: String,
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

    fn adapter<'a>(&self, slot: &LoraSlot, params: &'a Params, dropout_seed: Option<u64>) -> Lora<'a> {
        let dropout = dropout_seed.filter(|_| slot.dropout > 0.0).map(|seed| Dropout { p: slot.dropout, seed: derive(seed, self.stream) });
        Lora { a: params.get(slot.a), b: params.get(slot.b), scale: slot.scale, dropout }
    }

    /// y `[T, out]` of x `[T, in]`, and the adapter's inner activation `[T, r]` for the backward pass.
    pub(crate) fn forward(&self, x: &Tensor, params: &Params, dropout_seed: Option<u64>) -> Result<(Tensor, Option<Tensor>)> {
        let y = matmul(x, &self.weight)?;
        if let Some(bias) = &self.bias {
            add_bias_inplace(&y, bias)?;
        }
        let h = self.adapter_forward(x, params, dropout_seed, &y)?;
        Ok((y, h))
    }

    /// Only the adapter: adds to y, returns its inner activation.
    pub(crate) fn adapter_forward(&self, x: &Tensor, params: &Params, dropout_seed: Option<u64>, y: &Tensor) -> Result<Option<Tensor>> {
        let Some(slot) = &self.lora else { return Ok(None) };
        Ok(Some(lora_forward(x, &self.adapter(slot, params, dropout_seed), y)?))
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
        let dx = match (want_dx, onto) {
            (false, onto) => onto,
            (true, None) => Some(matmul_backward_input(dy, &self.weight)?),
            (true, Some(dx)) => {
                matmul_backward_input_add(dy, &self.weight, &dx)?;
                Some(dx)
            }
        };
        if let (Some(slot), Some(x), Some(h)) = (&self.lora, x, h) {
            let into = dx.as_ref().filter(|_| want_dx);
            lora_backward(dy, x, h, &self.adapter(slot, params, dropout_seed), into, grads.get(slot.a), grads.get(slot.b))?;
        }
        if let (Some(id), Some(x)) = (self.weight_param, x) {
            matmul_backward_weight(dy, x, grads.get(id))?;
        }
        if let Some(id) = self.bias_param {
            sum_rows_add(dy, grads.get(id))?;
        }
        Ok(dx)
    }
}
