//! RMSNorm (arXiv 1910.07467) and LayerNorm (arXiv 1607.06450) over the rows of `[rows, d]`, forward and backward.
//!
//! The forward pass returns what the backward pass needs besides x: `rstd` (and the mean for LayerNorm), f32 `[rows]`.
//! Weight gradients are summed over fixed groups of rows, then over the groups in order.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::elementwise::add_to;
use crate::real::{Real, by_dtype};
use crate::simd::{sum, sum2, sum3, wide};
use crate::unwritten::unwritten;
use crate::view::{on_device, on_known_device, read, to_vec, write};
use crate::{Error, Result};

/// Rows that one thread works at a time.
const GROUP: usize = 64;

fn check(op: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    on_known_device(op, x)?;
    Ok(x.dims2()?)
}

/// A vector `[d]` of f32 or bf16 as an f32 tensor.
fn in_f32(op: &'static str, what: &'static str, v: &Tensor, d: usize) -> Result<Tensor> {
    if v.dims() != [d] {
        return Err(Error::Shape { op, what, got: format!("{:?}", v.dims()), want: format!("[{d}]") });
    }
    Ok(v.to_dtype(DType::F32)?)
}

/// The same, copied.
fn vector(op: &'static str, what: &'static str, v: &Tensor, d: usize) -> Result<Vec<f32>> {
    to_vec::<f32>(op, what, &in_f32(op, what, v, d)?)
}

fn same(op: &'static str, what: &'static str, t: &Tensor, like: &Tensor) -> Result<()> {
    if t.dims() != like.dims() || t.dtype() != like.dtype() {
        let show = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
        return Err(Error::Shape { op, what, got: show(t), want: show(like) });
    }
    Ok(())
}

wide! {
    /// One row of RMSNorm; returns its rstd.
    fn rms_row<T: Real>(y: &mut [T], x: &[T], w: &[f32], eps: f32) -> f32 {
        rms(y, x, w, eps)
    }

    /// `s = x + r` and RMSNorm of s; returns its rstd.
    fn add_rms_row<T: Real>(s: &mut [T], y: &mut [T], x: &[T], r: &[T], w: &[f32], eps: f32) -> f32 {
        for ((s, x), r) in s.iter_mut().zip(x).zip(r) {
            *s = T::down(x.up() + r.up());
        }
        rms(y, s, w, eps)
    }

    /// One row of RMSNorm's gradient; `res` and `dw` are empty when not wanted.
    fn rms_row_backward<T: Real>(dx: &mut [T], dy: &[T], x: &[T], res: &[T], w: &[f32], rstd: f32, dw: &mut [f32]) {
        let d = x.len();
        let c = sum3(dy, w, x, |dy, w, x| dy.up() * w * x.up()) * rstd * rstd * rstd / d as f32;
        put(dx, (dy, w, x), res, |dy, w, x| dy * w * rstd - x * c);
        for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
            *dw += dy.up() * x.up() * rstd;
        }
    }

    /// One row of LayerNorm; `w` and `b` are empty where absent. Returns its mean and rstd.
    fn layer_row<T: Real>(y: &mut [T], x: &[T], w: &[f32], b: &[f32], eps: f32) -> (f32, f32) {
        let d = x.len();
        let m = sum(x, T::up) / d as f32;
        let var = sum(x, |x| (x.up() - m) * (x.up() - m)) / d as f32;
        let r = 1.0 / (var + eps).sqrt();
        for (y, x) in y.iter_mut().zip(x) {
            *y = T::down((x.up() - m) * r);
        }
        for (y, (x, w)) in y.iter_mut().zip(x.iter().zip(w)) {
            *y = T::down((x.up() - m) * r * w);
        }
        for (i, (y, b)) in y.iter_mut().zip(b).enumerate() {
            let w = if w.is_empty() { 1.0 } else { w[i] };
            *y = T::down((x[i].up() - m) * r * w + b);
        }
        (m, r)
    }

    /// One row of LayerNorm's gradient; `res`, `dw` and `db` are empty when not wanted.
    fn layer_row_backward<T: Real>(
        dx: &mut [T], dy: &[T], x: &[T], res: &[T], w: &[f32], m: f32, r: f32, dw: &mut [f32], db: &mut [f32],
    ) {
        let d = x.len();
        let total = sum2(dy, w, |dy, w| dy.up() * w) / d as f32;
        let dot = sum3(dy, w, x, |dy, w, x| dy.up() * w * (x.up() - m) * r) / d as f32;
        put(dx, (dy, w, x), res, |dy, w, x| r * (dy * w - total - (x - m) * r * dot));
        for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
            *dw += dy.up() * (x.up() - m) * r;
        }
        for (db, dy) in db.iter_mut().zip(dy) {
            *db += dy.up();
        }
    }
}

#[inline(always)]
fn rms<T: Real>(y: &mut [T], x: &[T], w: &[f32], eps: f32) -> f32 {
    let d = x.len();
    let rstd = 1.0 / (sum(x, |x| x.up() * x.up()) / d as f32 + eps).sqrt();
    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
        *y = T::down(x.up() * rstd * w);
    }
    rstd
}

