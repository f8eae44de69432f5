//! LoRA by small products accumulated into the output, and the launchers of `lora.cu`.
//!
//! The factors are cast to the dtype of activations at each use (they are small and the optimiser changes them), and `h` is
//! kept in that dtype: the product that reads it would round it all the same.

use candle_core::{DType, Device, Tensor};

use super::gemm::{Gemm, Side};
use super::launch::Kernel;
use super::memory::{Span, empty, span};
use super::suffix;
use crate::Result;
use crate::lora::{Dropout, Lora};

/// Both factors as operands, and what keeps them alive.
struct Factors {
    a: Side,
    b: Side,
    _kept: Option<[Tensor; 2]>,
}

fn factors(op: &'static str, l: &Lora, dtype: DType, device: &Device) -> Result<Factors> {
    let (a, b) = (span(op, "a", l.a, DType::F32)?, span(op, "b", l.b, DType::F32)?);
    if dtype == DType::F32 {
        return Ok(Factors { a: Side::new(a, dtype), b: Side::new(b, dtype), _kept: None });
    }
    let (a16, b16) = (empty(l.a.shape(), dtype, device)?, empty(l.b.shape(), dtype, device)?);
    let (na, nb) = (l.a.elem_count(), l.b.elem_count());
    let (ta, tb) = (span(op, "a", &a16, dtype)?, span(op, "b", &b16, dtype)?);
    let args = [a.into(), ta.into(), (na as u64).into(), b.into(), tb.into(), (nb as u64).into()];
    // SAFETY: the factors and their copies have na and nb elements.
    unsafe { Kernel::over(op, "lora", "lora_cast", na + nb, 1).launch(device, &args)? };
    Ok(Factors { a: Side::new(ta, dtype), b: Side::new(tb, dtype), _kept: Some([a16, b16]) })
}

/// The arguments that dropout's kernels end in.
fn mask(d: &Dropout) -> (u64, f32, f32) {
    (d.seed, d.p, 1.0 / (1.0 - d.p))
}

/// `drop(x)`; x itself without dropout.
fn dropped(op: &'static str, x: &Tensor, d: Option<&Dropout>) -> Result<Tensor> {
    let Some(d) = d else { return Ok(x.clone()) };
    let (n, dtype) = (x.elem_count(), x.dtype());
    let out = empty(x.shape(), dtype, x.device())?;
    let (seed, p, keep) = mask(d);
    let args =
        [span(op, "x", x, dtype)?.into(), span(op, "dropped", &out, dtype)?.into(), (n as u64).into(), seed.into(), p.into(), keep.into()];
    let name = format!("dropout_{}", suffix(op, "x", x)?);
    // SAFETY: two tensors of n elements.
    unsafe { Kernel::over(op, "lora", name, n, super::activation::lanes(x)).launch(x.device(), &args)? };
    Ok(out)
}

fn side(op: &'static str, what: &'static str, t: &Tensor, dtype: DType) -> Result<Side> {
    Ok(Side::new(span(op, what, t, dtype)?, dtype))
}

/// `h = drop(x) Aᵀ` in x's dtype.
pub(crate) fn inner(op: &'static str, x: &Tensor, l: &Lora) -> Result<Tensor> {
    let ((tokens, inp), rank) = (x.dims2()?, l.a.dim(0)?);
    let (dtype, device) = (x.dtype(), x.device());
    let f = factors(op, l, dtype, device)?;
    let xd = dropped(op, x, l.dropout.as_ref())?;
    let h = empty((tokens, rank), dtype, device)?;
    let (xs, hs) = (side(op, "x", &xd, dtype)?, side(op, "h", &h, dtype)?);
    // SAFETY: the operands have these sizes, and h is new.
    unsafe { Gemm { op, m: tokens, n: rank, k: inp, alpha: 1.0, beta: 0.0 }.launch(device, xs, f.a.t(), hs)? };
    Ok(h)
}

