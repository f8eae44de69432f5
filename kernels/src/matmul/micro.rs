//! AVX-512 micro-kernels: a tile of M x (16 * NV) sums that stay in registers, over packed panels.
//!
//! A step of the reduction is 32 bits wide in both kinds: one f32, or two bf16 that `vdpbf16ps` multiplies and adds. So
//! both kinds share one packed form, in lines of 64 bytes:
//!
//! ```text
//! a: [steps / 16][M] lines      row i, sixteen steps      -> one step is broadcast; or the rows as they lie in memory
//! b: [steps][NV] lines          one step, sixteen columns -> one vector
//! c: f32 rows of `ldc`
//! ```

use std::arch::x86_64::*;

/// 64 bytes: sixteen steps of one row, or sixteen columns of one step.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; 16]);

/// The most rows of a tile.
pub(super) const MR: usize = 12;
/// The most columns of a tile.
pub(super) const NR: usize = 32;

/// Heights that have a micro-kernel: the least that holds `rows`.
pub(super) fn height(rows: usize) -> usize {
    match rows {
        0..=1 => 1,
        2 => 2,
        3..=4 => 4,
        5..=8 => 8,
        _ => MR,
    }
}

macro_rules! tile {
    ($name:ident, $features:literal, |$acc:ident, $x:ident, $b:ident| $step:expr) => {
        /// # Safety
        /// `a` holds `steps` rounded up to 16 times M/16 lines, or, where they lie APART, M rows of `steps` steps, `apart` steps
        /// from one to the next; `b` `steps * NV` lines, `c` M rows of NV * 16 f32.
        #[target_feature(enable = $features)]
        unsafe fn $name<const M: usize, const NV: usize, const APART: bool>(
            steps: usize,
            a: *const i32,
            apart: usize,
            b: *const Line,
            c: *mut f32,
            ldc: usize,
            add: bool,
        ) {
            let mut acc = [[_mm512_setzero_ps(); NV]; M];
            if add {
                for i in 0..M {
                    for j in 0..NV {
                        // SAFETY: inside c, see above.
                        acc[i][j] = unsafe { _mm512_loadu_ps(c.add(i * ldc + j * 16)) };
                    }
                }
            }
            let (mut a, mut b, mut left) = (a, b.cast::<f32>(), steps);
            let apart = if APART { apart } else { 16 };
            while left > 0 {
                let run = left.min(16);
                for s in 0..run {
                    let mut bv = [_mm512_setzero_ps(); NV];
                    for j in 0..NV {
                        // SAFETY: line s of b, see above.
                        bv[j] = unsafe { _mm512_load_ps(b.add(j * 16)) };
                    }
                    // SAFETY: b has `steps * NV` lines; one past its end at most.
                    b = unsafe { b.add(NV * 16) };
                    for i in 0..M {
                        // SAFETY: step s of row i of this chunk; rows of activations are aligned to their elements only.
                        let x = _mm512_set1_epi32(unsafe { a.add(i * apart + s).read_unaligned() });
                        for j in 0..NV {
                            let ($acc, $x, $b) = (acc[i][j], x, bv[j]);
                            acc[i][j] = $step;
                        }
                    }
                }
                // A whole chunk for every sixteen steps begun, or the next sixteen of each row, perhaps past the last.
                a = a.wrapping_add(if APART { 16 } else { 16 * M });
                left -= run;
            }
            for i in 0..M {
                for j in 0..NV {
                    // SAFETY: inside c, see above.
                    unsafe { _mm512_storeu_ps(c.add(i * ldc + j * 16), acc[i][j]) };
                }
            }
        }
    };
}

tile!(tile_bf16, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16", |acc, x, b| {
    // SAFETY: the two vector types are 64 plain bytes.
    let (x, b) = unsafe { (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512, __m512bh>(b)) };
    _mm512_dpbf16_ps(acc, x, b)
});
tile!(tile_f32, "avx512f,avx512bw,avx512dq,avx512vl", |acc, x, b| _mm512_fmadd_ps(_mm512_castsi512_ps(x), b, acc));

/// The left side of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    /// Packed chunks, of this many rows.
    Packed(*const Line, usize),
    /// [`MR`] rows as they lie in memory, this many steps from one to the next.
    Apart(*const i32, usize),
}

/// Runs the tile of `columns` (16 or 32) columns.
///
/// # Safety
/// The processor has the instructions of the kind; the pointers as for the tiles above; a height comes from [`height`].
#[inline(always)]
pub(super) unsafe fn tile<const BF: bool>(columns: usize, steps: usize, a: Left, b: *const Line, c: *mut f32, ldc: usize, add: bool) {
    macro_rules! go {
        ($m:tt, $apart:literal, $a:expr, $stride:expr) => {
            // SAFETY: the caller's promise.
            unsafe {
                match (BF, columns > 16) {
                    (true, true) => tile_bf16::<$m, 2, $apart>(steps, $a, $stride, b, c, ldc, add),
                    (true, false) => tile_bf16::<$m, 1, $apart>(steps, $a, $stride, b, c, ldc, add),
                    (false, true) => tile_f32::<$m, 2, $apart>(steps, $a, $stride, b, c, ldc, add),
                    (false, false) => tile_f32::<$m, 1, $apart>(steps, $a, $stride, b, c, ldc, add),
                }
            }
        };
    }
    match a {
        Left::Apart(a, stride) => go!(MR, true, a, stride),
        Left::Packed(a, 1) => go!(1, false, a.cast(), 16),
        Left::Packed(a, 2) => go!(2, false, a.cast(), 16),
        Left::Packed(a, 4) => go!(4, false, a.cast(), 16),
        Left::Packed(a, 8) => go!(8, false, a.cast(), 16),
        Left::Packed(a, _) => go!(MR, false, a.cast(), 16),
    }
}
