//! LoRA (arXiv 2106.09685): `y += scale * drop(x) Aᵀ Bᵀ`, alone or summed with the base's product, and the gradients.

pub(crate) mod cpu;

use candle_core::{DType, Tensor};

use crate::weight::Weight;
use crate::{Error, Result, backend};

pub use cpu::scratch_bytes;

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

/// Of a layer's input and adapter.
pub(crate) struct Sizes {
    pub(crate) tokens: usize,
    pub(crate) inp: usize,
    pub(crate) out: usize,
    pub(crate) rank: usize,
}

impl Sizes {
    pub(crate) fn of(op: &'static str, x: &Tensor, l: &Lora) -> Result<Self> {
        let ((rank, inp), (out, r2)) = (l.a.dims2()?, l.b.dims2()?);
        let (tokens, xi) = x.dims2()?;
        let want = |what, got: String, want: String| Err(Error::Shape { op, what, got, want });
        if r2 != rank {
            return want("b", format!("[{out}, {r2}]"), format!("[{out}, {rank}]"));
        }
        if xi != inp {
            return want("x", format!("[{tokens}, {xi}]"), format!("[{tokens}, {inp}]"));
        }
        Ok(Self { tokens, inp, out, rank })
    }

    /// With the output, or its gradient.
    fn check(op: &'static str, x: &Tensor, y: &Tensor, l: &Lora) -> Result<Self> {
        let s = Self::of(op, x, l)?;
        if y.dims() != [s.tokens, s.out] {
            return Err(Error::Shape { op, what: "y", got: format!("{:?}", y.dims()), want: format!("[{}, {}]", s.tokens, s.out) });
        }
        if y.dtype() != x.dtype() {
            return Err(Error::Dtype { op, what: "y", got: y.dtype(), want: "the dtype of x" });
        }
        Ok(s)
    }

    fn weight(&self, op: &'static str, w: &Weight) -> Result<()> {
        let (got, want) = ([w.out_features(), w.in_features()], [self.out, self.inp]);
        if got == want { Ok(()) } else { Err(Error::Shape { op, what: "weight", got: format!("{got:?}"), want: format!("{want:?}") }) }
    }

    fn gradients(&self, op: &'static str, x: &Tensor, h: &Tensor, da: &Tensor, db: &Tensor) -> Result<()> {
        for (what, t, dims, dtype) in [
            ("da", da, [self.rank, self.inp], DType::F32),
            ("db", db, [self.out, self.rank], DType::F32),
            ("h", h, [self.tokens, self.rank], x.dtype()),
        ] {
            if t.dims() != dims || t.dtype() != dtype {
                let got = format!("{:?} {:?}", t.dtype(), t.dims());
                return Err(Error::Shape { op, what, got, want: format!("{dtype:?} {dims:?}") });
            }
        }
        Ok(())
    }
}

/// A gradient has the shape and dtype of what it is of.
fn alike(op: &'static str, dx: &Tensor, x: &Tensor) -> Result<()> {
    if dx.dims() == x.dims() && dx.dtype() == x.dtype() {
        return Ok(());
    }
    let shown = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
    Err(Error::Shape { op, what: "dx", got: shown(dx), want: shown(x) })
}

/// Adds `scale * drop(x) Aᵀ Bᵀ` to y `[tokens, out]` in place and returns `h = drop(x) Aᵀ` `[tokens, r]`, in x's dtype, for
/// [`lora_backward`].
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn lora_forward(x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "lora_forward";
    Sizes::check(OP, x, y, l)?;
    backend::of(OP, x)?.lora_forward(OP, x, l, y)
}

/// Only `h = drop(x) Aᵀ` `[tokens, r]`, in x's dtype: what a backward pass needs of a forward pass whose output is not
/// wanted again.
///
/// # Errors
/// As [`lora_forward`].
pub fn lora_inner(x: &Tensor, l: &Lora) -> Result<Tensor> {
    const OP: &str = "lora_inner";
    Sizes::of(OP, x, l)?;
    backend::of(OP, x)?.lora_inner(OP, x, l)
}

/// `y = x Wᵀ + scale * drop(x) Aᵀ Bᵀ` `[tokens, out]` in x's dtype, and `h = drop(x) Aᵀ` `[tokens, r]` for
/// [`lora_matmul_backward`]. Where the processor's kernels allow it the adapter is summed with the base before anything is
/// rounded or written.
///
/// # Errors
/// As [`matmul`](crate::matmul::matmul()) and [`lora_forward`].
pub fn lora_matmul(x: &Tensor, w: &Weight, l: &Lora) -> Result<(Tensor, Tensor)> {
    const OP: &str = "lora_matmul";
    let s = Sizes::of(OP, x, l)?;
    s.weight(OP, w)?;
    backend::of(OP, x)?.lora_matmul(OP, x, w, l)
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
    s.gradients(OP, x, h, da, db)?;
    if let Some(dx) = dx {
        alike(OP, dx, x)?;
    }
    backend::of(OP, x)?.lora_backward(OP, dy, x, h, l, dx, da, db)
}

/// What becomes of the gradient of a layer's input.
#[derive(Debug, Clone, Copy)]
pub enum InputGradient<'a> {
    /// It is not needed.
    No,
    /// It is made.
    New,
    /// It is added to this one, in place.
    Onto(&'a Tensor),
}

/// The gradients of a linear layer with an adapter: dA and dB as [`lora_backward`], and that of its input,
/// `dy W + mask((scale dy B) A)`, returned where it is new.
///
/// # Errors
/// As [`matmul_backward_input`](crate::matmul::matmul_backward_input) and [`lora_backward`].
pub fn lora_matmul_backward(
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    w: &Weight,
    l: &Lora,
    dx: InputGradient,
    da: &Tensor,
    db: &Tensor,
) -> Result<Option<Tensor>> {
    const OP: &str = "lora_matmul_backward";
    let s = Sizes::check(OP, x, dy, l)?;
    s.weight(OP, w)?;
    s.gradients(OP, x, h, da, db)?;
    if let InputGradient::Onto(dx) = dx {
        alike(OP, dx, x)?;
    }
    backend::of(OP, x)?.lora_matmul_backward(OP, dy, x, h, w, l, dx, da, db)
}
