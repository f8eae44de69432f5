//! Packing for the micro-kernels: any stored form is unpacked a line at a time, straight into a panel.

use std::arch::{asm, x86_64::*};

use half::bf16;

use super::micro::Line;
use super::operand::Operand;
use super::rows::{Rows, Scales};
use crate::quant::{BLOCK, CODEBOOK};

/// Elements of a line.
pub(super) const fn per_line(bf: bool) -> usize {
    if bf { 32 } else { 16 }
}

/// Two vectors of f32 as 32 bf16 in order, nearest even; what is too small for a normal number is zero, as in the products. For
/// processors with the instruction: written out, since code for AVX-512 alone has no name for it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn narrow(low: __m512, high: __m512) -> __m512i {
    let out;
    // SAFETY: arithmetic on registers; only steps in bf16 come here, which need the same instructions.
    unsafe {
        asm!("vcvtne2ps2bf16 {}, {}, {}", out(zmm_reg) out, in(zmm_reg) high, in(zmm_reg) low, options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// One step of products added to the sums: of f32, or of two bf16 in 32 bits, see [`narrow`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn dot<const BF: bool>(sums: __m512, a: __m512i, b: __m512i) -> __m512 {
    if !BF {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sums);
    }
    let mut out = sums;
    // SAFETY: as for `narrow`.
    unsafe {
        asm!("vdpbf16ps {}, {}, {}", inout(zmm_reg) out, in(zmm_reg) a, in(zmm_reg) b, options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// A stored form that is read a line at a time. One type a form: what kind it is is settled outside the loops.
pub(super) trait Source: Copy {
    /// The elements `(row, col) .. (row, col + n)` as bf16 or f32, n at most a line, the rest zero.
    ///
    /// # Safety
    /// AVX-512 F, BW, DQ, VL; the elements lie in the storage.
    unsafe fn line<const BF: bool>(self, row: usize, col: usize, n: usize) -> __m512i;

    /// Asks for the memory `bytes` past the element `(row, col)`, which may lie past the end.
    fn ahead(self, row: usize, col: usize, bytes: usize);
}

/// Asks for a cache line; the address may be anything.
#[inline(always)]
fn fetch<T>(at: *const T) {
    // SAFETY: a prefetch reads nothing and does not fault.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// Which of 16 and of 32 lanes hold the first `n` elements.
#[inline(always)]
fn masks(n: usize) -> (u16, u16, u32) {
    let mask = ((1u64 << n) - 1) as u32;
    (mask as u16, (mask >> 16) as u16, mask)
}

#[derive(Clone, Copy)]
pub(super) struct F32s {
    pub(super) at: *const f32,
    pub(super) stride: usize,
}

impl Source for F32s {
    #[inline(always)]
    fn ahead(self, row: usize, col: usize, bytes: usize) {
        fetch(self.at.wrapping_add(row * self.stride + col).wrapping_byte_add(bytes));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn line<const BF: bool>(self, row: usize, col: usize, n: usize) -> __m512i {
        let (low, high, _) = masks(n);
        // SAFETY: masked loads touch only the n elements, which the caller promises.
        unsafe {
            let p = self.at.add(row * self.stride + col);
            let first = _mm512_maskz_loadu_ps(low, p);
            if BF { narrow(first, _mm512_maskz_loadu_ps(high, p.wrapping_add(16))) } else { _mm512_castps_si512(first) }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Bf16s {
    pub(super) at: *const bf16,
    pub(super) stride: usize,
}

impl Source for Bf16s {
    #[inline(always)]
    fn ahead(self, row: usize, col: usize, bytes: usize) {
        fetch(self.at.wrapping_add(row * self.stride + col).wrapping_byte_add(bytes));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn line<const BF: bool>(self, row: usize, col: usize, n: usize) -> __m512i {
        let (low, _, mask) = masks(n);
        // SAFETY: as for f32.
        unsafe {
            let p = self.at.add(row * self.stride + col).cast();
            if BF {
                return _mm512_maskz_loadu_epi16(mask, p);
            }
            _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(low, p)))
        }
    }
}

#[derive(Clone, Copy)]
struct Nf4s<'a> {
    codes: &'a [u8],
    scales: Scales<'a>,
    width: usize,
}

impl Source for Nf4s<'_> {
    #[inline(always)]
    fn ahead(self, row: usize, col: usize, bytes: usize) {
        fetch(self.codes.as_ptr().wrapping_add((row * self.width + col) / 2 + bytes));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn line<const BF: bool>(self, row: usize, col: usize, n: usize) -> __m512i {
        let at = row * self.width + col;
        if !at.is_multiple_of(per_line(BF)) || n != per_line(BF) {
            return nf4_part::<BF>(self, row, col, n);
        }
        // SAFETY: a whole line, which the caller promises, and within one block since it starts at a multiple of its length.
        unsafe {
            let values = _mm512_mul_ps(_mm512_loadu_ps(CODEBOOK.as_ptr()), _mm512_set1_ps(self.scales.get(at / BLOCK)));
            let p = self.codes.as_ptr().add(at / 2);
            // A permutation reads the low four bits of its index only.
            if BF {
                let table = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(narrow(values, _mm512_setzero_ps())));
                let second = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
                let first = _mm512_srli_epi32::<4>(second);
                let odd = _mm512_slli_epi32::<16>(_mm512_permutexvar_epi32(second, table));
                _mm512_or_si512(_mm512_permutexvar_epi32(first, table), odd)
            } else {
                let bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(p.cast()));
                let index = _mm512_or_si512(_mm512_srli_epi64::<4>(bytes), _mm512_slli_epi64::<32>(bytes));
                _mm512_castps_si512(_mm512_permutexvar_ps(index, values))
            }
        }
    }
}

/// A line of NF4 that is not whole or begins in the middle of a block's line: one element at a time.
#[cold]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn nf4_part<const BF: bool>(x: Nf4s, row: usize, col: usize, n: usize) -> __m512i {
    let rows = Rows::Nf4 { codes: x.codes, scales: x.scales };
    let mut values = [0f32; 32];
    for (j, v) in values.iter_mut().enumerate().take(n) {
        *v = rows.get(x.width, row, col + j);
    }
    // SAFETY: both halves of the array.
    let (first, second) = unsafe { (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(16))) };
    if BF { narrow(first, second) } else { _mm512_castps_si512(first) }
}

#[derive(Clone, Copy)]
pub(super) struct Q8s<'a> {
    pub(super) codes: &'a [u8],
    pub(super) scales: &'a [f32],
    pub(super) width: usize,
}

impl Source for Q8s<'_> {
    #[inline(always)]
    fn ahead(self, row: usize, col: usize, bytes: usize) {
        fetch(self.codes.as_ptr().wrapping_add(row * self.width + col + bytes));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn line<const BF: bool>(self, row: usize, col: usize, n: usize) -> __m512i {
        let (low, high, _) = masks(n);
        // Lines start at multiples of their length within a row, so one never spans two blocks.
        let scale = _mm512_set1_ps(self.scales[row * self.width.div_ceil(BLOCK) + col / BLOCK]);
        // SAFETY: masked loads touch only the n elements, which the caller promises.
        unsafe {
            let p = self.codes.as_ptr().add(row * self.width + col).cast::<i8>();
            let first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(low, p)));
            let first = _mm512_mul_ps(first, scale);
            if !BF {
                return _mm512_castps_si512(first);
            }
            let second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(high, p.wrapping_add(16))));
            narrow(first, _mm512_mul_ps(second, scale))
        }
    }
}

