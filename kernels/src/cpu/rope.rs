//! Rotations, token by token.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::Result;
use crate::real::{Real, by_dtype};
use crate::rope::RopeTable;
use crate::simd::wide;
use crate::view::{read, write};

pub(super) fn rotate(op: &'static str, x: &Tensor, positions: &[u32], table: &RopeTable, sign: f32) -> Result<()> {
    let (_, heads, dim) = x.dims3()?;
    let (half, (cos, sin)) = (table.width() / 2, table.parts());
    by_dtype!(op, "x", x, T => {
        read::<f32, _>(op, "cos", cos, |cos| read::<f32, _>(op, "sin", sin, |sin| write::<T, _>(op, "x", x, |x| {
            x.par_chunks_mut(heads * dim).zip(positions).with_min_len(16).for_each(|(token, &p)| {
                let at = p as usize * half;
                turn(token, dim, &cos[at..at + half], &sin[at..at + half], sign);
            });
        })))??
    })
}

wide! {
    /// Rotates every head of a token, or its first elements where the table is narrower.
    fn turn<T: Real>(token: &mut [T], dim: usize, cos: &[f32], sin: &[f32], sign: f32) {
        for head in token.chunks_mut(dim) {
            let (a, b) = head[..2 * cos.len()].split_at_mut(cos.len());
            for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let (x, y, s) = (a.up(), b.up(), s * sign);
                *a = T::down(x * c - y * s);
                *b = T::down(y * c + x * s);
            }
        }
    }
}
