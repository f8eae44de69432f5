//! Blocks whose codes name points of a grid: iq2_xxs, iq2_xs, iq2_s, iq3_xxs and iq3_s.

use super::blocks::half;
use super::grids::{Grid, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};

/// Eight signs from seven bits: an even number of them is negative.
pub fn even_signs(bits: u8) -> u8 {
    let low = bits & 127;
    low | (low.count_ones() as u8 & 1) << 7
}

fn put<const D: usize>(grid: &Grid<D>, index: usize, signs: u8, d: f32, o: &mut [f32]) {
    for (i, (o, v)) in o.iter_mut().zip(grid.point(index)).enumerate() {
        *o = d * v * if signs >> i & 1 == 0 { 1.0 } else { -1.0 };
    }
}

fn word(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// Scale of the n-th group: four bits.
fn nibble(b: &[u8], n: usize) -> f32 {
    f32::from(b[n / 2] >> (4 * (n % 2)) & 15)
}

pub(super) fn iq2_xxs(b: &[u8], o: &mut [f32]) {
    for (j, o) in o.chunks_exact_mut(32).enumerate() {
        let at = 2 + 8 * j;
        let rest = word(&b[at + 4..]);
        let d = half(b) * (0.5 + (rest >> 28) as f32) * 0.25;
        for (l, o) in o.chunks_exact_mut(8).enumerate() {
            put(&IQ2_XXS, usize::from(b[at + l]), even_signs((rest >> (7 * l)) as u8), d, o);
        }
    }
}

pub(super) fn iq2_xs(b: &[u8], o: &mut [f32]) {
    for (l, o) in o.chunks_exact_mut(8).enumerate() {
        let code = u16::from_le_bytes([b[2 + 2 * l], b[3 + 2 * l]]);
        let d = half(b) * (0.5 + nibble(&b[66..], l / 2)) * 0.25;
        put(&IQ2_XS, usize::from(code & 511), even_signs((code >> 9) as u8), d, o);
    }
}

pub(super) fn iq2_s(b: &[u8], o: &mut [f32]) {
    for (l, o) in o.chunks_exact_mut(8).enumerate() {
        let high = usize::from(b[66 + l / 4] >> (2 * (l % 4)) & 3) << 8;
        let d = half(b) * (0.5 + nibble(&b[74..], l / 2)) * 0.25;
        put(&IQ2_S, usize::from(b[2 + l]) | high, b[34 + l], d, o);
    }
}

pub(super) fn iq3_xxs(b: &[u8], o: &mut [f32]) {
    for (j, o) in o.chunks_exact_mut(32).enumerate() {
        let rest = word(&b[66 + 4 * j..]);
        let d = half(b) * (0.5 + (rest >> 28) as f32) * 0.5;
        for (l, o) in o.chunks_exact_mut(8).enumerate() {
            let signs = even_signs((rest >> (7 * l)) as u8);
            let at = 2 + 8 * j + 2 * l;
            put(&IQ3_XXS, usize::from(b[at]), signs, d, &mut o[..4]);
            put(&IQ3_XXS, usize::from(b[at + 1]), signs >> 4, d, &mut o[4..]);
        }
    }
}

pub(super) fn iq3_s(b: &[u8], o: &mut [f32]) {
    for (l, o) in o.chunks_exact_mut(8).enumerate() {
        let d = half(b) * (1.0 + 2.0 * nibble(&b[106..], l / 4));
        let signs = b[74 + l];
        for (i, o) in o.chunks_exact_mut(4).enumerate() {
            let n = 2 * l + i;
            let high = usize::from(b[66 + n / 8] >> (n % 8) & 1) << 8;
            put(&IQ3_S, usize::from(b[2 + n]) | high, signs >> (4 * i), d, o);
        }
    }
}
