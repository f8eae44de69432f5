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

use std::arch::{asm, x86_64::*};

use half::bf16;

use super::pack::narrow;

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

/// One reduction of a tile: `steps` steps of the left rows and of a right panel.
#[derive(Clone, Copy)]
pub(super) struct Reduction {
    pub(super) steps: usize,
    pub(super) left: Left,
    pub(super) right: *const Line,
    /// Memory that is fetched meanwhile, and how many lines of it for each sixteen steps.
    pub(super) ahead: (*const u8, usize),
}

/// Where a tile's sums go in the end: `alpha * sum`, added to what is there if `add`.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    pub(super) to: Place,
    /// Elements from one row to the next.
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) alpha: f32,
    pub(super) add: bool,
}

/// The first element, by its type.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    F32(*mut f32),
    Bf16(*mut bf16),
}

impl Finish {
    /// Writes sixteen columns of a row, or as many as there are. With BF the processor rounds bf16 itself.
    ///
    /// # Safety
    /// The elements may be written; BF where the processor has those instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn put<const BF: bool>(&self, row: usize, column: usize, sums: __m512) {
        if row >= self.rows || column >= self.columns {
            return;
        }
        let at = row * self.stride + column;
        let mask = ((1_u32 << (self.columns - column).min(16)) - 1) as u16;
        let alpha = _mm512_set1_ps(self.alpha);
        // SAFETY: masked loads and stores touch only elements that there are.
        unsafe {
            match (self.to, self.add) {
                (Place::F32(to), false) => _mm512_mask_storeu_ps(to.add(at), mask, _mm512_mul_ps(sums, alpha)),
                (Place::F32(to), true) => {
                    let old = _mm512_maskz_loadu_ps(mask, to.add(at));
                    _mm512_mask_storeu_ps(to.add(at), mask, _mm512_fmadd_ps(sums, alpha, old));
                }
                (Place::Bf16(to), false) => {
                    _mm256_mask_storeu_epi16(to.add(at).cast(), mask, rounded::<BF>(_mm512_mul_ps(sums, alpha)));
                }
                (Place::Bf16(to), true) => {
                    let old = widened(_mm256_maskz_loadu_epi16(mask, to.add(at).cast()));
                    _mm256_mask_storeu_epi16(to.add(at).cast(), mask, rounded::<BF>(_mm512_fmadd_ps(sums, alpha, old)));
                }
            }
        }
    }

    /// Asks for the lines of a tile to be written to, while it is summed.
    pub(super) fn ahead(&self) {
        let (to, size) = match self.to {
            Place::F32(to) => (to.cast::<u8>(), size_of::<f32>()),
            Place::Bf16(to) => (to.cast(), size_of::<bf16>()),
        };
        let bytes = self.columns.min(NR) * size;
        for row in 0..self.rows {
            let at = to.wrapping_add(row * self.stride * size);
            for byte in (0..bytes).step_by(64).chain([bytes - 1]) {
                // SAFETY: a prefetch writes nothing and does not fault.
                unsafe { asm!("prefetchw [{}]", in(reg) at.wrapping_add(byte), options(nostack, readonly, preserves_flags)) };
            }
        }
    }

    /// Writes rows of sums that lie in memory, [`NR`] to a row and aligned to lines.
    ///
    /// # Safety
    /// As [`Finish::put`] with BF; `sums` holds the rows that are written.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn load_sums(&self, sums: *const f32) {
        let alpha = _mm512_set1_ps(self.alpha);
        let (rows, stride) = (self.rows, self.stride);
        macro_rules! each {
            (|$i:ident, $low:ident, $high:ident| $body:expr) => {
                for $i in 0..rows {
                    // SAFETY: whole rows of sums, and whole rows where they go.
                    unsafe {
                        let $low = _mm512_load_ps(sums.add($i * NR));
                        let $high = _mm512_load_ps(sums.add($i * NR + 16));
                        $body
                    }
                }
            };
        }
        if self.columns < NR {
            for i in 0..rows {
                for j in (0..self.columns).step_by(16) {
                    // SAFETY: as above; `put` writes no more columns than there are.
                    unsafe { self.put::<true>(i, j, _mm512_load_ps(sums.add(i * NR + j))) };
                }
            }
            return;
        }
        match (self.to, self.add) {
            (Place::F32(to), false) => each!(|i, low, high| {
                _mm512_storeu_ps(to.add(i * stride), _mm512_mul_ps(low, alpha));
                _mm512_storeu_ps(to.add(i * stride + 16), _mm512_mul_ps(high, alpha));
            }),
            (Place::F32(to), true) => each!(|i, low, high| {
                let at = to.add(i * stride);
                _mm512_storeu_ps(at, _mm512_fmadd_ps(low, alpha, _mm512_loadu_ps(at)));
                let at = at.add(16);
                _mm512_storeu_ps(at, _mm512_fmadd_ps(high, alpha, _mm512_loadu_ps(at)));
            }),
            (Place::Bf16(to), false) => each!(|i, low, high| {
                let both = narrow(_mm512_mul_ps(low, alpha), _mm512_mul_ps(high, alpha));
                _mm512_storeu_si512(to.add(i * stride).cast(), both);
            }),
            (Place::Bf16(to), true) => each!(|i, low, high| {
                let at = to.add(i * stride);
                let old = widened(_mm256_loadu_si256(at.cast()));
                let low = _mm512_fmadd_ps(low, alpha, old);
                let old = widened(_mm256_loadu_si256(at.add(16).cast()));
                let high = _mm512_fmadd_ps(high, alpha, old);
                _mm512_storeu_si512(at.cast(), narrow(low, high));
            }),
        }
    }

    /// Writes a tile: as [`Finish::put`] for each vector. Loops of few instructions, which the compiler unrolls: the sums stay in registers.
    ///
    /// # Safety
    /// As [`Finish::put`].
    #[inline(always)]
    unsafe fn tile<const BF: bool, const M: usize, const NV: usize>(&self, sums: &[[__m512; NV]; M]) {
        macro_rules! each {
            (|$i:ident, $j:ident, $v:ident| $body:expr) => {
                for $i in 0..M {
                    for $j in 0..NV {
                        let $v = sums[$i][$j];
                        // SAFETY: the caller's promise; whole tiles lie where they go, and parts of them in `kept`.
                        unsafe { $body };
                    }
                }
            };
        }
        // SAFETY: the callers have the instructions.
        let alpha = unsafe { _mm512_set1_ps(self.alpha) };
        // Rounding in software is too long to be unrolled.
        let long = !BF && matches!(self.to, Place::Bf16(_));
        if long || self.rows < M || self.columns < NV * 16 {
            let mut kept = [[Line::default(); NV]; M];
            let to = kept.as_mut_ptr().cast::<f32>();
            each!(|i, j, v| _mm512_store_ps(to.add((i * NV + j) * 16), v));
            for (i, row) in kept.iter().enumerate() {
                for (j, v) in row.iter().enumerate() {
                    // SAFETY: a whole line; the caller's promise.
                    unsafe { self.put::<BF>(i, j * 16, _mm512_load_ps(v.0.as_ptr().cast())) };
                }
            }
            return;
        }
        let stride = self.stride;
        match (self.to, self.add) {
            (Place::F32(to), false) => each!(|i, j, v| _mm512_storeu_ps(to.add(i * stride + j * 16), _mm512_mul_ps(v, alpha))),
            (Place::F32(to), true) => each!(|i, j, v| {
                let at = to.add(i * stride + j * 16);
                _mm512_storeu_ps(at, _mm512_fmadd_ps(v, alpha, _mm512_loadu_ps(at)));
            }),
            // Written above.
            (Place::Bf16(_), _) if !BF => {}
            (Place::Bf16(to), false) => each!(|i, j, v| {
                let at = to.add(i * stride + j * 16).cast();
                _mm256_storeu_si256(at, rounded::<BF>(_mm512_mul_ps(v, alpha)));
            }),
            (Place::Bf16(to), true) => each!(|i, j, v| {
                let at = to.add(i * stride + j * 16).cast();
                _mm256_storeu_si256(at, rounded::<BF>(_mm512_fmadd_ps(v, alpha, widened(_mm256_loadu_si256(at)))));
            }),
        }
    }
}

