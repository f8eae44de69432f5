//! Norms by groups of rows, one thread each. Weight gradients are summed over a group, then over the groups
//! in order.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::elementwise::{add_inplace, add_to};
use crate::Result;
use crate::real::{Real, by_dtype};
use crate::simd::{sum, sum2, sum3, wide};
use crate::unwritten::unwritten;
use crate::view::{read, to_vec, write};

/// Rows that one thread works at a time.
const GROUP: usize = 64;

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

pub(super) fn rms_norm(op: &'static str, x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let (rows, d) = x.dims2()?;
    let w = to_vec::<f32>(op, "weight", weight)?;
    by_dtype!(op, "x", x, T => {
        let mut y = unwritten::<T>(rows * d);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(op, "x", x, |x| {
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

pub(super) fn add_rms_norm(op: &'static str, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, d) = x.dims2()?;
    let w = to_vec::<f32>(op, "weight", weight)?;
    by_dtype!(op, "x", x, T => {
        let mut sum = unwritten::<T>(rows * d);
        let mut y = unwritten::<T>(rows * d);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(op, "x", x, |x| {
            read::<T, _>(op, "residual", residual, |r| {
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

pub(super) fn add_inplace_rms_norm(op: &'static str, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    add_inplace(op, x, residual)?;
    rms_norm(op, x, weight, eps)
}

pub(super) fn rms_norm_backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
) -> Result<Tensor> {
    let w = to_vec::<f32>(op, "weight", weight)?;
    let rstd = to_vec::<f32>(op, "rstd", rstd)?;
    by_dtype!(op, "x", x, T => {
        backward::<T>(op, dy, x, residual, dw, None, |row, dx, dy, x, res, dw, _| rms_row_backward(dx, dy, x, res, &w, rstd[row], dw))
    })
}

pub(super) fn layer_norm(
    op: &'static str,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, d) = x.dims2()?;
    let w = weight.map(|w| to_vec::<f32>(op, "weight", w)).transpose()?.unwrap_or_default();
    let b = bias.map(|b| to_vec::<f32>(op, "bias", b)).transpose()?.unwrap_or_default();
    by_dtype!(op, "x", x, T => {
        let mut y = unwritten::<T>(rows * d);
        let mut mean = unwritten::<f32>(rows);
        let mut rstd = unwritten::<f32>(rows);
        read::<T, _>(op, "x", x, |x| {
            let work = y.par_chunks_mut(d).zip(mean.par_iter_mut()).zip(rstd.par_iter_mut()).zip(x.par_chunks(d));
            work.for_each(|(((y, mean), rstd), x)| (*mean, *rstd) = layer_row(y, x, &w, &b, eps as f32));
        })?;
        let vector = |v| Tensor::from_vec(v, rows, &Device::Cpu);
        Ok((Tensor::from_vec(y, (rows, d), &Device::Cpu)?, vector(mean)?, vector(rstd)?))
    })
}

pub(super) fn layer_norm_backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    weight: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
) -> Result<Tensor> {
    let d = x.dims()[1];
    let w = weight.map(|w| to_vec::<f32>(op, "weight", w)).transpose()?.unwrap_or_else(|| vec![1.0; d]);
    let mean = to_vec::<f32>(op, "mean", mean)?;
    let rstd = to_vec::<f32>(op, "rstd", rstd)?;
    by_dtype!(op, "x", x, T => {
        backward::<T>(op, dy, x, residual, dw, db, |row, dx, dy, x, res, dw, db| {
            layer_row_backward(dx, dy, x, res, &w, mean[row], rstd[row], dw, db);
        })
    })
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
