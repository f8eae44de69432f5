//! Blocks of 256 in groups with a scale and a minimum each: q2_k, q4_k and q5_k.

use super::fit::{affine, codes, error, nearest};
use super::k::two_bits;
use super::{as_half, group, put_half, weights};

/// A fitted block of G groups of N: x ~ d s q - min m.
struct Fitted<const G: usize, const N: usize> {
    d: f32,
    min: f32,
    s: [f32; G],
    m: [f32; G],
    q: [[f32; N]; G],
}

struct Groups<const G: usize, const N: usize> {
    x: [[f32; N]; G],
    w: [[f32; N]; G],
    /// Scale and minimum (at least 0) that each group would have alone.
    wanted: [(f32, f32); G],
}

/// Fits codes in `0..=n` with group scales and minimums in `0..=most`.
fn fit<const G: usize, const N: usize>(x: &[f32], w: Option<&[f32]>, n: f32, most: f32) -> Fitted<G, N> {
    let (x, w): ([[f32; N]; G], [[f32; N]; G]) = (std::array::from_fn(|j| group(x, N * j)), std::array::from_fn(|j| weights(w, N * j)));
    let wanted = std::array::from_fn(|j| {
        let (d, m) = affine(&x[j], &w[j], n, true);
        (d, -m)
    });
    let groups = Groups { x, w, wanted };
    let largest = |f: fn(&(f32, f32)) -> f32| groups.wanted.iter().map(f).fold(0.0, f32::max);
    let mut best = groups.with_scales(as_half(largest(|g| g.0) / most), as_half(largest(|g| g.1) / most), n, most);
    for _ in 0..2 {
        let (d, min) = groups.refit(&best.1);
        let again = groups.with_scales(as_half(d), as_half(min), n, most);
        if again.0 >= best.0 {
            break;
        }
        best = again;
    }
    best.1
}

impl<const G: usize, const N: usize> Groups<G, N> {
    /// The groups' scales, minimums and codes under common ones, and the error.
    fn with_scales(&self, d: f32, min: f32, n: f32, most: f32) -> (f32, Fitted<G, N>) {
        let mut f = Fitted { d, min, s: [0.0; G], m: [0.0; G], q: [[0.0; N]; G] };
        let inverse = |v: f32| if v == 0.0 { 0.0 } else { 1.0 / v };
        let (by_d, by_min) = (inverse(d), inverse(min));
        let mut total = 0.0;
        for j in 0..G {
            let (x, w) = (&self.x[j], &self.w[j]);
            let near_s = nearest((self.wanted[j].0 * by_d).clamp(0.0, most));
            let near_m = nearest((self.wanted[j].1 * by_min).clamp(0.0, most));
            let mut least = f32::INFINITY;
            for step in [0.0, -1.0, 1.0] {
                let s = (near_s + step).clamp(0.0, most);
                for step in [0.0, -1.0, 1.0] {
                    let m = (near_m + step).clamp(0.0, most);
                    let q = codes(x, d * s, -min * m, 0.0, n);
                    let e = error(x, w, &q, d * s, -min * m);
                    if e < least {
                        (least, f.s[j], f.m[j], f.q[j]) = (e, s, m, q);
                    }
                }
            }
            total += least;
        }
        (total, f)
    }

    /// The common scale and minimum of least squares for these codes.
    fn refit(&self, f: &Fitted<G, N>) -> (f32, f32) {
        let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
        for j in 0..G {
            for i in 0..N {
                let (a, b, x, w) = (f.s[j] * f.q[j][i], -f.m[j], self.x[j][i], self.w[j][i]);
                aa += w * a * a;
                ab += w * a * b;
                bb += w * b * b;
                xa += w * x * a;
                xb += w * x * b;
            }
        }
        let det = aa * bb - ab * ab;
        if det > 1e-6 * aa * bb {
            let (d, min) = ((xa * bb - xb * ab) / det, (aa * xb - ab * xa) / det);
            if d > 0.0 && min >= 0.0 {
                return (d, min);
            }
        }
        (f.d, f.min)
    }
}

pub(super) fn q2_k(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let f = fit::<16, 16>(x, w, 3.0, 15.0);
    out.fill(0);
    for j in 0..16 {
        out[j] = f.s[j] as u8 | (f.m[j] as u8) << 4;
    }
    two_bits(|e| f.q[e / 16][e % 16] as u8, &mut out[16..80]);
    put_half(&mut out[80..], f.d);
    put_half(&mut out[82..], f.min);
}

/// d, min, and the groups' scales and minimums in six bits each.
fn head(f: &Fitted<8, 32>, out: &mut [u8]) {
    put_half(out, f.d);
    put_half(&mut out[2..], f.min);
    let scales = &mut out[4..16];
    for j in 0..8 {
        let (s, m) = (f.s[j] as u8, f.m[j] as u8);
        if j < 4 {
            scales[j] |= s;
            scales[j + 4] |= m;
        } else {
            scales[j + 4] |= s & 15 | (m & 15) << 4;
            scales[j - 4] |= s >> 4 << 6;
            scales[j] |= m >> 4 << 6;
        }
    }
}

fn nibbles(f: &Fitted<8, 32>, out: &mut [u8]) {
    for j in 0..8 {
        for l in 0..32 {
            out[j / 2 * 32 + l] |= (f.q[j][l] as u8 & 15) << (4 * (j % 2));
        }
    }
}

pub(super) fn q4_k(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let f = fit::<8, 32>(x, w, 15.0, 63.0);
    out.fill(0);
    head(&f, out);
    nibbles(&f, &mut out[16..]);
}

pub(super) fn q5_k(x: &[f32], w: Option<&[f32]>, out: &mut [u8]) {
    let f = fit::<8, 32>(x, w, 31.0, 63.0);
    out.fill(0);
    head(&f, out);
    for j in 0..8 {
        for l in 0..32 {
            out[16 + l] |= (f.q[j][l] as u8 >> 4) << j;
        }
    }
    nibbles(&f, &mut out[48..]);
}