/// `to = f(dy, w, x) + res`, without `res` where it is empty.
#[inline(always)]
fn put<T: Real>(to: &mut [T], (dy, w, x): (&[T], &[f32], &[T]), res: &[T], f: impl Fn(f32, f32, f32) -> f32) {
    let from = dy.iter().zip(w).zip(x).map(|((dy, w), x)| f(dy.up(), *w, x.up()));
    if res.is_empty() {
        to.iter_mut().zip(from).for_each(|(o, v)| *o = T::down(v));
    } else {
        to.iter_mut().zip(from).zip(res).for_each(|((o, v), s)| *o = T::down(v + s.up()));
    }
}

/// `y = x * rstd * weight`, `rstd = 1/sqrt(mean(x²) + eps)`. Returns (y in x's dtype, rstd f32 `[rows]`).
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    const OP: &str = "rms_norm";
    let (rows, d) = check(OP, x)?;
    on_device!(x => {
        let (_, y, rstd) = crate::cuda::norm::rms_norm(OP, x, None, &in_f32(OP, "weight", weight, d)?, eps)?;
        Ok((y, rstd))
    });
    let w = vector(OP, "weight", weight, d)?;
    by_dtype!(OP, "x", x, T => {
        let mut y = unwritten::<T>(rows * d);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(OP, "x", x, |x| {
            let work = y.par_chunks_mut(GROUP * d).zip(rstd.par_chunks_mut(GROUP)).zip(x.par_chunks(GROUP * d));
            work.for_each(|((y, rstd), x)| {
                for ((y, rstd), x) in y.chunks_mut(d).zip(rstd).zip(x.chunks(d)) {
                    *rstd = rms_row(y, x, &w, eps as f32);
                }
            });
        })?;
        Ok((Tensor::from_vec(y, (rows, d), &Device::Cpu)?, Tensor::from_vec(rstd, rows, &Device::Cpu)?))
    })
}

/// `sum = x + residual`, then RMSNorm of the sum, in one pass. Returns (sum, y, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn add_rms_norm(x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "add_rms_norm";
    let (rows, d) = check(OP, x)?;
    same(OP, "residual", residual, x)?;
    on_device!(x => {
        let (sum, y, rstd) = crate::cuda::norm::rms_norm(OP, x, Some(residual), &in_f32(OP, "weight", weight, d)?, eps)?;
        Ok((sum.unwrap_or_else(|| x.clone()), y, rstd))
    });
    let w = vector(OP, "weight", weight, d)?;
    by_dtype!(OP, "x", x, T => {
        let mut sum = unwritten::<T>(rows * d);
        let mut y = unwritten::<T>(rows * d);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(OP, "x", x, |x| {
            read::<T, _>(OP, "residual", residual, |r| {
                let outs = y.par_chunks_mut(GROUP * d).zip(sum.par_chunks_mut(GROUP * d)).zip(rstd.par_chunks_mut(GROUP));
                outs.zip(x.par_chunks(GROUP * d)).zip(r.par_chunks(GROUP * d)).for_each(|((((y, sum), rstd), x), r)| {
                    for (i, rstd) in rstd.iter_mut().enumerate() {
                        let at = i * d..(i + 1) * d;
                        *rstd = add_rms_row(&mut sum[at.clone()], &mut y[at.clone()], &x[at.clone()], &r[at], &w, eps as f32);
                    }
                });
            })
        })??;
        Ok((Tensor::from_vec(sum, (rows, d), &Device::Cpu)?, Tensor::from_vec(y, (rows, d), &Device::Cpu)?, Tensor::from_vec(rstd, rows, &Device::Cpu)?))
    })
}

/// `x += residual` in place, then RMSNorm of x; one pass on a GPU. Returns (y, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn add_inplace_rms_norm(x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    const OP: &str = "add_inplace_rms_norm";
    check(OP, x)?;
    same(OP, "residual", residual, x)?;
    on_device!(x => crate::cuda::norm::add_inplace_rms_norm(OP, x, residual, &in_f32(OP, "weight", weight, x.dims()[1])?, eps));
    crate::elementwise::add_inplace(x, residual)?;
    rms_norm(x, weight, eps)
}

/// The gradient of [`rms_norm`] with respect to x, plus `residual` where given; `dw` f32 `[d]` is added to in place.
///
/// # Errors
/// As [`rms_norm`].
pub fn rms_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
) -> Result<Tensor> {
    const OP: &str = "rms_norm_backward";
    let (_, d) = check(OP, x)?;
    check_backward(OP, dy, x, residual)?;
    on_device!(x => crate::cuda::norm::rms_norm_backward(OP, dy, x, &in_f32(OP, "weight", weight, d)?, rstd, residual, dw));
    let w = vector(OP, "weight", weight, d)?;
    let rstd = to_vec::<f32>(OP, "rstd", rstd)?;
    by_dtype!(OP, "x", x, T => {
        backward::<T>(OP, dy, x, residual, dw, None, |row, dx, dy, x, res, dw, _| rms_row_backward(dx, dy, x, res, &w, rstd[row], dw))
    })
}

