//! Packing for the micro-kernels: any stored form is unpacked a line at a time, straight into a panel.

use std::arch::x86_64::*;

use super::micro::Line;
use super::rows::Rows;
use crate::quant::{BLOCK, CODEBOOK};
use crate::real::Real;

/// A matrix operand `[count, width]` of a product.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub rows: Rows<'a>,
    pub count: usize,
    pub width: usize,
    /// The reduction runs down the rows, not along them.
    pub down: bool,
}

impl<'a> Operand<'a> {
    /// Reduced along its rows.
    pub(crate) fn along(rows: Rows<'a>, count: usize, width: usize) -> Self {
        Self { rows, count, width, down: false }
    }
    /// Reduced down its columns.
    pub(crate) fn down(rows: Rows<'a>, count: usize, width: usize) -> Self {
        Self { rows, count, width, down: true }
    }
    /// Length of the reduction.
    pub(super) fn depth(&self) -> usize {
        if self.down { self.count } else { self.width }
    }
    /// Rows of the result, or its columns.
    pub(super) fn breadth(&self) -> usize {
        if self.down { self.width } else { self.count }
    }
}

/// Elements of a line.
pub(super) const fn per_line(bf: bool) -> usize {
    if bf { 32 } else { 16 }
}

/// f32 to bf16 in the low half of each lane; nearest even, NaN stays NaN.
#[inline(always)]
unsafe fn round(x: __m512) -> __m512i {
    // SAFETY: register arithmetic only.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let up = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_mask_mov_epi32(up, nan, _mm512_set1_epi32(0x7fc0))
    }
}

/// Two vectors of f32 as 32 bf16 in order.
#[inline(always)]
unsafe fn narrow(low: __m512, high: __m512) -> __m512i {
    // SAFETY: register arithmetic only.
    unsafe {
        let (a, b) = (_mm512_cvtepi32_epi16(round(low)), _mm512_cvtepi32_epi16(round(high)));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
    }
}

/// The elements `(row, col) .. (row, col + n)` as bf16 or f32, n at most a line, the rest zero.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the elements lie in the storage.
#[inline(always)]
unsafe fn line<const BF: bool>(rows: &Rows, width: usize, row: usize, col: usize, n: usize) -> __m512i {
    let at = row * width + col;
    let mask = ((1u64 << n) - 1) as u32;
    let (low, high) = (mask as u16, (mask >> 16) as u16);
    // SAFETY: masked loads touch only the n elements, which the caller promises; the rest is register arithmetic.
    unsafe {
        match rows {
            Rows::F32(w) if BF => {
                let p = w.as_ptr().add(at);
                narrow(_mm512_maskz_loadu_ps(low, p), _mm512_maskz_loadu_ps(high, p.wrapping_add(16)))
            }
            Rows::F32(w) => _mm512_castps_si512(_mm512_maskz_loadu_ps(low, w.as_ptr().add(at))),
            Rows::Bf16(w) if BF => _mm512_maskz_loadu_epi16(mask, w.as_ptr().add(at).cast()),
            Rows::Bf16(w) => {
                let half = _mm256_maskz_loadu_epi16(low, w.as_ptr().add(at).cast());
                _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half))
            }
            Rows::Nf4 { codes, scales } if at.is_multiple_of(per_line(BF)) && n == per_line(BF) => {
                let values = _mm512_mul_ps(_mm512_loadu_ps(CODEBOOK.as_ptr()), _mm512_set1_ps(scales.get(at / BLOCK)));
                let p = codes.as_ptr().add(at / 2);
                // A permutation reads the low four bits of its index only.
                if BF {
                    let table = round(values);
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
            // Lines start at multiples of their length within a row, so one never spans two blocks.
            Rows::Q8 { codes, scales } => {
                let scale = _mm512_set1_ps(scales[row * width.div_ceil(BLOCK) + col / BLOCK]);
                let p = codes.as_ptr().add(at).cast::<i8>();
                let wide = |bytes| _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), scale);
                let first = wide(_mm_maskz_loadu_epi8(low, p));
                if BF { narrow(first, wide(_mm_maskz_loadu_epi8(high, p.wrapping_add(16)))) } else { _mm512_castps_si512(first) }
            }
            Rows::Nf4 { .. } => {
                let mut values = [0f32; 32];
                for (j, v) in values.iter_mut().enumerate().take(n) {
                    *v = rows.get(width, row, col + j);
                }
                let first = _mm512_loadu_ps(values.as_ptr());
                if BF { narrow(first, _mm512_loadu_ps(values.as_ptr().add(16))) } else { _mm512_castps_si512(first) }
            }
        }
    }
}

