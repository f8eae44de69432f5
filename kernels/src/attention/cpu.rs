//! Flash attention on the CPU: tiles that live in cache, f32 inside, one task for a fixed share of the work.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::Call;
use crate::Result;
use crate::activation::exp;
use crate::elementwise::{convert, scale};
use crate::matmul::{Mat, gemm_f32};
use crate::real::{Real, by_dtype};
use crate::simd::{greatest, sum, wide};
use crate::view::{SharedMut, read};

/// Queries of a tile.
const TQ: usize = 64;
/// Keys of a tile.
const TK: usize = 128;

/// Bytes that the threads need while they work: forward and backward.
pub(super) fn scratch_bytes(longest: usize, dim: usize, threads: usize) -> (u64, u64) {
    let tiles = TQ * TK;
    let (forward, backward) = (2 * TQ * dim + 2 * TK * dim + tiles, 7 * longest * dim + longest + 2 * tiles);
    (4 * (threads * forward) as u64, 4 * (threads * backward) as u64)
}

/// The keys that the queries `q0 .. q0 + nq` of a span can see: `[first, last)`. `offset` = keys before the first query.
fn visible(q0: usize, nq: usize, offset: usize, window: usize) -> (usize, usize) {
    ((q0 + offset + 1).saturating_sub(window), offset + q0 + nq)
}

/// Rows of one head, widened: `out[i] = x[(first + i), head]`.
fn gather<T: Real>(x: &[T], first: usize, rows: usize, head: usize, heads: usize, dim: usize, out: &mut [f32]) {
    for (i, o) in out.chunks_mut(dim).take(rows).enumerate() {
        let at = ((first + i) * heads + head) * dim;
        convert(&x[at..at + dim], o);
    }
}

wide! {
    fn row_max(row: &[f32]) -> f32 {
        greatest(row.len(), |i| row[i])
    }

    /// `x = e^(x - max)`, 0 where masked; returns the sum.
    fn exp_row(row: &mut [f32], max: f32) -> f32 {
        for x in row.iter_mut() {
            *x = if *x == f32::NEG_INFINITY { 0.0 } else { exp(*x - max) };
        }
        sum(row.len(), |i| row[i])
    }

    /// Scores become probabilities, and their gradients the scores' gradients.
    fn gradient_row(p: &mut [f32], ds: &mut [f32], lse: f32, delta: f32, scale: f32) {
        for (p, ds) in p.iter_mut().zip(ds) {
            *p = if *p == f32::NEG_INFINITY { 0.0 } else { exp(*p - lse) };
            *ds = *p * (*ds - delta) * scale;
        }
    }

    fn dot<T: Real, U: Real>(a: &[T], b: &[U]) -> f32 {
        sum(a.len().min(b.len()), |i| a[i].up() * b[i].up())
    }
}

pub(super) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, c: &Call) -> Result<(Tensor, Tensor)> {
    let tokens = q.dims()[0];
    by_dtype!(op, "q", q, T => {
        let mut o = vec![T::down(0.0); tokens * c.heads * c.dim];
        let mut lse = vec![0f32; c.heads * tokens];
        let (so, sl) = (SharedMut::new(&mut o), SharedMut::new(&mut lse));
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            tasks(c).into_par_iter().with_max_len(1).for_each(|(span, head, q0)| {
                let (qs, _, nq, _) = c.spans[span];
                let rows = TQ.min(nq - q0);
                let (out, row_lse) = forward_tile(q, k, v, c, span, head, q0, rows);
                for i in 0..rows {
                    let token = qs + q0 + i;
                    // SAFETY: each (token, head) belongs to exactly one task.
                    let (o, l) = unsafe { (so.slice((token * c.heads + head) * c.dim, c.dim), sl.slice(head * tokens + token, 1)) };
                    l[0] = row_lse[i];
                    convert(&out[i * c.dim..], o);
                }
            });
        })))???;
        let o = Tensor::from_vec(o, (tokens, c.heads, c.dim), &Device::Cpu)?;
        Ok((o, Tensor::from_vec(lse, (c.heads, tokens), &Device::Cpu)?))
    })
}

/// (sequence, head, first query) of every tile, the longest rows first within a sequence.
fn tasks(c: &Call) -> Vec<(usize, usize, usize)> {
    let mut all = Vec::new();
    for (s, &(_, _, nq, _)) in c.spans.iter().enumerate() {
        for h in 0..c.heads {
            all.extend((0..nq).step_by(TQ).rev().map(|q0| (s, h, q0)));
        }
    }
    all
}

