//! The adapter's products on the CPU: small ones on the thread that has the rows, side by side where they share nothing.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{Dropout, InputGradient, Lora, Sizes};
use crate::Result;
use crate::matmul::few::{self, Into};
use crate::matmul::{self, Operand, Rows, product};
use crate::real::Real;
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{read, write};
use crate::weight::Weight;

/// The most tokens that one thread works at a time.
const TOKENS: usize = 528;
/// The most columns of a weight gradient that one thread makes at a time.
const COLS: usize = 288;
/// Tokens of one step over them, with dropout.
const STEP: usize = 480;

/// Tokens that one thread works at a time: four parts for each thread, so that all end together. Where the general product
/// works, whose sums depend on the size of what it is given, always the same.
fn rows(tokens: usize, threads: usize, activations: DType) -> usize {
    if !matmul::all_packed() {
        return 240;
    }
    tokens.div_ceil(4 * threads).next_multiple_of(matmul::tile_rows(activations)).clamp(48, TOKENS)
}

/// Columns of a weight gradient of this width that one thread makes at a time: all threads have some.
fn columns(width: usize, threads: usize) -> usize {
    if !matmul::all_packed() {
        return 96;
    }
    width.div_ceil(width.div_ceil(COLS).max(threads)).next_multiple_of(32).max(32)
}

wide! {
    /// Widens and applies dropout; `first` is the index of the first element in the whole tensor.
    fn drop_into<T: Real>(x: &[T], first: usize, d: &Dropout, out: &mut [f32]) {
        for (i, (o, v)) in out.iter_mut().zip(x).enumerate() {
            *o = v.up() * d.factor(first + i);
        }
    }

    /// Adds a gradient through dropout.
    fn add_dropped<T: Real>(to: &mut [T], first: usize, d: &Dropout, from: &[f32]) {
        for (i, (o, v)) in to.iter_mut().zip(from).enumerate() {
            *o = T::down(o.up() + v * d.factor(first + i));
        }
    }
}

/// Bytes that a linear layer's adapter needs at most beside operands and results, forward and backward: with dropout.
/// `size` bytes an activation.
pub fn scratch_bytes(tokens: usize, out: usize, inp: usize, rank: usize, threads: usize, size: usize) -> (u64, u64) {
    let rows = rows(tokens, threads, if size == 2 { DType::BF16 } else { DType::F32 });
    let dropped = 4 * threads.min(tokens.div_ceil(rows)) * rows.min(tokens) * inp;
    let step = 4 * threads * STEP.min(tokens) * columns(inp, threads).min(inp);
    let h = size * tokens * rank;
    ((h + dropped) as u64, (h + (4 * rank * (out + inp) + step).max(dropped)) as u64)
}

/// `[tokens, rank]`.
pub(crate) fn tensor<T: Real>(h: Vec<T>, s: &Sizes) -> Result<Tensor> {
    Ok(Tensor::from_vec(h, (s.tokens, s.rank), &Device::Cpu)?)
}

/// `y += scale * h Bᵀ`; returns h.
pub(crate) fn forward<T: Real>(op: &'static str, x: &Tensor, l: &Lora, y: &Tensor, s: &Sizes) -> Result<Tensor> {
    if l.dropout.is_none() && s.tokens <= few::MOST {
        return few_rows::<T>(op, x, l, y, s);
    }
    let (out, rank, bf, part) = (s.out, s.rank, T::DTYPE == DType::BF16, rows(s.tokens, rayon::current_num_threads(), T::DTYPE));
    let h = inner::<T>(op, x, l, s)?;
    read::<f32, _>(op, "b", l.b, |b| {
        write::<T, _>(op, "y", y, |y| {
            y.par_chunks_mut(part * out).zip(h.par_chunks(part * rank)).with_max_len(1).for_each(|(y, h)| {
                let t = h.len() / rank;
                product(Operand::of(h, t, rank), Operand::of(b, out, rank), y, out, bf, l.scale, true);
            });
        })
    })??;
    tensor(h, s)
}

/// The few rows of decoding; h stays f32 until it is returned.
fn few_rows<T: Real>(op: &'static str, x: &Tensor, l: &Lora, y: &Tensor, s: &Sizes) -> Result<Tensor> {
    let mut h = vec![0f32; s.tokens * s.rank];
    read::<f32, _>(op, "a", l.a, |a| {
        read::<f32, _>(op, "b", l.b, |b| {
            read::<T, _>(op, "x", x, |x| {
                write::<T, _>(op, "y", y, |y| {
                    few::product(x, s.tokens, Rows::F32(a), s.rank, s.inp, &mut h, Into { alpha: 1.0, add: false });
                    few::product(&h, s.tokens, Rows::F32(b), s.out, s.rank, y, Into { alpha: l.scale, add: true });
                })
            })
        })
    })????;
    tensor(h.into_iter().map(T::down).collect(), s)
}

