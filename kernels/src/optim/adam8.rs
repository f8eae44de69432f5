//! AdamW whose moments are held in 8 bits (8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861).
//!
//! Blocks of 256; the first moment against the signed dynamic map, the second against the unsigned one. Tensors under 4096
//! elements keep f32 state, as bitsandbytes does.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{AdamW, adamw_step};
use crate::quant::{dynamic_map, nearest_code};
use crate::view::{read, write};
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
        let codes = |c: u8| Tensor::from_vec(vec![c; n], n, &Device::Cpu);
        let scales = || Tensor::zeros(n.div_ceil(BLOCK), DType::F32, &Device::Cpu);
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
    let (m, v, m_absmax, v_absmax) = match state {
        Adam8State::Full { m, v } => return adamw_step(p, g, m, v, o),
        Adam8State::Blocks { m, v, m_absmax, v_absmax } => (m, v, m_absmax, v_absmax),
    };
    let (signed, unsigned) = (dynamic_map(true), dynamic_map(false));
    let block = |p: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], ma: &mut f32, va: &mut f32| {
        step_block(p, g, (m, ma, &signed), (v, va, &unsigned), o);
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

type Moment<'a> = (&'a mut [u8], &'a mut f32, &'a [f32; 256]);

fn step_block(p: &mut [f32], g: &[f32], m: Moment, v: Moment, o: &AdamW) {
    let (decay, size, root) = o.factors();
    let (b1, b2, eps) = (o.beta1 as f32, o.beta2 as f32, o.eps as f32);
    let (mut mf, mut vf) = ([0f32; BLOCK], [0f32; BLOCK]);
    for i in 0..p.len() {
        let g = g[i] * o.grad_scale;
        mf[i] = m.2[usize::from(m.0[i])] * *m.1 * b1 + (1.0 - b1) * g;
        vf[i] = v.2[usize::from(v.0[i])] * *v.1 * b2 + (1.0 - b2) * g * g;
        p[i] = p[i] * decay - size * mf[i] / (vf[i].sqrt() * root + eps);
    }
    for ((codes, absmax, map), values) in [(m, &mf), (v, &vf)] {
        *absmax = values[..p.len()].iter().fold(0f32, |a, x| a.max(x.abs()));
        let inverse = if *absmax > 0.0 { 1.0 / *absmax } else { 0.0 };
        for (c, x) in codes.iter_mut().zip(values) {
            *c = nearest_code(map, x * inverse);
        }
    }
}