/// Runs the call with `$x` bound to the operand's storage by its type.
macro_rules! by_source {
    ($operand:expr, $x:ident => $call:expr) => {
        match $operand.rows {
            Rows::F32(w) => {
                let $x = F32s { at: w.as_ptr(), stride: $operand.stride };
                $call
            }
            Rows::Bf16(w) => {
                let $x = Bf16s { at: w.as_ptr(), stride: $operand.stride };
                $call
            }
            Rows::Nf4 { codes, scales } => {
                let $x = Nf4s { codes, scales, width: $operand.width };
                $call
            }
            Rows::Q8 { codes, scales } => {
                let $x = Q8s { codes, scales, width: $operand.width };
                $call
            }
        }
    };
}

/// How far ahead of use the right side is fetched, which comes from memory where it is a weight: rows, where it is reduced down
/// them, and else lines.
const ROWS_AHEAD: usize = 16;
const LINES_AHEAD: usize = 6;

/// Sixteen lanes by sixteen vectors, transposed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(r: [__m512i; 16]) -> [__m512i; 16] {
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut u = t;
    for i in 0..4 {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // u[4g + c] holds, in its 128-bit part q, column 4q + c of rows 4g .. 4g + 4.
    let mut out = r;
    for c in 0..4 {
        let (a, b) = (_mm512_shuffle_i32x4::<0x88>(u[c], u[4 + c]), _mm512_shuffle_i32x4::<0xdd>(u[c], u[4 + c]));
        let (d, e) = (_mm512_shuffle_i32x4::<0x88>(u[8 + c], u[12 + c]), _mm512_shuffle_i32x4::<0xdd>(u[8 + c], u[12 + c]));
        out[c] = _mm512_shuffle_i32x4::<0x88>(a, d);
        out[8 + c] = _mm512_shuffle_i32x4::<0xdd>(a, d);
        out[4 + c] = _mm512_shuffle_i32x4::<0x88>(b, e);
        out[12 + c] = _mm512_shuffle_i32x4::<0xdd>(b, e);
    }
    out
}