/// `h = drop(x) Aᵀ`.
pub(crate) fn inner<T: Real>(op: &'static str, x: &Tensor, l: &Lora, s: &Sizes) -> Result<Vec<T>> {
    let mut h = unwritten::<T>(s.tokens * s.rank);
    let (inp, rank, bf, part) = (s.inp, s.rank, T::DTYPE == DType::BF16, rows(s.tokens, rayon::current_num_threads(), T::DTYPE));
    read::<f32, _>(op, "a", l.a, |a| {
        read::<T, _>(op, "x", x, |x| {
            h.par_chunks_mut(part * rank).zip(x.par_chunks(part * inp)).with_max_len(1).enumerate().for_each(|(i, (h, x))| {
                let (t, a) = (h.len() / rank, Operand::of(a, rank, inp));
                match &l.dropout {
                    None => product(Operand::of(x, t, inp), a, h, rank, bf, 1.0, false),
                    Some(d) => {
                        let mut dropped = unwritten::<f32>(t * inp);
                        drop_into(x, i * part * inp, d, &mut dropped);
                        product(Operand::of(&dropped, t, inp), a, h, rank, bf, 1.0, false);
                    }
                }
            });
        })
    })??;
    Ok(h)
}

/// `y = x Wᵀ + scale * h Bᵀ` in one, and h.
pub(crate) fn forward_folded<T: Real>(op: &'static str, x: &Tensor, w: &Weight, l: &Lora, s: &Sizes) -> Result<(Tensor, Tensor)> {
    let h = inner::<T>(op, x, l, s)?;
    // The scale goes with the smallest of the four.
    let scaled: Vec<T> = if l.scale == 1.0 { Vec::new() } else { h.iter().map(|v| T::down(v.up() * l.scale)).collect() };
    let side = if l.scale == 1.0 { &h } else { &scaled };
    let y = read::<f32, _>(op, "b", l.b, |b| {
        matmul::forward_more::<T>(op, x, w, (Operand::of(side, s.tokens, s.rank), Operand::of(b, s.out, s.rank)))
    })??;
    Ok((y, tensor(h, s)?))
}

/// `dh = scale dy B`.
fn inner_gradient<T: Real>(op: &'static str, dy: &Tensor, l: &Lora, s: &Sizes) -> Result<Vec<T>> {
    let (out, rank, bf, part) = (s.out, s.rank, T::DTYPE == DType::BF16, rows(s.tokens, rayon::current_num_threads(), T::DTYPE));
    let mut dh = unwritten::<T>(s.tokens * rank);
    read::<T, _>(op, "dy", dy, |dy| {
        read::<f32, _>(op, "b", l.b, |b| {
            dh.par_chunks_mut(part * rank).zip(dy.par_chunks(part * out)).with_max_len(1).for_each(|(dh, dy)| {
                let t = dh.len() / rank;
                product(Operand::of(dy, t, out), Operand::of(b, out, rank).t(), dh, rank, bf, l.scale, false);
            });
        })
    })??;
    Ok(dh)
}

/// `dB += scale dyᵀ h` and `dA += dhᵀ drop(x)`, side by side.
fn weight_gradients<T: Real>(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    l: &Lora,
    dh: &[T],
    da: &Tensor,
    db: &Tensor,
    s: &Sizes,
) -> Result<()> {
    let (inp, out, rank) = (s.inp, s.out, s.rank);
    let (tiles_b, tiles_a) = read::<T, _>(op, "dy", dy, |dy| {
        read::<T, _>(op, "h", h, |h| {
            read::<T, _>(op, "x", x, |x| {
                rayon::join(|| weight_tiles(h, rank, dy, out, l.scale, None), || weight_tiles(dh, rank, x, inp, 1.0, l.dropout))
            })
        })
    })???;
    write::<f32, _>(op, "db", db, |db| add_tiles(&tiles_b, rank, out, |r, o| o * rank + r, db))?;
    write::<f32, _>(op, "da", da, |da| add_tiles(&tiles_a, rank, inp, |r, i| r * inp + i, da))
}

