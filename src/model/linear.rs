//! The one linear layer: a dense or quantised base, an optional bias, an optional LoRA.

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
        let (y, h) = match &self.lora {
            Some(slot) => {
                let (y, h) = lora_matmul(x, &self.weight, &self.adapter(slot, params, dropout_seed))?;
                (y, Some(h))
            }
            None => (matmul(x, &self.weight)?, None),
        };
        if let Some(bias) = &self.bias {
            add_bias_inplace(&y, bias)?;
        }
        Ok((y, h))
    }

    /// Only the adapter's inner activation.
    pub(crate) fn adapter_inner(&self, x: &Tensor, params: &Params, dropout_seed: Option<u64>) -> Result<Option<Tensor>> {
        let Some(slot) = &self.lora else { return Ok(None) };
        Ok(Some(lora_inner(x, &self.adapter(slot, params, dropout_seed))?))
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
        let wanted = match (want_dx, &onto) {
            (false, _) => InputGradient::No,
            (true, None) => InputGradient::New,
            (true, Some(dx)) => InputGradient::Onto(dx),
        };
        let made = match (&self.lora, x, h, wanted) {
            (Some(slot), Some(x), Some(h), wanted) => {
                let l = self.adapter(slot, params, dropout_seed);
                lora_matmul_backward(dy, x, h, &self.weight, &l, wanted, grads.get(slot.a), grads.get(slot.b))?
            }
            (_, _, _, InputGradient::New) => Some(matmul_backward_input(dy, &self.weight)?),
            (_, _, _, InputGradient::Onto(dx)) => {
                matmul_backward_input_add(dy, &self.weight, dx)?;
                None
            }
            (_, _, _, InputGradient::No) => None,
        };
        let dx = made.or(onto);
        if let (Some(id), Some(x)) = (self.weight_param, x) {
            matmul_backward_weight(dy, x, grads.get(id))?;
        }
        if let Some(id) = self.bias_param {
            sum_rows_add(dy, grads.get(id))?;
        }
        Ok(dx)
    }
}
