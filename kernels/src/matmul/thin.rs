//! Products with few rows whose operands are both reduced down, as the gradients of LoRA's matrices over the tokens:
//! `c [m, n] = aᵀ b`, a `[steps, m]`, b `[steps, n]`.
//!
//! The packed product would write all of b in panels and read them for m rows only. Here a step of b goes from memory to
//! registers, and only the narrow a is packed: its elements of one step side by side, ready to be broadcast.
//!
//! ```text
//! for each block of steps: pack a           a block of b: in the second-level cache
//!   for each 32 columns, each 8 rows        their sums: in registers
//!     for each step: two vectors of b, eight elements of a
//! ```

use std::arch::x86_64::*;

use super::micro::{Finish, Line};
use super::operand::Operand;
use super::pack::{Bf16s, F32s, Source, dot, step_down};
use super::rows::Rows;

/// The most rows of the product.
pub(super) const ROWS: usize = 64;
/// Rows whose sums are in registers, beside 32 columns.
const GROUP: usize = 8;
/// Columns of a strip.
const STRIP: usize = 32;
/// Steps of a block.
const STEPS: usize = 256;
/// How far ahead of use b is fetched, in its rows.
const AHEAD: usize = 16;

/// Lines that [`sums`] packs a into.
pub(super) const LINES: usize = STEPS * ROWS / 16;

/// Whether this is a product that gains by it: a narrow one of dense operands over many rows.
pub(super) fn suits(a: &Operand, b: &Operand) -> bool {
    let dense = |x: &Operand| matches!(x.rows, Rows::F32(_) | Rows::Bf16(_));
    dense(a) && dense(b) && a.down && b.down && a.breadth() <= ROWS && b.breadth() >= STRIP && a.depth() >= 2 * a.breadth()
}

/// Rows that the sums take: `m` in whole lines of sixteen.
pub(super) fn padded(m: usize) -> usize {
    m.next_multiple_of(16)
}

/// The sums of columns `n0 .. n0 + nb` for all `m` rows of the product: `to` has [`padded`]`(m)` rows of `nb`, rounded up to 32. Each is
/// one chain of additions in the order of the steps.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL, and BF16 where BF; the operands are valid and of one depth, [`suits`] holds, and the columns lie in b.
pub(super) unsafe fn sums<const BF: bool>(a: &Operand, b: &Operand, n0: usize, nb: usize, packed: &mut [Line], to: &mut [f32]) {
    assert!(packed.len() >= LINES && to.len() >= padded(a.breadth()) * nb.next_multiple_of(STRIP) && a.breadth() <= ROWS, "thin product");
    macro_rules! over {
        ($a:expr, $b:expr) => {
            // SAFETY: the caller's promises, and checked above.
            unsafe { over_steps::<BF, _, _>($a, $b, a.count, a.width, n0, nb, packed, to) }
        };
    }
    let f32s = |w: &[f32], x: &Operand| F32s { at: w.as_ptr(), stride: x.stride };
    let bf16s = |w: &[half::bf16], x: &Operand| Bf16s { at: w.as_ptr(), stride: x.stride };
    match (a.rows, b.rows) {
        (Rows::F32(v), Rows::F32(w)) => over!(f32s(v, a), f32s(w, b)),
        (Rows::F32(v), Rows::Bf16(w)) => over!(f32s(v, a), bf16s(w, b)),
        (Rows::Bf16(v), Rows::F32(w)) => over!(bf16s(v, a), f32s(w, b)),
        (Rows::Bf16(v), Rows::Bf16(w)) => over!(bf16s(v, a), bf16s(w, b)),
        _ => unreachable!("thin products take dense operands"),
    }
}

/// Writes the sums where they go.
///
/// # Safety
/// As [`Finish::put`] and [`sums`]: the sums are those of the rows and columns to be finished.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn write<const BF: bool>(sums: &[f32], finish: &Finish) {
    let padded = finish.columns.next_multiple_of(STRIP);
    for (row, sums) in sums.chunks(padded).enumerate().take(finish.rows) {
        for (c, sums) in sums.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: sixteen sums; the rest is the caller's promise.
            unsafe { finish.put::<BF>(row, c * 16, _mm512_loadu_ps(sums.as_ptr())) };
        }
    }
}

