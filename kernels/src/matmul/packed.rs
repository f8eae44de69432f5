//! The AVX-512 product over packed panels: blocks of the output, one thread each.
//!
//! ```text
//! block of c (tokens x columns)      right panels of one depth block: in the second-level cache
//!   for each depth block               left panel of 12 rows: in the first-level cache
//!     pack the right panels            sums: in registers
//!     for each 12 rows
//!       pack the left panel, where it cannot be read as it lies
//!       for each right panel: micro-kernel; fetch a part of the next 12 rows
//! ```
//!
//! A second pair of operands with a short reduction, as LoRA's `h Bᵀ` beside `x Wᵀ`, is a last depth block of the same sums:
//! both products are one before anything is rounded or written.
//!
//! Every output element is one chain of additions in the order of the reduction, whatever the block it lies in: results
//! do not depend on how the work is cut.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::cell::RefCell;

use half::bf16;

use super::micro::{Finish, Left, Line, MR, NR, Reduction, height, tile};
use super::operand::Operand;
use super::pack::{self, per_line};
use super::reach::Reach;
use super::rows::Rows;
use super::thin;
use crate::real::Real;
use crate::simd::{Level, level};
use crate::view::SharedMut;

/// Lines of the right panels of one depth block: 590 KB, more than half of a second-level cache of 1 MB.
const PANELS: usize = 9216;
/// The most steps (f32, or pairs of bf16) of a depth block, a multiple of 16.
const STEPS: usize = 768;
/// The most steps of the second pair.
const MORE: usize = 64;
/// The most columns of a block, a multiple of [`NR`].
const COLUMNS: usize = 512;
/// The most rows of a block, a multiple of [`MR`].
const ROWS: usize = 1032;
/// The most sums of a block that wait for the next depth block.
const SUMS: usize = 99072;

/// True where the packed product can run.
pub(crate) fn available() -> bool {
    level() >= Level::Avx512
}

/// What a thread packs into and sums in: as large as any block needs, made once.
struct Buffers {
    left: Vec<Line>,
    /// The second pair's left panel.
    short: Vec<Line>,
    right: Vec<Line>,
    sums: Vec<f32>,
}

const LEFT: usize = STEPS / 16 * MR;
const SHORT: usize = MORE / 16 * MR;
const RIGHT: usize = PANELS + COLUMNS / NR * MORE * 2;
const _: () = assert!(thin::LINES <= RIGHT && thin::ROWS * COLUMNS <= SUMS);

impl Buffers {
    fn new() -> Self {
        Self {
            left: vec![Line::default(); LEFT],
            short: vec![Line::default(); SHORT],
            right: vec![Line::default(); RIGHT],
            sums: vec![0.0; SUMS],
        }
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new());
}

/// Bytes of a thread's buffers, whatever the product: left sides, right sides, sums.
pub(crate) fn thread_bytes() -> [u64; 3] {
    [(LEFT + SHORT) * size_of::<Line>(), RIGHT * size_of::<Line>(), SUMS * size_of::<f32>()].map(|n| n as u64)
}

/// Where the result goes: rows `ldc` apart.
#[derive(Clone, Copy)]
struct Sink<T> {
    c: SharedMut<T>,
    ldc: usize,
    alpha: f32,
    add: bool,
}

impl<T: Real> Sink<T> {
    /// The rows and columns from `(row, column)` on.
    #[inline(always)]
    fn finish(&self, [row, rows]: [usize; 2], [column, columns]: [usize; 2]) -> Finish {
        let to = T::place(self.c.at(row * self.ldc + column));
        Finish { to, stride: self.ldc, rows, columns, alpha: self.alpha, add: self.add }
    }
}

/// Cuts `n` in parts of at most `most`, even, each a multiple of `unit`.
fn part(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// How a product is cut: rows and columns of a block, steps of a depth block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    rows: usize,
    columns: usize,
    depth: usize,
}

