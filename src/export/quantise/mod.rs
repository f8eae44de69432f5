//! From numbers to GGUF's blocks. `model::gguf::blocks` reads them.
//!
//! Each block is fitted: several scales are tried, the codes of each give the scale that is best for them by least
//! squares, and the pair with the smallest error stays. Errors are weighted by `importance` where it is given.

mod fit;
mod flat;
mod grid;
mod k;
mod k_min;
mod lanes;
mod nonlinear;

use half::f16;
use rayon::prelude::*;
use tallow_kernels::{Wide, widest};

use crate::model::gguf::GgmlType;
use lanes::{Batch, LANES};

/// Elements that one thread takes at a time: whole batches of groups of 16 and of 32.
const RUN: usize = 4096;

/// Blocks of a matrix with rows of `width`, a multiple of the block. `importance` has one weight a column.
pub fn quantize(kind: GgmlType, values: &[f32], width: usize, importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0u8; kind.bytes(values.len())];
    out.par_chunks_mut(kind.bytes(RUN)).zip(values.par_chunks(RUN)).enumerate().for_each(|(i, (out, values))| {
        widest(Run { kind, values, from: i * RUN, width: width.max(1), importance, out });
    });
    out
}

/// Some blocks, `from` elements into the matrix.
struct Run<'a> {
    kind: GgmlType,
    values: &'a [f32],
    from: usize,
    width: usize,
    importance: Option<&'a [f32]>,
    out: &'a mut [u8],
}

/// Calls `$pack` for each batch of groups of `$n`. Not a function that takes one: a name that is passed along is called, not
/// compiled in place for the processor at hand.
macro_rules! batches {
    ($run:ident, $n:literal, $pack:path) => {
        for (i, (out, values)) in $run.out.chunks_mut($run.kind.bytes(LANES * $n)).zip($run.values.chunks(LANES * $n)).enumerate() {
            let batch = Batch::<$n>::gather(values, $run.from + i * LANES * $n, $run.width, $run.importance);
            $pack(&batch, out);
        }
    };
}

/// Calls `$pack` for each block.
macro_rules! blocks {
    ($run:ident, $pack:path) => {
        for (out, x) in $run.out.chunks_exact_mut($run.kind.block_bytes()).zip($run.values.chunks_exact($run.kind.block())) {
            $pack(x, out);
        }
    };
}

/// Calls `$pack` for each block of 256 with the weights of its numbers.
macro_rules! weighed {
    ($run:ident, $pack:path) => {
        for (i, (out, x)) in $run.out.chunks_exact_mut($run.kind.block_bytes()).zip($run.values.chunks_exact(256)).enumerate() {
            let w = weights($run.importance, ($run.from + i * 256) % $run.width);
            $pack(x, &w, out);
        }
    };
}

/// Weights of the 256 columns from `column` on.
#[inline(always)]
fn weights(importance: Option<&[f32]>, column: usize) -> [f32; 256] {
    let mut out = [1.0; 256];
    if let Some(w) = importance {
        let w = &w[column..column + 256];
        // A column that calibration never touched must still be stored.
        let floor = w.iter().sum::<f32>() / 256.0 * 1e-4 + f32::MIN_POSITIVE;
        for i in 0..256 {
            out[i] = w[i].max(floor);
        }
    }
    out
}

impl Wide for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.kind {
            GgmlType::F32 => blocks!(self, flat::f32),
            GgmlType::F16 => blocks!(self, flat::f16),
            GgmlType::BF16 => blocks!(self, flat::bf16),
            GgmlType::Q8_0 => blocks!(self, flat::q8_0),
            GgmlType::Q4_0 => batches!(self, 32, flat::q4_0),
            GgmlType::Q4_1 => batches!(self, 32, flat::q4_1),
            GgmlType::Q5_0 => batches!(self, 32, flat::q5_0),
            GgmlType::Q5_1 => batches!(self, 32, flat::q5_1),
            GgmlType::Q3K => batches!(self, 16, k::q3_k),
            GgmlType::Q6K => batches!(self, 16, k::q6_k),
            GgmlType::Q2K => batches!(self, 16, k_min::q2_k),
            GgmlType::Q4K => batches!(self, 32, k_min::q4_k),
            GgmlType::Q5K => batches!(self, 32, k_min::q5_k),
            GgmlType::IQ4NL => batches!(self, 32, nonlinear::iq4_nl),
            GgmlType::IQ4XS => batches!(self, 32, nonlinear::iq4_xs),
            GgmlType::MXFP4 => blocks!(self, nonlinear::mxfp4),
            GgmlType::IQ2XXS => weighed!(self, grid::iq2_xxs),
            GgmlType::IQ2XS => weighed!(self, grid::iq2_xs),
            GgmlType::IQ2S => weighed!(self, grid::iq2_s),
            GgmlType::IQ3XXS => weighed!(self, grid::iq3_xxs),
            GgmlType::IQ3S => weighed!(self, grid::iq3_s),
            GgmlType::TQ1_0 => blocks!(self, nonlinear::tq1_0),
            GgmlType::TQ2_0 => blocks!(self, nonlinear::tq2_0),
        }
    }
}

/// Scale and offset of `scale q + offset`, q in `0..=most`, for each group of 32, 64 or 128 values.
pub(super) fn affine_groups(values: &[f32], size: usize, most: f32) -> Vec<(f32, f32)> {
    let mut out = vec![(0.0, 0.0); values.len() / size];
    out.par_chunks_mut(LANES).zip(values.par_chunks(LANES * size)).for_each(|(out, values)| match size {
        32 => widest(Lines::<32> { values, most, out }),
        64 => widest(Lines::<64> { values, most, out }),
        _ => widest(Lines::<128> { values, most, out }),
    });
    out
}

/// Up to sixteen groups of N.
struct Lines<'a, const N: usize> {
    values: &'a [f32],
    most: f32,
    out: &'a mut [(f32, f32)],
}

impl<const N: usize> Wide for Lines<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (d, m) = fit::affine(&Batch::<N>::gather(self.values, 0, N, None), self.most, false);
        for (l, out) in self.out.iter_mut().enumerate() {
            *out = (d[l], m[l]);
        }
    }
}

/// Writes an f16. Beyond its range a scale would become infinite; the largest finite one loses less.
#[inline(always)]
fn put_half(out: &mut [u8], v: f32) {
    out[..2].copy_from_slice(&f16::from_f32(v.clamp(-65504.0, 65504.0)).to_le_bytes());
}

/// An f32 as an f16 holds it.
#[inline(always)]
fn as_half(v: f32) -> f32 {
    f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32()
}
