//! AMX: sums of 32 rows by 32 columns in four tiles of sixteen by sixteen, over the packed panels
//! of the other micro-kernels.
//!
//! One multiplication takes a tile of sixteen rows by sixteen steps (pairs of bf16) and one of
//! sixteen steps by sixteen columns. The left tile is sixteen lines of a packed chunk, or sixteen
//! rows of activations where they lie; the right one is the lines of sixteen steps of a panel:
//!
//! ```text
//! tmm0 tmm1    sums: rows 0..16 and 16..32 by columns 0..16 and 16..32
//! tmm2 tmm3
//! tmm4 tmm5    left: rows 0..16, rows 16..32
//! tmm6 tmm7    right: columns 0..16, columns 16..32
//! ```
//!
//! The emulated tiles read the same memory in the same order, so packing and edges are tested on
//! machines without AMX.

use std::arch::asm;
use std::marker::PhantomData;

use half::bf16;

use super::micro::{Left, Line, NR, Reduction};
use crate::isa;
use crate::real::Real;

/// The most rows of a step.
pub(super) const MR: usize = 32;
/// Sums of a step, 32 to a row.
pub(super) const SUMS: usize = MR * NR;

/// Heights that a step has.
pub(super) fn height(rows: usize) -> usize {
    if rows <= 16 { 16 } else { MR }
}

/// This thread's tiles, configured. They are part of what the system saves when it switches to
/// another thread, so they are released when the product is done.
#[derive(Debug)]
pub(crate) struct Tiles(PhantomData<*const ()>);

/// The layout that `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// Eight tiles of sixteen rows of 64 bytes.
    ///
    /// # Panics
    /// Where [`isa::amx_permitted`] is false.
    pub(crate) fn begin() -> Self {
        assert!(isa::amx_permitted(), "no AMX");
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].fill(16);
        // SAFETY: the configuration is valid and the process may use tiles. The compiler uses
        // none of its own.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Self(PhantomData)
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: nothing reads the tiles any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// What multiplies.
#[derive(Debug)]
pub(super) enum Unit {
    Amx(Tiles),
    Emulated,
}

impl Unit {
    /// Adds both reductions to the sums, which are 32 to a row and begin at zero unless `add`.
    /// `rows` and `columns` up to 16 take half the tiles; the other sums are then left alone.
    ///
    /// # Safety
    /// Both sides hold whole chunks of sixteen steps: `steps` rounded up. A packed left side has
    /// [`height`]`(rows)` lines a chunk, one that lies apart has that many rows. A right panel has
    /// one line a step for up to sixteen columns, else two. `sums` holds [`SUMS`].
    #[inline(always)]
    pub(super) unsafe fn sum(&self, [rows, columns]: [usize; 2], first: Reduction, second: Option<Reduction>, sums: *mut f32, add: bool) {
        let (high, wide) = (rows > 16, columns > 16);
        // SAFETY: the caller's promises; the unit holds configured tiles.
        unsafe {
            match self {
                Unit::Amx(_) => {
                    begin(sums, add);
                    for from in [Some(first), second].into_iter().flatten() {
                        multiply(high, wide, from);
                    }
                    end(high, wide, sums);
                }
                Unit::Emulated => emulate(high, wide, [Some(first), second], sums, add),
            }
        }
    }
}

/// Bytes from one row of sums to the next.
const ROW: usize = NR * size_of::<f32>();

/// Zeros the sums, or loads them.
///
/// # Safety
/// The tiles are configured, and `sums` holds [`SUMS`].
#[inline(always)]
unsafe fn begin(sums: *const f32, add: bool) {
    // SAFETY: the caller's promises.
    unsafe {
        if add {
            asm!(
                "tileloadd tmm0, [{upper} + {row}]",
                "tileloadd tmm1, [{upper} + {row} + 64]",
                "tileloadd tmm2, [{lower} + {row}]",
                "tileloadd tmm3, [{lower} + {row} + 64]",
                upper = in(reg) sums,
                lower = in(reg) sums.add(16 * NR),
                row = in(reg) ROW,
                options(nostack, readonly, preserves_flags)
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem, preserves_flags));
        }
    }
}