impl Cut {
    /// For `m` rows and `n` columns over `steps` steps on so many threads: the one that takes least time, counted in multiplications.
    fn new(m: usize, n: usize, steps: usize, threads: usize) -> Self {
        // Attention's tiles come by here thousands of times in a step: no search where one block is all.
        if let (1, Some(cut)) = (threads, Self::whole(m, n, steps)) {
            return cut;
        }
        let mut best = (usize::MAX, Self { rows: MR, columns: NR, depth: 16 });
        let mut columns = 0;
        for tried in (1..=COLUMNS / NR).map(|parts| part(n, COLUMNS / parts / NR * NR, NR)) {
            if std::mem::replace(&mut columns, tried) == tried {
                continue;
            }
            let depth = part(steps, (PANELS / (2 * columns / NR) / 16 * 16).min(STEPS), 16);
            let most = if depth >= steps { ROWS } else { (SUMS / columns / MR * MR).min(ROWS) };
            let mut rows = 0;
            for tried in (0..8).map(|halved| part(m, (most >> halved).max(MR), MR)) {
                if std::mem::replace(&mut rows, tried) == tried {
                    continue;
                }
                let cut = Self { rows, columns, depth };
                let cost = cut.cost(m, n, steps, threads);
                if cost < best.0 {
                    best = (cost, cut);
                }
            }
        }
        best.1
    }

    /// All of it as one block, if it fits.
    fn whole(m: usize, n: usize, steps: usize) -> Option<Self> {
        let (columns, depth) = (n.next_multiple_of(NR), steps.next_multiple_of(16).max(16));
        let fits = m <= ROWS && columns <= COLUMNS && depth <= STEPS && columns / NR * depth * 2 <= PANELS;
        fits.then(|| Self { rows: m.next_multiple_of(MR), columns, depth })
    }

    /// What the busiest thread does for one step: sums, and packing, which costs as much as PACK more rows for each element of the
    /// right side and as some columns for each of the left.
    fn cost(&self, m: usize, n: usize, steps: usize, threads: usize) -> usize {
        const PACK: usize = 16;
        const LEFT: usize = 3;
        // Sums that wait are fetched and put back.
        let waiting = if self.depth < steps { self.rows * self.columns * 24 / self.depth.max(1) } else { 0 };
        let block = (self.rows + PACK) * (self.columns + LEFT) + waiting;
        (m.div_ceil(self.rows) * n.div_ceil(self.columns)).div_ceil(threads) * block
    }
}

/// A second product that is added to the first before anything is written: `(a, b)`.
pub(crate) type More<'a> = Option<(Operand<'a>, Operand<'a>)>;

/// Whether a reduction of this length can be the second pair's, in either kind.
pub(crate) fn short(depth: usize) -> bool {
    depth <= MORE
}

fn steps_of(depth: usize, bf: bool) -> usize {
    depth.div_ceil(per_line(bf) / 16)
}

/// True where products run in bf16 steps.
fn in_bf16(bf: bool) -> bool {
    bf && level() == Level::Avx512Bf16
}

/// `c = alpha * (a b + more)` (+ c), in parallel: c `[a.breadth, b.breadth]`. In bf16 steps where `bf` and the processor has them.
pub(crate) fn product<T: Real>(a: &Operand, b: &Operand, more: More, c: &mut [T], bf: bool, alpha: f32, add: bool) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(c.len() == m * n, "product: output size");
    if m == 0 || n == 0 {
        return;
    }
    let sink = Sink { c: SharedMut::new(c), ldc: n, alpha, add };
    let cut = Cut::new(m, n, steps_of(a.depth(), in_bf16(bf)), rayon::current_num_threads());
    let (mb, nb) = (cut.rows, cut.columns);
    let across = n.div_ceil(nb);
    crate::pool::each(m.div_ceil(mb) * across, |i| {
        let (m0, n0) = (i / across * mb, i % across * nb);
        // SAFETY: the block is this thread's alone, and c holds m rows of n.
        unsafe { block(a, b, more, sink, bf, Reach::All, cut.depth, [m0, mb.min(m - m0)], [n0, nb.min(n - n0)]) };
    });
}