/// `y += scale * drop(x) Aᵀ Bᵀ`; returns `h = drop(x) Aᵀ` in x's dtype.
pub(crate) fn forward(op: &'static str, x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
    let ((tokens, inp), (out, rank)) = (x.dims2()?, l.b.dims2()?);
    let (dtype, device) = (x.dtype(), x.device());
    let f = factors(op, l, dtype, device)?;
    let xd = dropped(op, x, l.dropout.as_ref())?;
    let h = empty((tokens, rank), dtype, device)?;
    let (xs, hs, ys) = (side(op, "x", &xd, dtype)?, side(op, "h", &h, dtype)?, side(op, "y", y, dtype)?);
    // SAFETY: the operands have these sizes; h is new, and y apart from x and the factors.
    unsafe {
        Gemm { op, m: tokens, n: rank, k: inp, alpha: 1.0, beta: 0.0 }.launch(device, xs, f.a.t(), hs)?;
        Gemm { op, m: tokens, n: out, k: rank, alpha: l.scale, beta: 1.0 }.launch(device, hs, f.b.t(), ys)?;
    }
    Ok(h)
}

/// Adds to dA, dB and, where given, dx.
pub(crate) fn backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    l: &Lora,
    dx: Option<&Tensor>,
    da: &Tensor,
    db: &Tensor,
) -> Result<()> {
    let ((tokens, inp), (out, rank)) = (x.dims2()?, l.b.dims2()?);
    let (dtype, device) = (x.dtype(), x.device());
    if tokens == 0 {
        return Ok(());
    }
    let f = factors(op, l, dtype, device)?;
    let dh = empty((tokens, rank), dtype, device)?;
    let (dys, hs, dhs) = (side(op, "dy", dy, dtype)?, side(op, "h", h, dtype)?, side(op, "dh", &dh, dtype)?);
    let (das, dbs) = (side(op, "da", da, DType::F32)?, side(op, "db", db, DType::F32)?);
    // SAFETY: the operands have these sizes; dh is new, and gradients are apart from activations.
    unsafe {
        Gemm { op, m: tokens, n: rank, k: out, alpha: l.scale, beta: 0.0 }.launch(device, dys, f.b, dhs)?;
        Gemm { op, m: out, n: rank, k: tokens, alpha: l.scale, beta: 1.0 }.launch(device, dys.t(), hs, dbs)?;
    }
    {
        let xd = dropped(op, x, l.dropout.as_ref())?;
        let xs = side(op, "x", &xd, dtype)?;
        // SAFETY: as above.
        unsafe { Gemm { op, m: rank, n: inp, k: tokens, alpha: 1.0, beta: 1.0 }.launch(device, dhs.t(), xs, das)? };
    }
    let Some(dx) = dx else { return Ok(()) };
    let dxs = side(op, "dx", dx, dtype)?;
    let back = Gemm { op, m: tokens, n: inp, k: rank, alpha: 1.0, beta: 1.0 };
    let Some(d) = &l.dropout else {
        // SAFETY: as above; dx is apart from dh and the factor.
        return unsafe { back.launch(device, dhs, f.a, dxs) };
    };
    let through = empty((tokens, inp), DType::F32, device)?;
    let ts = side(op, "through", &through, DType::F32)?;
    // SAFETY: as above; `through` is new.
    unsafe { Gemm { beta: 0.0, ..back }.launch(device, dhs, f.a, ts)? };
    add_dropped(op, dx, dxs.span, ts.span, d)
}

fn add_dropped(op: &'static str, to: &Tensor, to_span: Span, from: Span, d: &Dropout) -> Result<()> {
    let n = to.elem_count();
    let (seed, p, keep) = mask(d);
    let name = format!("add_dropped_{}", suffix(op, "dx", to)?);
    let args = [to_span.into(), from.into(), (n as u64).into(), seed.into(), p.into(), keep.into()];
    // SAFETY: two tensors of n elements.
    unsafe { Kernel::over(op, "lora", name, n, super::activation::lanes(to)).launch(to.device(), &args) }
}