/// # Safety
/// As [`sums`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn over_steps<const BF: bool, A: Source, B: Source>(
    a: A,
    b: B,
    count: usize,
    m: usize,
    n0: usize,
    nb: usize,
    packed: &mut [Line],
    to: &mut [f32],
) {
    let per = if BF { 2 } else { 1 };
    let (steps, lines, ldc) = (count.div_ceil(per), m.div_ceil(16), nb.next_multiple_of(STRIP));
    for s0 in (0..steps).step_by(STEPS) {
        let block = STEPS.min(steps - s0);
        for s in 0..block {
            for l in (0..lines).step_by(2) {
                // SAFETY: rows below `count`, columns below m; LINES hold all lines of a block.
                unsafe {
                    let v = step_down::<BF, A>(a, s0 + s, l * 16, (m - l * 16).min(32), count);
                    let out = packed.as_mut_ptr().add(s * lines + l);
                    _mm512_store_si512(out.cast(), v[0]);
                    if l + 1 < lines {
                        _mm512_store_si512(out.add(1).cast(), v[1]);
                    }
                }
            }
        }
        for c in (0..nb).step_by(STRIP) {
            for r in (0..m).step_by(GROUP) {
                let rows = GROUP.min(m - r);
                // SAFETY: rows r .. r + GROUP are in the packed lines, and the sums have as many.
                unsafe {
                    let left = packed.as_ptr().cast::<i32>().add(r);
                    let at = to.as_mut_ptr().add(r * ldc + c);
                    let (first, n) = ([s0, block], STRIP.min(nb - c));
                    if rows > GROUP / 2 {
                        strip::<BF, GROUP, B>(b, first, count, n0 + c, n, left, lines * 16, at, ldc);
                    } else {
                        strip::<BF, { GROUP / 2 }, B>(b, first, count, n0 + c, n, left, lines * 16, at, ldc);
                    }
                }
            }
        }
    }
}

/// One block of steps for M rows and `n` columns.
///
/// # Safety
/// As [`sums`]; `left` has M elements for each step, `stride` apart, and `to` M rows of 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn strip<const BF: bool, const M: usize, B: Source>(
    b: B,
    [s0, block]: [usize; 2],
    count: usize,
    col: usize,
    n: usize,
    left: *const i32,
    stride: usize,
    to: *mut f32,
    ldc: usize,
) {
    let per = if BF { 2 } else { 1 };
    let mut acc = [[_mm512_setzero_ps(); 2]; M];
    if s0 > 0 {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: row i of `to`.
            *acc = unsafe { [_mm512_loadu_ps(to.add(i * ldc)), _mm512_loadu_ps(to.add(i * ldc + 16))] };
        }
    }
    macro_rules! steps {
        ($range:expr, $n:expr, $last:expr) => {
            for s in $range {
                for row in 0..per {
                    b.ahead((s0 + s) * per + row + AHEAD, col, 0);
                }
                // SAFETY: the columns lie in b, and rows from `last` on are not read.
                let v = unsafe { step_down::<BF, B>(b, s0 + s, col, $n, $last) };
                for i in 0..M {
                    // SAFETY: element i of this step.
                    let x = _mm512_set1_epi32(unsafe { left.add(s * stride + i).read() });
                    acc[i] = [dot::<BF>(acc[i][0], x, v[0]), dot::<BF>(acc[i][1], x, v[1])];
                }
            }
        };
    }
    // Whole steps of whole strips without a question about what is there.
    let whole = if n == STRIP { block.min(count / per - s0) } else { 0 };
    steps!(0..whole, STRIP, usize::MAX);
    steps!(whole..block, n, count);
    for (i, acc) in acc.iter().enumerate() {
        // SAFETY: row i of `to`.
        unsafe {
            _mm512_storeu_ps(to.add(i * ldc), acc[0]);
            _mm512_storeu_ps(to.add(i * ldc + 16), acc[1]);
        }
    }
}
