//! Codes that name points of a grid: iq2_xxs, iq2_xs, iq2_s, iq3_xxs and iq3_s.
//!
//! A point holds the magnitudes of four or eight neighbours; their signs are stored apart. Of each
//! group the scale is found first as if every magnitude could have any level, then the nearest points
//! are looked for under a few scales beside it, and again under the scale as it is stored.

use super::{as_half, put_half};
use crate::model::gguf::grid_blocks::even_signs;
use crate::model::gguf::grids::{Grid, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};

/// Numbers in a block.
const BLOCK: usize = 256;

/// How a type stores its groups.
struct Form {
    /// Numbers under one scale.
    group: usize,
    /// Whether only seven of eight signs are stored.
    even: bool,
    /// A group's scale is `d (first + step s)`, s in 0..=15.
    first: f32,
    step: f32,
}

/// What a block is stored as.
struct Fitted {
    d: f32,
    /// Of each group.
    scales: [u8; 16],
    /// Of each four or eight numbers.
    points: [u16; 64],
    /// Of each eight numbers.
    signs: [u8; 32],
}

/// Magnitudes under the signs that are stored; where a sign is wrong the magnitude is negative.
#[inline(always)]
fn magnitudes(x: &[f32], w: &[f32; BLOCK], form: &Form) -> ([f32; BLOCK], [u8; 32]) {
    let mut out = [0.0; BLOCK];
    let mut signs = [0u8; 32];
    for (n, x) in x.chunks_exact(8).enumerate() {
        for (i, v) in x.iter().enumerate() {
            out[8 * n + i] = v.abs();
            signs[n] |= u8::from(*v < 0.0) << i;
        }
        if form.even && even_signs(signs[n]) != signs[n] {
            // The number that matters least gets the wrong sign.
            let mut least = 0;
            for i in 1..8 {
                let cost = |i: usize| w[8 * n + i] * out[8 * n + i] * out[8 * n + i];
                least = if cost(i) < cost(least) { i } else { least };
            }
            signs[n] ^= 1 << least;
            out[8 * n + least] = -out[8 * n + least];
        }
    }
    (out, signs)
}

/// The point nearest to y, by weighted squares, and how far it is.
#[inline(always)]
fn nearest<const D: usize>(grid: &Grid<D>, y: &[f32], w: &[f32]) -> (u16, f32) {
    let mut least = [f32::INFINITY; 16];
    let mut at = [0u32; 16];
    for (c, chunk) in grid.chunks.iter().enumerate() {
        let mut e = [0.0f32; 16];
        for d in 0..D {
            for l in 0..16 {
                let t = y[d] - chunk[d][l];
                e[l] += w[d] * t * t;
            }
        }
        for l in 0..16 {
            let better = e[l] < least[l];
            least[l] = if better { e[l] } else { least[l] };
            at[l] = if better { c as u32 } else { at[l] };
        }
    }
    let mut best = 0;
    for l in 1..16 {
        best = if least[l] < least[best] { l } else { best };
    }
    ((at[best] * 16 + best as u32) as u16, least[best])
}

/// The level nearest to v.
#[inline(always)]
fn level(levels: &[f32], v: f32) -> f32 {
    let mut out = levels[0];
    for pair in levels.windows(2) {
        out = if v > (pair[0] + pair[1]) / 2.0 { pair[1] } else { out };
    }
    out
}

/// The scale under which single levels come nearest.
#[inline(always)]
fn scale_of_levels(levels: &[f32], y: &[f32], w: &[f32]) -> f32 {
    let mut peak = 0.0f32;
    for v in y {
        peak = peak.max(v.abs());
    }
    let top = levels[levels.len() - 1];
    let (mut best, mut explained) = (0.0, 0.0f32);
    for step in 0..24 {
        let by = top * (0.7 + 0.04 * step as f32) / peak;
        let (mut xq, mut qq) = (0.0, 0.0);
        for (y, w) in y.iter().zip(w) {
            let q = level(levels, y * by);
            xq += w * y * q;
            qq += w * q * q;
        }
        if xq > 0.0 && xq * xq / qq > explained {
            (best, explained) = (xq / qq, xq * xq / qq);
        }
    }
    if (1.0 / peak).is_finite() { best } else { 0.0 }
}

/// Points of a group under a scale: what they explain by least squares, and the scale that is best
/// for them.
#[inline(always)]
fn points<const D: usize>(grid: &Grid<D>, y: &[f32], w: &[f32], scale: f32, out: &mut [u16]) -> (f32, f32) {
    let by = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let (mut xq, mut qq) = (0.0, 0.0);
    for (n, out) in out.iter_mut().enumerate() {
        let mut scaled = [0.0f32; D];
        for d in 0..D {
            scaled[d] = y[D * n + d] * by;
        }
        *out = nearest(grid, &scaled, &w[D * n..D * (n + 1)]).0;
        for (d, q) in grid.point(usize::from(*out)).into_iter().enumerate() {
            xq += w[D * n + d] * y[D * n + d] * q;
            qq += w[D * n + d] * q * q;
        }
    }
    if xq > 0.0 { (xq * xq / qq, xq / qq) } else { (0.0, 0.0) }
}