/// Scores of a tile: masked entries become -inf.
fn mask(s: &mut [f32], nk: usize, rows: usize, first_row: usize, k0: usize, window: usize) {
    for (i, row) in s.chunks_mut(nk).take(rows).enumerate() {
        let position = first_row + i;
        let end = (position + 1).saturating_sub(k0).min(nk);
        row[end..].fill(f32::NEG_INFINITY);
        let begin = (position + 1).saturating_sub(window).saturating_sub(k0).min(nk);
        row[..begin].fill(f32::NEG_INFINITY);
    }
}

fn forward_tile<T: Real>(q: &[T], k: &[T], v: &[T], c: &Call, span: usize, head: usize, q0: usize, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let (qs, ks, nq, nkeys) = c.spans[span];
    let (d, kv) = (c.dim, head / (c.heads / c.kv_heads));
    let offset = nkeys - nq;
    let mut qt = vec![0f32; rows * d];
    gather(q, qs + q0, rows, head, c.heads, d, &mut qt);
    let (mut kt, mut vt, mut s) = (vec![0f32; TK * d], vec![0f32; TK * d], vec![0f32; rows * TK]);
    let mut acc = vec![0f32; rows * d];
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; rows], vec![0f32; rows]);
    let (begin, end) = visible(q0, rows, offset, c.window);
    for k0 in (begin / TK * TK..end).step_by(TK) {
        let nk = TK.min(end - k0);
        gather(k, ks + k0, nk, kv, c.kv_heads, d, &mut kt);
        gather(v, ks + k0, nk, kv, c.kv_heads, d, &mut vt);
        gemm_f32(&mut s, Mat::dense(rows, nk), &qt, Mat::dense(rows, d), &kt, Mat::dense(nk, d).t(), c.scale, 0.0);
        mask(&mut s, nk, rows, offset + q0, k0, c.window);
        for (i, row) in s.chunks_mut(nk).take(rows).enumerate() {
            let new_max = max[i].max(row_max(row));
            if new_max == f32::NEG_INFINITY {
                row.fill(0.0);
                continue;
            }
            let shrink = if max[i] == f32::NEG_INFINITY { 0.0 } else { exp(max[i] - new_max) };
            sum[i] = sum[i] * shrink + exp_row(row, new_max);
            max[i] = new_max;
            scale(&mut acc[i * d..(i + 1) * d], shrink);
        }
        gemm_f32(&mut acc, Mat::dense(rows, d), &s, Mat::dense(rows, nk), &vt, Mat::dense(nk, d), 1.0, 1.0);
    }
    for i in 0..rows {
        let inverse = 1.0 / sum[i];
        scale(&mut acc[i * d..(i + 1) * d], inverse);
        max[i] += sum[i].ln();
    }
    (acc, max)
}

pub(super) fn backward(
    op: &'static str,
    dout: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    c: &Call,
) -> Result<(Tensor, Tensor, Tensor)> {
    let tokens = q.dims()[0];
    by_dtype!(op, "q", q, T => {
        let mut dq = vec![T::down(0.0); tokens * c.heads * c.dim];
        let mut dk = vec![T::down(0.0); tokens * c.kv_heads * c.dim];
        let mut dv = vec![T::down(0.0); tokens * c.kv_heads * c.dim];
        let outs = Outs { dq: SharedMut::new(&mut dq), dk: SharedMut::new(&mut dk), dv: SharedMut::new(&mut dv) };
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            read::<T, _>(op, "o", o, |o| read::<T, _>(op, "dout", dout, |dout| read::<f32, _>(op, "lse", lse, |lse| {
                let ins = Ins { q, k, v, o, dout, lse, tokens };
                let tasks: Vec<_> = (0..c.spans.len()).flat_map(|s| (0..c.kv_heads).map(move |h| (s, h))).collect();
                tasks.into_par_iter().with_max_len(1).for_each(|(span, kv)| backward_kv_head(&ins, &outs, c, span, kv));
            })))
        })))??????;
        let dq = Tensor::from_vec(dq, (tokens, c.heads, c.dim), &Device::Cpu)?;
        let dk = Tensor::from_vec(dk, (tokens, c.kv_heads, c.dim), &Device::Cpu)?;
        Ok((dq, dk, Tensor::from_vec(dv, (tokens, c.kv_heads, c.dim), &Device::Cpu)?))
    })
}

