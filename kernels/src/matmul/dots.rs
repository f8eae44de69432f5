//! Dot products of a few rows with stored rows of a weight, AVX-512.
//!
//! The rows are read one after the other, as one stream, fetched ahead of use; a row's lines go to four sums in turn, which
//! do not wait for one another. NF4 is looked up in its codebook, in bf16 where the processor multiplies that, and summed in f32
//! a block at a time; the block's sum is multiplied by its scale once.

use std::arch::x86_64::*;

use half::bf16;

use super::micro::Line;
use super::pack::{Bf16s, F32s, Q8s, Source, dot, narrow, per_line};
use super::rows::{Rows, Scales};
use crate::isa::{isa, least_time};
use crate::quant::{BLOCK, CODEBOOK, NESTED_BLOCK};
use crate::real::Real;

/// Sums of a row.
const SUMS: usize = 4;
/// Bytes that are fetched ahead.
const AHEAD: usize = 4096;
/// NF4 blocks of a row whose scales are decoded at once.
const GROUP: usize = 32;

/// x as the dot products read it: lines of f32, or of bf16 where x is, the weight is bf16 or NF4 and the processor multiplies
/// bf16; for NF4 in turn a line of even and a line of odd elements.
pub(super) struct Prepared {
    lines: Vec<Line>,
    tokens: usize,
    stride: usize,
    width: usize,
    bf: bool,
}

impl Prepared {
    /// From x `[tokens, width]`.
    pub(super) fn new<T: Real>(x: &[T], tokens: usize, w: &Rows, width: usize) -> Self {
        let faster = match w {
            Rows::Bf16(_) => isa().dots_bf16,
            Rows::Nf4 { .. } => isa().dots_nf4,
            _ => false,
        };
        let bf = faster && matches!(T::rows(x), Rows::Bf16(_));
        Self::in_pairs(bf, x, tokens, w, width)
    }

    /// With `bf` for products in bf16, which needs the instructions and x in bf16.
    fn in_pairs<T: Real>(bf: bool, x: &[T], tokens: usize, w: &Rows, width: usize) -> Self {
        let stride = width.div_ceil(per_line(bf));
        let mut lines = vec![Line::default(); tokens * stride];
        for (row, lines) in x.chunks(width).zip(lines.chunks_mut(stride)) {
            match (T::rows(row), w) {
                (Rows::Bf16(row), Rows::Nf4 { .. }) if bf => {
                    let pair = |x: bf16, y: bf16| u32::from(x.to_bits()) | u32::from(y.to_bits()) << 16;
                    for ([even, odd], x) in lines.as_chunks_mut().0.iter_mut().zip(row.as_chunks::<BLOCK>().0) {
                        for (i, &[a, b, c, d]) in x.as_chunks().0.iter().enumerate() {
                            (even.0[i], odd.0[i]) = (pair(a, c), pair(b, d));
                        }
                    }
                }
                (Rows::Bf16(row), _) if bf => {
                    for (line, x) in lines.iter_mut().zip(row.chunks(32)) {
                        for (i, x) in x.iter().enumerate() {
                            line.0[i / 2] |= u32::from(x.to_bits()) << (16 * (i % 2));
                        }
                    }
                }
                (_, Rows::Nf4 { .. }) => {
                    for (i, x) in row.iter().enumerate() {
                        lines[i / 32 * 2 + i % 2].0[i % 32 / 2] = x.up().to_bits();
                    }
                }
                _ => {
                    for (line, x) in lines.iter_mut().zip(row.chunks(16)) {
                        line.0.iter_mut().zip(x).for_each(|(o, x)| *o = x.up().to_bits());
                    }
                }
            }
        }
        Self { lines, tokens, stride, width, bf }
    }

