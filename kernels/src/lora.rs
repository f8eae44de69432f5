//! LoRA (arXiv 2106.09685): `y += scale * drop(x) Aᵀ Bᵀ`, and its gradients.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::elementwise::{add_to, convert};
use crate::matmul::{Mat, gemm_f32};
use crate::real::{Real, by_dtype};
use crate::view::{is_cpu, no_kernel, read, write};
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
    #[inline]
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
        if !is_cpu(x) {
            return Err(no_kernel(op, x));
        }
        Ok(Self { tokens, inp, out, rank })
    }
}

/// Tokens that one thread works at a time.
const TOKENS: usize = 128;
/// Columns of a weight gradient that one thread makes.
const COLS: usize = 96;
/// Tokens of one step over them.
const STEP: usize = 512;

/// Widens rows and applies dropout; `first` is the index of the first element in the whole tensor.
fn dropped<T: Real>(x: &[T], first: usize, dropout: Option<Dropout>) -> Vec<f32> {
    match dropout {
        None => {
            let mut out = vec![0f32; x.len()];
            convert(x, &mut out);
            out
        }
        Some(d) => x.iter().enumerate().map(|(i, v)| v.up() * d.factor(first + i)).collect(),
    }
}

/// Bytes that [`lora_forward`] and [`lora_backward`] need beside their operands and results.
pub fn scratch_bytes(tokens: usize, out: usize, inp: usize, rank: usize, threads: usize) -> (u64, u64) {
    let (rows, blocks) = (TOKENS.min(tokens), threads.min(tokens.div_ceil(TOKENS)));
    let forward = blocks * rows * (inp + out);
    let columns = threads * STEP.min(tokens) * COLS;
    let backward = tokens * rank + (blocks * rows * out).max(columns + inp * rank).max(blocks * rows * inp);
    (4 * forward as u64, 4 * backward as u64)
}

/// Adds `scale * drop(x) Aᵀ Bᵀ` to y `[tokens, out]` in place and returns `h = drop(x) Aᵀ`, f32 `[tokens, r]`, for
/// [`lora_backward`].
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn lora_forward(x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "lora_forward";
    let s = Sizes::check(OP, x, y, l)?;
    by_dtype!(OP, "x", x, T => forward_typed::<T>(OP, x, l, y, &s))
}

