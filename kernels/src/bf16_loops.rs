//! Loops with an exponential over bf16 activations, for AVX-512 with the bf16 instructions.
//!
//! With products on AMX these loops are a large part of a step. What they are given or make is
//! rounded to bf16, so the exponential need not be right to the last bit of f32: it is within
//! 2e-7 for small arguments and 6e-6 for the largest. Divisions are reciprocals with one Newton
//! step. Loops in f32 are those of the operations themselves.

use std::arch::asm;
use std::arch::x86_64::*;

use half::bf16;

use crate::isa::isa;

/// Whether these loops can run.
pub(crate) fn available() -> bool {
    isa().bf16
}

/// Lanes of a vector of f32.
const LANES: usize = 16;
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// 2^y for y up to 127, zero far below; NaN stays NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn exp2(y: __m512) -> __m512 {
    // The second operand is what comes out where one is NaN.
    let y = _mm512_max_ps(_mm512_set1_ps(-150.0), y);
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(y);
    let x = _mm512_sub_ps(y, whole);
    // ln(2)^k / k!
    let mut p = _mm512_set1_ps(1.540_353e-4);
    for c in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(c));
    }
    _mm512_scalef_ps(p, whole)
}

/// 1 / x for x from 1 to 2^126.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn reciprocal(x: __m512) -> __m512 {
    let near = _mm512_rcp14_ps(x);
    _mm512_mul_ps(near, _mm512_fnmadd_ps(x, near, _mm512_set1_ps(2.0)))
}

/// 1 / (1 + e^-x); zero where that is less than 2^-125.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn sigmoid(x: __m512) -> __m512 {
    let y = _mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E));
    let held = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(y, _mm512_set1_ps(125.0));
    _mm512_maskz_mov_ps(held, reciprocal(_mm512_add_ps(exp2(y), _mm512_set1_ps(1.0))))
}

/// The lanes below `n`.
#[inline(always)]
fn lanes(n: usize) -> u16 {
    ((1_u32 << n.min(LANES)) - 1) as u16
}

/// Some bf16 as f32, `other` in the remaining lanes.
///
/// # Safety
/// The elements of the mask may be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load(from: *const bf16, mask: u16) -> __m512 {
    // SAFETY: the caller's promise.
    let v = unsafe { _mm256_maskz_loadu_epi16(mask, from.cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(v)))
}

/// Rounds to bf16, to the nearest, and writes the lanes of the mask.
///
/// # Safety
/// The processor has the bf16 instructions, and the elements may be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store(to: *mut bf16, mask: u16, v: __m512) {
    let rounded: __m256i;
    // SAFETY: arithmetic on registers with an instruction that the processor has; the store is the
    // caller's promise.
    unsafe {
        asm!("vcvtneps2bf16 {}, {}", out(ymm_reg) rounded, in(zmm_reg) v, options(pure, nomem, nostack, preserves_flags));
        _mm256_mask_storeu_epi16(to.cast(), mask, rounded);
    }
}

/// Runs `$body` for each sixteen of `$n` elements, with where they begin and which there are.
macro_rules! sixteens {
    ($n:expr, |$at:ident, $mask:ident| $body:block) => {
        let n = $n;
        for $at in (0..n / LANES * LANES).step_by(LANES) {
            let $mask = u16::MAX;
            $body
        }
        if !n.is_multiple_of(LANES) {
            let $at = n / LANES * LANES;
            let $mask = lanes(n - $at);
            $body
        }
    };
}

/// `out = e^(scores - max)`, 0 where a score is -inf; returns the sum before it is rounded.
pub(crate) fn softmax(scores: &[f32], max: f32, out: &mut [bf16]) -> f32 {
    assert!(available() && scores.len() == out.len(), "softmax");
    // SAFETY: checked above.
    unsafe { softmax_inner(scores, max, out) }
}

/// # Safety
/// As [`store`]; both slices are of one length.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn softmax_inner(scores: &[f32], max: f32, out: &mut [bf16]) -> f32 {
    let (by, max) = (_mm512_set1_ps(LOG2_E), _mm512_set1_ps(max * LOG2_E));
    let mut sum = _mm512_setzero_ps();
    sixteens!(scores.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements of both.
        unsafe {
            let x = _mm512_maskz_loadu_ps(mask, scores.as_ptr().add(at));
            let e = exp2(_mm512_fmsub_ps(x, by, max));
            sum = _mm512_mask_add_ps(sum, mask, sum, e);
            store(out.as_mut_ptr().add(at), mask, e);
        }
    });
    _mm512_reduce_add_ps(sum)
}

/// From scores and the gradients of probabilities: the probabilities `p = e^(scores - lse)` and the
/// gradients of the scores `ds = p (dp - delta) scale`.
pub(crate) fn softmax_backward([scores, dp]: [&[f32]; 2], [lse, delta, scale]: [f32; 3], [p, ds]: [&mut [bf16]; 2]) {
    let n = scores.len();
    assert!(available() && dp.len() == n && p.len() == n && ds.len() == n, "softmax backward");
    // SAFETY: checked above.
    unsafe { softmax_backward_inner([scores, dp], [lse, delta, scale], [p, ds]) };
}

