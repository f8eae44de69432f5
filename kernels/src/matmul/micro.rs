//! AVX-512 micro-kernels: a tile of M x (16 * NV) sums that stay in registers, over packed panels.
//!
//! A step of the reduction is 32 bits wide in both kinds: one f32, or two bf16 that `vdpbf16ps` multiplies and adds. So
//! both kinds share one packed form, in lines of 64 bytes:
//!
//! ```text
//! a: [steps / 16][M] lines      row i, sixteen steps      -> one step is broadcast
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
        /// `a` holds `steps` rounded up to 16 times M/16 lines, `b` `steps * NV` lines, `c` M rows of NV * 16 f32.
        #[target_feature(enable = $features)]
        unsafe fn $name<const M: usize, const NV: usize>(steps: usize, a: *const Line, b: *const Line, c: *mut f32, ldc: usize, add: bool) {
            let mut acc = [[_mm512_setzero_ps(); NV]; M];
            if add {
                for i in 0..M {
                    for j in 0..NV {
                        // SAFETY: inside c, see above.
                        acc[i][j] = unsafe { _mm512_loadu_ps(c.add(i * ldc + j * 16)) };
                    }
                }
            }
            let (mut a, mut b, mut left) = (a.cast::<i32>(), b.cast::<f32>(), steps);
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
                        // SAFETY: step s of line i of this chunk.
                        let x = _mm512_set1_epi32(unsafe { *a.add(i * 16 + s) });
                        for j in 0..NV {
                            let ($acc, $x, $b) = (acc[i][j], x, bv[j]);
                            acc[i][j] = $step;
                        }
                    }
                }
                // SAFETY: a has a whole chunk for every sixteen steps begun.
                a = unsafe { a.add(16 * M) };
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

/// Runs the tile of `height` rows and `columns` (16 or 32) columns.
///
/// # Safety
/// The processor has the instructions of the kind; the pointers as for the tiles above; `height` comes from [`height`].
#[inline(always)]
pub(super) unsafe fn tile<const BF: bool>(
    height: usize,
    columns: usize,
    steps: usize,
    a: *const Line,
    b: *const Line,
    c: *mut f32,
    ldc: usize,
    add: bool,
) {
    macro_rules! go {
        ($m:literal) => {
            // SAFETY: the caller's promise.
            unsafe {
                match (BF, columns > 16) {
                    (true, true) => tile_bf16::<$m, 2>(steps, a, b, c, ldc, add),
                    (true, false) => tile_bf16::<$m, 1>(steps, a, b, c, ldc, add),
                    (false, true) => tile_f32::<$m, 2>(steps, a, b, c, ldc, add),
                    (false, false) => tile_f32::<$m, 1>(steps, a, b, c, ldc, add),
                }
            }
        };
    }
    match height {
        1 => go!(1),
        2 => go!(2),
        4 => go!(4),
        8 => go!(8),
        _ => go!(12),
    }
}
