//! AdamW whose moments are held in 8 bits (8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861).
//!
//! Blocks of 256; the first moment against the signed dynamic map, the second against the unsigned one. Tensors under 4096
//! elements keep f32 state, as bitsandbytes does.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::adamw::Constants;
use super::{AdamW, adamw_step};
use crate::quant::{dynamic_map, nearest_code};
use crate::simd::{greatest, wide};
use crate::view::{on_device, read, write};
use crate::{Error, Result};

const BLOCK: usize = 256;
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
    const OP: &str = "adamw8_step";
    if g.dims() != p.dims() {
        return Err(Error::Shape { op: OP, what: "g", got: format!("{:?}", g.dims()), want: format!("{:?}", p.dims()) });
    }
    on_device!(p => adamw8_step_all(&[(p, g, state, o.weight_decay)], o));
    let (m, v, m_absmax, v_absmax) = match state {
        Adam8State::Full { m, v } => return adamw_step(p, g, m, v, o),
        Adam8State::Blocks { m, v, m_absmax, v_absmax } => (m, v, m_absmax, v_absmax),
    };
    let constants = Constants::of_8bit(o);
    let (signed, unsigned) = (dynamic_map(true), dynamic_map(false));
    let block = |p: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], ma: &mut f32, va: &mut f32| {
        step_block(p, g, (m, ma, &signed), (v, va, &unsigned), &constants);
    };
    read::<f32, _>(OP, "g", g, |g| {
        write::<f32, _>(OP, "p", p, |p| {
            write::<u8, _>(OP, "m", m, |m| {
                write::<u8, _>(OP, "v", v, |v| {
                    write::<f32, _>(OP, "m_absmax", m_absmax, |ma| {
                        write::<f32, _>(OP, "v_absmax", v_absmax, |va| {
                            let params = p.par_chunks_mut(BLOCK).zip(g.par_chunks(BLOCK));
                            let codes = m.par_chunks_mut(BLOCK).zip(v.par_chunks_mut(BLOCK));
                            let scales = ma.par_iter_mut().zip(va.par_iter_mut());
                            params.zip(codes).zip(scales).for_each(|(((p, g), (m, v)), (ma, va))| block(p, g, m, v, ma, va));
                        })
                    })
                })
            })
        })
    })?????
}

/// One step of every (p, g, state, weight decay); the last goes before the one in `o`. On a GPU two launches at most.
///
/// # Errors
/// As [`adamw8_step`].
pub fn adamw8_step_all(tensors: &[(&Tensor, &Tensor, &Adam8State, f64)], o: &AdamW) -> Result<()> {
    #[cfg(any(feature = "cuda", emulator))]
    if let Some((p, ..)) = tensors.first() {
        on_device!(p => launched(tensors, o));
    }
    tensors.iter().try_for_each(|(p, g, state, weight_decay)| adamw8_step(p, g, state, &AdamW { weight_decay: *weight_decay, ..*o }))
}

#[cfg(any(feature = "cuda", emulator))]
fn launched(tensors: &[(&Tensor, &Tensor, &Adam8State, f64)], o: &AdamW) -> Result<()> {
    use crate::cuda::optim::{Entry, adamw, adamw8, address};
    const OP: &str = "adamw8_step";
    let (mut full, mut blocks) = (Vec::new(), Vec::new());
    for (p, g, state, weight_decay) in tensors {
        let of = |what, t: &Tensor, n: usize, dtype| {
            if t.elem_count() == n {
                return address(OP, what, t, dtype);
            }
            Err(Error::Shape { op: OP, what, got: format!("{:?}", t.dims()), want: format!("{n} elements") })
        };
        let (n, decay) = (p.elem_count(), Constants::of(&AdamW { weight_decay: *weight_decay, ..*o }).decay);
        let (at, g) = (of("p", p, n, DType::F32)?, of("g", g, n, DType::F32)?);
        let entry = Entry { p: at, g, n, decay, ..Entry::default() };
        match state {
            Adam8State::Full { m, v } => full.push(Entry { m: of("m", m, n, DType::F32)?, v: of("v", v, n, DType::F32)?, ..entry }),
            Adam8State::Blocks { m, v, m_absmax, v_absmax } => blocks.push(Entry {
                m: of("m", m, n, DType::U8)?,
                v: of("v", v, n, DType::U8)?,
                m_absmax: of("m_absmax", m_absmax, n.div_ceil(BLOCK), DType::F32)?,
                v_absmax: of("v_absmax", v_absmax, n.div_ceil(BLOCK), DType::F32)?,
                ..entry
            }),
        }
    }
    let Some((p, ..)) = tensors.first() else { return Ok(()) };
    adamw(OP, &full, &Constants::of(o), p.device())?;
    adamw8(OP, &blocks, &Constants::of_8bit(o), p.device())
}

type Moment<'a> = (&'a mut [u8], &'a mut f32, &'a [f32; 256]);

fn step_block(p: &mut [f32], g: &[f32], m: Moment, v: Moment, c: &Constants) {
    let (mut mf, mut vf) = ([0f32; BLOCK], [0f32; BLOCK]);
    for ((codes, absmax, map), values) in [(&m, &mut mf), (&v, &mut vf)] {
        for (x, &code) in values.iter_mut().zip(codes.iter()) {
            *x = map[usize::from(code)] * **absmax;
        }
    }
    let n = p.len();
    let most = step_values(p, g, &mut mf[..n], &mut vf[..n], c);
    for ((codes, absmax, map), (values, most)) in [(m, (&mf, most.0)), (v, (&vf, most.1))] {
        *absmax = most;
        let inverse = if most > 0.0 { 1.0 / most } else { 0.0 };
        for (c, x) in codes.iter_mut().zip(values) {
            *c = nearest_code(map, x * inverse);
        }
    }
}

wide! {
    /// Steps a block whose moments are decoded; returns their greatest magnitudes.
    fn step_values(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: &Constants) -> (f32, f32) {
        for (((p, m), v), g) in p.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()).zip(g) {
            (*p, *m, *v) = c.step(*p, *m, *v, *g);
        }
        (greatest(m, f32::abs), greatest(v, f32::abs))
    }
}
