//! Blocks of 32 with one scale: q4_0, q4_1, q5_0, q5_1, q8_0; and single numbers.

use half::{bf16, f16};

use super::fit::{affine, symmetric};
use super::lanes::{Batch, LANES, Lanes, code, lanes};
use super::{as_half, put_half};

#[inline(always)]
pub(super) fn f32(x: &[f32], out: &mut [u8]) {
    out.copy_from_slice(&x[0].to_le_bytes());
}

#[inline(always)]
pub(super) fn f16(x: &[f32], out: &mut [u8]) {
    out.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes());
}

#[inline(always)]
pub(super) fn bf16(x: &[f32], out: &mut [u8]) {
    out.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes());
}

#[inline(always)]
pub(super) fn q8_0(x: &[f32], out: &mut [u8]) {
    let mut peak = 0.0f32;
    for v in x {
        peak = peak.max(v.abs());
    }
    let d = peak / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    put_half(out, d);
    for (o, v) in out[2..].iter_mut().zip(x) {
        *o = code(v * inverse, -127.0, 127.0) as i8 as u8;
    }
}

#[inline(always)]
fn nibbles(q: &[[u8; LANES]; 32], l: usize, out: &mut [u8]) {
    for j in 0..16 {
        out[j] = (q[j][l] & 15) | (q[j + 16][l] & 15) << 4;
    }
}

#[inline(always)]
fn fifth_bits(q: &[[u8; LANES]; 32], l: usize, out: &mut [u8]) {
    let mut bits = 0u32;
    for (i, q) in q.iter().enumerate() {
        bits |= u32::from(q[l] >> 4 & 1) << i;
    }
    out[..4].copy_from_slice(&bits.to_le_bytes());
}

/// Scales as f16 holds them, and codes in `-n..n` counted from 0.
#[inline(always)]
fn from_zero(b: &Batch<32>, n: f32) -> (Lanes, [[u8; LANES]; 32]) {
    let d = symmetric(b, n);
    let d = lanes(
        #[inline(always)]
        |l| as_half(d[l]),
    );
    (d, b.codes(&d, &[0.0; LANES], -n, n - 1.0))
}

/// Scales and offsets as f16 holds them, and codes in `0..=n`.
#[inline(always)]
fn with_minimum(b: &Batch<32>, n: f32) -> (Lanes, Lanes, [[u8; LANES]; 32]) {
    let (d, m) = affine(b, n, false);
    let d = lanes(
        #[inline(always)]
        |l| as_half(d[l]),
    );
    let m = lanes(
        #[inline(always)]
        |l| as_half(m[l]),
    );
    (d, m, b.codes(&d, &m, 0.0, n))
}

#[inline(always)]
pub(super) fn q4_0(b: &Batch<32>, out: &mut [u8]) {
    let (d, q) = from_zero(b, 8.0);
    for (l, out) in out.chunks_exact_mut(18).enumerate() {
        put_half(out, d[l]);
        nibbles(&q, l, &mut out[2..]);
    }
}

#[inline(always)]
pub(super) fn q4_1(b: &Batch<32>, out: &mut [u8]) {
    let (d, m, q) = with_minimum(b, 15.0);
    for (l, out) in out.chunks_exact_mut(20).enumerate() {
        put_half(out, d[l]);
        put_half(&mut out[2..], m[l]);
        nibbles(&q, l, &mut out[4..]);
    }
}

#[inline(always)]
pub(super) fn q5_0(b: &Batch<32>, out: &mut [u8]) {
    let (d, q) = from_zero(b, 16.0);
    for (l, out) in out.chunks_exact_mut(22).enumerate() {
        put_half(out, d[l]);
        fifth_bits(&q, l, &mut out[2..]);
        nibbles(&q, l, &mut out[6..]);
    }
}

#[inline(always)]
pub(super) fn q5_1(b: &Batch<32>, out: &mut [u8]) {
    let (d, m, q) = with_minimum(b, 31.0);
    for (l, out) in out.chunks_exact_mut(24).enumerate() {
        put_half(out, d[l]);
        put_half(&mut out[2..], m[l]);
        fifth_bits(&q, l, &mut out[4..]);
        nibbles(&q, l, &mut out[8..]);
    }
}
