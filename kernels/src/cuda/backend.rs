//! The launchers as a back end: on a GPU, and on the emulator, which differ only in who executes.

use candle_core::{DType, Tensor};

use super::memory::{empty, span};
use super::{activation, attention, cross_entropy, elementwise, embedding, lora, matmul, norm, optim, quant, rope};
use crate::Result;
use crate::attention::Call;
use crate::backend::{Backend, Normed, Op, Stepped, WeightGradient};
use crate::cross_entropy::{CeOptions, CeOut, gpu_chunk_tokens};
use crate::lora::Lora;
use crate::optim::AdamW;
use crate::quant::{Nf4, Q8};
use crate::rope::RopeTable;
use crate::weight::Weight;

/// Operations that are launched.
pub(crate) struct Launchers;

fn alike(t: &Tensor) -> Result<Tensor> {
    empty(t.shape(), t.dtype(), t.device())
}

impl Backend for Launchers {
    fn add(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let out = alike(a)?;
        elementwise::add(op, a, b, &out)?;
        Ok(out)
    }

    fn add_inplace(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<()> {
        elementwise::add(op, a, b, a)
    }

    fn add_bias_inplace(&self, op: Op, y: &Tensor, bias: &Tensor) -> Result<()> {
        elementwise::add_bias(op, y, bias)
    }

    fn sum_rows_add(&self, op: Op, dy: &Tensor, db: &Tensor) -> Result<()> {
        elementwise::sum_rows_add(op, dy, db)
    }

    fn write_rows(&self, op: Op, dst: &Tensor, first: usize, src: &Tensor) -> Result<()> {
        elementwise::write_rows(op, dst, first, src)
    }

    fn swiglu(&self, op: Op, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        activation::swiglu(op, gate, up)
    }

    fn swiglu_backward(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        let (dgate, dup) = (alike(gate)?, alike(gate)?);
        activation::swiglu_backward(op, dact, gate, up, &dgate, &dup)?;
        Ok((dgate, dup))
    }

    fn swiglu_backward_inplace(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
        activation::swiglu_backward(op, dact, gate, up, gate, up)
    }

    fn rms_norm(&self, op: Op, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Normed> {
        let (_, y, rstd) = norm::rms_norm(op, x, None, weight, eps)?;
        Ok((y, rstd))
    }

    fn add_rms_norm(&self, op: Op, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
        let (sum, y, rstd) = norm::rms_norm(op, x, Some(residual), weight, eps)?;
        Ok((sum.unwrap_or_else(|| x.clone()), y, rstd))
    }

    fn add_inplace_rms_norm(&self, op: Op, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<Normed> {
        norm::add_inplace_rms_norm(op, x, residual, weight, eps)
    }

    fn rms_norm_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        rstd: &Tensor,
        residual: Option<&Tensor>,
        dw: WeightGradient,
    ) -> Result<Tensor> {
        norm::rms_norm_backward(op, dy, x, weight, rstd, residual, dw)
    }

    fn layer_norm(&self, op: Op, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
        norm::layer_norm(op, x, weight, bias, eps)
    }

    fn layer_norm_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        weight: Option<&Tensor>,
        mean: &Tensor,
        rstd: &Tensor,
        residual: Option<&Tensor>,
        dw: WeightGradient,
        db: WeightGradient,
    ) -> Result<Tensor> {
        norm::layer_norm_backward(op, dy, x, weight, mean, rstd, residual, dw, db)
    }

    fn rope(&self, op: Op, q: &Tensor, k: &Tensor, positions: &[u32], table: &RopeTable, sign: f32) -> Result<()> {
        if q.dims()[2] != table.width() {
            return Err(crate::view::no_kernel(op, q)); // no kernel turns a part of each head
        }
        let (cos, sin) = table.parts();
        rope::rotate(op, q, k, positions, cos, sin, sign)
    }

    fn embedding(&self, op: Op, table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor> {
        Ok(embedding::gather(op, table, ids)?.to_dtype(dtype)?)
    }

    fn embedding_backward(&self, op: Op, dy: &Tensor, order: &[(u32, u32)], dtable: &Tensor) -> Result<()> {
        embedding::backward(op, dy, order, dtable)
    }

    fn matmul(&self, op: Op, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
        matmul::forward(op, x, w, tokens)
    }

    fn matmul_backward_input(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
        matmul::backward_input(op, dy, w, tokens, None)
    }

    fn matmul_backward_input_add(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize, dx: &Tensor) -> Result<()> {
        matmul::backward_input(op, dy, w, tokens, Some(dx)).map(drop)
    }

    fn matmul_backward_weight(&self, op: Op, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Result<()> {
        matmul::backward_weight(op, dy, x, dw)
    }

    fn decode_nf4(&self, op: Op, w: &Nf4, dtype: DType) -> Result<Tensor> {
        let out = empty(w.shape(), dtype, w.device())?;
        quant::nf4(op, w, span(op, "matrix", &out, dtype)?, dtype)?;
        Ok(out)
    }

    fn decode_q8(&self, op: Op, w: &Q8, dtype: DType) -> Result<Tensor> {
        let out = empty(w.shape(), dtype, w.device())?;
        quant::q8(op, w, span(op, "matrix", &out, dtype)?, dtype)?;
        Ok(out)
    }

    fn lora_forward(&self, op: Op, x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
        lora::forward(op, x, l, y)
    }

    fn lora_inner(&self, op: Op, x: &Tensor, l: &Lora) -> Result<Tensor> {
        lora::inner(op, x, l)
    }

    fn lora_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        h: &Tensor,
        l: &Lora,
        dx: Option<&Tensor>,
        da: &Tensor,
        db: &Tensor,
    ) -> Result<()> {
        lora::backward(op, dy, x, h, l, dx, da, db)
    }

    fn attention(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, call: &Call) -> Result<(Tensor, Tensor)> {
        attention::forward(op, q, k, v, call)
    }

    fn attention_backward(
        &self,
        op: Op,
        dout: &Tensor,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        lse: &Tensor,
        call: &Call,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        attention::backward(op, dout, q, k, v, o, lse, call)
    }

    fn attention_cached(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, length: usize, call: &Call) -> Result<Tensor> {
        attention::cached(op, q, k, v, length, call)
    }

    fn linear_cross_entropy(&self, op: Op, x: &Tensor, head: &Weight, targets: &[i64], chosen: &[u32], o: &CeOptions) -> Result<CeOut> {
        let step = if o.chunk_tokens == 0 { gpu_chunk_tokens(head.out_features()) } else { o.chunk_tokens };
        cross_entropy::linear_cross_entropy(op, x, head, targets, chosen, step, o)
    }

    fn global_norm(&self, op: Op, grads: &[&Tensor]) -> Result<f64> {
        match grads.first() {
            Some(first) => optim::global_norm(op, grads, first.device()),
            None => Ok(0.0),
        }
    }

    fn scale_inplace(&self, op: Op, t: &Tensor, factor: f32) -> Result<()> {
        elementwise::scale(op, t, factor)
    }

    fn zero_inplace(&self, op: Op, t: &Tensor) -> Result<()> {
        elementwise::zero(op, t)
    }

    fn adamw_step(&self, op: Op, tensors: &[Stepped], o: &AdamW) -> Result<()> {
        optim::step(op, tensors, o)
    }
}
