//! The CPU's back end. What it computes lies here, and beside their contracts in `matmul`, `attention` and
//! `lora`, whose kernels have folders of their own.

mod activation;
mod cross_entropy;
pub(crate) mod elementwise;
mod embedding;
mod geglu;
mod norm;
mod optim;
mod rope;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::attention::{self, Call};
use crate::backend::{Backend, Normed, Op, Stepped, WeightGradient};
use crate::cross_entropy::{CeOptions, CeOut};
use crate::lora::cpu as lora;
use crate::lora::{InputGradient, Lora, Sizes};
use crate::matmul::{self, cpu as products, few};
use crate::optim::AdamW;
use crate::quant::{Nf4, Q8, decode_nf4, decode_q8};
use crate::real::by_dtype;
use crate::rope::RopeTable;
use crate::weight::Weight;

pub(crate) use activation::exp;

/// Tensors in host memory.
pub(crate) struct Cpu;

/// Whether the adapter's product can be summed with the base's.
fn folds(s: &Sizes) -> bool {
    s.tokens > few::MOST && matmul::folds(s.rank)
}

impl Backend for Cpu {
    fn add(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        elementwise::add(op, a, b)
    }

    fn add_inplace(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<()> {
        elementwise::add_inplace(op, a, b)
    }

    fn add_bias_inplace(&self, op: Op, y: &Tensor, bias: &Tensor) -> Result<()> {
        elementwise::add_bias_inplace(op, y, bias)
    }

    fn sum_rows_add(&self, op: Op, dy: &Tensor, db: &Tensor) -> Result<()> {
        elementwise::sum_rows_add(op, dy, db)
    }

    fn write_rows(&self, op: Op, dst: &Tensor, first: usize, src: &Tensor) -> Result<()> {
        elementwise::write_rows(op, dst, first, src)
    }

    fn times_inplace(&self, op: Op, x: &Tensor, by: f32) -> Result<()> {
        elementwise::times_inplace(op, x, by)
    }

    fn times(&self, op: Op, x: &Tensor, by: f32) -> Result<Tensor> {
        elementwise::times(op, x, by)
    }

    fn geglu(&self, op: Op, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        geglu::geglu(op, gate, up)
    }

    fn geglu_backward_inplace(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
        geglu::geglu_backward_inplace(op, dact, gate, up)
    }

    fn swiglu(&self, op: Op, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        activation::swiglu(op, gate, up)
    }

    fn swiglu_backward(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        activation::swiglu_backward(op, dact, gate, up)
    }

    fn swiglu_backward_inplace(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
        activation::swiglu_backward_inplace(op, dact, gate, up)
    }

    fn rms_norm(&self, op: Op, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Normed> {
        norm::rms_norm(op, x, weight, eps)
    }

    fn add_rms_norm(&self, op: Op, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
        norm::add_rms_norm(op, x, residual, weight, eps)
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
        rope::rotate(op, q, positions, table, sign)?;
        rope::rotate(op, k, positions, table, sign)
    }

    fn embedding(&self, op: Op, table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor> {
        embedding::embedding(op, table, ids, dtype)
    }

    fn embedding_backward(&self, op: Op, dy: &Tensor, order: &[(u32, u32)], dtable: &Tensor) -> Result<()> {
        embedding::embedding_backward(op, dy, order, dtable)
    }

    fn matmul(&self, op: Op, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
        products::forward(op, x, w, tokens)
    }

    fn matmul_backward_input(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
        products::backward_input(op, dy, w, tokens)
    }

    fn matmul_backward_input_add(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize, dx: &Tensor) -> Result<()> {
        products::backward_input_add(op, dy, w, tokens, dx)
    }

    fn matmul_backward_weight(&self, op: Op, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Result<()> {
        let (out, inp) = dw.dims2()?;
        products::backward_weight(op, dy, x, dw, dy.dims()[0], out, inp)
    }

    fn decode_nf4(&self, _: Op, w: &Nf4, dtype: DType) -> Result<Tensor> {
        Ok(decode_nf4(w)?.to_dtype(dtype)?)
    }

    fn decode_q8(&self, _: Op, w: &Q8, dtype: DType) -> Result<Tensor> {
        Ok(decode_q8(w)?.to_dtype(dtype)?)
    }

    fn lora_forward(&self, op: Op, x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
        let s = Sizes::of(op, x, l)?;
        by_dtype!(op, "x", x, T => lora::forward::<T>(op, x, l, y, &s))
    }

    fn lora_inner(&self, op: Op, x: &Tensor, l: &Lora) -> Result<Tensor> {
        let s = Sizes::of(op, x, l)?;
        by_dtype!(op, "x", x, T => lora::tensor(lora::inner::<T>(op, x, l, &s)?, &s))
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
        let s = Sizes::of(op, x, l)?;
        by_dtype!(op, "x", x, T => lora::backward::<T>(op, dy, x, h, l, dx, da, db, &s))
    }

    fn lora_matmul(&self, op: Op, x: &Tensor, w: &Weight, l: &Lora) -> Result<(Tensor, Tensor)> {
        let s = Sizes::of(op, x, l)?;
        if folds(&s) {
            return by_dtype!(op, "x", x, T => lora::forward_folded::<T>(op, x, w, l, &s));
        }
        let y = self.matmul(op, x, w, s.tokens)?;
        let h = self.lora_forward(op, x, l, &y)?;
        Ok((y, h))
    }

    fn lora_matmul_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        h: &Tensor,
        w: &Weight,
        l: &Lora,
        dx: InputGradient,
        da: &Tensor,
        db: &Tensor,
    ) -> Result<Option<Tensor>> {
        let s = Sizes::of(op, x, l)?;
        if folds(&s) && l.dropout.is_none() && !matches!(dx, InputGradient::No) {
            return by_dtype!(op, "x", x, T => lora::backward_folded::<T>(op, dy, x, h, w, l, dx, da, db, &s));
        }
        crate::backend::composed_backward(self, op, dy, x, h, w, l, dx, da, db)
    }

    fn attention(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, call: &Call) -> Result<(Tensor, Tensor)> {
        attention::cpu::forward(op, q, k, v, call)
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
        attention::cpu::backward(op, dout, q, k, v, o, lse, call)
    }

    fn attention_cached(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, length: usize, call: &Call) -> Result<Tensor> {
        if q.dims()[0] <= attention::decode::MOST {
            return attention::decode::forward(op, q, k, v, call, length);
        }
        Ok(attention::cpu::forward(op, q, k, v, call)?.0)
    }

    fn linear_cross_entropy(&self, op: Op, x: &Tensor, head: &Weight, targets: &[i64], chosen: &[u32], o: &CeOptions) -> Result<CeOut> {
        cross_entropy::linear_cross_entropy(op, x, head, targets, chosen, o)
    }

    fn global_norm(&self, op: Op, grads: &[&Tensor]) -> Result<f64> {
        optim::global_norm(op, grads)
    }

    fn scale_inplace(&self, op: Op, t: &Tensor, factor: f32) -> Result<()> {
        optim::scale_inplace(op, t, factor)
    }

    fn zero_inplace(&self, op: Op, t: &Tensor) -> Result<()> {
        optim::zero_inplace(op, t)
    }

    fn adamw_step(&self, op: Op, tensors: &[Stepped], o: &AdamW) -> Result<()> {
        optim::adamw_step(op, tensors, o)
    }
}