/// Step `step` down the rows for the columns `col .. col + n`, n at most 32: vectors of sixteen columns each. In bf16 a step
/// is a pair of rows. Rows from `last` on are zero.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the columns lie in the rows, and the rows below `last` in the storage.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn step_down<const BF: bool, S: Source>(x: S, step: usize, col: usize, n: usize, last: usize) -> [__m512i; 2] {
    let zero = _mm512_setzero_si512();
    // SAFETY: rows below `last`, n columns inside the row.
    unsafe {
        if BF {
            let row = 2 * step;
            let even = if row < last { x.line::<true>(row, col, n) } else { zero };
            let odd = if row + 1 < last { x.line::<true>(row + 1, col, n) } else { zero };
            // Lane pairs (even, odd), first for columns 0..16, then for 16..32.
            let low = _mm512_set_epi64(
                0x002F_000F_002E_000E,
                0x002D_000D_002C_000C,
                0x002B_000B_002A_000A,
                0x0029_0009_0028_0008,
                0x0027_0007_0026_0006,
                0x0025_0005_0024_0004,
                0x0023_0003_0022_0002,
                0x0021_0001_0020_0000,
            );
            let high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
            [_mm512_permutex2var_epi16(even, low, odd), _mm512_permutex2var_epi16(even, high, odd)]
        } else if step < last {
            let second = if n > 16 { x.line::<false>(step, col + 16, n - 16) } else { zero };
            [x.line::<false>(step, col, n.min(16)), second]
        } else {
            [zero, zero]
        }
    }
}

/// Packs rows `row .. row + rows` of the left operand (or its columns, reduced down) for the steps `s0 .. s0 + steps`
/// into chunks of `height` lines; rows past `rows` are zero. `s0` is a multiple of 16.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the operand is valid and the ranges lie in it; `out` has `ceil(steps/16) * height` lines.
pub(super) unsafe fn left<const BF: bool>(x: &Operand, row: usize, rows: usize, height: usize, s0: usize, steps: usize, out: *mut Line) {
    // SAFETY: the caller's promises.
    by_source!(x, source => unsafe {
        if x.down {
            left_down::<BF, _>(source, x.count, row, rows, height, s0, steps, out);
        } else {
            left_along::<BF, _>(source, x.width, row, rows, height, s0, steps, out);
        }
    });
}

/// # Safety
/// As [`left`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn left_down<const BF: bool, S: Source>(
    x: S,
    count: usize,
    row: usize,
    rows: usize,
    height: usize,
    s0: usize,
    steps: usize,
    out: *mut Line,
) {
    for chunk in 0..steps.div_ceil(16) {
        let mut v = [[_mm512_setzero_si512(); 16]; 2];
        for s in 0..16.min(steps - chunk * 16) {
            // SAFETY: the caller's promises.
            let both = unsafe { step_down::<BF, S>(x, s0 + chunk * 16 + s, row, rows, count) };
            (v[0][s], v[1][s]) = (both[0], both[1]);
        }
        for half in 0..height.div_ceil(16) {
            let to = chunk * height + half * 16;
            for (i, v) in transpose(v[half]).iter().enumerate().take(height - half * 16) {
                // SAFETY: a whole line of `out`.
                unsafe { _mm512_store_si512(out.add(to + i).cast(), *v) };
            }
        }
    }
}

