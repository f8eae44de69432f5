//! Blocks of 256 in groups with a scale and a minimum each: q2_k, q4_k and q5_k. A batch is one block or two.

use super::fit::affine;
use super::k::two_bits;
use super::lanes::{Batch, LANES, Lanes, code, inverse, lanes};
use super::{as_half, put_half};

/// Fitted blocks of G groups: x ~ d s q - min m. `d` and `min` are the same in all lanes of a block.
struct Fitted {
    d: Lanes,
    min: Lanes,
    s: Lanes,
    m: Lanes,
    error: Lanes,
}

/// In every lane the sum over the lanes of its block.
#[inline(always)]
fn over_blocks<const G: usize>(v: &Lanes) -> Lanes {
    let mut out = [0.0; LANES];
    for (out, v) in out.chunks_exact_mut(G).zip(v.chunks_exact(G)) {
        out.fill(v.iter().sum());
    }
    out
}

/// In every lane the largest of its block, as an f16 of its share of `most`.
#[inline(always)]
fn largest<const G: usize>(v: &Lanes, most: f32) -> Lanes {
    let mut out = [0.0; LANES];
    for (out, v) in out.chunks_exact_mut(G).zip(v.chunks_exact(G)) {
        let mut top = 0.0f32;
        for v in v {
            top = top.max(*v);
        }
        out.fill(as_half(top / most));
    }
    out
}

impl Fitted {
    /// Under common scales and minimums the groups' own in `0..=most` that leave least.
    #[inline(always)]
    fn with_scales<const N: usize>(b: &Batch<N>, wanted: &(Lanes, Lanes), d: Lanes, min: Lanes, n: f32, most: f32) -> Self {
        let mut f = Self { d, min, s: [0.0; LANES], m: [0.0; LANES], error: [f32::INFINITY; LANES] };
        let (by_d, by_min) = (inverse(&d), inverse(&min));
        for step in 0..9 {
            // What is nearest first, then its neighbours.
            let (up, down) = ([0.0, -1.0, 1.0][step / 3], [0.0, -1.0, 1.0][step % 3]);
            let s = lanes(
                #[inline(always)]
                |l| (code(wanted.0[l] * by_d[l], 0.0, most) + up).max(0.0).min(most),
            );
            let m = lanes(
                #[inline(always)]
                |l| (code(-wanted.1[l] * by_min[l], 0.0, most) + down).max(0.0).min(most),
            );
            let scale = lanes(
                #[inline(always)]
                |l| d[l] * s[l],
            );
            let e = b.error(
                &scale,
                &lanes(
                    #[inline(always)]
                    |l| -min[l] * m[l],
                ),
                0.0,
                n,
            );
            for l in 0..LANES {
                let better = e[l] < f.error[l];
                f.s[l] = if better { s[l] } else { f.s[l] };
                f.m[l] = if better { m[l] } else { f.m[l] };
                f.error[l] = if better { e[l] } else { f.error[l] };
            }
        }
        f
    }

    #[inline(always)]
    fn codes<const N: usize>(&self, b: &Batch<N>, n: f32) -> [[u8; LANES]; N] {
        let scale = lanes(
            #[inline(always)]
            |l| self.d[l] * self.s[l],
        );
        b.codes(
            &scale,
            &lanes(
                #[inline(always)]
                |l| -self.min[l] * self.m[l],
            ),
            0.0,
            n,
        )
    }

    /// The common scales and minimums of least squares for these codes.
    #[inline(always)]
    fn refit<const G: usize, const N: usize>(&self, b: &Batch<N>, n: f32) -> (Lanes, Lanes) {
        let q = self.codes(b, n);
        let (mut aa, mut ab, mut bb, mut xa, mut xb) =
            ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
        for i in 0..N {
            for l in 0..LANES {
                let (a, m, x, w) = (self.s[l] * f32::from(q[i][l]), -self.m[l], b.x[i][l], b.w[i][l]);
                aa[l] += w * a * a;
                ab[l] += w * a * m;
                bb[l] += w * m * m;
                xa[l] += w * x * a;
                xb[l] += w * x * m;
            }
        }
        let (aa, ab, bb, xa, xb) =
            (over_blocks::<G>(&aa), over_blocks::<G>(&ab), over_blocks::<G>(&bb), over_blocks::<G>(&xa), over_blocks::<G>(&xb));
        let (mut d, mut min) = (self.d, self.min);
        for l in 0..LANES {
            let det = aa[l] * bb[l] - ab[l] * ab[l];
            let (a, m) = ((xa[l] * bb[l] - xb[l] * ab[l]) / det, (aa[l] * xb[l] - ab[l] * xa[l]) / det);
            if det > 1e-6 * aa[l] * bb[l] && a > 0.0 && m >= 0.0 {
                (d[l], min[l]) = (as_half(a), as_half(m));
            }
        }
        (d, min)
    }

