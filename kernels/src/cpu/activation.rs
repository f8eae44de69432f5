//! SwiGLU in chunks, one thread each.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::Result;
#[cfg(target_arch = "x86_64")]
use crate::bf16_loops;
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{read, write};

const CHUNK: usize = 8192;

/// `e^x` in f32 within 2 ulp from -87.3 to 88.3 and held there beyond; NaN stays NaN. Written so that it vectorises:
/// x = n ln 2 + r, a polynomial in r, and 2^n made in the exponent bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Added to a small number, this leaves its nearest integer in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln 2 in two parts, the first so short that its product with n is exact.
    let r = x - n * 0.693_359_375 - n * -2.121_944_4e-4;
    let p = 1.987_569_2e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_6e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // n lies in [-126, 127], so 2^n is a normal number.
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    y * f32::from_bits(exponent << 23)
}

fn forward_chunk<T: Real>(out: &mut [T], gate: &[T], up: &[T]) {
    #[cfg(target_arch = "x86_64")]
    if bf16_loops::available()
        && let (Some(out), Some(gate), Some(up)) = (T::bf16_mut(out), T::bf16(gate), T::bf16(up))
    {
        return bf16_loops::swiglu(out, gate, up);
    }
    forward_loop(out, gate, up);
}

fn backward_chunk_inplace<T: Real>(gate: &mut [T], up: &mut [T], dact: &[T]) {
    #[cfg(target_arch = "x86_64")]
    if bf16_loops::available()
        && let (Some(gate), Some(up), Some(dact)) = (T::bf16_mut(gate), T::bf16_mut(up), T::bf16(dact))
    {
        return bf16_loops::swiglu_backward(gate, up, dact);
    }
    backward_loop(gate, up, dact);
}

fn backward_chunk<T: Real>(dgate: &mut [T], dup: &mut [T], gate: &[T], up: &[T], dact: &[T]) {
    dgate.copy_from_slice(gate);
    dup.copy_from_slice(up);
    backward_chunk_inplace(dgate, dup, dact);
}

wide! {
    fn forward_loop<T: Real>(out: &mut [T], gate: &[T], up: &[T]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            let g = g.up();
            *o = T::down(g / (1.0 + exp(-g)) * u.up());
        }
    }

    fn backward_loop<T: Real>(gate: &mut [T], up: &mut [T], dact: &[T]) {
        for ((g, u), d) in gate.iter_mut().zip(up).zip(dact) {
            (*g, *u) = gradients(g.up(), u.up(), d.up());
        }
    }
}

/// (dgate, dup) of one element.
#[inline(always)]
fn gradients<T: Real>(g: f32, u: f32, d: f32) -> (T, T) {
    let s = 1.0 / (1.0 + exp(-g));
    (T::down(d * u * s * (1.0 + g * (1.0 - s))), T::down(d * g * s))
}

pub(super) fn swiglu(op: &'static str, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    by_dtype!(op, "gate", gate, T => {
        let mut out = unwritten::<T>(gate.elem_count());
        read::<T, _>(op, "gate", gate, |g| read::<T, _>(op, "up", up, |u| {
            out.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(u.par_chunks(CHUNK)).for_each(|((o, g), u)| forward_chunk(o, g, u));
        }))??;
        Ok(Tensor::from_vec(out, gate.dims(), &Device::Cpu)?)
    })
}

pub(super) fn swiglu_backward(op: &'static str, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
    by_dtype!(op, "gate", gate, T => {
        let n = gate.elem_count();
        let (mut dg, mut du) = (unwritten::<T>(n), unwritten::<T>(n));
        read::<T, _>(op, "gate", gate, |g| read::<T, _>(op, "up", up, |u| read::<T, _>(op, "dact", dact, |d| {
            let outs = dg.par_chunks_mut(CHUNK).zip(du.par_chunks_mut(CHUNK));
            outs.zip(g.par_chunks(CHUNK)).zip(u.par_chunks(CHUNK)).zip(d.par_chunks(CHUNK)).for_each(|((((dg, du), g), u), d)| backward_chunk(dg, du, g, u, d));
        })))???;
        Ok((Tensor::from_vec(dg, gate.dims(), &Device::Cpu)?, Tensor::from_vec(du, gate.dims(), &Device::Cpu)?))
    })
}

pub(super) fn swiglu_backward_inplace(op: &'static str, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
    by_dtype!(op, "gate", gate, T => {
        read::<T, _>(op, "dact", dact, |d| write::<T, _>(op, "gate", gate, |g| write::<T, _>(op, "up", up, |u| {
            g.par_chunks_mut(CHUNK).zip(u.par_chunks_mut(CHUNK)).zip(d.par_chunks(CHUNK)).for_each(|((g, u), d)| backward_chunk_inplace(g, u, d));
        })))??
    })
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_close_everywhere() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            let relative = ((f64::from(exp(x)) - want) / want).abs();
            assert!(relative < 3e-7, "x={x} relative={relative}");
        }
    }
}