    /// Gives `sink` every (token, row, sum) of the rows `first .. first + count` of the weight, which hold `width` elements
    /// each and lie in its storage.
    pub(super) fn rows(&self, w: Rows, first: usize, count: usize, sink: impl Fn(usize, usize, f32)) {
        let last = first + count;
        let mut row = first;
        if let (Rows::Nf4 { codes, scales }, true) = (w, self.bf) {
            let each =
                |row: usize, sums: [f32; MOST]| sums.iter().enumerate().take(self.tokens).for_each(|(token, sum)| sink(token, row, *sum));
            // SAFETY: as below.
            return unsafe {
                match self.tokens {
                    1 => nf4_bf16::<1>(codes, scales, first, count, self.width, self.starts(), each),
                    2 => nf4_bf16::<2>(codes, scales, first, count, self.width, self.starts(), each),
                    _ => nf4_bf16::<4>(codes, scales, first, count, self.width, self.starts(), each),
                }
            };
        }
        // In f32 it is bound by its looking up: four rows side by side share the loads of x.
        if let Rows::Nf4 { codes, scales } = w {
            while row + SUMS <= last {
                // SAFETY: as below.
                let sums = unsafe {
                    match self.tokens {
                        1 => nf4_along::<1, SUMS>(codes, scales, row, self.width, self.starts()),
                        2 => nf4_along::<2, SUMS>(codes, scales, row, self.width, self.starts()),
                        _ => nf4_along::<4, SUMS>(codes, scales, row, self.width, self.starts()),
                    }
                };
                for (r, sums) in sums.iter().enumerate() {
                    for (token, sum) in sums.iter().enumerate().take(self.tokens) {
                        sink(token, row + r, *sum);
                    }
                }
                row += SUMS;
            }
        }
        for row in row..last {
            // SAFETY: `few::product` checked that the weight holds its rows and that the processor has AVX-512, and `bf` says
            // that it has the bf16 product.
            let sums = unsafe {
                match self.tokens {
                    1 => self.row::<1>(w, row),
                    2 => self.row::<2>(w, row),
                    _ => self.row::<4>(w, row),
                }
            };
            for (token, sum) in sums.iter().enumerate().take(self.tokens) {
                sink(token, row, *sum);
            }
        }
    }

    /// Where each token's lines begin. A token too many is the last one again, its sum unused.
    fn starts<const M: usize>(&self) -> [*const Line; M] {
        let mut x = [self.lines.as_ptr(); M];
        for m in 1..M {
            x[m] = self.lines[m.min(self.tokens - 1) * self.stride..].as_ptr();
        }
        x
    }

    /// Sums of a row with at most M tokens.
    ///
    /// # Safety
    /// AVX-512 F, BW, DQ, VL, and BF16 where `bf`; the row lies in the storage.
    unsafe fn row<const M: usize>(&self, w: Rows, row: usize) -> [f32; MOST] {
        let x = self.starts();
        // SAFETY: the caller's promises.
        unsafe {
            match w {
                Rows::F32(w) => along::<M, _>(F32s { at: w.as_ptr(), stride: self.width }, row, self.width, x),
                Rows::Bf16(w) if self.bf => bf16_along::<M>(Bf16s { at: w.as_ptr(), stride: self.width }, row, self.width, x),
                Rows::Bf16(w) => along::<M, _>(Bf16s { at: w.as_ptr(), stride: self.width }, row, self.width, x),
                Rows::Q8 { codes, scales } => along::<M, _>(Q8s { codes, scales, width: self.width }, row, self.width, x),
                Rows::Nf4 { codes, scales } => nf4_along::<M, 1>(codes, scales, row, self.width, x)[0],
            }
        }
    }
}

/// A weight whose dot products are timed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timed {
    Bf16,
    Nf4,
}

/// Whether one row's products with such a weight take less time in pairs of bf16 than in f32, from
/// the second-level cache. Where they are close the pairs are taken: memory then decides.
pub(super) fn pairs_are_faster(weight: Timed) -> bool {
    const WIDTH: usize = 1024;
    const COUNT: usize = 64;
    let x = vec![bf16::ONE; WIDTH];
    let dense = vec![bf16::ONE; WIDTH * COUNT];
    let (codes, scales) = (vec![0x77_u8; WIDTH * COUNT / 2], vec![1f32; WIDTH * COUNT / BLOCK]);
    let w = match weight {
        Timed::Bf16 => Rows::Bf16(&dense),
        Timed::Nf4 => Rows::Nf4 { codes: &codes, scales: Scales::Plain(&scales) },
    };
    let time = |bf: bool| {
        let x = Prepared::in_pairs(bf, &x, 1, &w, WIDTH);
        least_time(|| {
            x.rows(w, 0, COUNT, |_, _, sum| {
                std::hint::black_box(sum);
            });
        })
    };
    time(true).as_secs_f64() <= 1.1 * time(false).as_secs_f64()
}

const MOST: usize = super::few::MOST;

/// The lanes of each token's sums added up.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn reduce<const M: usize>(sums: [[__m512; M]; SUMS]) -> [f32; MOST] {
    let mut out = [0f32; MOST];
    for m in 0..M {
        let (a, b) = (_mm512_add_ps(sums[0][m], sums[1][m]), _mm512_add_ps(sums[2][m], sums[3][m]));
        out[m] = _mm512_reduce_add_ps(_mm512_add_ps(a, b));
    }
    out
}

