//! Norm, scaling and AdamW in fixed chunks, one thread each.

use candle_core::Tensor;
use rayon::prelude::*;

use super::elementwise::scale;
use crate::Result;
use crate::backend::Stepped;
use crate::optim::{Adam8State, AdamW, BLOCK, Constants};
use crate::quant::{dynamic_map, nearest_code};
use crate::simd::{greatest, wide};
use crate::view::{read, write};

const CHUNK: usize = 16384;

/// Fixed chunks, added in order.
pub(super) fn global_norm(op: &'static str, grads: &[&Tensor]) -> Result<f64> {
    let mut total = 0.0;
    for g in grads {
        total += read::<f32, _>(op, "gradient", g, |g| {
            let parts: Vec<f64> = g.par_chunks(CHUNK).map(squares).collect();
            parts.iter().sum::<f64>()
        })?;
    }
    Ok(total.sqrt())
}

wide! {
    /// The sum of squares in f64, in eight interleaved lanes.
    fn squares(x: &[f32]) -> f64 {
        let (whole, rest) = x.as_chunks::<8>();
        let mut acc = [0f64; 8];
        for part in whole {
            for (a, x) in acc.iter_mut().zip(part) {
                *a += f64::from(*x) * f64::from(*x);
            }
        }
        acc.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}

pub(super) fn scale_inplace(op: &'static str, t: &Tensor, factor: f32) -> Result<()> {
    write::<f32, _>(op, "tensor", t, |t| t.par_chunks_mut(CHUNK).for_each(|c| scale(c, factor)))
}

pub(super) fn zero_inplace(op: &'static str, t: &Tensor) -> Result<()> {
    write::<f32, _>(op, "tensor", t, |t| t.par_chunks_mut(CHUNK).for_each(|c| c.fill(0.0)))
}

/// One tensor after the other.
pub(super) fn adamw_step(op: &'static str, tensors: &[Stepped], o: &AdamW) -> Result<()> {
    tensors.iter().try_for_each(|(p, g, state, weight_decay)| {
        let o = AdamW { weight_decay: *weight_decay, ..*o };
        match state {
            Adam8State::Full { m, v } => full(op, p, g, m, v, &o),
            Adam8State::Blocks { m, v, m_absmax, v_absmax } => blocks(op, p, g, [m, v, m_absmax, v_absmax], &o),
        }
    })
}

wide! {
    fn step_chunk(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], c: &Constants) {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            (*p, *m, *v) = c.step(*p, *m, *v, *g);
        }
    }
}

fn full(op: &'static str, p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, o: &AdamW) -> Result<()> {
    let c = Constants::of(o);
    read::<f32, _>(op, "g", g, |g| {
        write::<f32, _>(op, "m", m, |m| {
            write::<f32, _>(op, "v", v, |v| {
                write::<f32, _>(op, "p", p, |p| {
                    let work = p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK)).zip(g.par_chunks(CHUNK));
                    work.for_each(|(((p, m), v), g)| step_chunk(p, m, v, g, &c));
                })
            })
        })
    })???
}

fn blocks(op: &'static str, p: &Tensor, g: &Tensor, [m, v, m_absmax, v_absmax]: [&Tensor; 4], o: &AdamW) -> Result<()> {
    let constants = Constants::of_8bit(o);
    let (signed, unsigned) = (dynamic_map(true), dynamic_map(false));
    let block = |p: &mut [f32], g: &[f32], m: &mut [u8], v: &mut [u8], ma: &mut f32, va: &mut f32| {
        step_block(p, g, (m, ma, &signed), (v, va, &unsigned), &constants);
    };
    read::<f32, _>(op, "g", g, |g| {
        write::<f32, _>(op, "p", p, |p| {
            write::<u8, _>(op, "m", m, |m| {
                write::<u8, _>(op, "v", v, |v| {
                    write::<f32, _>(op, "m_absmax", m_absmax, |ma| {
                        write::<f32, _>(op, "v_absmax", v_absmax, |va| {
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