/// Sixteen bf16 as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn widened(v: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(v)))
}

/// Sixteen f32 as bf16, to the nearest, ties to even. The processor's own rounding makes zero of what is too small for a normal number.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rounded<const BF: bool>(v: __m512) -> __m256i {
    if BF {
        let out;
        // SAFETY: arithmetic on registers; BF promises the instruction, which code for AVX-512 alone has no name for.
        unsafe { asm!("vcvtneps2bf16 {}, {}", out(ymm_reg) out, in(zmm_reg) v, options(pure, nomem, nostack, preserves_flags)) };
        return out;
    }
    let bits = _mm512_castps_si512(v);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
    let chosen = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v), near, quiet);
    _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(chosen))
}

/// Adds one reduction to the sums: rows `$apart` apart, sixteen steps of all of them `$chunk` apart.
macro_rules! reduce {
    ($sums:ident, $m:ident, $nv:ident, $from:expr, $a:expr, $apart:expr, $chunk:expr, |$acc:ident, $x:ident, $b:ident| $step:expr) => {
        let (mut a, mut b, mut left): (*const i32, _, _) = ($a, $from.right.cast::<f32>(), $from.steps);
        let (mut ahead, lines) = $from.ahead;
        while left > 0 {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(64);
            }
            let run = left.min(16);
            for s in 0..run {
                let mut bv = [_mm512_setzero_ps(); $nv];
                for j in 0..$nv {
                    // SAFETY: line s of b, see `tile`.
                    bv[j] = unsafe { _mm512_load_ps(b.add(j * 16)) };
                }
                // SAFETY: b has `steps * NV` lines; one past its end at most.
                b = unsafe { b.add($nv * 16) };
                for i in 0..$m {
                    // SAFETY: step s of row i of this chunk; rows of activations are aligned to their elements only.
                    let $x = _mm512_set1_epi32(unsafe { a.add(i * $apart + s).read_unaligned() });
                    for j in 0..$nv {
                        let ($acc, $b) = ($sums[i][j], bv[j]);
                        $sums[i][j] = $step;
                    }
                }
            }
            // Perhaps past the last.
            a = a.wrapping_add($chunk);
            left -= run;
        }
    };
}

