//! AdamW whose moments are held in 8 bits (8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861).
//!
//! Blocks of 256; the first moment against the signed dynamic map, the second against the unsigned one. Tensors under 4096
//! elements keep f32 state, as bitsandbytes does.

use candle_core::{DType, Tensor};

use super::AdamW;
use crate::quant::{dynamic_map, nearest_code};
use crate::{Error, Result, backend};

/// Elements that share a scale.
pub(crate) const BLOCK: usize = 256;
const SMALLEST: usize = 4096;

/// The moments of one parameter.
#[derive(Debug, Clone)]
pub enum Adam8State {
    /// f32 moments of a small tensor.
    Full {
        /// First moment, the parameter's shape.
        m: Tensor,
        /// Second moment.
        v: Tensor,
    },
    /// U8 codes `[n]` and f32 scales `[ceil(n/256)]` of both moments.
    Blocks {
        /// Codes of the first moment.
        m: Tensor,
        /// Codes of the second.
        v: Tensor,
        /// Scales of the first.
        m_absmax: Tensor,
        /// Scales of the second.
        v_absmax: Tensor,
    },
}

impl Adam8State {
    /// Zero moments for a parameter.
    ///
    /// # Errors
    /// Candle's own.
    pub fn zeros(p: &Tensor) -> Result<Self> {
        let n = p.elem_count();
        if n < SMALLEST {
            return Ok(Self::Full { m: p.zeros_like()?, v: p.zeros_like()? });
        }
        let zero = |signed: bool| nearest_code(&dynamic_map(signed), 0.0);
        let codes = |c: u8| Tensor::from_vec(vec![c; n], n, p.device());
        let scales = || Tensor::zeros(n.div_ceil(BLOCK), DType::F32, p.device());
        Ok(Self::Blocks { m: codes(zero(true))?, v: codes(zero(false))?, m_absmax: scales()?, v_absmax: scales()? })
    }

    /// Bytes of the state of a parameter with `n` elements.
    pub fn bytes_of(n: usize) -> u64 {
        if n < SMALLEST { 8 * n as u64 } else { 2 * (n + 4 * n.div_ceil(BLOCK)) as u64 }
    }

    /// Bytes of the state.
    pub fn bytes(&self) -> u64 {
        let size = |t: &Tensor| (t.elem_count() * t.dtype().size_in_bytes()) as u64;
        match self {
            Self::Full { m, v } => size(m) + size(v),
            Self::Blocks { m, v, m_absmax, v_absmax } => size(m) + size(v) + size(m_absmax) + size(v_absmax),
        }
    }
}

/// One step of one tensor: p and g f32 of one shape; p and the state change in place.
///
/// # Errors
/// When shapes differ or a tensor is not contiguous.
pub fn adamw8_step(p: &Tensor, g: &Tensor, state: &Adam8State, o: &AdamW) -> Result<()> {
    adamw8_step_all(&[(p, g, state, o.weight_decay)], o)
}

/// One step of every (p, g, state, weight decay); the last goes before the one in `o`. On a GPU two launches at most.
///
/// # Errors
/// As [`adamw8_step`].
pub fn adamw8_step_all(tensors: &[(&Tensor, &Tensor, &Adam8State, f64)], o: &AdamW) -> Result<()> {
    const OP: &str = "adamw8_step";
    for (p, g, state, _) in tensors {
        let same = |what, t: &Tensor| {
            if t.dims() == p.dims() {
                return Ok(());
            }
            Err(Error::Shape { op: OP, what, got: format!("{:?}", t.dims()), want: format!("{:?}", p.dims()) })
        };
        same("g", g)?;
        if let Adam8State::Full { m, v } = state {
            same("m", m)?;
            same("v", v)?;
        }
    }
    tensors.first().map_or(Ok(()), |(p, ..)| backend::of(OP, p)?.adamw_step(OP, tensors, o))
}
