//! Blocks of 32 with one scale: q4_0, q4_1, q5_0, q5_1, q8_0.

use super::fit::{affine, codes, nearest, peak, symmetric};
use super::{as_half, group, put_half, weights};

pub(super) fn q8_0(x: &[f32], out: &mut [u8]) {
    let d = peak(x).abs() / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    put_half(out, d);
    for (o, v) in out[2..].iter_mut().zip(x) {
        *o = nearest(v * inverse).clamp(-127.0, 127.0) as i8 as u8;
    }
}

fn nibbles(q: &[f32; 32], out: &mut [u8]) {
    for j in 0..16 {
        out[j] = (q[j] as u8 & 15) | (q[j + 16] as u8 & 15) << 4;
    }
}

fn fifth_bits(q: &[f32; 32], out: &mut [u8]) {
    let bits = q.iter().enumerate().fold(0u32, |b, (i, q)| b | (u32::from(*q as u8) >> 4 & 1) << i);
    out[..4].copy_from_slice(&bits.to_le_bytes());
}

/// Codes of a symmetric block, moved to start at 0.
fn from_zero(x: &[f32], w: Option<&[f32]>, n: f32, out: &mut [u8]) -> [f32; 32] {
    let x = group::<32>(x, 0);
    let d = put_half(out, symmetric(&x, &weights(w, 0), n));
    codes(&x, d, 0.0, -n, n - 1.0).map(|q| q + n)
}

fn with_minimum(x: &[f32], w: Option<&[f32]>, n: f32, out: &mut [u8]) -> [f32; 32] {
    let x = group::<32>(x, 0);
    let (d, m) = affine(&x, &weights(w, 0), n, false);
    let d = put_half(out, d);
    put_half(&mut out[2..], m);
    codes(&x, d, as_half(m), 0.0, n)
}

pub(super) fn q4_0(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let q = from_zero(x, w, 8.0, out);
    nibbles(&q, &mut out[2..]);
}

pub(super) fn q4_1(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let q = with_minimum(x, w, 15.0, out);
    nibbles(&q, &mut out[4..]);
}

pub(super) fn q5_0(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let q = from_zero(x, w, 16.0, out);
    fifth_bits(&q, &mut out[2..]);
    nibbles(&q, &mut out[6..]);
}

pub(super) fn q5_1(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let q = with_minimum(x, w, 31.0, out);
    fifth_bits(&q, &mut out[4..]);
    nibbles(&q, &mut out[8..]);
}