/// Runs `$step!(line, elements, sum)` over a row of `$width` elements, `$per` to a line.
macro_rules! lines {
    ($width:expr, $per:literal, $step:ident) => {
        let whole = $width / $per;
        for l in (0..whole / SUMS * SUMS).step_by(SUMS) {
            for s in 0..SUMS {
                $step!(l + s, $per, s);
            }
        }
        for l in whole / SUMS * SUMS..whole {
            $step!(l, $per, l % SUMS);
        }
        if !$width.is_multiple_of($per) {
            $step!(whole, $width % $per, whole % SUMS);
        }
    };
}

/// # Safety
/// AVX-512 F, BW, DQ, VL; the row lies in the storage, and x holds `width` elements in whole lines.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn along<const M: usize, S: Source>(w: S, row: usize, width: usize, x: [*const Line; M]) -> [f32; MOST] {
    let mut sums = [[_mm512_setzero_ps(); M]; SUMS];
    macro_rules! step {
        ($l:expr, $n:expr, $s:expr) => {
            // SAFETY: n elements of the row from here on.
            let wv = _mm512_castsi512_ps(unsafe { w.line::<false>(row, $l * 16, $n) });
            w.ahead(row, $l * 16, AHEAD);
            for m in 0..M {
                // SAFETY: this line of x.
                let xv = unsafe { _mm512_load_ps(x[m].add($l).cast()) };
                sums[$s][m] = _mm512_fmadd_ps(wv, xv, sums[$s][m]);
            }
        };
    }
    lines!(width, 16, step);
    reduce(sums)
}

/// # Safety
/// As [`along`], and AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn bf16_along<const M: usize>(w: Bf16s, row: usize, width: usize, x: [*const Line; M]) -> [f32; MOST] {
    let mut sums = [[_mm512_setzero_ps(); M]; SUMS];
    macro_rules! step {
        ($l:expr, $n:expr, $s:expr) => {
            // SAFETY: n elements of the row from here on; both types are 64 plain bytes.
            let wv: __m512bh = unsafe { std::mem::transmute(w.line::<true>(row, $l * 32, $n)) };
            w.ahead(row, $l * 32, AHEAD);
            for m in 0..M {
                // SAFETY: this line of x.
                let xv: __m512bh = unsafe { std::mem::transmute(_mm512_load_si512(x[m].add($l).cast())) };
                sums[$s][m] = _mm512_dpbf16_ps(sums[$s][m], wv, xv);
            }
        };
    }
    lines!(width, 32, step);
    reduce(sums)
}

/// # Safety
/// As [`along`], for R rows from `row` on; the width is whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn nf4_along<const M: usize, const R: usize>(
    codes: &[u8],
    scales: Scales,
    row: usize,
    width: usize,
    x: [*const Line; M],
) -> [[f32; MOST]; R] {
    // SAFETY: sixteen entries.
    let table = unsafe { _mm512_loadu_ps(CODEBOOK.as_ptr()) };
    let mut sums = [[_mm512_setzero_ps(); M]; R];
    let blocks = width / BLOCK;
    let mut factors = [[0f32; GROUP]; R];
    for first in (0..blocks).step_by(GROUP) {
        let some = GROUP.min(blocks - first);
        for r in 0..R {
            // SAFETY: the blocks lie in the row, and `factors` has room for a group.
            unsafe { decode(scales, (row + r) * blocks + first, some, &mut factors[r]) };
        }
        for b in 0..some {
            for r in 0..R {
                // SAFETY: the block lies in the row.
                let from = unsafe { codes.as_ptr().add(((row + r) * blocks + first + b) * (BLOCK / 2)) };
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD / 2).cast());
                let mut part = [_mm512_setzero_ps(); M];
                for half in 0..2 {
                    // SAFETY: sixteen of the block's 32 bytes.
                    let odd = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(from.add(half * 16).cast()) });
                    // A permutation reads the low four bits of its index only.
                    let even = _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(odd), table);
                    let odd = _mm512_permutexvar_ps(odd, table);
                    for m in 0..M {
                        // SAFETY: the two lines of x for these 32 elements.
                        let (xe, xo) = unsafe {
                            let p = x[m].add((first + b) * 4 + half * 2);
                            (_mm512_load_ps(p.cast()), _mm512_load_ps(p.add(1).cast()))
                        };
                        part[m] = if half == 0 { _mm512_mul_ps(even, xe) } else { _mm512_fmadd_ps(even, xe, part[m]) };
                        part[m] = _mm512_fmadd_ps(odd, xo, part[m]);
                    }
                }
                // SAFETY: b is below the group's length.
                let scale = _mm512_set1_ps(unsafe { *factors[r].get_unchecked(b) });
                for m in 0..M {
                    sums[r][m] = _mm512_fmadd_ps(part[m], scale, sums[r][m]);
                }
            }
        }
    }
    let mut out = [[0f32; MOST]; R];
    for r in 0..R {
        for m in 0..M {
            out[r][m] = _mm512_reduce_add_ps(sums[r][m]);
        }
    }
    out
}