/// The same on this thread alone, with rows of c `ldc` apart, as far as is needed.
pub(crate) fn serial<T: Real>(a: &Operand, b: &Operand, c: &mut [T], ldc: usize, bf: bool, alpha: f32, add: bool, reach: Reach) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(m == 0 || n == 0 || (n <= ldc && (m - 1) * ldc + n <= c.len()), "product: output size");
    let sink = Sink { c: SharedMut::new(c), ldc, alpha, add };
    if thin::suits(a, b) {
        for n0 in (0..n).step_by(COLUMNS) {
            // SAFETY: c is borrowed here alone, and the columns lie in it.
            unsafe { thin_columns(a, b, sink, bf, [n0, COLUMNS.min(n - n0)]) };
        }
        return;
    }
    let cut = Cut::new(m, n, steps_of(a.depth(), in_bf16(bf)), 1);
    for m0 in (0..m).step_by(cut.rows) {
        for n0 in (0..n).step_by(cut.columns) {
            // SAFETY: c is borrowed here alone, and the block lies in it.
            unsafe { block(a, b, None, sink, bf, reach, cut.depth, [m0, cut.rows.min(m - m0)], [n0, cut.columns.min(n - n0)]) };
        }
    }
}

/// `[first, count]` columns of a product with few rows, on this thread. Must not be called from within a block.
///
/// # Safety
/// As [`block`].
unsafe fn thin_columns<T: Real>(a: &Operand, b: &Operand, sink: Sink<T>, bf: bool, [n0, nb]: [usize; 2]) {
    assert!(available() && a.depth() == b.depth() && a.valid() && b.valid() && nb <= COLUMNS && n0 + nb <= b.breadth(), "thin product");
    BUFFERS.with_borrow_mut(|buffers| {
        let Buffers { right, sums, .. } = buffers;
        let finish = sink.finish([0, a.breadth()], [n0, nb]);
        // SAFETY: checked above; the rows of the sink are the caller's promise.
        unsafe {
            if in_bf16(bf) {
                thin::sums::<true>(a, b, n0, nb, right, sums);
                thin::write::<true>(sums, &finish);
            } else {
                thin::sums::<false>(a, b, n0, nb, right, sums);
                thin::write::<false>(sums, &finish);
            }
        }
    });
}

/// One block of the product on this thread: `[first, count]` rows and columns, `depth` steps at a time. Must not be called
/// from within itself.
///
/// # Safety
/// No other thread touches these elements of the sink, and they lie in it.
unsafe fn block<T: Real>(
    a: &Operand,
    b: &Operand,
    more: More,
    sink: Sink<T>,
    bf: bool,
    reach: Reach,
    depth: usize,
    rows: [usize; 2],
    columns: [usize; 2],
) {
    assert!(available(), "the packed product needs AVX-512");
    let inside = |a: &Operand, b: &Operand| {
        let fits = rows[0] + rows[1] <= a.breadth() && columns[0] + columns[1] <= b.breadth();
        fits && a.depth() == b.depth() && a.valid() && b.valid()
    };
    assert!(inside(a, b) && more.is_none_or(|(a, b)| inside(&a, &b) && short(a.depth())), "product operands");
    let steps = steps_of(a.depth(), in_bf16(bf));
    assert!(depth <= STEPS && depth.is_multiple_of(16) && columns[1].div_ceil(NR) * depth * 2 <= PANELS, "product block");
    let waiting = if depth < steps { rows[1].next_multiple_of(MR) } else { MR };
    assert!(columns[1] <= COLUMNS && waiting * columns[1].next_multiple_of(NR) <= SUMS, "product block");
    BUFFERS.with_borrow_mut(|buffers| {
        // SAFETY: checked above, and the caller's promise for the sink.
        unsafe {
            if in_bf16(bf) {
                run::<true, T>(a, b, more, sink, reach, depth, rows, columns, buffers);
            } else {
                run::<false, T>(a, b, more, sink, reach, depth, rows, columns, buffers);
            }
        }
    });
}

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