/// `y = (x - mean) * rstd * weight + bias`; weight and bias may be absent. Returns (y, mean, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "layer_norm";
    let (rows, d) = check(OP, x)?;
    on_device!(x => {
        let f32s = |what, v: Option<&Tensor>| v.map(|v| in_f32(OP, what, v, d)).transpose();
        crate::cuda::norm::layer_norm(OP, x, f32s("weight", weight)?.as_ref(), f32s("bias", bias)?.as_ref(), eps)
    });
    let w = weight.map(|w| vector(OP, "weight", w, d)).transpose()?.unwrap_or_default();
    let b = bias.map(|b| vector(OP, "bias", b, d)).transpose()?.unwrap_or_default();
    by_dtype!(OP, "x", x, T => {
        let mut y = unwritten::<T>(rows * d);
        let mut mean = unwritten::<f32>(rows);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(OP, "x", x, |x| {
            let work = y.par_chunks_mut(d).zip(mean.par_iter_mut()).zip(rstd.par_iter_mut()).zip(x.par_chunks(d));
            work.for_each(|(((y, mean), rstd), x)| (*mean, *rstd) = layer_row(y, x, &w, &b, eps as f32));
        })?;
        let vector = |v| Tensor::from_vec(v, rows, &Device::Cpu);
        Ok((Tensor::from_vec(y, (rows, d), &Device::Cpu)?, vector(mean)?, vector(rstd)?))
    })
}

/// The gradient of [`layer_norm`] with respect to x, plus `residual` where given; `dw` and `db` f32 `[d]` are added to.
///
/// # Errors
/// As [`rms_norm`].
pub fn layer_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
) -> Result<Tensor> {
    const OP: &str = "layer_norm_backward";
    let (_, d) = check(OP, x)?;
    check_backward(OP, dy, x, residual)?;
    on_device!(x => {
        let w = weight.map(|w| in_f32(OP, "weight", w, d)).transpose()?;
        crate::cuda::norm::layer_norm_backward(OP, dy, x, w.as_ref(), mean, rstd, residual, dw, db)
    });
    let w = weight.map(|w| vector(OP, "weight", w, d)).transpose()?.unwrap_or_else(|| vec![1.0; d]);
    let mean = to_vec::<f32>(OP, "mean", mean)?;
    let rstd = to_vec::<f32>(OP, "rstd", rstd)?;
    by_dtype!(OP, "x", x, T => {
        backward::<T>(OP, dy, x, residual, dw, db, |row, dx, dy, x, res, dw, db| {
            layer_row_backward(dx, dy, x, res, &w, mean[row], rstd[row], dw, db);
        })
    })
}

fn check_backward(op: &'static str, dy: &Tensor, x: &Tensor, residual: Option<&Tensor>) -> Result<()> {
    same(op, "dy", dy, x)?;
    residual.map_or(Ok(()), |r| same(op, "residual", r, x))
}

/// Walks groups of rows in parallel; `row` gets (row index, dx, dy, x, residual, dw, db), the last three empty when not
/// wanted.
fn backward<T: Real>(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
    row: impl Fn(usize, &mut [T], &[T], &[T], &[T], &mut [f32], &mut [f32]) + Sync,
) -> Result<Tensor> {
    let (rows, d) = x.dims2()?;
    let widths = (dw.map_or(0, |_| d), db.map_or(0, |_| d));
    let groups = rows.div_ceil(GROUP);
    let mut partial_w = vec![0f32; groups * widths.0];
    let mut partial_b = vec![0f32; groups * widths.1];
    let mut dx = unwritten::<T>(rows * d);
    let empty = Tensor::zeros(0, x.dtype(), &Device::Cpu)?;
    read::<T, _>(op, "x", x, |x| {
        read::<T, _>(op, "dy", dy, |dy| {
            read::<T, _>(op, "residual", residual.unwrap_or(&empty), |res| {
                let (mut pw, mut pb) = (chunks(&mut partial_w, widths.0, groups), chunks(&mut partial_b, widths.1, groups));
                let work = dx.par_chunks_mut(GROUP * d).zip(pw.par_iter_mut()).zip(pb.par_iter_mut());
                work.enumerate().for_each(|(g, ((dx, pw), pb))| {
                    for (i, dx) in dx.chunks_mut(d).enumerate() {
                        let r = g * GROUP + i;
                        let at = r * d..(r + 1) * d;
                        row(r, dx, &dy[at.clone()], &x[at.clone()], res.get(at).unwrap_or(&[]), pw, pb);
                    }
                });
            })
        })
    })???;
    for (grad, partial) in [(dw, &partial_w), (db, &partial_b)] {
        if let Some(grad) = grad {
            write::<f32, _>(op, "weight gradient", grad, |g| partial.chunks(d).for_each(|group| add_to(g, group)))?;
        }
    }
    Ok(Tensor::from_vec(dx, (rows, d), &Device::Cpu)?)
}

/// `count` pieces of `width` elements; empty pieces when the width is 0.
fn chunks(v: &mut [f32], width: usize, count: usize) -> Vec<&mut [f32]> {
    if width == 0 { (0..count).map(|_| &mut [][..]).collect() } else { v.chunks_mut(width).collect() }
}