struct Ins<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    o: &'a [T],
    dout: &'a [T],
    lse: &'a [f32],
    tokens: usize,
}

struct Outs<T> {
    dq: SharedMut<T>,
    dk: SharedMut<T>,
    dv: SharedMut<T>,
}

/// All gradients that one key-value head of one sequence takes part in.
fn backward_kv_head<T: Real>(x: &Ins<T>, out: &Outs<T>, c: &Call, span: usize, kv: usize) {
    let (first, _, n, _) = c.spans[span];
    let (d, group) = (c.dim, c.heads / c.kv_heads);
    let (mut kf, mut vf) = (vec![0f32; n * d], vec![0f32; n * d]);
    gather(x.k, first, n, kv, c.kv_heads, d, &mut kf);
    gather(x.v, first, n, kv, c.kv_heads, d, &mut vf);
    let (mut dk, mut dv, mut dq) = (vec![0f32; n * d], vec![0f32; n * d], vec![0f32; n * d]);
    let (mut qf, mut gf, mut of) = (vec![0f32; n * d], vec![0f32; n * d], vec![0f32; d]);
    for head in kv * group..(kv + 1) * group {
        gather(x.q, first, n, head, c.heads, d, &mut qf);
        gather(x.dout, first, n, head, c.heads, d, &mut gf);
        let lse = &x.lse[head * x.tokens + first..][..n];
        let delta: Vec<f32> = (0..n)
            .map(|i| {
                gather(x.o, first + i, 1, head, c.heads, d, &mut of);
                dot(&gf[i * d..(i + 1) * d], &of)
            })
            .collect();
        dq.fill(0.0);
        backward_head(c, n, &qf, &kf, &vf, &gf, lse, &delta, &mut dq, &mut dk, &mut dv);
        // SAFETY: each (token, head) belongs to exactly one task.
        unsafe { scatter(&out.dq, &dq, first, head, c.heads, d) };
    }
    // SAFETY: each (token, kv head) belongs to exactly one task.
    unsafe {
        scatter(&out.dk, &dk, first, kv, c.kv_heads, d);
        scatter(&out.dv, &dv, first, kv, c.kv_heads, d);
    }
}

/// Writes the rows of one head.
///
/// # Safety
/// No other thread may write these (token, head) elements.
unsafe fn scatter<T: Real>(to: &SharedMut<T>, from: &[f32], first: usize, head: usize, heads: usize, dim: usize) {
    for (i, row) in from.chunks(dim).enumerate() {
        // SAFETY: the caller's promise.
        let out = unsafe { to.slice(((first + i) * heads + head) * dim, dim) };
        convert(row, out);
    }
}

fn backward_head(
    c: &Call,
    n: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    g: &[f32],
    lse: &[f32],
    delta: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let d = c.dim;
    let (mut p, mut ds) = (vec![0f32; TQ * TK], vec![0f32; TQ * TK]);
    for q0 in (0..n).step_by(TQ) {
        let rows = TQ.min(n - q0);
        let at = q0 * d..(q0 + rows) * d;
        let (begin, end) = visible(q0, rows, 0, c.window);
        for k0 in (begin / TK * TK..end).step_by(TK) {
            let nk = TK.min(end - k0);
            let keys = k0 * d..(k0 + nk) * d;
            let (tile, heads) = (Mat::dense(rows, nk), Mat::dense(rows, d));
            gemm_f32(&mut p, tile, &q[at.clone()], heads, &k[keys.clone()], Mat::dense(nk, d).t(), c.scale, 0.0);
            gemm_f32(&mut ds, tile, &g[at.clone()], heads, &v[keys.clone()], Mat::dense(nk, d).t(), 1.0, 0.0);
            mask(&mut p, nk, rows, q0, k0, c.window);
            for (i, (p, ds)) in p.chunks_mut(nk).zip(ds.chunks_mut(nk)).take(rows).enumerate() {
                gradient_row(p, ds, lse[q0 + i], delta[q0 + i], c.scale);
            }
            gemm_f32(&mut dv[keys.clone()], Mat::dense(nk, d), &p, tile.t(), &g[at.clone()], heads, 1.0, 1.0);
            gemm_f32(&mut dk[keys.clone()], Mat::dense(nk, d), &ds, tile.t(), &q[at.clone()], heads, 1.0, 1.0);
            gemm_f32(&mut dq[at.clone()], heads, &ds, tile, &k[keys], Mat::dense(nk, d), 1.0, 1.0);
        }
    }
}