/// Memory of the rows to come: fetched a part at a time while the tiles of the rows before are computed.
struct Ahead {
    at: *const u8,
    stride: usize,
    rows: usize,
    /// Lines of a row, and how many of them a part has.
    lines: usize,
    part: usize,
}

impl Ahead {
    /// Rows `row .. row + rows` of the left side for the steps `s0 .. s0 + ks` in so many parts; nothing where it is quantised or
    /// reduced down.
    #[inline(always)]
    fn new<const BF: bool>(a: &Operand, row: usize, rows: usize, s0: usize, ks: usize, parts: usize) -> Self {
        let (at, size) = match a.rows {
            Rows::F32(x) if !a.down => (x.as_ptr().cast::<u8>(), size_of::<f32>()),
            Rows::Bf16(x) if !a.down => (x.as_ptr().cast(), size_of::<bf16>()),
            _ => (std::ptr::null(), 0),
        };
        let per = per_line(BF) / 16 * size;
        let (at, stride) = (at.wrapping_add(row * a.stride * size + s0 * per), a.stride * size);
        // Rows one after the other are as one.
        let (rows, bytes) = if ks * per == stride { (rows.min(1), rows * stride) } else { (rows, ks * per) };
        let lines = bytes.div_ceil(64);
        Self { at, stride, rows, lines, part: lines.div_ceil(parts) }
    }

    /// What a tile of so many steps is to fetch meanwhile of a part. Rows that lie apart are fetched here, a few lines of each.
    #[inline(always)]
    fn fetch(&self, part: usize, steps: usize) -> (*const u8, usize) {
        let first = part * self.part;
        let lines = self.part.min(self.lines.saturating_sub(first));
        if self.rows == 1 {
            return (self.at.wrapping_add(first * 64), lines.div_ceil(steps.div_ceil(16).max(1)));
        }
        for row in 0..self.rows {
            let at = self.at.wrapping_add(row * self.stride + first * 64);
            for line in 0..lines {
                // SAFETY: a prefetch reads nothing and does not fault.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(line * 64).cast()) };
            }
        }
        (self.at, 0)
    }
}