/// Stores the sums of the tiles that were used.
///
/// # Safety
/// As [`begin`].
#[inline(always)]
unsafe fn end(high: bool, wide: bool, sums: *mut f32) {
    macro_rules! store {
        ($tile:literal, $at:expr) => {
            asm!(
                concat!("tilestored [{at} + {row}], ", $tile),
                at = in(reg) $at,
                row = in(reg) ROW,
                options(nostack, preserves_flags)
            )
        };
    }
    // SAFETY: the caller's promises.
    unsafe {
        store!("tmm0", sums);
        if wide {
            store!("tmm1", sums.add(16));
        }
        if high {
            store!("tmm2", sums.add(16 * NR));
        }
        if high && wide {
            store!("tmm3", sums.add(16 * NR + 16));
        }
    }
}

/// Where the chunks of a left side lie, in bytes: the first row, from one row to the next, from
/// one chunk to the next.
#[inline(always)]
fn left(from: &Reduction) -> (*const u8, usize, usize) {
    match from.left {
        Left::Packed(at, height) => (at.cast(), size_of::<Line>(), height * size_of::<Line>()),
        Left::Apart(at, steps) => (at.cast(), steps * size_of::<u32>(), size_of::<Line>()),
    }
}

/// Adds a reduction to the sums in tiles, and fetches a part of what comes next meanwhile.
///
/// # Safety
/// As [`Unit::sum`]; the tiles are configured.
#[inline(always)]
unsafe fn multiply(high: bool, wide: bool, from: Reduction) {
    let chunks = from.steps.div_ceil(16);
    if chunks == 0 {
        return;
    }
    let (at, apart, step) = left(&from);
    macro_rules! chunks {
        ($right:literal, $($line:literal),*) => {
            asm!(
                "2:",
                "mov {left}, {lines}",
                "test {left}, {left}",
                "jz 4f",
                "3:",
                "prefetcht1 [{ahead}]",
                "add {ahead}, 64",
                "dec {left}",
                "jnz 3b",
                "4:",
                $($line,)*
                "add {upper}, {step}",
                "add {lower}, {step}",
                concat!("add {right}, 16 * ", $right),
                "dec {chunks}",
                "jnz 2b",
                left = out(reg) _,
                lines = in(reg) from.ahead.1,
                ahead = inout(reg) from.ahead.0 => _,
                upper = inout(reg) at => _,
                lower = inout(reg) at.wrapping_add(16 * apart) => _,
                apart = in(reg) apart,
                step = in(reg) step,
                right = inout(reg) from.right => _,
                line = in(reg) const { $right as usize },
                chunks = inout(reg) chunks => _,
                options(nostack, readonly)
            )
        };
    }
    // SAFETY: the caller's promises: every row of every chunk may be read.
    unsafe {
        match (high, wide) {
            (true, true) => chunks!(
                128,
                "tileloadd tmm4, [{upper} + {apart}]",
                "tileloadd tmm6, [{right} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {line} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lower} + {apart}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7"
            ),
            (true, false) => chunks!(
                64,
                "tileloadd tmm4, [{upper} + {apart}]",
                "tileloadd tmm6, [{right} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{lower} + {apart}]",
                "tdpbf16ps tmm2, tmm5, tmm6"
            ),
            (false, true) => chunks!(
                128,
                "tileloadd tmm4, [{upper} + {apart}]",
                "tileloadd tmm6, [{right} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {line} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7"
            ),
            (false, false) => {
                chunks!(64, "tileloadd tmm4, [{upper} + {apart}]", "tileloadd tmm6, [{right} + {line}]", "tdpbf16ps tmm0, tmm4, tmm6")
            }
        }
    }
}

/// What the tiles do, one product after the other.
///
/// # Safety
/// As [`Unit::sum`].
unsafe fn emulate(high: bool, wide: bool, both: [Option<Reduction>; 2], sums: *mut f32, add: bool) {
    let (rows, vectors) = (if high { MR } else { 16 }, if wide { 2 } else { 1 });
    let pair = |bits: u32| [bits as u16, (bits >> 16) as u16].map(|b| bf16::from_bits(b).up());
    for row in 0..rows {
        for column in 0..16 * vectors {
            // SAFETY: the caller's promises.
            unsafe {
                let sum = sums.add(row * NR + column);
                let mut total = if add { *sum } else { 0.0 };
                for from in both.iter().flatten() {
                    let (at, apart, step) = left(from);
                    for s in 0..from.steps.next_multiple_of(16) {
                        let x = at.add(row * apart + s / 16 * step + s % 16 * 4).cast::<u32>();
                        let w = from.right.cast::<u32>().add((s * vectors + column / 16) * 16 + column % 16);
                        let ([x0, x1], [w0, w1]) = (pair(x.read_unaligned()), pair(*w));
                        total += x0 * w0 + x1 * w1;
                    }
                }
                *sum = total;
            }
        }
    }
}