    /// Takes the blocks of `other` that leave less.
    #[inline(always)]
    fn take_better<const G: usize>(&mut self, other: &Self) {
        let (mine, theirs) = (over_blocks::<G>(&self.error), over_blocks::<G>(&other.error));
        for l in 0..LANES {
            if theirs[l] < mine[l] {
                (self.d[l], self.min[l], self.s[l], self.m[l]) = (other.d[l], other.min[l], other.s[l], other.m[l]);
                self.error[l] = other.error[l];
            }
        }
    }
}

/// Fits codes in `0..=n` with group scales and minimums in `0..=most`.
#[inline(always)]
fn fit<const G: usize, const N: usize>(b: &Batch<N>, n: f32, most: f32) -> (Fitted, [[u8; LANES]; N]) {
    let wanted = affine(b, n, true);
    let minimums = lanes(
        #[inline(always)]
        |l| -wanted.1[l],
    );
    let (mut d, mut min) = (largest::<G>(&wanted.0, most), largest::<G>(&minimums, most));
    let mut best = Fitted { d, min, s: [0.0; LANES], m: [0.0; LANES], error: [f32::INFINITY; LANES] };
    for _ in 0..3 {
        best.take_better::<G>(&Fitted::with_scales(b, &wanted, d, min, n, most));
        (d, min) = best.refit::<G, N>(b, n);
    }
    let q = best.codes(b, n);
    (best, q)
}

#[inline(always)]
pub(super) fn q2_k(b: &Batch<16>, out: &mut [u8]) {
    let (f, q) = fit::<16, 16>(b, 3.0, 15.0);
    for j in 0..16 {
        out[j] = f.s[j] as u8 | (f.m[j] as u8) << 4;
    }
    two_bits(&q, &mut out[16..80]);
    put_half(&mut out[80..], f.d[0]);
    put_half(&mut out[82..], f.min[0]);
}

/// d, min, and the scales and minimums of the eight groups from lane `from` in six bits each.
#[inline(always)]
fn head(f: &Fitted, from: usize, out: &mut [u8]) {
    put_half(out, f.d[from]);
    put_half(&mut out[2..], f.min[from]);
    let scales = &mut out[4..16];
    scales.fill(0);
    for j in 0..8 {
        let (s, m) = (f.s[from + j] as u8, f.m[from + j] as u8);
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

#[inline(always)]
fn nibbles(q: &[[u8; LANES]; 32], from: usize, out: &mut [u8]) {
    for pair in 0..4 {
        for i in 0..32 {
            out[32 * pair + i] = (q[i][from + 2 * pair] & 15) | (q[i][from + 2 * pair + 1] & 15) << 4;
        }
    }
}

#[inline(always)]
pub(super) fn q4_k(b: &Batch<32>, out: &mut [u8]) {
    let (f, q) = fit::<8, 32>(b, 15.0, 63.0);
    for (half, out) in out.chunks_exact_mut(144).enumerate() {
        head(&f, 8 * half, out);
        nibbles(&q, 8 * half, &mut out[16..]);
    }
}

#[inline(always)]
pub(super) fn q5_k(b: &Batch<32>, out: &mut [u8]) {
    let (f, q) = fit::<8, 32>(b, 31.0, 63.0);
    for (half, out) in out.chunks_exact_mut(176).enumerate() {
        head(&f, 8 * half, out);
        for i in 0..32 {
            let bit = |j: usize| (q[i][8 * half + j] >> 4) << j;
            out[16 + i] = bit(0) | bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(6) | bit(7);
        }
        nibbles(&q, 8 * half, &mut out[48..]);
    }
}
