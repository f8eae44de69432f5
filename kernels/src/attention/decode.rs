//! Attention of a few queries at the end of a sequence, as decoding makes them: keys and values are read where they lie.

use candle_core::{Device, Tensor};

use super::Call;
use super::cpu::{exp_row, row_max, visible};
use crate::Result;
use crate::cpu::elementwise::{convert, scale};
use crate::pool::each;
use crate::real::{Real, by_dtype};
use crate::simd::{sum2, wide};
use crate::unwritten::unwritten;
use crate::view::{SharedMut, read};

/// The most queries; more go through the tiles.
pub(crate) const MOST: usize = 4;
/// Products that are worth a task of their own: a few microseconds.
const TASK: usize = 1 << 14;

wide! {
    /// `scores[j] = scale * q · k_j` for keys that lie `stride` apart.
    fn scores<T: Real>(q: &[T], keys: &[T], stride: usize, scale: f32, scores: &mut [f32]) {
        for (j, s) in scores.iter_mut().enumerate() {
            *s = scale * sum2(q, &keys[j * stride..][..q.len()], |a, b| a.up() * b.up());
        }
    }

    /// `to += p_j v_j` over values that lie `stride` apart.
    fn add_times<T: Real>(to: &mut [f32], values: &[T], stride: usize, p: &[f32]) {
        for (j, p) in p.iter().enumerate() {
            for (o, x) in to.iter_mut().zip(&values[j * stride..]) {
                *o += p * x.up();
            }
        }
    }
}

/// The output `[n, heads, dim]` of the n queries q at the end of `len` keys.
pub(crate) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, c: &Call, len: usize) -> Result<Tensor> {
    let n = q.dims()[0];
    by_dtype!(op, "q", q, T => {
        let mut o = unwritten::<T>(n * c.heads * c.dim);
        let out = SharedMut::new(&mut o);
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            let work = n * len * c.dim * 2;
            let part = TASK.div_ceil(work.max(1)).max(c.heads.div_ceil(2 * rayon::current_num_threads()));
            each(c.heads.div_ceil(part), |task| {
                for head in task * part..((task + 1) * part).min(c.heads) {
                    for i in 0..n {
                        let at = (i * c.heads + head) * c.dim;
                        // SAFETY: each (query, head) belongs to exactly one task.
                        let out = unsafe { out.slice(at, c.dim) };
                        one(&q[at..at + c.dim], k, v, c, head, len - n + i, out);
                    }
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
    let mut p = vec![0f32; end - begin];
    scores(q, &k[begin * stride + first..], stride, c.scale, &mut p);
    let max = row_max(&p);
    let sum = exp_row(&mut p, max);
    let mut acc = vec![0f32; c.dim];
    add_times(&mut acc, &v[begin * stride + first..], stride, &p);
    scale(&mut acc, 1.0 / sum);
    convert(&acc, out);
}