fn forward_typed<T: Real>(op: &'static str, x: &Tensor, l: &Lora, y: &Tensor, s: &Sizes) -> Result<Tensor> {
    let mut h = vec![0f32; s.tokens * s.rank];
    let (inp, out, rank) = (s.inp, s.out, s.rank);
    read::<f32, _>(op, "a", l.a, |a| {
        read::<f32, _>(op, "b", l.b, |b| {
            read::<T, _>(op, "x", x, |x| {
                write::<T, _>(op, "y", y, |y| {
                    let work = h.par_chunks_mut(TOKENS * rank).zip(x.par_chunks(TOKENS * inp)).zip(y.par_chunks_mut(TOKENS * out));
                    work.enumerate().for_each(|(i, ((h, x), y))| {
                        let t = h.len() / rank;
                        let xd = dropped(x, i * TOKENS * inp, l.dropout);
                        gemm_f32(h, Mat::dense(t, rank), &xd, Mat::dense(t, inp), a, Mat::dense(rank, inp).t(), 1.0, 0.0);
                        let mut add = vec![0f32; t * out];
                        gemm_f32(&mut add, Mat::dense(t, out), h, Mat::dense(t, rank), b, Mat::dense(out, rank).t(), l.scale, 0.0);
                        add_to(y, &add);
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
    for (what, t, dims) in [("da", da, [s.rank, s.inp]), ("db", db, [s.out, s.rank]), ("h", h, [s.tokens, s.rank])] {
        if t.dims() != dims || t.dtype() != DType::F32 {
            return Err(Error::Shape { op: OP, what, got: format!("{:?} {:?}", t.dtype(), t.dims()), want: format!("F32 {dims:?}") });
        }
    }
    if let Some(dx) = dx.filter(|dx| dx.dims() != x.dims() || dx.dtype() != x.dtype()) {
        return Err(Error::Shape { op: OP, what: "dx", got: format!("{:?}", dx.dims()), want: format!("{:?}", x.dims()) });
    }
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
    let (inp, out, rank) = (s.inp, s.out, s.rank);
    let mut dh = vec![0f32; s.tokens * rank];
    read::<T, _>(op, "dy", dy, |dy| {
        read::<f32, _>(op, "b", l.b, |b| {
            dh.par_chunks_mut(TOKENS * rank).zip(dy.par_chunks(TOKENS * out)).for_each(|(dh, dy)| {
                let t = dh.len() / rank;
                let dyf = dropped(dy, 0, None);
                gemm_f32(dh, Mat::dense(t, rank), &dyf, Mat::dense(t, out), b, Mat::dense(out, rank), l.scale, 0.0);
            });
        })?;
        read::<f32, _>(op, "h", h, |h| write::<f32, _>(op, "db", db, |db| transposed_product(dy, out, h, rank, l.scale, None, db)))?
    })??;
    // dA is made transposed, `[in, r]`, so that both weight gradients walk tokens the same way.
    read::<T, _>(op, "x", x, |x| {
        let mut da_t = vec![0f32; inp * rank];
        transposed_product(x, inp, &dh, rank, 1.0, l.dropout, &mut da_t);
        write::<f32, _>(op, "da", da, |da| {
            for (r, row) in da.chunks_mut(inp).enumerate() {
                for (i, o) in row.iter_mut().enumerate() {
                    *o += da_t[i * rank + r];
                }
            }
        })
    })??;
    let Some(dx) = dx else { return Ok(()) };
    read::<f32, _>(op, "a", l.a, |a| {
        write::<T, _>(op, "dx", dx, |dx| {
            dx.par_chunks_mut(TOKENS * inp).zip(dh.par_chunks(TOKENS * rank)).enumerate().for_each(|(i, (dx, dh))| {
                let t = dh.len() / rank;
                let mut add = vec![0f32; t * inp];
                gemm_f32(&mut add, Mat::dense(t, inp), dh, Mat::dense(t, rank), a, Mat::dense(rank, inp), 1.0, 0.0);
                let first = i * TOKENS * inp;
                for (j, (o, v)) in dx.iter_mut().zip(&add).enumerate() {
                    let factor = l.dropout.map_or(1.0, |d| d.factor(first + j));
                    *o = T::down(o.up() + v * factor);
                }
            });
        })
    })?
}

/// `c += scale * drop(x)ᵀ h`: x `[tokens, width]`, h `[tokens, rank]`, c `[width, rank]`. Columns of x are cut in fixed
/// tiles, one thread each, and tokens are walked in order.
fn transposed_product<T: Real>(x: &[T], width: usize, h: &[f32], rank: usize, scale: f32, dropout: Option<Dropout>, c: &mut [f32]) {
    let tokens = h.len() / rank;
    c.par_chunks_mut(COLS * rank).enumerate().for_each(|(i, c)| {
        let (c0, cols) = (i * COLS, c.len() / rank);
        let mut xf = vec![0f32; STEP.min(tokens) * cols];
        for t0 in (0..tokens).step_by(STEP) {
            let t = STEP.min(tokens - t0);
            for (j, row) in xf.chunks_mut(cols).take(t).enumerate() {
                let first = (t0 + j) * width + c0;
                for (l, (o, v)) in row.iter_mut().zip(&x[first..first + cols]).enumerate() {
                    *o = v.up() * dropout.map_or(1.0, |d| d.factor(first + l));
                }
            }
            let h = &h[t0 * rank..(t0 + t) * rank];
            gemm_f32(c, Mat::dense(cols, rank), &xf, Mat::dense(t, cols).t(), h, Mat::dense(t, rank), scale, 1.0);
        }
    });
}