/// The same in bf16 for the rows `first .. first + count`, which are given to `each` with their sums: the blocks are read one after
/// the other, as one stream, and go to four sums in turn.
///
/// # Safety
/// As [`along`], and AVX-512 BF16; the width is whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn nf4_bf16<const M: usize>(
    codes: &[u8],
    scales: Scales,
    first: usize,
    count: usize,
    width: usize,
    x: [*const Line; M],
    each: impl Fn(usize, [f32; MOST]),
) {
    // Twice the sixteen entries: looked up by five bits of which the highest is another code's.
    // SAFETY: sixteen entries.
    let table = unsafe { _mm512_loadu_ps(CODEBOOK.as_ptr()) };
    let table = narrow(table, table);
    let blocks = width / BLOCK;
    let mut factors = [0f32; NESTED_BLOCK];
    // The blocks whose scales are decoded.
    let (mut begin, mut end) = (0, 0);
    for row in first..first + count {
        let mut sums = [[_mm512_setzero_ps(); M]; SUMS];
        let mut done = 0;
        while done < blocks {
            let at = row * blocks + done;
            if at >= end {
                (begin, end) = (at, ((at / NESTED_BLOCK + 1) * NESTED_BLOCK).min((first + count) * blocks));
                // SAFETY: blocks of these rows that share their nested scale.
                unsafe { decode_nested(scales, begin, &mut factors[..end - begin]) };
            }
            let some = (end - at).min(blocks - done);
            macro_rules! block {
                ($i:expr, $s:expr) => {
                    // SAFETY: the block and its scale, and the two lines of x for it.
                    unsafe {
                        let from = codes.as_ptr().add((at + $i) * (BLOCK / 2));
                        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD).cast());
                        let low = _mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast()));
                        let even = _mm512_permutexvar_epi16(_mm512_srli_epi16::<4>(low), table);
                        let odd = _mm512_permutexvar_epi16(low, table);
                        let scale = _mm512_set1_ps(*factors.get_unchecked(at + $i - begin));
                        for m in 0..M {
                            let p = x[m].add((done + $i) * 2);
                            let part = dot::<true>(_mm512_setzero_ps(), even, _mm512_load_si512(p.cast()));
                            let part = dot::<true>(part, odd, _mm512_load_si512(p.add(1).cast()));
                            sums[$s][m] = _mm512_fmadd_ps(part, scale, sums[$s][m]);
                        }
                    }
                };
            }
            for i in (0..some / SUMS * SUMS).step_by(SUMS) {
                for s in 0..SUMS {
                    block!(i + s, s);
                }
            }
            for i in some / SUMS * SUMS..some {
                block!(i, i % SUMS);
            }
            done += some;
        }
        each(row, reduce(sums));
    }
}

/// The scales of blocks from `first` on which share their nested scale.
///
/// # Safety
/// AVX-512 F; the blocks have scales, and the map 256 entries.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn decode_nested(scales: Scales, first: usize, out: &mut [f32]) {
    match scales {
        Scales::Plain(s) => out.copy_from_slice(&s[first..][..out.len()]),
        Scales::Double { codes, nested, map, offset } => {
            let (nested, offset) = (_mm512_set1_ps(nested[first / NESTED_BLOCK]), _mm512_set1_ps(offset));
            for (codes, out) in codes[first..].chunks(16).zip(out.chunks_mut(16)) {
                let mask = ((1_u32 << codes.len().min(out.len())) - 1) as u16;
                // SAFETY: masked loads and stores touch what both have; a code is below 256.
                unsafe {
                    let index = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, codes.as_ptr().cast()));
                    let v = _mm512_i32gather_ps::<4>(index, map.as_ptr());
                    _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, _mm512_add_ps(_mm512_mul_ps(v, nested), offset));
                }
            }
        }
    }
}

/// The scales of `n` blocks from `first` on.
///
/// # Safety
/// The blocks have scales, the map 256 entries, and n is at most [`GROUP`].
#[inline(always)]
unsafe fn decode(scales: Scales, first: usize, n: usize, out: &mut [f32; GROUP]) {
    for (i, o) in out.iter_mut().enumerate().take(n) {
        // SAFETY: the caller's promises.
        *o = unsafe {
            match scales {
                Scales::Plain(s) => *s.get_unchecked(first + i),
                Scales::Double { codes, nested, map, offset } => {
                    let code = usize::from(*codes.get_unchecked(first + i));
                    *map.get_unchecked(code) * *nested.get_unchecked((first + i) / NESTED_BLOCK) + offset
                }
            }
        };
    }
}
