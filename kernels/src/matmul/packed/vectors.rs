//! A block by the vector micro-kernels.

use super::super::micro::{Left, Line, MR, NR, Reduction, height, tile};
use super::super::operand::Operand;
use super::super::pack::{self, per_line};
use super::super::reach::Reach;
use super::{Ahead, Buffers, More, Sink, floats};
use crate::real::Real;

/// The left panel of the rows `row .. row + rows` for the steps `s0 .. s0 + ks`: as it lies, where it can be read so, or packed.
///
/// # Safety
/// As [`pack::left`].
#[inline(always)]
unsafe fn left<const BF: bool>(a: &Operand, whole: bool, row: usize, rows: usize, s0: usize, ks: usize, to: &mut [Line]) -> Left {
    if whole
        && rows == MR
        && let Some((at, stride)) = a.steps_along::<BF>(row)
    {
        return Left::Apart(at.wrapping_add(s0), stride);
    }
    let h = height(rows);
    // SAFETY: the caller's promise; the buffer holds any panel.
    unsafe { pack::left::<BF>(a, row, rows, h, s0, ks, to.as_mut_ptr()) };
    Left::Packed(to.as_ptr(), h)
}

/// # Safety
/// As [`super::block`], whose checks have been made.
pub(super) unsafe fn run<const BF: bool, T: Real>(
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
    let per = per_line(BF) / 16;
    let steps = a.depth().div_ceil(per);
    let (stride, padded, panels) = (depth * 2, nb.next_multiple_of(NR), nb.div_ceil(NR));
    let parts = steps.div_ceil(depth).max(1);
    let more = more.map(|(a, b)| (a, b, a.depth().div_ceil(per)));
    // Where the second pair's panels begin, and how far they are apart.
    let (second, apart) = (panels * stride, more.as_ref().map_or(0, |(_, _, steps)| steps.next_multiple_of(16) * 2));
    for part in 0..parts {
        let (s0, last) = (part * depth, part + 1 == parts);
        let ks = depth.min(steps - s0);
        // SAFETY: the buffers hold the panels of any block; the operands' ranges were checked by the caller.
        unsafe { pack::right::<BF>(b, n0, nb, s0, ks, buffers.right.as_mut_ptr(), stride) };
        let more = more.as_ref().filter(|_| last);
        if let Some((_, b, ks)) = more {
            // SAFETY: as above; MORE steps are left for them.
            unsafe { pack::right::<BF>(b, n0, nb, 0, *ks, buffers.right[second..].as_mut_ptr(), apart) };
        }
        for i0 in (0..mb).step_by(MR) {
            let (row, rows) = (m0 + i0, MR.min(mb - i0));
            let (from, to, columns) = reach.of(row, rows, steps, per);
            let from = from.clamp(s0, s0 + ks);
            let count = to.clamp(from, s0 + ks) - from;
            // SAFETY: as above.
            let panel = unsafe { left::<BF>(a, parts == 1, row, rows, from, count, &mut buffers.left) };
            if let Some((a, _, ks)) = more {
                // SAFETY: as above; the buffer holds MORE steps.
                unsafe { pack::left::<BF>(a, row, rows, height(rows), 0, *ks, buffers.short.as_mut_ptr()) };
            }
            let ahead = Ahead::new::<BF>(a, row + rows, MR.min(mb - i0 - rows), s0, ks, panels);
            // Sums wait only for another depth block.
            let first = if parts > 1 { i0 } else { 0 };
            let sums = &mut floats(&mut buffers.sums)[first * padded..(first + height(rows)) * padded];
            for (p, c) in (0..nb.min(columns.saturating_sub(n0))).step_by(NR).enumerate() {
                let begin = p * stride + (from - s0) * (nb - c).min(NR).div_ceil(16);
                let main = Reduction { steps: count, left: panel, right: buffers.right[begin..].as_ptr(), ahead: ahead.fetch(p, count) };
                let short = more.map(|(_, _, steps)| Reduction {
                    steps: *steps,
                    left: Left::Packed(buffers.short.as_ptr(), height(rows)),
                    right: buffers.right[second + p * apart..].as_ptr(),
                    ahead: (std::ptr::null(), 0),
                });
                let finish = last.then(|| sink.finish([row, rows], [n0 + c, nb - c]));
                // SAFETY: panel p, and the rows of `padded` sums from column c on; the rows of the sink are this thread's, and the
                // processor has AVX-512, see `super::block`.
                unsafe { tile::<BF>(nb - c, main, short, sums[c..].as_mut_ptr(), padded, part > 0, finish.as_ref()) };
            }
        }
    }
}
