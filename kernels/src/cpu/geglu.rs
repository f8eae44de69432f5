//! GEGLU in chunks, one thread each.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::exp;
use crate::Result;
use crate::geglu::CUBE;
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{read, write};

const CHUNK: usize = 8192;
/// sqrt(2/pi)
const C: f32 = 0.797_884_6;

/// gelu(x) and its derivative.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let u = C * (x + CUBE * x * x * x);
    let share = 1.0 / (1.0 + exp(-2.0 * u));
    let inner = C * (1.0 + 3.0 * CUBE * x * x);
    (x * share, share + 2.0 * x * share * (1.0 - share) * inner)
}

wide! {
    fn forward_chunk<T: Real>(out: &mut [T], gate: &[T], up: &[T]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            *o = T::down(gelu(g.up()).0 * u.up());
        }
    }

    fn backward_chunk<T: Real>(gate: &mut [T], up: &mut [T], dact: &[T]) {
        for ((g, u), d) in gate.iter_mut().zip(up).zip(dact) {
            let ((y, dy), du, d) = (gelu(g.up()), u.up(), d.up());
            *g = T::down(d * du * dy);
            *u = T::down(d * y);
        }
    }
}

pub(super) fn geglu(op: &'static str, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    by_dtype!(op, "gate", gate, T => {
        let mut out = unwritten::<T>(gate.elem_count());
        read::<T, _>(op, "gate", gate, |g| read::<T, _>(op, "up", up, |u| {
            out.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(u.par_chunks(CHUNK)).for_each(|((o, g), u)| forward_chunk(o, g, u));
        }))??;
        Ok(Tensor::from_vec(out, gate.dims(), &Device::Cpu)?)
    })
}

pub(super) fn geglu_backward_inplace(op: &'static str, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
    by_dtype!(op, "gate", gate, T => {
        read::<T, _>(op, "dact", dact, |d| write::<T, _>(op, "gate", gate, |g| write::<T, _>(op, "up", up, |u| {
            g.par_chunks_mut(CHUNK).zip(u.par_chunks_mut(CHUNK)).zip(d.par_chunks(CHUNK)).for_each(|((g, u), d)| backward_chunk(g, u, d));
        })))??
    })
}
