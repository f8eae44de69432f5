//! The AVX-512 and AMX products over packed panels: blocks of the output, one thread each.
//!
//! ```text
//! block of c (tokens x columns)      right panels of one depth block: in the second-level cache
//!   for each depth block               left panel of 12 or 32 rows: in the first-level cache
//!     pack the right panels            sums: in registers or tiles
//!     for each 12 or 32 rows
//!       pack the left panel, where it cannot be read as it lies
//!       for each right panel: micro-kernel; fetch a part of the next rows
//! ```
//!
//! A second pair of operands with a short reduction, as LoRA's `h Bᵀ` beside `x Wᵀ`, is a last depth
//! block of the same sums: both products are one before anything is rounded or written.
//!
//! Every output element is one chain of additions in the order of the reduction, whatever the block
//! it lies in: results do not depend on how the work is cut.

mod amx;
mod cut;
#[cfg(test)]
mod tests;
mod vectors;

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::cell::RefCell;

use half::bf16;

use self::cut::{Cut, Grain, TILES, VECTORS};
use super::micro::{Finish, Line, MR, NR};
use super::operand::Operand;
use super::pack::per_line;
use super::reach::Reach;
use super::rows::Rows;
use super::thin;
use super::tiles::{self, Tiles, Unit};
use crate::isa::{Products, isa};
use crate::real::Real;
use crate::simd::{Vectors, vectors};
use crate::view::SharedMut;

/// Lines of the right panels of one depth block: 590 KB, more than half of a second-level cache of 1 MB.
const PANELS: usize = 9216;
/// The most steps (f32, or pairs of bf16) of a depth block, a multiple of 16.
const STEPS: usize = 768;
/// The most steps of the second pair.
const MORE: usize = 64;
/// The most columns of a block, a multiple of [`NR`].
const COLUMNS: usize = 512;
/// The most sums of a block that wait for the next depth block.
const SUMS: usize = 99072;

/// True where the packed product can run.
pub(crate) fn available() -> bool {
    vectors() == Vectors::Avx512
}

/// What a thread packs into and sums in: as large as any block needs, made once.
struct Buffers {
    left: Vec<Line>,
    /// The second pair's left panel.
    short: Vec<Line>,
    right: Vec<Line>,
    sums: Vec<Line>,
}

const LEFT: usize = STEPS / 16 * tiles::MR;
const SHORT: usize = MORE / 16 * tiles::MR;
const RIGHT: usize = PANELS + COLUMNS / NR * MORE * 2;
const _: () = assert!(thin::LINES <= RIGHT && thin::ROWS * COLUMNS <= SUMS);
const _: () = assert!(MR <= tiles::MR && tiles::SUMS <= SUMS && SUMS.is_multiple_of(16));

impl Buffers {
    fn new() -> Self {
        Self {
            left: vec![Line::default(); LEFT],
            short: vec![Line::default(); SHORT],
            right: vec![Line::default(); RIGHT],
            sums: vec![Line::default(); SUMS / 16],
        }
    }
}

/// Lines as the f32 they hold.
fn floats(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: a line is sixteen times four bytes, and any of them are an f32.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
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

/// A second product that is added to the first before anything is written: `(a, b)`.
pub(crate) type More<'a> = Option<(Operand<'a>, Operand<'a>)>;

/// Whether a reduction of this length can be the second pair's, in either kind.
pub(crate) fn short(depth: usize) -> bool {
    depth <= MORE
}

/// The micro-kernels for products of this kind of operands.
fn kind(bf: bool) -> Products {
    if bf { isa().products } else { Products::F32 }
}

impl Products {
    /// Whether a step is a pair of bf16.
    fn pairs(self) -> bool {
        self != Products::F32
    }

    fn grain(self) -> Grain {
        match self {
            Products::F32 | Products::Bf16Dot => VECTORS,
            Products::Amx | Products::AmxEmulated => TILES,
        }
    }

    fn steps(self, depth: usize) -> usize {
        depth.div_ceil(per_line(self.pairs()) / 16)
    }
}

/// Rows of the left side of which a product loses least: its tiles are so high.
pub(crate) fn tile_rows(bf: bool) -> usize {
    kind(bf).grain().rows
}

/// `c = alpha * (a b + more)` (+ c), in parallel: c `[a.breadth, b.breadth]`. With `bf` products may
/// be made in bf16.
pub(crate) fn product<T: Real>(a: &Operand, b: &Operand, more: More, c: &mut [T], bf: bool, alpha: f32, add: bool) {
    product_by(kind(bf), a, b, more, c, alpha, add);
}

fn product_by<T: Real>(by: Products, a: &Operand, b: &Operand, more: More, c: &mut [T], alpha: f32, add: bool) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(c.len() == m * n, "product: output size");
    if m == 0 || n == 0 {
        return;
    }
    let sink = Sink { c: SharedMut::new(c), ldc: n, alpha, add };
    let cut = Cut::new(by.grain(), m, n, by.steps(a.depth()), rayon::current_num_threads());
    let (mb, nb) = (cut.rows, cut.columns);
    let across = n.div_ceil(nb);
    crate::pool::each(m.div_ceil(mb) * across, |i| {
        let (m0, n0) = (i / across * mb, i % across * nb);
        let (rows, columns) = ([m0, mb.min(m - m0)], [n0, nb.min(n - n0)]);
        // SAFETY: the block is this thread's alone, and c holds m rows of n.
        unsafe { block(by, a, b, more, sink, Reach::All, cut.depth, rows, columns) };
    });
}