#[inline(always)]
fn fit<const D: usize>(x: &[f32], w: &[f32; BLOCK], grid: &Grid<D>, form: &Form) -> Fitted {
    let (y, signs) = magnitudes(x, w, form);
    let (groups, per_group) = (BLOCK / form.group, form.group / D);
    let mut wanted = [0.0f32; 16];
    let mut scratch = [0u16; 8];
    for g in 0..groups {
        let range = g * form.group..(g + 1) * form.group;
        let (y, w) = (&y[range.clone()], &w[range]);
        let start = scale_of_levels(&grid.levels, y, w);
        let mut explained = 0.0;
        for factor in [0.92, 1.0, 1.08] {
            let (much, scale) = points(grid, y, w, start * factor, &mut scratch[..per_group]);
            if much > explained {
                (explained, wanted[g]) = (much, scale);
            }
        }
    }
    let largest = wanted.iter().fold(0.0f32, |m, v| m.max(*v));
    let mut f = Fitted { d: as_half(largest / (form.first + 15.0 * form.step)), scales: [0; 16], points: [0; 64], signs };
    // Twice: the second time under the common scale that is best for the first one's codes.
    for _ in 0..2 {
        let (mut xq, mut qq) = (0.0, 0.0);
        for g in 0..groups {
            let share = if f.d == 0.0 { 0.0 } else { wanted[g] / f.d };
            let s = super::lanes::code((share - form.first) / form.step, 0.0, 15.0);
            f.scales[g] = s as u8;
            let scale = f.d * (form.first + form.step * s);
            let range = g * form.group..(g + 1) * form.group;
            let own = &mut f.points[g * per_group..(g + 1) * per_group];
            points(grid, &y[range.clone()], &w[range.clone()], scale, own);
            for i in range {
                let q = grid.point(usize::from(f.points[i / D]))[i % D] * (form.first + form.step * s);
                xq += w[i] * y[i] * q;
                qq += w[i] * q * q;
            }
        }
        if xq > 0.0 {
            f.d = as_half(xq / qq);
        }
    }
    f
}

/// Twos for the types of two bits: their scales are quarters.
const TWO: Form = Form { group: 32, even: true, first: 0.125, step: 0.25 };

/// Four signs of seven bits and a scale of four.
fn tail(f: &Fitted, group: usize) -> u32 {
    (0..4).fold(u32::from(f.scales[group]) << 28, |v, l| v | u32::from(f.signs[4 * group + l] & 127) << (7 * l))
}

fn put_scales(f: &Fitted, out: &mut [u8]) {
    for (n, out) in out.iter_mut().enumerate() {
        *out = f.scales[2 * n] | f.scales[2 * n + 1] << 4;
    }
}

#[inline(always)]
pub(super) fn iq2_xxs(x: &[f32], w: &[f32; BLOCK], out: &mut [u8]) {
    let f = fit(x, w, &IQ2_XXS, &TWO);
    put_half(out, f.d);
    for (j, out) in out[2..].chunks_exact_mut(8).enumerate() {
        for l in 0..4 {
            out[l] = f.points[4 * j + l] as u8;
        }
        out[4..].copy_from_slice(&tail(&f, j).to_le_bytes());
    }
}

#[inline(always)]
pub(super) fn iq2_xs(x: &[f32], w: &[f32; BLOCK], out: &mut [u8]) {
    let f = fit(x, w, &IQ2_XS, &Form { group: 16, ..TWO });
    put_half(out, f.d);
    for l in 0..32 {
        let code = f.points[l] | u16::from(f.signs[l] & 127) << 9;
        out[2 + 2 * l..4 + 2 * l].copy_from_slice(&code.to_le_bytes());
    }
    put_scales(&f, &mut out[66..74]);
}

#[inline(always)]
pub(super) fn iq2_s(x: &[f32], w: &[f32; BLOCK], out: &mut [u8]) {
    let f = fit(x, w, &IQ2_S, &Form { group: 16, even: false, ..TWO });
    put_half(out, f.d);
    out[66..74].fill(0);
    for l in 0..32 {
        out[2 + l] = f.points[l] as u8;
        out[34 + l] = f.signs[l];
        out[66 + l / 4] |= ((f.points[l] >> 8) as u8) << (2 * (l % 4));
    }
    put_scales(&f, &mut out[74..82]);
}

#[inline(always)]
pub(super) fn iq3_xxs(x: &[f32], w: &[f32; BLOCK], out: &mut [u8]) {
    let f = fit(x, w, &IQ3_XXS, &Form { group: 32, even: true, first: 0.25, step: 0.5 });
    put_half(out, f.d);
    for n in 0..64 {
        out[2 + n] = f.points[n] as u8;
    }
    for j in 0..8 {
        out[66 + 4 * j..70 + 4 * j].copy_from_slice(&tail(&f, j).to_le_bytes());
    }
}

#[inline(always)]
pub(super) fn iq3_s(x: &[f32], w: &[f32; BLOCK], out: &mut [u8]) {
    let f = fit(x, w, &IQ3_S, &Form { group: 32, even: false, first: 1.0, step: 2.0 });
    put_half(out, f.d);
    out[66..74].fill(0);
    for n in 0..64 {
        out[2 + n] = f.points[n] as u8;
        out[66 + n / 8] |= ((f.points[n] >> 8) as u8) << (n % 8);
    }
    out[74..106].copy_from_slice(&f.signs);
    put_scales(&f, &mut out[106..110]);
}
