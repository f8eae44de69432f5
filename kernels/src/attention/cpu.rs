//! Flash attention on the CPU: tiles of scores that live in cache, one task for a fixed share of the work. Sums and the
//! softmax are f32; the products take the activations as they are stored.

use candle_core::{DType, Device, Tensor};

use super::Call;
use crate::Result;
#[cfg(target_arch = "x86_64")]
use crate::bf16_loops;
use crate::cpu::elementwise::{convert, scale};
use crate::cpu::exp;
use crate::matmul::{Operand, Reach, product_within};
use crate::pool::each;
use crate::real::{Real, by_dtype};
use crate::simd::{greatest, sum, sum2, wide};
use crate::unwritten::unwritten;
use crate::view::{SharedMut, read};

/// Queries of a tile.
const TQ: usize = 192;
/// Keys of a tile.
const TK: usize = 192;

/// Bytes that the threads need while they work: forward and backward.
pub(crate) fn scratch_bytes(longest: usize, dim: usize, threads: usize) -> (u64, u64) {
    let (rows, keys) = (TQ.min(longest), TK.min(longest));
    let (forward, backward) = (rows * (keys + dim + 2), 3 * longest * dim + longest + 2 * rows * keys);
    // Probabilities, and backward their gradients too, once more in bf16.
    let short = 2 * threads * rows * keys;
    ((4 * threads * forward + short) as u64, (4 * threads * backward + 2 * short) as u64)
}

/// The keys that the queries `q0 .. q0 + nq` of a span can see: `[first, last)`. `offset` = keys before the first query.
pub(crate) fn visible(q0: usize, nq: usize, offset: usize, window: usize) -> (usize, usize) {
    ((q0 + offset + 1).saturating_sub(window), offset + q0 + nq)
}

/// One head of a tensor `[tokens, heads, dim]`, from token `first` on.
#[derive(Clone, Copy)]
struct Head<'a, T> {
    from: &'a [T],
    heads: usize,
    dim: usize,
}

impl<'a, T: Real> Head<'a, T> {
    fn new(x: &'a [T], first: usize, head: usize, heads: usize, dim: usize) -> Self {
        Self { from: &x[(first * heads + head) * dim..], heads, dim }
    }
    /// Rows `at .. at + rows` as an operand that is reduced along them.
    fn rows(&self, at: usize, rows: usize) -> Operand<'a> {
        let stride = self.heads * self.dim;
        Operand::of(&self.from[at * stride..], rows, self.dim).stride(stride)
    }
    /// Row `i`.
    fn row(&self, i: usize) -> &'a [T] {
        &self.from[i * self.heads * self.dim..][..self.dim]
    }
}

wide! {
    pub(super) fn row_max(row: &[f32]) -> f32 {
        greatest(row, |x| x)
    }

    /// `x = e^(x - max)`, 0 where masked; returns the sum.
    pub(super) fn exp_row(row: &mut [f32], max: f32) -> f32 {
        for x in row.iter_mut() {
            *x = if *x == f32::NEG_INFINITY { 0.0 } else { exp(*x - max) };
        }
        sum(row, |x| x)
    }

    /// Scores become probabilities, and their gradients the scores' gradients.
    fn gradient_row(p: &mut [f32], ds: &mut [f32], lse: f32, delta: f32, scale: f32) {
        for (p, ds) in p.iter_mut().zip(ds) {
            *p = if *p == f32::NEG_INFINITY { 0.0 } else { exp(*p - lse) };
            *ds = *p * (*ds - delta) * scale;
        }
    }

    fn dot<T: Real>(a: &[T], b: &[T]) -> f32 {
        sum2(a, b, |a, b| a.up() * b.up())
    }
}

