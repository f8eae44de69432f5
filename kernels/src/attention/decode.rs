//! Attention of a few queries at the end of a sequence, as decoding makes them: keys and values are read where they lie.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::Call;
use super::cpu::{dot, exp_row, row_max, visible};
use crate::Result;
use crate::elementwise::{convert, scale};
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{SharedMut, read};

/// The most queries; more go through the tiles.
pub(super) const MOST: usize = 4;
/// Products of a head that are worth a task of their own.
const TASK: usize = 1 << 16;

wide! {
    /// `to += p * from`.
    fn add_times<T: Real>(to: &mut [f32], from: &[T], p: f32) {
        for (o, x) in to.iter_mut().zip(from) {
            *o += p * x.up();
        }
    }
}

/// The output `[n, heads, dim]` of the n queries q at the end of `len` keys.
pub(super) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, c: &Call, len: usize) -> Result<Tensor> {
    let n = q.dims()[0];
    by_dtype!(op, "q", q, T => {
        let mut o = unwritten::<T>(n * c.heads * c.dim);
        let out = SharedMut::new(&mut o);
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            let work = n * len * c.dim * 2;
            (0..c.heads).into_par_iter().with_min_len(TASK.div_ceil(work.max(1))).for_each(|head| {
                for i in 0..n {
                    let at = (i * c.heads + head) * c.dim;
                    // SAFETY: each (query, head) belongs to exactly one task.
                    let out = unsafe { out.slice(at, c.dim) };
                    one(&q[at..at + c.dim], k, v, c, head, len - n + i, out);
                }
            });
        })))???;
        Ok(Tensor::from_vec(o, (n, c.heads, c.dim), &Device::Cpu)?)
    })
}

/// One query of one head, which stands at `position` among the keys.
fn one<T: Real>(q: &[T], k: &[T], v: &[T], c: &Call, head: usize, position: usize, out: &mut [T]) {
    let (begin, end) = visible(position, 1, 0, c.window);
    let (stride, first) = (c.kv_heads * c.dim, head / (c.heads / c.kv_heads) * c.dim);
    let row = |j: usize| j * stride + first..j * stride + first + c.dim;
    let mut scores: Vec<f32> = (begin..end).map(|j| c.scale * dot(q, &k[row(j)])).collect();
    let max = row_max(&scores);
    let sum = exp_row(&mut scores, max);
    let mut acc = vec![0f32; c.dim];
    for (j, p) in (begin..end).zip(&scores) {
        add_times(&mut acc, &v[row(j)], *p);
    }
    scale(&mut acc, 1.0 / sum);
    convert(&acc, out);
}