/// # Safety
/// As [`left`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn left_along<const BF: bool, S: Source>(
    x: S,
    width: usize,
    row: usize,
    rows: usize,
    height: usize,
    s0: usize,
    steps: usize,
    out: *mut Line,
) {
    let per = per_line(BF);
    let (first, end) = (s0 * per / 16, ((s0 + steps) * per / 16).min(width));
    for i in 0..height {
        for (chunk, col) in (first..end).step_by(per).enumerate() {
            // SAFETY: the line lies inside the ranges, the store is a whole line of `out`.
            unsafe {
                let v = if i < rows { x.line::<BF>(row + i, col, per.min(end - col)) } else { _mm512_setzero_si512() };
                _mm512_store_si512(out.add(chunk * height + i).cast(), v);
            }
        }
    }
}

/// Packs the columns `col .. col + cols` of the product from the right operand for the steps `s0 .. s0 + steps`, in
/// panels of 32 columns `stride` lines apart; a last panel of at most 16 is half as wide. `s0` is a multiple of 16.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the operand is valid and the ranges lie in it; a panel has `steps` rounded up to 16, times two,
/// lines.
pub(super) unsafe fn right<const BF: bool>(w: &Operand, col: usize, cols: usize, s0: usize, steps: usize, out: *mut Line, stride: usize) {
    // SAFETY: the caller's promises.
    by_source!(w, source => unsafe {
        if w.down {
            right_down::<BF, _>(source, w.count, col, cols, s0, steps, out, stride);
        } else {
            right_along::<BF, _>(source, w.width, col, cols, s0, steps, out, stride);
        }
    });
}

/// # Safety
/// As [`right`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn right_down<const BF: bool, S: Source>(
    w: S,
    count: usize,
    col: usize,
    cols: usize,
    s0: usize,
    steps: usize,
    out: *mut Line,
    stride: usize,
) {
    for s in 0..steps {
        for (p, c) in (0..cols).step_by(32).enumerate() {
            let n = 32.min(cols - c);
            let nv = n.div_ceil(16);
            if BF {
                w.ahead(2 * (s0 + s) + ROWS_AHEAD, col + c, 0);
                w.ahead(2 * (s0 + s) + 1 + ROWS_AHEAD, col + c, 0);
            } else {
                w.ahead(s0 + s + ROWS_AHEAD, col + c, 0);
                w.ahead(s0 + s + ROWS_AHEAD, col + c, 64);
            }
            // SAFETY: the step lies inside the ranges, the stores are whole lines of the panel.
            unsafe {
                let v = step_down::<BF, S>(w, s0 + s, col + c, n, count);
                let to = out.add(p * stride + s * nv);
                _mm512_store_si512(to.cast(), v[0]);
                if nv == 2 {
                    _mm512_store_si512(to.add(1).cast(), v[1]);
                }
            }
        }
    }
    // Tiles take whole chunks.
    for (p, c) in (0..cols).step_by(32).enumerate() {
        let nv = (cols - c).min(32).div_ceil(16);
        for line in steps * nv..steps.next_multiple_of(16) * nv {
            // SAFETY: a panel holds the steps rounded up.
            unsafe { _mm512_store_si512(out.add(p * stride + line).cast(), _mm512_setzero_si512()) };
        }
    }
}

/// # Safety
/// As [`right`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn right_along<const BF: bool, S: Source>(
    w: S,
    width: usize,
    col: usize,
    cols: usize,
    s0: usize,
    steps: usize,
    out: *mut Line,
    stride: usize,
) {
    let per = per_line(BF);
    let (first, end) = (s0 * per / 16, ((s0 + steps) * per / 16).min(width));
    for (p, c) in (0..cols).step_by(32).enumerate() {
        let panel = 32.min(cols - c);
        let nv = panel.div_ceil(16);
        for j in 0..nv {
            let rows = 16.min(panel - j * 16);
            for (chunk, k) in (first..end).step_by(per).enumerate() {
                let n = per.min(end - k);
                let mut v = [_mm512_setzero_si512(); 16];
                // The lines to come of these rows, and towards their end those of the next sixteen.
                let next = k + LINES_AHEAD * per;
                let (below, next) = if next < end { (0, next) } else { (16, first + next - end) };
                for (i, v) in v.iter_mut().enumerate().take(rows) {
                    let row = col + c + j * 16 + i;
                    w.ahead(row + below, next, 0);
                    // SAFETY: the line lies inside the ranges.
                    *v = unsafe { w.line::<BF>(row, k, n) };
                }
                for (s, v) in transpose(v).iter().enumerate() {
                    // SAFETY: a whole line of the panel.
                    unsafe { _mm512_store_si512(out.add(p * stride + (chunk * 16 + s) * nv + j).cast(), *v) };
                }
            }
        }
    }
}