/// # Safety
/// As [`store`]; all slices are of one length.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn softmax_backward_inner([scores, dp]: [&[f32]; 2], [lse, delta, scale]: [f32; 3], [p, ds]: [&mut [bf16]; 2]) {
    let (by, lse) = (_mm512_set1_ps(LOG2_E), _mm512_set1_ps(lse * LOG2_E));
    let (delta, scale) = (_mm512_set1_ps(delta * scale), _mm512_set1_ps(scale));
    sixteens!(scores.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements of all four.
        unsafe {
            let x = _mm512_maskz_loadu_ps(mask, scores.as_ptr().add(at));
            let e = exp2(_mm512_fmsub_ps(x, by, lse));
            let g = _mm512_maskz_loadu_ps(mask, dp.as_ptr().add(at));
            store(p.as_mut_ptr().add(at), mask, e);
            store(ds.as_mut_ptr().add(at), mask, _mm512_mul_ps(e, _mm512_fmsub_ps(g, scale, delta)));
        }
    });
}

/// `out = silu(gate) * up`.
pub(crate) fn swiglu(out: &mut [bf16], gate: &[bf16], up: &[bf16]) {
    assert!(available() && gate.len() == out.len() && up.len() == out.len(), "swiglu");
    // SAFETY: checked above.
    unsafe { swiglu_inner(out, gate, up) };
}

/// # Safety
/// As [`store`]; all slices are of one length.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn swiglu_inner(out: &mut [bf16], gate: &[bf16], up: &[bf16]) {
    sixteens!(out.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements of all three.
        unsafe {
            let (g, u) = (load(gate.as_ptr().add(at), mask), load(up.as_ptr().add(at), mask));
            let y = _mm512_mul_ps(_mm512_mul_ps(g, sigmoid(g)), u);
            store(out.as_mut_ptr().add(at), mask, y);
        }
    });
}

/// The gradients of gate and up take their places.
pub(crate) fn swiglu_backward(gate: &mut [bf16], up: &mut [bf16], dact: &[bf16]) {
    assert!(available() && gate.len() == dact.len() && up.len() == dact.len(), "swiglu backward");
    // SAFETY: checked above.
    unsafe { swiglu_backward_inner(gate, up, dact) };
}

/// # Safety
/// As [`store`]; all slices are of one length.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn swiglu_backward_inner(gate: &mut [bf16], up: &mut [bf16], dact: &[bf16]) {
    let one = _mm512_set1_ps(1.0);
    sixteens!(dact.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements of all three.
        unsafe {
            let (g_at, u_at) = (gate.as_mut_ptr().add(at), up.as_mut_ptr().add(at));
            let (g, u, d) = (load(g_at, mask), load(u_at, mask), load(dact.as_ptr().add(at), mask));
            let s = sigmoid(g);
            let ds = _mm512_mul_ps(d, s);
            let slope = _mm512_fmadd_ps(g, _mm512_sub_ps(one, s), one);
            store(g_at, mask, _mm512_mul_ps(_mm512_mul_ps(ds, u), slope));
            store(u_at, mask, _mm512_mul_ps(ds, g));
        }
    });
}

/// The greatest element of a row of logits, and the sum of `e^(x - greatest)`.
pub(crate) fn row_stats(row: &[bf16]) -> (f32, f32) {
    assert!(available(), "row stats");
    // SAFETY: checked above.
    unsafe { row_stats_inner(row) }
}

/// # Safety
/// AVX-512 F, BW, DQ, VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn row_stats_inner(row: &[bf16]) -> (f32, f32) {
    let mut most = _mm512_set1_ps(f32::NEG_INFINITY);
    sixteens!(row.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements. NaN is passed over.
        let x = unsafe { load(row.as_ptr().add(at), mask) };
        most = _mm512_mask_max_ps(most, mask, x, most);
    });
    let max = _mm512_reduce_max_ps(most);
    let (by, shift) = (_mm512_set1_ps(LOG2_E), _mm512_set1_ps(max * LOG2_E));
    // Four sums, each of every fourth vector: no chain of additions is long.
    let mut sums = [_mm512_setzero_ps(); 4];
    sixteens!(row.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements.
        let e = unsafe { exp2(_mm512_fmsub_ps(load(row.as_ptr().add(at), mask), by, shift)) };
        let sum = &mut sums[at / LANES % 4];
        *sum = _mm512_mask_add_ps(*sum, mask, *sum, e);
    });
    let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    (max, _mm512_reduce_add_ps(sum))
}

/// `x = e^(x - max) * inverse`.
pub(crate) fn scaled_exp(row: &mut [bf16], max: f32, inverse: f32) {
    assert!(available(), "scaled exp");
    // SAFETY: checked above.
    unsafe { scaled_exp_inner(row, max, inverse) };
}