pub(crate) fn backward<T: Real>(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    l: &Lora,
    dx: Option<&Tensor>,
    da: &Tensor,
    db: &Tensor,
    s: &Sizes,
) -> Result<()> {
    let (inp, rank, bf, part) = (s.inp, s.rank, T::DTYPE == DType::BF16, rows(s.tokens, rayon::current_num_threads(), T::DTYPE));
    let dh = inner_gradient::<T>(op, dy, l, s)?;
    weight_gradients::<T>(op, dy, x, h, l, &dh, da, db, s)?;
    let Some(dx) = dx else { return Ok(()) };
    read::<f32, _>(op, "a", l.a, |a| {
        write::<T, _>(op, "dx", dx, |dx| {
            dx.par_chunks_mut(part * inp).zip(dh.par_chunks(part * rank)).with_max_len(1).enumerate().for_each(|(i, (dx, dh))| {
                let t = dh.len() / rank;
                let (dh, a) = (Operand::of(dh, t, rank), Operand::of(a, rank, inp).t());
                match &l.dropout {
                    None => product(dh, a, dx, inp, bf, 1.0, true),
                    Some(d) => {
                        let mut through = unwritten::<f32>(t * inp);
                        product(dh, a, &mut through, inp, bf, 1.0, false);
                        add_dropped(dx, i * part * inp, d, &through);
                    }
                }
            });
        })
    })?
}

/// The same with `dy W + dh A` made in one, beside the gradients of the weights. Without dropout.
pub(crate) fn backward_folded<T: Real>(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    w: &Weight,
    l: &Lora,
    dx: InputGradient,
    da: &Tensor,
    db: &Tensor,
    s: &Sizes,
) -> Result<Option<Tensor>> {
    let dh = inner_gradient::<T>(op, dy, l, s)?;
    let onto = match dx {
        InputGradient::Onto(dx) => Some(dx),
        _ => None,
    };
    let input = || {
        read::<f32, _>(op, "a", l.a, |a| {
            let more = (Operand::of(&dh, s.tokens, s.rank), Operand::of(a, s.rank, s.inp).t());
            matmul::backward_input_more::<T>(op, dy, w, more, onto)
        })?
    };
    let (made, weights) = rayon::join(input, || weight_gradients::<T>(op, dy, x, h, l, &dh, da, db, s));
    weights?;
    made
}

/// `scale * hᵀ drop(x)`: h `[tokens, rank]`, x `[tokens, width]`. Columns of x are cut in tiles `[rank, columns]`, one
/// thread each, which lie one after the other in what is returned; tokens are walked in order, so that no sum depends on
/// the cut.
fn weight_tiles<T: Real>(h: &[T], rank: usize, x: &[T], width: usize, scale: f32, dropout: Option<Dropout>) -> Vec<f32> {
    let (tokens, bf) = (h.len() / rank, T::DTYPE == DType::BF16);
    let mut tiles = unwritten::<f32>(rank * width);
    let columns = columns(width, rayon::current_num_threads());
    tiles.par_chunks_mut(columns * rank).with_max_len(1).enumerate().for_each(|(i, tile)| {
        let (c0, cols) = (i * columns, tile.len() / rank);
        if tokens == 0 {
            return tile.fill(0.0);
        }
        let Some(d) = dropout else {
            let x = Operand::of(&x[c0..], tokens, cols).stride(width).t();
            return product(Operand::of(h, tokens, rank).t(), x, tile, cols, bf, scale, false);
        };
        let mut dropped = unwritten::<f32>(STEP.min(tokens) * cols);
        for t0 in (0..tokens).step_by(STEP) {
            let t = STEP.min(tokens - t0);
            for (j, row) in dropped.chunks_mut(cols).take(t).enumerate() {
                let first = (t0 + j) * width + c0;
                drop_into(&x[first..first + cols], first, &d, row);
            }
            let h = Operand::of(&h[t0 * rank..], t, rank).t();
            product(h, Operand::of(&dropped, t, cols).t(), tile, cols, bf, scale, t0 > 0);
        }
    });
    tiles
}

/// Adds tiles to a gradient, whose element for (rank row, column) stands at `at`.
fn add_tiles(tiles: &[f32], rank: usize, width: usize, at: impl Fn(usize, usize) -> usize, to: &mut [f32]) {
    let columns = columns(width, rayon::current_num_threads());
    for (i, tile) in tiles.chunks(columns * rank).enumerate() {
        let cols = columns.min(width - i * columns);
        for (r, row) in tile.chunks(cols).enumerate() {
            for (c, v) in row.iter().enumerate() {
                to[at(r, i * columns + c)] += v;
            }
        }
    }
}
