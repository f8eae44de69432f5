//! Products with a weight: decoded into the device's scratch buffer where it is quantised, then cuBLAS.

use candle_core::{DType, Device, Tensor};

use super::gemm::{Gemm, Side};
use super::memory::{empty, span, with_scratch};
use super::{elementwise, quant};
use crate::Result;
use crate::weight::Weight;

/// Gives `multiply` the weight `[out, in]` in `dtype`: its own memory, or decoded into scratch memory, which is this call's until
/// `multiply` has queued its product.
fn with_dense(op: &'static str, w: &Weight, dtype: DType, device: &Device, multiply: impl FnOnce(Side) -> Result<()>) -> Result<()> {
    if let Weight::Dense(t) = w
        && t.dtype() == dtype
    {
        return multiply(Side::new(span(op, "weight", t, dtype)?, dtype));
    }
    let bytes = w.out_features() * w.in_features() * dtype.size_in_bytes();
    with_scratch(bytes, device, |to| {
        match w {
            Weight::Dense(t) => elementwise::convert(op, t, to)?,
            Weight::Nf4(w) => quant::nf4(op, w, to, dtype)?,
            Weight::Q8(w) => quant::q8(op, w, to, dtype)?,
        }
        multiply(Side::new(to, dtype))
    })
}

/// `y = x Wᵀ`.
pub(crate) fn forward(op: &'static str, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
    let (dtype, device) = (x.dtype(), x.device());
    let (n, k) = (w.out_features(), w.in_features());
    let y = empty((tokens, n), dtype, device)?;
    let (a, c) = (Side::new(span(op, "x", x, dtype)?, dtype), Side::new(span(op, "y", &y, dtype)?, dtype));
    let gemm = Gemm { op, m: tokens, n, k, alpha: 1.0, beta: 0.0 };
    // SAFETY: the operands have these sizes; y is new.
    with_dense(op, w, dtype, device, |b| unsafe { gemm.launch(device, a, b.t(), c) })?;
    Ok(y)
}

/// `dx = dy W`, or `dx += dy W` where `onto` is given, which is then also what is returned.
pub(crate) fn backward_input(op: &'static str, dy: &Tensor, w: &Weight, tokens: usize, onto: Option<&Tensor>) -> Result<Tensor> {
    let (dtype, device) = (dy.dtype(), dy.device());
    let (n, k) = (w.in_features(), w.out_features());
    let dx = match onto {
        Some(dx) => dx.clone(),
        None => empty((tokens, n), dtype, device)?,
    };
    let (a, c) = (Side::new(span(op, "dy", dy, dtype)?, dtype), Side::new(span(op, "dx", &dx, dtype)?, dtype));
    let gemm = Gemm { op, m: tokens, n, k, alpha: 1.0, beta: if onto.is_some() { 1.0 } else { 0.0 } };
    // SAFETY: the operands have these sizes; the caller's dx is apart from dy and w.
    with_dense(op, w, dtype, device, |b| unsafe { gemm.launch(device, a, b, c) })?;
    Ok(dx)
}

/// `dW += dyᵀ x`, dW f32.
pub(crate) fn backward_weight(op: &'static str, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Result<()> {
    let (dtype, device) = (dy.dtype(), dy.device());
    let ((k, m), (_, n)) = (dy.dims2()?, x.dims2()?);
    let a = Side::new(span(op, "dy", dy, dtype)?, dtype).t();
    let b = Side::new(span(op, "x", x, dtype)?, dtype);
    let c = Side::new(span(op, "dw", dw, DType::F32)?, DType::F32);
    if k == 0 {
        return Ok(());
    }
    // SAFETY: the operands have these sizes; a gradient is apart from activations.
    unsafe { Gemm { op, m, n, k, alpha: 1.0, beta: 1.0 }.launch(device, a, b, c) }
}