/// # Safety
/// As [`store`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scaled_exp_inner(row: &mut [bf16], max: f32, inverse: f32) {
    let (by, shift) = (_mm512_set1_ps(LOG2_E), _mm512_set1_ps(max * LOG2_E));
    let inverse = _mm512_set1_ps(inverse);
    sixteens!(row.len(), |at, mask| {
        // SAFETY: the lanes of the mask are elements.
        unsafe {
            let x = row.as_mut_ptr().add(at);
            let e = exp2(_mm512_fmsub_ps(load(x, mask), by, shift));
            store(x, mask, _mm512_mul_ps(e, inverse));
        }
    });
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn drawn(rng: &mut StdRng, n: usize, reach: f32) -> Vec<bf16> {
        (0..n).map(|_| bf16::from_f32(rng.random_range(-reach..reach))).collect()
    }

    /// `1 / (1 + e^-x)` below 2^-125 is zero here; three factors of at most 100 stand beside it.
    const TINY: f64 = 3e-32;

    /// Within one rounding of bf16 of what f64 says, or tiny.
    fn near(name: &str, got: bf16, want: f64) {
        let got = f64::from(got.to_f32());
        assert!((got - want).abs() <= want.abs() / 250.0 + TINY, "{name}: {got} and {want}");
    }

    #[test]
    fn loops_in_bf16_are_near_f64() {
        if !available() {
            return;
        }
        for _ in 0..50 {
            let seed: u64 = rand::random();
            let mut rng = StdRng::seed_from_u64(seed);
            let (n, reach) = (rng.random_range(1..200), rng.random_range(0.1..100.0));
            let name = format!("seed {seed}, {n} of {reach}");
            let [gate, up, dact] = [(); 3].map(|()| drawn(&mut rng, n, reach));
            let wide = |v: &[bf16]| v.iter().map(|x| f64::from(x.to_f32())).collect::<Vec<_>>();
            let (g, u, d) = (wide(&gate), wide(&up), wide(&dact));
            let s = |x: f64| 1.0 / (1.0 + (-x).exp());
            let mut out = vec![bf16::NAN; n];
            swiglu(&mut out, &gate, &up);
            (0..n).for_each(|i| near(&name, out[i], g[i] * s(g[i]) * u[i]));
            let (mut dg, mut du) = (gate.clone(), up.clone());
            swiglu_backward(&mut dg, &mut du, &dact);
            for i in 0..n {
                near(&name, du[i], d[i] * g[i] * s(g[i]));
                let want = d[i] * u[i] * s(g[i]) * (1.0 + g[i] * (1.0 - s(g[i])));
                let got = f64::from(dg[i].to_f32());
                let cancelled = (d[i] * u[i] * s(g[i])).abs() * 1e-5;
                assert!((got - want).abs() <= want.abs() / 250.0 + cancelled + TINY, "{name}: {got} and {want}");
            }
            let (max, sum) = row_stats(&gate);
            let top = g.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = g.iter().map(|x| (x - top).exp()).sum();
            assert!(f64::from(max) == top && (f64::from(sum) / total - 1.0).abs() < 1e-5, "{name}: {sum} and {total}");
            let mut row = gate.clone();
            scaled_exp(&mut row, max, 0.5);
            let scores: Vec<f32> = gate.iter().map(|x| x.to_f32()).collect();
            let mut p = vec![bf16::NAN; n];
            let again = softmax(&scores, max, &mut p);
            assert!((f64::from(again) / total - 1.0).abs() < 1e-5, "{name}: {again} and {total}");
            let (dp, mut ds) = (vec![0.75_f32; n], vec![bf16::NAN; n]);
            let mut same = vec![bf16::NAN; n];
            softmax_backward([&scores, &dp], [max, 0.25, 2.0], [&mut same, &mut ds]);
            for i in 0..n {
                // Too small for a normal number of bf16: zero.
                let want = (g[i] - top).exp();
                near(&name, row[i], 0.5 * want);
                near(&name, p[i], want);
                near(&name, ds[i], want);
                assert_eq!(same[i], p[i], "{name}");
            }
        }
    }

    #[test]
    fn what_is_masked_is_zero_and_nan_stays() {
        if !available() {
            return;
        }
        let mut p = [bf16::NAN; 3];
        let sum = softmax(&[f32::NEG_INFINITY, 0.0, -1.0], 0.0, &mut p);
        assert!(p[0] == bf16::ZERO && p[1] == bf16::ONE && (sum - 1.367_879_5).abs() < 1e-6, "{p:?} {sum}");
        let (max, sum) = row_stats(&[bf16::NAN, bf16::ONE]);
        assert!(max == 1.0 && sum.is_nan(), "{max} {sum}");
        let mut out = [bf16::ZERO; 2];
        swiglu(&mut out, &[bf16::NAN, bf16::from_f32(-3e38)], &[bf16::ONE; 2]);
        assert!(out[0].is_nan() && out[1].to_f32() == 0.0, "{out:?}");
    }
}