macro_rules! tile {
    ($name:ident, $bf:literal, $features:literal, |$acc:ident, $x:ident, $b:ident| $step:expr) => {
        /// # Safety
        /// As [`tile`]; `second` is packed.
        #[target_feature(enable = $features)]
        unsafe fn $name<const M: usize, const NV: usize, const APART: bool>(
            first: Reduction,
            second: Reduction,
            c: *mut f32,
            ldc: usize,
            add: bool,
            finish: Option<&Finish>,
        ) {
            let mut sums = [[_mm512_setzero_ps(); NV]; M];
            if add {
                for i in 0..M {
                    for j in 0..NV {
                        // SAFETY: inside c, see above.
                        sums[i][j] = unsafe { _mm512_loadu_ps(c.add(i * ldc + j * 16)) };
                    }
                }
            }
            let (a, apart) = first.left.start();
            if APART {
                reduce!(sums, M, NV, first, a, apart, 16, |$acc, $x, $b| $step);
            } else {
                reduce!(sums, M, NV, first, a, 16, 16 * M, |$acc, $x, $b| $step);
            }
            reduce!(sums, M, NV, second, second.left.start().0, 16, 16 * M, |$acc, $x, $b| $step);
            if let Some(finish) = finish {
                // SAFETY: the caller's promise.
                return unsafe { finish.tile::<$bf, M, NV>(&sums) };
            }
            for i in 0..M {
                for j in 0..NV {
                    // SAFETY: inside c, see above.
                    unsafe { _mm512_storeu_ps(c.add(i * ldc + j * 16), sums[i][j]) };
                }
            }
        }
    };
}

tile!(tile_bf16, true, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16", |acc, x, b| {
    // SAFETY: the two vector types are 64 plain bytes.
    let (x, b) = unsafe { (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512, __m512bh>(b)) };
    _mm512_dpbf16_ps(acc, x, b)
});
tile!(tile_f32, false, "avx512f,avx512bw,avx512dq,avx512vl", |acc, x, b| _mm512_fmadd_ps(_mm512_castsi512_ps(x), b, acc));

/// The left side of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    /// Packed chunks, of this many rows.
    Packed(*const Line, usize),
    /// [`MR`] rows as they lie in memory, this many steps from one to the next.
    Apart(*const i32, usize),
}

impl Left {
    /// The first step of the first row, and how many steps lie between two rows of a chunk.
    #[inline(always)]
    fn start(self) -> (*const i32, usize) {
        match self {
            Left::Packed(at, _) => (at.cast(), 16),
            Left::Apart(at, apart) => (at, apart),
        }
    }
}

/// Runs the tile of `columns` (up to 16, or up to 32) columns: the sums of both reductions, the second packed and as high as the
/// first, begun at those in `c` if `add`, are finished, or written to `c`.
///
/// # Safety
/// The processor has the instructions of the kind. A packed left side holds `steps` rounded up to 16 times M/16 lines, with M from
/// [`height`]; one that lies apart holds [`MR`] rows of `steps` steps. A right panel has `steps * NV` lines for NV vectors of
/// columns. `c` holds M rows of NV * 16 sums, `ldc` apart, if there are sums to be read or written; what `finish` names may be written.
#[inline(always)]
pub(super) unsafe fn tile<const BF: bool>(
    columns: usize,
    first: Reduction,
    second: Option<Reduction>,
    c: *mut f32,
    ldc: usize,
    add: bool,
    finish: Option<&Finish>,
) {
    let none = Reduction { steps: 0, left: Left::Packed(std::ptr::null(), 0), right: std::ptr::null(), ahead: (std::ptr::null(), 0) };
    let second = second.unwrap_or(none);
    macro_rules! go {
        ($m:tt, $apart:literal) => {
            // SAFETY: the caller's promise.
            unsafe {
                match (BF, columns > 16) {
                    (true, true) => tile_bf16::<$m, 2, $apart>(first, second, c, ldc, add, finish),
                    (true, false) => tile_bf16::<$m, 1, $apart>(first, second, c, ldc, add, finish),
                    (false, true) => tile_f32::<$m, 2, $apart>(first, second, c, ldc, add, finish),
                    (false, false) => tile_f32::<$m, 1, $apart>(first, second, c, ldc, add, finish),
                }
            }
        };
    }
    match first.left {
        Left::Apart(..) => go!(MR, true),
        Left::Packed(_, 1) => go!(1, false),
        Left::Packed(_, 2) => go!(2, false),
        Left::Packed(_, 4) => go!(4, false),
        Left::Packed(_, 8) => go!(8, false),
        Left::Packed(..) => go!(MR, false),
    }
}
