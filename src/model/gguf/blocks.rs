//! From blocks back to numbers. `export::quantise` makes the blocks.

use half::{bf16, f16};
use rayon::prelude::*;

use super::tables::{FP4_DOUBLED, IQ4, e8m0_half};
use super::{GgmlType, grid_blocks};

pub(super) fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// The elements of whole blocks.
pub fn dequantize(kind: GgmlType, bytes: &[u8]) -> Vec<f32> {
    let (block, width) = (kind.block(), kind.block_bytes());
    let mut out = vec![0f32; bytes.len() / width * block];
    // Dense types are unpacked in longer runs, so that threads have something to do.
    let run = (4096 / block).max(1);
    let unpack = unpacker(kind);
    out.par_chunks_mut(block * run).zip(bytes.par_chunks(width * run)).for_each(|(o, b)| {
        o.chunks_exact_mut(block).zip(b.chunks_exact(width)).for_each(|(o, b)| unpack(b, o));
    });
    out
}

fn unpacker(kind: GgmlType) -> fn(&[u8], &mut [f32]) {
    match kind {
        GgmlType::F32 => |b, o| o[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        GgmlType::F16 => |b, o| o[0] = half(b),
        GgmlType::BF16 => |b, o| o[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        GgmlType::Q4_0 => |b, o| q4(b, o, half(b), -8.0 * half(b), 2),
        GgmlType::Q4_1 => |b, o| q4(b, o, half(b), half(&b[2..]), 4),
        GgmlType::Q5_0 => |b, o| q5(b, o, half(b), -16.0 * half(b), 2),
        GgmlType::Q5_1 => |b, o| q5(b, o, half(b), half(&b[2..]), 4),
        GgmlType::Q8_0 => |b, o| o.iter_mut().zip(&b[2..]).for_each(|(o, q)| *o = half(b) * f32::from(*q as i8)),
        GgmlType::Q2K => q2k,
        GgmlType::Q3K => q3k,
        GgmlType::Q4K => q4k,
        GgmlType::Q5K => q5k,
        GgmlType::Q6K => q6k,
        GgmlType::IQ4NL => |b, o| iq4(half(b), &b[2..], o),
        GgmlType::IQ4XS => iq4xs,
        GgmlType::MXFP4 => mxfp4,
        GgmlType::IQ2XXS => grid_blocks::iq2_xxs,
        GgmlType::IQ2XS => grid_blocks::iq2_xs,
        GgmlType::IQ2S => grid_blocks::iq2_s,
        GgmlType::IQ3XXS => grid_blocks::iq3_xxs,
        GgmlType::IQ3S => grid_blocks::iq3_s,
        GgmlType::TQ1_0 => tq1_0,
        GgmlType::TQ2_0 => tq2_0,
    }
}

fn q4(b: &[u8], o: &mut [f32], d: f32, m: f32, at: usize) {
    for j in 0..16 {
        let q = b[at + j];
        o[j] = f32::from(q & 15) * d + m;
        o[j + 16] = f32::from(q >> 4) * d + m;
    }
}

fn q5(b: &[u8], o: &mut [f32], d: f32, m: f32, at: usize) {
    let high = u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    for j in 0..16 {
        let q = b[at + 4 + j];
        let bit = |n: usize| ((high >> n) as u8 & 1) << 4;
        o[j] = f32::from(q & 15 | bit(j)) * d + m;
        o[j + 16] = f32::from(q >> 4 | bit(j + 16)) * d + m;
    }
}

/// The two bits of element `e` in the layout that q2_k and q3_k share.
fn two_bits(qs: &[u8], e: usize) -> u8 {
    let (half, rest) = (e / 128, e % 128);
    qs[32 * half + rest % 32] >> (2 * (rest / 32)) & 3
}

fn q2k(b: &[u8], o: &mut [f32]) {
    let (d, min) = (half(&b[80..]), half(&b[82..]));
    for (e, o) in o.iter_mut().enumerate() {
        let s = b[e / 16];
        *o = d * f32::from(s & 15) * f32::from(two_bits(&b[16..80], e)) - min * f32::from(s >> 4);
    }
}

fn q3k(b: &[u8], o: &mut [f32]) {
    let (high, low, scales, d) = (&b[..32], &b[32..96], &b[96..108], half(&b[108..]));
    for (e, o) in o.iter_mut().enumerate() {
        let j = e / 16;
        let nibble = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
        let scale = i32::from(nibble | (scales[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
        let q = i32::from(two_bits(low, e)) - if high[e % 32] >> (e / 32) & 1 == 1 { 0 } else { 4 };
        *o = d * scale as f32 * q as f32;
    }
}

/// Scale and minimum of 32 elements in the 12 bytes that q4_k and q5_k share.
fn six_bits(s: &[u8], j: usize) -> (u8, u8) {
    match j < 4 {
        true => (s[j] & 63, s[j + 4] & 63),
        false => (s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4),
    }
}

fn q4k(b: &[u8], o: &mut [f32]) {
    let (d, min, scales, qs) = (half(b), half(&b[2..]), &b[4..16], &b[16..]);
    for (j, o) in o.chunks_exact_mut(32).enumerate() {
        let (s, m) = six_bits(scales, j);
        let (d, m) = (d * f32::from(s), min * f32::from(m));
        for (l, o) in o.iter_mut().enumerate() {
            *o = d * f32::from(qs[j / 2 * 32 + l] >> (4 * (j % 2)) & 15) - m;
        }
    }
}

fn q5k(b: &[u8], o: &mut [f32]) {
    let (d, min, scales, high, qs) = (half(b), half(&b[2..]), &b[4..16], &b[16..48], &b[48..]);
    for (j, o) in o.chunks_exact_mut(32).enumerate() {
        let (s, m) = six_bits(scales, j);
        let (d, m) = (d * f32::from(s), min * f32::from(m));
        for (l, o) in o.iter_mut().enumerate() {
            let q = qs[j / 2 * 32 + l] >> (4 * (j % 2)) & 15 | (high[l] >> j & 1) << 4;
            *o = d * f32::from(q) - m;
        }
    }
}

fn q6k(b: &[u8], o: &mut [f32]) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half(&b[208..]));
    for (e, o) in o.iter_mut().enumerate() {
        let (n, rest) = (e / 128, e % 128);
        let (part, l) = (rest / 32, rest % 32);
        let nibble = low[64 * n + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
        let q = i32::from(nibble | (high[32 * n + l] >> (2 * part) & 3) << 4) - 32;
        *o = d * f32::from(scales[e / 16] as i8) * q as f32;
    }
}

fn iq4(d: f32, qs: &[u8], o: &mut [f32]) {
    for j in 0..16 {
        o[j] = d * f32::from(IQ4[usize::from(qs[j] & 15)]);
        o[j + 16] = d * f32::from(IQ4[usize::from(qs[j] >> 4)]);
    }
}

fn iq4xs(b: &[u8], o: &mut [f32]) {
    let (d, high) = (half(b), u16::from_le_bytes([b[2], b[3]]));
    for (j, o) in o.chunks_exact_mut(32).enumerate() {
        let s = i32::from(b[4 + j / 2] >> (4 * (j % 2)) & 15) | i32::from(high >> (2 * j) & 3) << 4;
        iq4(d * (s - 32) as f32, &b[8 + 16 * j..], o);
    }
}

fn mxfp4(b: &[u8], o: &mut [f32]) {
    let d = e8m0_half(b[0]);
    let value = |c: u8| f32::from(FP4_DOUBLED[usize::from(c & 7)]) * if c & 8 == 0 { d } else { -d };
    for j in 0..16 {
        o[j] = value(b[1 + j] & 15);
        o[j + 16] = value(b[1 + j] >> 4);
    }
}

fn tq2_0(b: &[u8], o: &mut [f32]) {
    let d = half(&b[64..]);
    for (e, o) in o.iter_mut().enumerate() {
        *o = d * (f32::from(two_bits(b, e)) - 1.0);
    }
}

fn tq1_0(b: &[u8], o: &mut [f32]) {
    let d = half(&b[52..]);
    // The n-th multiplication by 3 carries the n-th digit over.
    let digit = |byte: u8, n: usize| (u16::from(byte.wrapping_mul([1, 3, 9, 27, 81][n])) * 3) >> 8;
    for (e, o) in o.iter_mut().enumerate() {
        let q = match e {
            0..160 => digit(b[e % 32], e / 32),
            160..240 => digit(b[32 + e % 16], (e - 160) / 16),
            _ => digit(b[48 + e % 4], (e - 240) / 4),
        };
        *o = d * (f32::from(q) - 1.0);
    }
}
