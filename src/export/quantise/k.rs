//! Blocks of 256 in sixteen groups with a scale each: q3_k and q6_k.

use super::fit::{codes, error, nearest, peak, symmetric};
use super::{as_half, group, put_half, weights};

/// A fitted block: its scale, the groups' scales as whole numbers, and the codes.
struct Fitted {
    d: f32,
    scales: [f32; 16],
    q: [[f32; 16]; 16],
}

/// Fits codes in `-n..n` with group scales in `-most..most`.
fn fit(x: &[f32], w: Option<&[f32]>, n: f32, most: f32) -> Fitted {
    let groups: [[f32; 16]; 16] = std::array::from_fn(|j| group(x, 16 * j));
    let ws: [[f32; 16]; 16] = std::array::from_fn(|j| weights(w, 16 * j));
    let wanted: [f32; 16] = std::array::from_fn(|j| symmetric(&groups[j], &ws[j], n));
    let largest = peak(&wanted);
    // The group with the largest scale gets -most, which has no positive twin.
    let mut fitted = with_scale(&groups, &ws, &wanted, as_half(-largest / most), n, most);
    // The common scale that is best for these codes; kept where it helps.
    let (mut xq, mut qq) = (0.0f32, 0.0f32);
    for j in 0..16 {
        for i in 0..16 {
            let v = fitted.1.scales[j] * fitted.1.q[j][i];
            xq += ws[j][i] * groups[j][i] * v;
            qq += ws[j][i] * v * v;
        }
    }
    if qq > 0.0 {
        let again = with_scale(&groups, &ws, &wanted, as_half(xq / qq), n, most);
        if again.0 < fitted.0 {
            fitted = again;
        }
    }
    fitted.1
}

/// The groups' scales and codes under a common scale, and the error.
fn with_scale(x: &[[f32; 16]; 16], w: &[[f32; 16]; 16], wanted: &[f32; 16], d: f32, n: f32, most: f32) -> (f32, Fitted) {
    let mut fitted = Fitted { d, scales: [0.0; 16], q: [[0.0; 16]; 16] };
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let mut total = 0.0;
    for j in 0..16 {
        let near = nearest((wanted[j] * inverse).clamp(-most, most - 1.0));
        let mut least = f32::INFINITY;
        for step in [0.0, -1.0, 1.0] {
            let s = (near + step).clamp(-most, most - 1.0);
            let q = codes(&x[j], d * s, 0.0, -n, n - 1.0);
            let e = error(&x[j], &w[j], &q, d * s, 0.0);
            if e < least {
                (least, fitted.scales[j], fitted.q[j]) = (e, s, q);
            }
        }
        total += least;
    }
    (total, fitted)
}

/// Puts the low two bits of 256 codes where q2_k and q3_k have them.
pub(super) fn two_bits(q: impl Fn(usize) -> u8, out: &mut [u8]) {
    for e in 0..256 {
        let (half, rest) = (e / 128, e % 128);
        out[32 * half + rest % 32] |= (q(e) & 3) << (2 * (rest / 32));
    }
}

pub(super) fn q3_k(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let f = fit(x, w, 4.0, 32.0);
    out.fill(0);
    let q = |e: usize| (f.q[e / 16][e % 16] + 4.0) as u8;
    for e in 0..256 {
        out[e % 32] |= (q(e) >> 2) << (e / 32);
    }
    two_bits(q, &mut out[32..96]);
    for j in 0..16 {
        let s = (f.scales[j] + 32.0) as u8;
        out[96 + j % 8] |= (s & 15) << (4 * (j / 8));
        out[104 + j % 4] |= (s >> 4) << (2 * (j / 4));
    }
    put_half(&mut out[108..], f.d);
}

pub(super) fn q6_k(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let f = fit(x, w, 32.0, 128.0);
    out.fill(0);
    for e in 0..256 {
        let q = (f.q[e / 16][e % 16] + 32.0) as u8;
        let (n, part, l) = (e / 128, e % 128 / 32, e % 32);
        out[64 * n + 32 * (part % 2) + l] |= (q & 15) << (4 * (part / 2));
        out[128 + 32 * n + l] |= (q >> 4) << (2 * part);
    }
    for j in 0..16 {
        out[192 + j] = f.scales[j] as i8 as u8;
    }
    put_half(&mut out[208..], f.d);
}