pub(crate) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, c: &Call) -> Result<(Tensor, Tensor)> {
    let tokens = q.dims()[0];
    by_dtype!(op, "q", q, T => {
        let mut o = unwritten::<T>(tokens * c.heads * c.dim);
        let mut lse = unwritten::<f32>(c.heads * tokens);
        let (so, sl) = (SharedMut::new(&mut o), SharedMut::new(&mut lse));
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            let tasks = tasks(c);
            each(tasks.len(), |i| {
                let (span, head, q0) = tasks[i];
                let (qs, ks, nq, nkeys) = c.spans[span];
                let (rows, kv) = (TQ.min(nq - q0), head / (c.heads / c.kv_heads));
                let at = |x, first, head, heads| Head::<T>::new(x, first, head, heads, c.dim);
                let heads = (at(q, qs + q0, head, c.heads), at(k, ks, kv, c.kv_heads), at(v, ks, kv, c.kv_heads));
                let (out, row_lse) = forward_tile(heads, c, nkeys - nq + q0, rows);
                for i in 0..rows {
                    let token = qs + q0 + i;
                    // SAFETY: each (token, head) belongs to exactly one task.
                    let (o, l) = unsafe { (so.slice((token * c.heads + head) * c.dim, c.dim), sl.slice(head * tokens + token, 1)) };
                    l[0] = row_lse[i];
                    convert(&out[i * c.dim..(i + 1) * c.dim], o);
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

/// A tile of scores: its first query's position among the keys, its first key, and how many keys it has.
#[derive(Clone, Copy)]
struct Tile {
    position: usize,
    k0: usize,
    nk: usize,
    window: usize,
}

impl Tile {
    /// How far past its own number the first query sees.
    fn shift(&self) -> isize {
        self.position as isize - self.k0 as isize
    }

    /// Row `i` as far as it is seen, in whole vectors: masked entries there become -inf, those past it zero.
    fn seen(&self, i: usize, row: &mut [f32]) -> usize {
        let end = (self.position + i + 1).saturating_sub(self.k0).min(self.nk);
        let begin = (self.position + i + 1).saturating_sub(self.window).saturating_sub(self.k0).min(end);
        let used = end.next_multiple_of(16).min(self.nk);
        row[..begin].fill(f32::NEG_INFINITY);
        row[end..used].fill(f32::NEG_INFINITY);
        row[used..].fill(0.0);
        used
    }
}

/// Probabilities or their gradients of a tile as the products take them: rounded to bf16 where the
/// loop that makes them can, else none, and the products take the f32 of the tile itself.
struct Short(Vec<half::bf16>);

impl Short {
    fn new<T: Real>(n: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        if T::DTYPE == DType::BF16 && bf16_loops::available() {
            return Self(unwritten(n));
        }
        let _ = n;
        Self(Vec::new())
    }

    fn clear(&mut self, range: std::ops::Range<usize>) {
        if !self.0.is_empty() {
            self.0[range].fill(half::bf16::ZERO);
        }
    }

    /// `e^(scores - max)` for the row that begins at `at`; returns the sum.
    fn softmax(&mut self, scores: &mut [f32], max: f32, at: usize) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if !self.0.is_empty() {
            return bf16_loops::softmax(scores, max, &mut self.0[at..at + scores.len()]);
        }
        let _ = at;
        exp_row(scores, max)
    }

    /// The tile, from here or in f32.
    fn operand<'a>(&'a self, f32s: &'a [f32], rows: usize, keys: usize) -> Operand<'a> {
        if self.0.is_empty() { Operand::of(f32s, rows, keys) } else { Operand::of(&self.0, rows, keys) }
    }
}

/// Scores of row `i` become probabilities, and `ds` their gradients.
fn gradient<T: Real>(x: &Group<T>, row: usize, scale: f32, f32s: [&mut [f32]; 2], [p, ds]: [&mut Short; 2], at: usize) {
    let (lse, delta) = (x.lse[row], x.delta[row]);
    #[cfg(target_arch = "x86_64")]
    if !p.0.is_empty() {
        let range = at..at + f32s[0].len();
        let [s, dp] = f32s;
        return bf16_loops::softmax_backward([s, dp], [lse, delta, scale], [&mut p.0[range.clone()], &mut ds.0[range]]);
    }
    let (_, _, _) = (p, ds, at);
    let [s, dp] = f32s;
    gradient_row(s, dp, lse, delta, scale);
}

/// The output and log-sum-exp of `rows` queries, the first of which stands at `position` among the keys.
fn forward_tile<T: Real>((q, k, v): (Head<T>, Head<T>, Head<T>), c: &Call, position: usize, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let (d, bf) = (c.dim, T::DTYPE == DType::BF16);
    let (begin, end) = visible(position, rows, 0, c.window);
    let mut s = unwritten::<f32>(rows * TK.min(end));
    let mut short = Short::new::<T>(rows * TK.min(end));
    let mut acc = vec![0f32; rows * d];
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; rows], vec![0f32; rows]);
    for k0 in (begin / TK * TK..end).step_by(TK) {
        let nk = TK.min(end - k0);
        let tile = Tile { position, k0, nk, window: c.window };
        let shift = tile.shift();
        product_within(q.rows(0, rows), k.rows(k0, nk), &mut s, nk, bf, c.scale, false, Reach::Result { shift });
        for (i, row) in s.chunks_mut(nk).take(rows).enumerate() {
            let used = tile.seen(i, row);
            short.clear(i * nk + used..(i + 1) * nk);
            let row = &mut row[..used];
            let new_max = max[i].max(row_max(row));
            if new_max == f32::NEG_INFINITY {
                row.fill(0.0);
                short.clear(i * nk..i * nk + used);
                continue;
            }
            let shrink = if max[i] == f32::NEG_INFINITY { 0.0 } else { exp(max[i] - new_max) };
            sum[i] = sum[i] * shrink + short.softmax(row, new_max, i * nk);
            max[i] = new_max;
            scale(&mut acc[i * d..(i + 1) * d], shrink);
        }
        product_within(short.operand(&s, rows, nk), v.rows(k0, nk).t(), &mut acc, d, bf, 1.0, true, Reach::Left { shift });
    }
    for i in 0..rows {
        scale(&mut acc[i * d..(i + 1) * d], 1.0 / sum[i]);
        max[i] += sum[i].ln();
    }
    (acc, max)
}

pub(crate) fn backward(
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
        let mut dq = unwritten::<T>(tokens * c.heads * c.dim);
        let mut dk = unwritten::<T>(tokens * c.kv_heads * c.dim);
        let mut dv = unwritten::<T>(tokens * c.kv_heads * c.dim);
        let outs = Outs { dq: SharedMut::new(&mut dq), dk: SharedMut::new(&mut dk), dv: SharedMut::new(&mut dv) };
        read::<T, _>(op, "q", q, |q| read::<T, _>(op, "k", k, |k| read::<T, _>(op, "v", v, |v| {
            read::<T, _>(op, "o", o, |o| read::<T, _>(op, "dout", dout, |dout| read::<f32, _>(op, "lse", lse, |lse| {
                let ins = Ins { q, k, v, o, dout, lse, tokens };
                each(c.spans.len() * c.kv_heads, |i| backward_kv_head(&ins, &outs, c, i / c.kv_heads, i % c.kv_heads));
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

/// A query head's tensors of one sequence, with its keys and values.
struct Group<'a, T> {
    q: Head<'a, T>,
    k: Head<'a, T>,
    v: Head<'a, T>,
    g: Head<'a, T>,
    lse: &'a [f32],
    delta: &'a [f32],
    n: usize,
}

/// All gradients that one key-value head of one sequence takes part in.
fn backward_kv_head<T: Real>(x: &Ins<T>, out: &Outs<T>, c: &Call, span: usize, kv: usize) {
    let (first, _, n, _) = c.spans[span];
    if n == 0 {
        return;
    }
    let (d, group) = (c.dim, c.heads / c.kv_heads);
    let key_head = |x| Head::<T>::new(x, first, kv, c.kv_heads, d);
    let (mut dk, mut dv, mut dq) = (vec![0f32; n * d], vec![0f32; n * d], unwritten::<f32>(n * d));
    let mut delta = unwritten::<f32>(n);
    let (rows, keys) = (TQ.min(n), TK.min(n));
    let (mut p, mut ds) = (unwritten::<f32>(rows * keys), unwritten::<f32>(rows * keys));
    let mut shorts = [Short::new::<T>(rows * keys), Short::new::<T>(rows * keys)];
    for head in kv * group..(kv + 1) * group {
        let query_head = |x| Head::<T>::new(x, first, head, c.heads, d);
        let (g, o) = (query_head(x.dout), query_head(x.o));
        delta.iter_mut().enumerate().for_each(|(i, delta)| *delta = dot(g.row(i), o.row(i)));
        let lse = &x.lse[head * x.tokens + first..][..n];
        let all = Group { q: query_head(x.q), k: key_head(x.k), v: key_head(x.v), g, lse, delta: &delta, n };
        dq.fill(0.0);
        backward_head(c, &all, [&mut p, &mut ds], &mut shorts, &mut dq, &mut dk, &mut dv);
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
        convert(row, unsafe { to.slice(((first + i) * heads + head) * dim, dim) });
    }
}

fn backward_head<T: Real>(
    c: &Call,
    x: &Group<T>,
    [p, ds]: [&mut [f32]; 2],
    shorts: &mut [Short; 2],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    let (d, bf) = (c.dim, T::DTYPE == DType::BF16);
    for q0 in (0..x.n).step_by(TQ) {
        let rows = TQ.min(x.n - q0);
        let (begin, end) = visible(q0, rows, 0, c.window);
        for k0 in (begin / TK * TK..end).step_by(TK) {
            let nk = TK.min(end - k0);
            let tile = Tile { position: q0, k0, nk, window: c.window };
            let shift = tile.shift();
            product_within(x.q.rows(q0, rows), x.k.rows(k0, nk), p, nk, bf, c.scale, false, Reach::Result { shift });
            product_within(x.g.rows(q0, rows), x.v.rows(k0, nk), ds, nk, bf, 1.0, false, Reach::Result { shift });
            for (i, (p, ds)) in p.chunks_mut(nk).zip(ds.chunks_mut(nk)).take(rows).enumerate() {
                let used = tile.seen(i, p);
                ds[used..].fill(0.0);
                let [short_p, short_ds] = &mut *shorts;
                short_p.clear(i * nk + used..(i + 1) * nk);
                short_ds.clear(i * nk + used..(i + 1) * nk);
                gradient(x, q0 + i, c.scale, [&mut p[..used], &mut ds[..used]], [short_p, short_ds], i * nk);
            }
            let probabilities = shorts[0].operand(p, rows, nk);
            let scores = shorts[1].operand(ds, rows, nk);
            let (dk, dv) = (&mut dk[k0 * d..(k0 + nk) * d], &mut dv[k0 * d..(k0 + nk) * d]);
            product_within(probabilities.t(), x.g.rows(q0, rows).t(), dv, d, bf, 1.0, true, Reach::LeftDown { shift });
            product_within(scores.t(), x.q.rows(q0, rows).t(), dk, d, bf, 1.0, true, Reach::LeftDown { shift });
            product_within(scores, x.k.rows(k0, nk).t(), &mut dq[q0 * d..(q0 + rows) * d], d, bf, 1.0, true, Reach::Left { shift });
        }
    }
}
