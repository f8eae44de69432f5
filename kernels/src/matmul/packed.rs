//! The AVX-512 product over packed panels: blocks of the output, one thread each.
//!
//! ```text
//! block of c (tokens x columns)      right panels of one depth block: in the second-level cache
//!   for each depth block               left panel of 12 rows: in the first-level cache
//!     pack the right panels            sums: in registers
//!     for each 12 rows
//!       pack the left panel
//!       for each right panel: micro-kernel
//! ```
//!
//! Every output element is one chain of additions in the order of the reduction, whatever the block it lies in: results
//! do not depend on how the work is cut.

use std::cell::RefCell;

use rayon::prelude::*;

use super::micro::{Line, MR, NR, height, tile};
use super::operand::Operand;
use super::pack::{self, per_line};
use crate::real::Real;
use crate::simd::{Level, level};
use crate::view::SharedMut;

/// Steps (f32, or pairs of bf16) of a depth block, a multiple of 16.
const STEPS: usize = 768;
/// Columns of a block, a multiple of [`NR`].
const COLUMNS: usize = 192;
/// Rows of a block, a multiple of [`MR`].
const ROWS: usize = 516;

/// True where the packed product can run.
pub(crate) fn available() -> bool {
    level() >= Level::Avx512
}

/// What a thread packs into and sums in: as large as any block needs, made once.
struct Buffers {
    left: Vec<Line>,
    right: Vec<Line>,
    sums: Vec<f32>,
}

const LEFT: usize = STEPS / 16 * MR;
const RIGHT: usize = COLUMNS / NR * STEPS * 2;
const SUMS: usize = ROWS * COLUMNS;

impl Buffers {
    fn new() -> Self {
        Self { left: vec![Line::default(); LEFT], right: vec![Line::default(); RIGHT], sums: vec![0.0; SUMS] }
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new());
}

/// Bytes of a thread's buffers, whatever the product: left, right, sums.
pub(crate) fn thread_bytes() -> [u64; 3] {
    [LEFT * size_of::<Line>(), RIGHT * size_of::<Line>(), SUMS * size_of::<f32>()].map(|n| n as u64)
}

/// Where the result goes: rows `ldc` apart.
#[derive(Clone, Copy)]
struct Sink<T> {
    c: SharedMut<T>,
    ldc: usize,
    alpha: f32,
    add: bool,
}

/// Cuts `n` in parts of at most `most`, even, each a multiple of `unit`.
fn part(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// `c = alpha * a b` (+ c), in parallel: c `[a.breadth, b.breadth]`. In bf16 steps where `bf` and the processor has them.
pub(crate) fn product<T: Real>(a: &Operand, b: &Operand, c: &mut [T], bf: bool, alpha: f32, add: bool) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(c.len() == m * n, "product: output size");
    if m == 0 || n == 0 {
        return;
    }
    let sink = Sink { c: SharedMut::new(c), ldc: n, alpha, add };
    let wanted = 2 * rayon::current_num_threads();
    let (mut mb, mut nb) = (part(m, ROWS, MR), part(n, COLUMNS, NR));
    let blocks = |mb: usize, nb: usize| m.div_ceil(mb) * n.div_ceil(nb);
    while blocks(mb, nb) < wanted && mb > 8 * MR {
        mb = part(m, mb / 2, MR);
    }
    while blocks(mb, nb) < wanted && nb > NR {
        nb = part(n, nb / 2, NR);
    }
    let across = n.div_ceil(nb);
    (0..blocks(mb, nb)).into_par_iter().with_max_len(1).for_each(|i| {
        let (m0, n0) = (i / across * mb, i % across * nb);
        // SAFETY: the block is this thread's alone, and c holds m rows of n.
        unsafe { block(a, b, sink, bf, m0, mb.min(m - m0), n0, nb.min(n - n0)) };
    });
}

/// The same on this thread alone, with rows of c `ldc` apart.
pub(crate) fn serial<T: Real>(a: &Operand, b: &Operand, c: &mut [T], ldc: usize, bf: bool, alpha: f32, add: bool) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(m == 0 || n == 0 || (n <= ldc && (m - 1) * ldc + n <= c.len()), "product: output size");
    let sink = Sink { c: SharedMut::new(c), ldc, alpha, add };
    for m0 in (0..m).step_by(ROWS) {
        for n0 in (0..n).step_by(COLUMNS) {
            // SAFETY: c is borrowed here alone, and the block lies in it.
            unsafe { block(a, b, sink, bf, m0, ROWS.min(m - m0), n0, COLUMNS.min(n - n0)) };
        }
    }
}

/// One block of the product on this thread. Must not be called from within itself.
///
/// # Safety
/// No other thread touches these elements of the sink, and they lie in it.
unsafe fn block<T: Real>(a: &Operand, b: &Operand, sink: Sink<T>, bf: bool, m0: usize, mb: usize, n0: usize, nb: usize) {
    assert!(available(), "the packed product needs AVX-512");
    assert!(a.depth() == b.depth() && a.valid() && b.valid(), "product operands");
    assert!(m0 + mb <= a.breadth() && n0 + nb <= b.breadth() && mb <= ROWS && nb <= COLUMNS, "product block");
    BUFFERS.with_borrow_mut(|buffers| {
        // SAFETY: checked above, and the caller's promise for the sink.
        unsafe {
            if bf && level() == Level::Avx512Bf16 {
                run::<true, T>(a, b, sink, m0, mb, n0, nb, buffers);
            } else {
                run::<false, T>(a, b, sink, m0, mb, n0, nb, buffers);
            }
        }
    });
}

unsafe fn run<const BF: bool, T: Real>(
    a: &Operand,
    b: &Operand,
    sink: Sink<T>,
    m0: usize,
    mb: usize,
    n0: usize,
    nb: usize,
    buffers: &mut Buffers,
) {
    let steps = a.depth().div_ceil(per_line(BF) / 16);
    let depth = part(steps, STEPS, 16);
    let (stride, padded) = (depth * 2, nb.next_multiple_of(NR));
    let parts = steps.div_ceil(depth).max(1);
    for part in 0..parts {
        let s0 = part * depth;
        let ks = depth.min(steps - s0);
        // SAFETY: the buffers hold the panels of any block; the operands' ranges were checked by the caller.
        unsafe { pack::right::<BF>(b, n0, nb, s0, ks, buffers.right.as_mut_ptr(), stride) };
        for i0 in (0..mb).step_by(MR) {
            let rows = MR.min(mb - i0);
            let h = height(rows);
            // SAFETY: as above.
            unsafe { pack::left::<BF>(a, m0 + i0, rows, h, s0, ks, buffers.left.as_mut_ptr()) };
            let first = if parts > 1 { i0 } else { 0 };
            let sums = &mut buffers.sums[first * padded..(first + h) * padded];
            for (p, c) in (0..nb).step_by(NR).enumerate() {
                let (left, right) = (buffers.left.as_ptr(), buffers.right[p * stride..].as_ptr());
                // SAFETY: panel p, and h rows of `padded` sums from column c on.
                unsafe { tile::<BF>(h, nb - c, ks, left, right, sums[c..].as_mut_ptr(), padded, part > 0) };
            }
            if part + 1 == parts {
                for i in 0..rows {
                    // SAFETY: row m0 + i0 + i of the block, which is this thread's.
                    let out = unsafe { sink.c.slice((m0 + i0 + i) * sink.ldc + n0, nb) };
                    // SAFETY: the processor has AVX-512, see `block`.
                    unsafe { pack::finish(out, &sums[i * padded..][..nb], sink.alpha, sink.add) };
                }
            }
        }
    }
}