/// The same on this thread alone, with rows of c `ldc` apart, as far as is needed.
pub(crate) fn serial<T: Real>(a: &Operand, b: &Operand, c: &mut [T], ldc: usize, bf: bool, alpha: f32, add: bool, reach: Reach) {
    serial_by(kind(bf), a, b, c, ldc, alpha, add, reach);
}

fn serial_by<T: Real>(by: Products, a: &Operand, b: &Operand, c: &mut [T], ldc: usize, alpha: f32, add: bool, reach: Reach) {
    let (m, n) = (a.breadth(), b.breadth());
    assert!(m == 0 || n == 0 || (n <= ldc && (m - 1) * ldc + n <= c.len()), "product: output size");
    let sink = Sink { c: SharedMut::new(c), ldc, alpha, add };
    // Tiles multiply so much faster that packing all of b costs less than vectors' products.
    if by.grain() == VECTORS && thin::suits(a, b) {
        for n0 in (0..n).step_by(COLUMNS) {
            // SAFETY: c is borrowed here alone, and the columns lie in it.
            unsafe { thin_columns(by, a, b, sink, [n0, COLUMNS.min(n - n0)]) };
        }
        return;
    }
    let cut = Cut::new(by.grain(), m, n, by.steps(a.depth()), 1);
    for m0 in (0..m).step_by(cut.rows) {
        for n0 in (0..n).step_by(cut.columns) {
            let (rows, columns) = ([m0, cut.rows.min(m - m0)], [n0, cut.columns.min(n - n0)]);
            // SAFETY: c is borrowed here alone, and the block lies in it.
            unsafe { block(by, a, b, None, sink, reach, cut.depth, rows, columns) };
        }
    }
}

/// `[first, count]` columns of a product with few rows, on this thread. Must not be called from within a block.
///
/// # Safety
/// As [`block`].
unsafe fn thin_columns<T: Real>(by: Products, a: &Operand, b: &Operand, sink: Sink<T>, [n0, nb]: [usize; 2]) {
    assert!(available() && a.depth() == b.depth() && a.valid() && b.valid() && nb <= COLUMNS && n0 + nb <= b.breadth(), "thin product");
    BUFFERS.with_borrow_mut(|buffers| {
        let Buffers { right, sums, .. } = buffers;
        let (sums, finish) = (floats(sums), sink.finish([0, a.breadth()], [n0, nb]));
        // SAFETY: checked above; the rows of the sink are the caller's promise.
        unsafe {
            if by.pairs() {
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
    by: Products,
    a: &Operand,
    b: &Operand,
    more: More,
    sink: Sink<T>,
    reach: Reach,
    depth: usize,
    rows: [usize; 2],
    columns: [usize; 2],
) {
    assert!(available() && (!by.pairs() || crate::isa::has_bf16()), "the packed product needs AVX-512");
    let inside = |a: &Operand, b: &Operand| {
        let fits = rows[0] + rows[1] <= a.breadth() && columns[0] + columns[1] <= b.breadth();
        fits && a.depth() == b.depth() && a.valid() && b.valid()
    };
    assert!(inside(a, b) && more.is_none_or(|(a, b)| inside(&a, &b) && short(a.depth())), "product operands");
    let (steps, unit) = (by.steps(a.depth()), by.grain().rows);
    assert!(depth <= STEPS && depth.is_multiple_of(16) && columns[1].div_ceil(NR) * depth * 2 <= PANELS, "product block");
    let waiting = if depth < steps { rows[1].next_multiple_of(unit) } else { unit };
    assert!(columns[1] <= COLUMNS && waiting * columns[1].next_multiple_of(NR) <= SUMS, "product block");
    BUFFERS.with_borrow_mut(|buffers| {
        let tiles = match by {
            Products::Amx => Unit::Amx(Tiles::begin()),
            _ => Unit::Emulated,
        };
        // SAFETY: checked above, and the caller's promise for the sink.
        unsafe {
            match by {
                Products::F32 => vectors::run::<false, T>(a, b, more, sink, reach, depth, rows, columns, buffers),
                Products::Bf16Dot => vectors::run::<true, T>(a, b, more, sink, reach, depth, rows, columns, buffers),
                _ => amx::run(&tiles, a, b, more, sink, reach, depth, rows, columns, buffers),
            }
        }
    });
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
