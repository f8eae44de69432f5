//! LoRA (arXiv 2106.09685): `y += scale * drop(x) Aᵀ Bᵀ`, and its gradients.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::matmul::few::{self, Into};
use crate::matmul::{Operand, Rows, product};
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{on_device, on_known_device, read, write};
use crate::{Error, Result};

/// Dropout whose mask is a function of (seed, element index), so the backward pass makes it again instead of keeping it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability that an element becomes zero; the others are scaled by 1/(1-p).
    pub p: f32,
    /// Says which mask.
    pub seed: u64,
}

impl Dropout {
    /// What element `index` is multiplied by: 0 or 1/(1-p). The mixing is SplitMix64's finaliser.
    #[inline(always)]
    pub fn factor(&self, index: usize) -> f32 {
        let mut z = self.seed.wrapping_add((index as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let uniform = (z >> 40) as f32 / (1u64 << 24) as f32;
        if uniform < self.p { 0.0 } else { 1.0 / (1.0 - self.p) }
    }
}

/// One adapter on one linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Lora<'a> {
    /// f32 `[r, in]`.
    pub a: &'a Tensor,
    /// f32 `[out, r]`.
    pub b: &'a Tensor,
    /// alpha/r, or alpha/sqrt(r) for rsLoRA.
    pub scale: f32,
    /// Dropout on the adapter's input, in training.
    pub dropout: Option<Dropout>,
}

struct Sizes {
    tokens: usize,
    inp: usize,
    out: usize,
    rank: usize,
}

impl Sizes {
    fn check(op: &'static str, x: &Tensor, y: &Tensor, l: &Lora) -> Result<Self> {
        let ((rank, inp), (out, r2)) = (l.a.dims2()?, l.b.dims2()?);
        let (tokens, xi) = x.dims2()?;
        let want = |what, got: String, want: String| Err(Error::Shape { op, what, got, want });
        if r2 != rank {
            return want("b", format!("[{out}, {r2}]"), format!("[{out}, {rank}]"));
        }
        if xi != inp {
            return want("x", format!("[{tokens}, {xi}]"), format!("[{tokens}, {inp}]"));
        }
        if y.dims() != [tokens, out] {
            return want("y", format!("{:?}", y.dims()), format!("[{tokens}, {out}]"));
        }
        if y.dtype() != x.dtype() {
            return Err(Error::Dtype { op, what: "y", got: y.dtype(), want: "the dtype of x" });
        }
        on_known_device(op, x)?;
        Ok(Self { tokens, inp, out, rank })
    }
}

/// Tokens that one thread works at a time.
const TOKENS: usize = 240;
/// Columns of a weight gradient that one thread makes.
const COLS: usize = 96;
/// Tokens of one step over them, with dropout.
const STEP: usize = 480;

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

/// Bytes that [`lora_forward`] and [`lora_backward`] need at most beside their operands and results: with dropout.
pub fn scratch_bytes(tokens: usize, out: usize, inp: usize, rank: usize, threads: usize) -> (u64, u64) {
    let dropped = threads.min(tokens.div_ceil(TOKENS)) * TOKENS.min(tokens) * inp;
    let columns = threads.min(inp.div_ceil(COLS)) * STEP.min(tokens) * COLS.min(inp);
    let backward = tokens * rank + (rank * out).max(rank * inp + columns).max(dropped);
    (4 * dropped as u64, 4 * backward as u64)
}

/// The dtype of `h`: f32 on the CPU, that of x on a GPU, whose products read it so.
fn h_dtype(x: &Tensor) -> DType {
    on_device!(x => x.dtype());
    DType::F32
}

/// Adds `scale * drop(x) Aᵀ Bᵀ` to y `[tokens, out]` in place and returns `h = drop(x) Aᵀ` `[tokens, r]` for
/// [`lora_backward`]: f32 on the CPU, in x's dtype on a GPU.
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn lora_forward(x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "lora_forward";
    let s = Sizes::check(OP, x, y, l)?;
    on_device!(x => crate::cuda::lora::forward(OP, x, l, y));
    by_dtype!(OP, "x", x, T => forward_typed::<T>(OP, x, l, y, &s))
}

fn forward_typed<T: Real>(op: &'static str, x: &Tensor, l: &Lora, y: &Tensor, s: &Sizes) -> Result<Tensor> {
    let mut h = unwritten::<f32>(s.tokens * s.rank);
    let (inp, out, rank, bf) = (s.inp, s.out, s.rank, T::DTYPE == DType::BF16);
    read::<f32, _>(op, "a", l.a, |a| {
        read::<f32, _>(op, "b", l.b, |b| {
            read::<T, _>(op, "x", x, |x| {
                write::<T, _>(op, "y", y, |y| {
                    if l.dropout.is_none() && s.tokens <= few::MOST {
                        few::product(x, s.tokens, Rows::F32(a), rank, inp, &mut h, Into { alpha: 1.0, add: false });
                        return few::product(&h, s.tokens, Rows::F32(b), out, rank, y, Into { alpha: l.scale, add: true });
                    }
                    let work = h.par_chunks_mut(TOKENS * rank).zip(x.par_chunks(TOKENS * inp)).zip(y.par_chunks_mut(TOKENS * out));
                    work.with_max_len(1).enumerate().for_each(|(i, ((h, x), y))| {
                        let (t, a) = (h.len() / rank, Operand::of(a, rank, inp));
                        match &l.dropout {
                            None => product(Operand::of(x, t, inp), a, h, rank, bf, 1.0, false),
                            Some(d) => {
                                let mut dropped = unwritten::<f32>(t * inp);
                                drop_into(x, i * TOKENS * inp, d, &mut dropped);
                                product(Operand::of(&dropped, t, inp), a, h, rank, bf, 1.0, false);
                            }
                        }
                        product(Operand::of(&*h, t, rank), Operand::of(b, out, rank), y, out, bf, l.scale, true);
                    });
                })
            })
        })
    })????;
    Ok(Tensor::from_vec(h, (s.tokens, s.rank), &Device::Cpu)?)
}

/// The gradients of one adapter, from dy `[tokens, out]`, the forward pass's x and h:
/// `dB += scale dyᵀ h`, `dA += (scale dy B)ᵀ drop(x)`, and `dx += mask((scale dy B) A)` where dx is given. All in place;
/// dA and dB f32.
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn lora_backward(dy: &Tensor, x: &Tensor, h: &Tensor, l: &Lora, dx: Option<&Tensor>, da: &Tensor, db: &Tensor) -> Result<()> {
    const OP: &str = "lora_backward";
    let s = Sizes::check(OP, x, dy, l)?;
    let kept = h_dtype(x);
    for (what, t, dims, dtype) in
        [("da", da, [s.rank, s.inp], DType::F32), ("db", db, [s.out, s.rank], DType::F32), ("h", h, [s.tokens, s.rank], kept)]
    {
        if t.dims() != dims || t.dtype() != dtype {
            return Err(Error::Shape { op: OP, what, got: format!("{:?} {:?}", t.dtype(), t.dims()), want: format!("{dtype:?} {dims:?}") });
        }
    }
    if let Some(dx) = dx.filter(|dx| dx.dims() != x.dims() || dx.dtype() != x.dtype()) {
        return Err(Error::Shape { op: OP, what: "dx", got: format!("{:?}", dx.dims()), want: format!("{:?}", x.dims()) });
    }
    on_device!(x => crate::cuda::lora::backward(OP, dy, x, h, l, dx, da, db));
    by_dtype!(OP, "x", x, T => backward_typed::<T>(OP, dy, x, h, l, dx, da, db, &s))
}

fn backward_typed<T: Real>(
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
    let (inp, out, rank, bf) = (s.inp, s.out, s.rank, T::DTYPE == DType::BF16);
    let mut dh = unwritten::<f32>(s.tokens * rank);
    read::<T, _>(op, "dy", dy, |dy| {
        read::<f32, _>(op, "b", l.b, |b| {
            dh.par_chunks_mut(TOKENS * rank).zip(dy.par_chunks(TOKENS * out)).with_max_len(1).for_each(|(dh, dy)| {
                let t = dh.len() / rank;
                product(Operand::of(dy, t, out), Operand::of(b, out, rank).t(), dh, rank, bf, l.scale, false);
            });
        })?;
        read::<f32, _>(op, "h", h, |h| {
            let tiles = weight_tiles(h, rank, dy, out, l.scale, None);
            write::<f32, _>(op, "db", db, |db| add_tiles(&tiles, rank, out, |r, o| o * rank + r, db))
        })?
    })??;
    read::<T, _>(op, "x", x, |x| {
        let tiles = weight_tiles(&dh, rank, x, inp, 1.0, l.dropout);
        write::<f32, _>(op, "da", da, |da| add_tiles(&tiles, rank, inp, |r, i| r * inp + i, da))
    })??;
    let Some(dx) = dx else { return Ok(()) };
    read::<f32, _>(op, "a", l.a, |a| {
        write::<T, _>(op, "dx", dx, |dx| {
            dx.par_chunks_mut(TOKENS * inp).zip(dh.par_chunks(TOKENS * rank)).with_max_len(1).enumerate().for_each(|(i, (dx, dh))| {
                let t = dh.len() / rank;
                let (dh, a) = (Operand::of(dh, t, rank), Operand::of(a, rank, inp).t());
                match &l.dropout {
                    None => product(dh, a, dx, inp, bf, 1.0, true),
                    Some(d) => {
                        let mut through = unwritten::<f32>(t * inp);
                        product(dh, a, &mut through, inp, bf, 1.0, false);
                        add_dropped(dx, i * TOKENS * inp, d, &through);
                    }
                }
            });
        })
    })?
}

/// `scale * hᵀ drop(x)`: h `[tokens, rank]`, x `[tokens, width]`. Columns of x are cut in fixed tiles `[rank, COLS]`, one
/// thread each, which lie one after the other in what is returned; tokens are walked in order.
fn weight_tiles<T: Real>(h: &[f32], rank: usize, x: &[T], width: usize, scale: f32, dropout: Option<Dropout>) -> Vec<f32> {
    let (tokens, bf) = (h.len() / rank, T::DTYPE == DType::BF16);
    let mut tiles = unwritten::<f32>(rank * width);
    tiles.par_chunks_mut(COLS * rank).with_max_len(1).enumerate().for_each(|(i, tile)| {
        let (c0, cols) = (i * COLS, tile.len() / rank);
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
    for (i, tile) in tiles.chunks(COLS * rank).enumerate() {
        let cols = COLS.min(width - i * COLS);
        for (j, v) in tile.iter().enumerate() {
            to[at(j / cols, i * COLS + j % cols)] += v;
        }
    }
}