/// Sixteen lanes by sixteen vectors, transposed.
#[inline(always)]
unsafe fn transpose(r: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: register arithmetic only.
    unsafe {
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
}

/// Sixteen steps down the rows from `row` for the columns `col ..`: vectors of one step and sixteen columns each.
/// In bf16 a step is a pair of rows, and a line of 32 columns makes two vectors.
#[inline(always)]
unsafe fn step_down<const BF: bool>(x: &Operand, step: usize, col: usize, n: usize, last: usize) -> [__m512i; 2] {
    // SAFETY: `line`'s promise is kept: rows below `last`, n columns inside the row.
    unsafe {
        if BF {
            let row = 2 * step;
            let even = if row < last { line::<true>(&x.rows, x.width, row, col, n) } else { _mm512_setzero_si512() };
            let odd = if row + 1 < last { line::<true>(&x.rows, x.width, row + 1, col, n) } else { _mm512_setzero_si512() };
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
        } else {
            let part = |from: usize| {
                if step < last && n > from {
                    line::<false>(&x.rows, x.width, step, col + from, (n - from).min(16))
                } else {
                    _mm512_setzero_si512()
                }
            };
            [part(0), part(16)]
        }
    }
}

/// Packs rows `row .. row + rows` of the left operand (or its columns, reduced down) for the steps `s0 .. s0 + steps`
/// into chunks of `height` lines; rows past `rows` are zero. `s0` is a multiple of 16.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the ranges lie in the operand; `out` has `ceil(steps/16) * height` lines.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn left<const BF: bool>(x: &Operand, row: usize, rows: usize, height: usize, s0: usize, steps: usize, out: *mut Line) {
    let per = per_line(BF);
    // SAFETY: the caller's promises; `line` reads inside the ranges, stores go to whole lines of `out`.
    unsafe {
        if x.down {
            for chunk in 0..steps.div_ceil(16) {
                let mut v = [_mm512_setzero_si512(); 16];
                for (s, v) in v.iter_mut().enumerate().take(steps - chunk * 16) {
                    *v = step_down::<BF>(x, s0 + chunk * 16 + s, row, rows, x.count)[0];
                }
                let v = transpose(v);
                for i in 0..height {
                    _mm512_store_si512(out.add(chunk * height + i).cast(), v[i]);
                }
            }
            return;
        }
        let (first, end) = (s0 * per / 16, ((s0 + steps) * per / 16).min(x.width));
        for (chunk, col) in (first..end).step_by(per).enumerate() {
            let n = per.min(end - col);
            for i in 0..height {
                let v = if i < rows { line::<BF>(&x.rows, x.width, row + i, col, n) } else { _mm512_setzero_si512() };
                _mm512_store_si512(out.add(chunk * height + i).cast(), v);
            }
        }
    }
}

/// Packs the columns `col .. col + cols` of the product from the right operand for the steps `s0 .. s0 + steps`, in
/// panels of 32 columns `stride` lines apart; a last panel of at most 16 is half as wide. `s0` is a multiple of 16.
///
/// # Safety
/// AVX-512 F, BW, DQ, VL; the ranges lie in the operand; a panel has `steps` rounded up to 16, times two, lines.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn right<const BF: bool>(w: &Operand, col: usize, cols: usize, s0: usize, steps: usize, out: *mut Line, stride: usize) {
    // SAFETY: the caller's promises; `line` reads inside the ranges, stores go to whole lines of the panels.
    unsafe {
        if w.down {
            for s in 0..steps {
                for (p, c) in (0..cols).step_by(32).enumerate() {
                    let n = 32.min(cols - c);
                    let nv = n.div_ceil(16);
                    let v = step_down::<BF>(w, s0 + s, col + c, n, w.count);
                    for (j, v) in v.iter().enumerate().take(nv) {
                        _mm512_store_si512(out.add(p * stride + s * nv + j).cast(), *v);
                    }
                }
            }
            return;
        }
        let per = per_line(BF);
        let (first, end) = (s0 * per / 16, ((s0 + steps) * per / 16).min(w.width));
        for (p, c) in (0..cols).step_by(32).enumerate() {
            let panel = 32.min(cols - c);
            let nv = panel.div_ceil(16);
            for j in 0..nv {
                let rows = 16.min(panel - j * 16);
                for (chunk, k) in (first..end).step_by(per).enumerate() {
                    let n = per.min(end - k);
                    let mut v = [_mm512_setzero_si512(); 16];
                    for (i, v) in v.iter_mut().enumerate().take(rows) {
                        *v = line::<BF>(&w.rows, w.width, col + c + j * 16 + i, k, n);
                    }
                    for (s, v) in transpose(v).iter().enumerate() {
                        _mm512_store_si512(out.add(p * stride + (chunk * 16 + s) * nv + j).cast(), *v);
                    }
                }
            }
        }
    }
}

/// Writes one row of sums: `out = alpha * sum`, added to what is there if `add`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn finish<T: Real>(out: &mut [T], sums: &[f32], alpha: f32, add: bool) {
    if add {
        for (o, v) in out.iter_mut().zip(sums) {
            *o = T::down(v.mul_add(alpha, o.up()));
        }
    } else {
        for (o, v) in out.iter_mut().zip(sums) {
            *o = T::down(v * alpha);
        }
    }
}
