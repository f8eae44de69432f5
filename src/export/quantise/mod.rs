//! From numbers to GGUF's blocks. `model::gguf::blocks` reads them.
//!
//! Each block is fitted: several scales are tried, the codes of each give the scale that is best for them by least
//! squares, and the pair with the smallest error stays. Errors are weighted by `importance` where it is given.

mod fit;
mod flat;
mod k;
mod k_min;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::model::gguf::GgmlType;

/// Blocks of a matrix with rows of `width`, each unit of work a few blocks long. `importance` has one weight a column.
pub fn quantize(kind: GgmlType, values: &[f32], width: usize, importance: Option<&[f32]>) -> Vec<u8> {
    let (block, bytes) = (kind.block(), kind.block_bytes());
    let mut out = vec![0u8; kind.bytes(values.len())];
    let run = (2048 / block).max(1);
    out.par_chunks_mut(bytes * run).zip(values.par_chunks(block * run)).enumerate().for_each(|(i, (out, values))| {
        for (j, (out, x)) in out.chunks_exact_mut(bytes).zip(values.chunks_exact(block)).enumerate() {
            let column = (i * run + j) * block % width.max(1);
            let w = importance.map(|w| &w[column..column + block]);
            pack(kind, x, w, out);
        }
    });
    out
}

fn pack(kind: GgmlType, x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    match kind {
        GgmlType::F32 => out.copy_from_slice(&x[0].to_le_bytes()),
        GgmlType::F16 => out.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes()),
        GgmlType::BF16 => out.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
        GgmlType::Q8_0 => flat::q8_0(x, out),
        GgmlType::Q4_0 => flat::q4_0(x, w, out),
        GgmlType::Q4_1 => flat::q4_1(x, w, out),
        GgmlType::Q5_0 => flat::q5_0(x, w, out),
        GgmlType::Q5_1 => flat::q5_1(x, w, out),
        GgmlType::Q3K => k::q3_k(x, w, out),
        GgmlType::Q6K => k::q6_k(x, w, out),
        GgmlType::Q2K => k_min::q2_k(x, w, out),
        GgmlType::Q4K => k_min::q4_k(x, w, out),
        GgmlType::Q5K => k_min::q5_k(x, w, out),
    }
}

/// Scale and offset of `scale q + offset`, q in `0..=most`, for a group of 32, 64 or 128.
pub(super) fn affine_group(x: &[f32], most: f32) -> (f32, f32) {
    match x.len() {
        32 => fit::affine(&group::<32>(x, 0), &[1.0; 32], most, false),
        64 => fit::affine(&group::<64>(x, 0), &[1.0; 64], most, false),
        _ => fit::affine(&group::<128>(x, 0), &[1.0; 128], most, false),
    }
}

/// Writes an f16 and gives the number that it holds.
fn put_half(out: &mut [u8], v: f32) -> f32 {
    // Beyond f16's range a scale would become infinite; the largest finite one loses less.
    let h = f16::from_f32(v.clamp(-65504.0, 65504.0));
    out[..2].copy_from_slice(&h.to_le_bytes());
    h.to_f32()
}

/// An f32 as an f16 holds it.
fn as_half(v: f32) -> f32 {
    f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32()
}

/// A group's weights: the importance of its columns, or one each.
fn weights<const N: usize>(w: Option<&[f32]>, at: usize) -> [f32; N] {
    let mut out = [1.0; N];
    if let Some(w) = w {
        out.copy_from_slice(&w[at..at + N]);
        // A column that calibration never touched must still be stored.
        let floor = out.iter().sum::<f32>() / N as f32 * 1e-4 + f32::MIN_POSITIVE;
        out.iter_mut().for_each(|v| *v = v.max(floor));
    }
    out
}

/// A group of a block.
fn group<const N: usize>(x: &[f32], at: usize) -> [f32; N] {
    let mut out = [0.0; N];
    out.copy_from_slice(&x[at..at + N]);
    out
}
