//! A block by AMX: as by vectors, in steps of 32 rows. The sums leave the tiles through memory, from
//! where they are scaled, added, rounded and written while the next tiles multiply.

use super::super::micro::{Left, Line, NR, Reduction};
use super::super::operand::Operand;
use super::super::pack;
use super::super::reach::Reach;
use super::super::tiles::{self, MR, Unit, height};
use super::{Ahead, Buffers, More, Sink, floats};
use crate::real::Real;

/// Elements of a step.
const PAIR: usize = 2;

/// The left panel of the rows `row .. row + rows` for the steps `s0 .. s0 + ks`: as it lies, where
/// whole chunks of all rows can be read so, or packed.
///
/// # Safety
/// As [`pack::left`].
#[inline(always)]
unsafe fn left(a: &Operand, row: usize, rows: usize, [s0, ks]: [usize; 2], to: &mut [Line]) -> Left {
    if rows == MR
        && ks.is_multiple_of(16)
        && (s0 + ks) * PAIR <= a.depth()
        && let Some((at, stride)) = a.pairs_along(row)
    {
        return Left::Apart(at.wrapping_add(s0), stride);
    }
    let high = height(rows);
    // SAFETY: the caller's promise; the buffer holds any panel. Steps past the end are not there.
    unsafe { pack::left::<true>(a, row, rows, high, s0, ks, to.as_mut_ptr()) };
    Left::Packed(to.as_ptr(), high)
}

/// # Safety
/// As [`super::block`], whose checks have been made.
pub(super) unsafe fn run<T: Real>(
    unit: &Unit,
    a: &Operand,
    b: &Operand,
    more: More,
    sink: Sink<T>,
    reach: Reach,
    depth: usize,
    [m0, mb]: [usize; 2],
    [n0, nb]: [usize; 2],
    buffers: &mut Buffers,
) {
    let steps = a.depth().div_ceil(PAIR);
    let (stride, panels) = (depth * 2, nb.div_ceil(NR));
    let parts = steps.div_ceil(depth).max(1);
    let more = more.map(|(a, b)| (a, b, a.depth().div_ceil(PAIR)));
    // Where the second pair's panels begin, and how far they are apart.
    let apart = more.as_ref().map_or(0, |(_, _, steps)| steps.next_multiple_of(16) * 2);
    let second = panels * stride;
    for part in 0..parts {
        let (s0, last) = (part * depth, part + 1 == parts);
        let ks = depth.min(steps - s0);
        // SAFETY: the buffers hold the panels of any block; the operands' ranges were checked by
        // the caller.
        unsafe { pack::right::<true>(b, n0, nb, s0, ks, buffers.right.as_mut_ptr(), stride) };
        let more = more.as_ref().filter(|_| last);
        if let Some((_, b, ks)) = more {
            // SAFETY: as above; MORE steps are left for them.
            unsafe { pack::right::<true>(b, n0, nb, 0, *ks, buffers.right[second..].as_mut_ptr(), apart) };
        }
        for i0 in (0..mb).step_by(MR) {
            let (row, rows) = (m0 + i0, MR.min(mb - i0));
            let (from, to, columns) = reach.of(row, rows, steps, PAIR);
            // Whole chunks: what lies past the reach is zero on the left.
            let from = from.clamp(s0, s0 + ks);
            let count = to.next_multiple_of(16).clamp(from, s0 + ks) - from;
            // SAFETY: as above.
            let panel = unsafe { left(a, row, rows, [from, count], &mut buffers.left) };
            if let Some((a, _, ks)) = more {
                // SAFETY: as above; the buffer holds MORE steps.
                unsafe { pack::left::<true>(a, row, rows, height(rows), 0, *ks, buffers.short.as_mut_ptr()) };
            }
            let ahead = Ahead::new::<true>(a, row + rows, MR.min(mb - i0 - rows), s0, ks, panels);
            for (p, c) in (0..nb.min(columns.saturating_sub(n0))).step_by(NR).enumerate() {
                let vectors = (nb - c).min(NR).div_ceil(16);
                let begin = p * stride + (from - s0) * vectors;
                let main = Reduction { steps: count, left: panel, right: buffers.right[begin..].as_ptr(), ahead: ahead.fetch(p, count) };
                let short = more.map(|(_, _, steps)| Reduction {
                    steps: *steps,
                    left: Left::Packed(buffers.short.as_ptr(), height(rows)),
                    right: buffers.right[second + p * apart..].as_ptr(),
                    ahead: (std::ptr::null(), 0),
                });
                // Sums wait only for another depth block.
                let at = if parts > 1 { (i0 / MR * panels + p) * tiles::SUMS } else { 0 };
                let sums = &mut floats(&mut buffers.sums)[at..at + tiles::SUMS];
                let finish = last.then(|| sink.finish([row, rows], [n0 + c, nb - c]));
                if let Some(finish) = &finish {
                    finish.ahead();
                }
                // SAFETY: the panels hold whole chunks of so many rows and columns.
                unsafe { unit.sum([rows, nb - c], main, short, sums.as_mut_ptr(), part > 0) };
                if let Some(finish) = finish {
                    // SAFETY: the rows of the sink are this thread's; the processor has the
                    // instructions for bf16, see `super::block`.
                    unsafe { finish.load_sums(sums.as_ptr()) };
                }
            }
        }
    }
}