/// # Safety
/// As [`block`], whose checks have been made.
unsafe fn run<const BF: bool, T: Real>(
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
    let steps = steps_of(a.depth(), BF);
    let (stride, padded, panels) = (depth * 2, nb.next_multiple_of(NR), nb.div_ceil(NR));
    let parts = steps.div_ceil(depth).max(1);
    let more = more.map(|(a, b)| (a, b, steps_of(a.depth(), BF)));
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
            let (from, to, columns) = reach.of(row, rows, steps, per_line(BF) / 16);
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
            let sums = &mut buffers.sums[first * padded..(first + height(rows)) * padded];
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
                // processor has AVX-512, see `block`.
                unsafe { tile::<BF>(nb - c, main, short, sums[c..].as_mut_ptr(), padded, part > 0, finish.as_ref()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_fits_the_buffers() {
        for m in [1, 5, 12, 13, 170, 516, 2048, 5000] {
            for n in [1, 16, 33, 192, 576, 1700, 49152] {
                for steps in [1, 16, 17, 288, 768, 769, 1024, 24576] {
                    for threads in [1, 2, 3, 16] {
                        let cut = Cut::new(m, n, steps, threads);
                        let shape = format!("{m} x {n} x {steps} on {threads}: {cut:?}");
                        assert!(cut.rows.is_multiple_of(MR) && cut.columns.is_multiple_of(NR) && cut.depth.is_multiple_of(16), "{shape}");
                        assert!(cut.rows > 0 && cut.rows <= ROWS && (NR..=COLUMNS).contains(&cut.columns), "{shape}");
                        assert!(cut.depth <= STEPS && cut.columns / NR * cut.depth * 2 <= PANELS, "{shape}");
                        let waiting = if cut.depth < steps { cut.rows } else { MR };
                        assert!(waiting * cut.columns <= SUMS, "{shape}");
                    }
                }
            }
        }
        // Nobody is left without work where there is enough of it, and one thread takes a small product whole.
        let cut = Cut::new(2048, 576, 288, 2);
        assert_eq!(2048_usize.div_ceil(cut.rows) * 576_usize.div_ceil(cut.columns) % 2, 0, "{cut:?}");
        assert_eq!(Cut::new(96, 192, 32, 1), Cut { rows: 96, columns: 192, depth: 32 });
    }

    #[test]
    fn what_a_causal_tile_does_not_need_changes_nothing() {
        if !available() {
            return;
        }
        let mut state = 11_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        for (rows, keys, d, shift) in
            [(192, 192, 64, 0), (192, 192, 32, 192), (100, 77, 40, -30), (7, 192, 96, 150), (1, 1, 16, 0), (60, 1100, 64, 900)]
        {
            let sees = |i: usize, j: usize| j as isize <= i as isize + shift;
            let p: Vec<f32> = (0..rows * keys).map(|at| if sees(at / keys, at % keys) { random() } else { 0.0 }).collect();
            let [q, k] = [rows, keys].map(|n| (0..n * d).map(|_| random()).collect::<Vec<f32>>());
            let run = |a: Operand, b: Operand, bf, reach| {
                let mut c = vec![0.5_f32; a.breadth() * b.breadth()];
                let n = b.breadth();
                serial(&a, &b, &mut c, n, bf, 0.7, true, reach);
                c
            };
            let (pairs, queries, key) = (Operand::of(&p, rows, keys), Operand::of(&q, rows, d), Operand::of(&k, keys, d));
            for bf in [false, true] {
                let shape = format!("{rows} x {keys} x {d}, shift {shift}, bf16 {bf}");
                assert!(run(pairs, key.t(), bf, Reach::Left { shift }) == run(pairs, key.t(), bf, Reach::All), "{shape}: left");
                let down = run(pairs.t(), queries.t(), bf, Reach::LeftDown { shift });
                assert!(down == run(pairs.t(), queries.t(), bf, Reach::All), "{shape}: left, down");
                let (got, want) = (run(queries, key, bf, Reach::Result { shift }), run(queries, key, bf, Reach::All));
                let mut left = 0;
                for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!(got == want || (!sees(at / keys, at % keys) && *got == 0.5), "{shape}: result at {at}");
                    left += usize::from(got != want);
                }
                assert!(left > 0 || shift >= 0 && rows.min(keys) < 32 || shift >= 192, "{shape}: nothing was left out");
            }
        }
    }

    #[test]
    fn a_thin_product_is_the_packed_one_to_the_bit() {
        if !available() {
            return;
        }
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        for (m, n, depth) in [(1, 32, 2), (4, 40, 129), (8, 600, 512), (16, 96, 1031), (17, 33, 700), (50, 288, 513), (64, 64, 2048)] {
            let a: Vec<f32> = (0..depth * m).map(|_| random()).collect();
            let b: Vec<f32> = (0..depth * n).map(|_| random()).collect();
            let [a16, b16] = [&a, &b].map(|x| x.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>());
            for bf in [false, true] {
                let (x, y) = if bf {
                    (Operand::of(&a16, depth, m), Operand::of(&b16, depth, n))
                } else {
                    (Operand::of(&a, depth, m), Operand::of(&b, depth, n))
                };
                let (x, y) = (x.t(), y.t());
                assert!(thin::suits(&x, &y));
                for add in [false, true] {
                    let (mut got, mut want) = (vec![0.25_f32; m * n], vec![0.25_f32; m * n]);
                    serial(&x, &y, &mut got, n, bf, 0.5, add, Reach::All);
                    product(&x, &y, None, &mut want, bf, 0.5, add);
                    assert!(got == want, "{m} x {n} over {depth}, bf16 {bf}, add {add}");
                }
            }
        }
    }
}
