//! Blocks of 256 in sixteen groups with a scale each: q3_k and q6_k. A batch is a block.

use super::fit::symmetric;
use super::lanes::{Batch, LANES, Lanes, code, lanes};
use super::{as_half, put_half};

/// A fitted block: its scale, the groups' scales as whole numbers, and what each leaves as error.
struct Fitted {
    d: f32,
    scales: Lanes,
    error: Lanes,
}

impl Fitted {
    /// Under a common scale the groups' scales in `-most..most` that leave least.
    #[inline(always)]
    fn with_scale(b: &Batch<16>, wanted: &Lanes, d: f32, n: f32, most: f32) -> Self {
        let mut fitted = Self { d, scales: [0.0; LANES], error: [f32::INFINITY; LANES] };
        let by = if d == 0.0 { 0.0 } else { 1.0 / d };
        for step in [0.0, -1.0, 1.0] {
            let s = lanes(
                #[inline(always)]
                |l| (code(wanted[l] * by, -most, most - 1.0) + step).max(-most).min(most - 1.0),
            );
            let e = b.error(
                &lanes(
                    #[inline(always)]
                    |l| d * s[l],
                ),
                &[0.0; LANES],
                -n,
                n - 1.0,
            );
            for l in 0..LANES {
                let better = e[l] < fitted.error[l];
                fitted.scales[l] = if better { s[l] } else { fitted.scales[l] };
                fitted.error[l] = if better { e[l] } else { fitted.error[l] };
            }
        }
        fitted
    }

    #[inline(always)]
    fn total(&self) -> f32 {
        self.error.iter().sum()
    }

    /// The common scale of least squares for the codes of these.
    #[inline(always)]
    fn refit(&self, b: &Batch<16>, n: f32) -> f32 {
        let q = b.codes(&self.each(), &[0.0; LANES], -n, n - 1.0);
        let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
        for i in 0..16 {
            for l in 0..LANES {
                let v = self.scales[l] * (f32::from(q[i][l]) - n);
                xq[l] += b.w[i][l] * b.x[i][l] * v;
                qq[l] += b.w[i][l] * v * v;
            }
        }
        let (xq, qq): (f32, f32) = (xq.iter().sum(), qq.iter().sum());
        if qq > 0.0 { as_half(xq / qq) } else { self.d }
    }

    /// What each group multiplies its codes by.
    #[inline(always)]
    fn each(&self) -> Lanes {
        lanes(
            #[inline(always)]
            |l| self.d * self.scales[l],
        )
    }
}

/// Fits codes in `-n..n` with group scales in `-most..most`; codes counted from 0.
#[inline(always)]
fn fit(b: &Batch<16>, n: f32, most: f32) -> (Fitted, [[u8; LANES]; 16]) {
    let wanted = symmetric(b, n);
    let mut largest = 0.0f32;
    for v in wanted {
        largest = if v.abs() > largest.abs() { v } else { largest };
    }
    // The group with the largest scale gets -most, which has no positive twin.
    let mut d = as_half(-largest / most);
    let mut best = Fitted { d, scales: [0.0; LANES], error: [f32::INFINITY; LANES] };
    // Then the common scale that is best for the codes, as long as it helps.
    for _ in 0..2 {
        let fitted = Fitted::with_scale(b, &wanted, d, n, most);
        if fitted.total() < best.total() {
            best = fitted;
        }
        d = best.refit(b, n);
    }
    let q = b.codes(&best.each(), &[0.0; LANES], -n, n - 1.0);
    (best, q)
}

/// Element e of a block whose groups lie in lanes.
#[inline(always)]
fn at(q: &[[u8; LANES]; 16], e: usize) -> u8 {
    q[e % 16][e / 16]
}

/// Puts the low two bits of 256 codes where q2_k and q3_k have them.
#[inline(always)]
pub(super) fn two_bits(q: &[[u8; LANES]; 16], out: &mut [u8]) {
    for half in 0..2 {
        for l in 0..32 {
            let part = |p: usize| (at(q, 128 * half + 32 * p + l) & 3) << (2 * p);
            out[32 * half + l] = part(0) | part(1) | part(2) | part(3);
        }
    }
}

#[inline(always)]
pub(super) fn q3_k(b: &Batch<16>, out: &mut [u8]) {
    let (f, q) = fit(b, 4.0, 32.0);
    out.fill(0);
    for part in 0..8 {
        for l in 0..32 {
            out[l] |= (at(&q, 32 * part + l) >> 2) << part;
        }
    }
    two_bits(&q, &mut out[32..96]);
    for j in 0..16 {
        let s = (f.scales[j] + 32.0) as u8;
        out[96 + j % 8] |= (s & 15) << (4 * (j / 8));
        out[104 + j % 4] |= (s >> 4) << (2 * (j / 4));
    }
    put_half(&mut out[108..], f.d);
}

#[inline(always)]
pub(super) fn q6_k(b: &Batch<16>, out: &mut [u8]) {
    let (f, q) = fit(b, 32.0, 128.0);
    for half in 0..2 {
        for l in 0..32 {
            let part = |p: usize| at(&q, 128 * half + 32 * p + l);
            out[64 * half + l] = (part(0) & 15) | (part(2) & 15) << 4;
            out[64 * half + 32 + l] = (part(1) & 15) | (part(3) & 15) << 4;
            out[128 + 32 * half + l] = part(0) >> 4 | part(1) >> 4 << 2 | part(2) >> 4 << 4 | part(3) >> 4 << 6;
        }
    }
    for j in 0..16 {
        out[192 + j] = f.scales[j] as i8 as u8;
    }
    put_half(&mut out[208..], f.d);
}
