//! Codes that stand for unevenly spaced numbers: iq4_nl, iq4_xs, mxfp4; and ternary ones: tq1_0, tq2_0.

use super::lanes::{Batch, LANES, Lanes, inverse, lanes};
use super::{as_half, put_half};
use crate::model::gguf::tables::{FP4_DOUBLED, IQ4, e8m0_half};

/// Halfway between neighbouring values of the table.
const MIDDLES: [f32; 15] = {
    let mut out = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        out[i] = (IQ4[i] as f32 + IQ4[i + 1] as f32) / 2.0;
        i += 1;
    }
    out
};

/// The value of the table that is nearest.
#[inline(always)]
fn snap(v: f32) -> f32 {
    let mut out = IQ4[0] as f32;
    for i in 0..15 {
        let step = IQ4[i + 1] as f32 - IQ4[i] as f32;
        out += if v > MIDDLES[i] { step } else { 0.0 };
    }
    out
}

/// Its place in the table.
#[inline(always)]
fn place(v: f32) -> u8 {
    let mut out = 0.0;
    for middle in MIDDLES {
        out += if v > middle { 1.0 } else { 0.0 };
    }
    out as u8
}

/// Scales, and what they leave as error.
struct Best {
    explained: Lanes,
    d: Lanes,
}

/// Takes, lane by lane, the scale of least squares for the codes of `x * by` where it explains more.
#[inline(always)]
fn consider(best: &mut Best, b: &Batch<32>, by: &Lanes) {
    let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
    for i in 0..32 {
        for l in 0..LANES {
            let (x, w) = (b.x[i][l], b.w[i][l]);
            let q = snap(x * by[l]);
            xq[l] += w * x * q;
            qq[l] += w * q * q;
        }
    }
    for l in 0..LANES {
        let d = xq[l] / qq[l].max(f32::MIN_POSITIVE);
        let better = xq[l] * d > best.explained[l];
        best.explained[l] = if better { xq[l] * d } else { best.explained[l] };
        best.d[l] = if better { d } else { best.d[l] };
    }
}

/// The scale for which the table's multiples come nearest to x. The table reaches further below 0
/// than above: either sign of the largest element may get the long side.
#[inline(always)]
fn scales(b: &Batch<32>) -> Lanes {
    let mut peak = [0.0f32; LANES];
    for x in &b.x {
        for l in 0..LANES {
            peak[l] = if x[l].abs() > peak[l].abs() { x[l] } else { peak[l] };
        }
    }
    let mut best = Best { explained: [0.0; LANES], d: [0.0; LANES] };
    // With weights it may be best to clip what hardly counts.
    let steps = if b.weighed { 28 } else { 20 };
    for step in 0..steps + 2 {
        let far = 104.0 + 4.0 * (step / 2) as f32;
        let division = if step % 2 == 0 { -far } else { far - 14.0 };
        let by = lanes(
            #[inline(always)]
            |l| if step < steps { division / peak[l] } else { 1.0 / best.d[l] },
        );
        consider(&mut best, b, &by);
    }
    lanes(
        #[inline(always)]
        |l| if (1.0 / peak[l]).is_finite() { best.d[l] } else { 0.0 },
    )
}

/// Places in the table under these scales.
#[inline(always)]
fn places(b: &Batch<32>, d: &Lanes) -> [[u8; LANES]; 32] {
    let by = inverse(d);
    let mut q = [[0u8; LANES]; 32];
    for i in 0..32 {
        for l in 0..LANES {
            q[i][l] = place(b.x[i][l] * by[l]);
        }
    }
    q
}

#[inline(always)]
fn error(b: &Batch<32>, d: &Lanes) -> Lanes {
    let (by, mut sum) = (inverse(d), [0.0; LANES]);
    for i in 0..32 {
        for l in 0..LANES {
            let e = b.x[i][l] - d[l] * snap(b.x[i][l] * by[l]);
            sum[l] += b.w[i][l] * e * e;
        }
    }
    sum
}

#[inline(always)]
fn nibbles(q: &[[u8; LANES]; 32], l: usize, out: &mut [u8]) {
    for j in 0..16 {
        out[j] = q[j][l] | q[j + 16][l] << 4;
    }
}

#[inline(always)]
pub(super) fn iq4_nl(b: &Batch<32>, out: &mut [u8]) {
    let wanted = scales(b);
    let d = lanes(
        #[inline(always)]
        |l| as_half(wanted[l]),
    );
    let q = places(b, &d);
    for (l, out) in out.chunks_exact_mut(18).enumerate() {
        put_half(out, d[l]);
        nibbles(&q, l, &mut out[2..]);
    }
}

/// Groups in a block of 256.
const GROUPS: usize = 8;

/// Two blocks: in every lane the common scale of its block, and the group's own as a whole number
/// in -32..=31.
struct Fitted {
    d: Lanes,
    own: Lanes,
    error: Lanes,
}

impl Fitted {
    #[inline(always)]
    fn with_scale(b: &Batch<32>, wanted: &Lanes, d: Lanes) -> Self {
        let by = inverse(&d);
        let mut f = Self { d, own: [0.0; LANES], error: [f32::INFINITY; LANES] };
        for step in [0.0, -1.0, 1.0] {
            let own = lanes(
                #[inline(always)]
                |l| (super::lanes::code(wanted[l] * by[l], -32.0, 31.0) + step).clamp(-32.0, 31.0),
            );
            let e = error(
                b,
                &lanes(
                    #[inline(always)]
                    |l| d[l] * own[l],
                ),
            );
            for l in 0..LANES {
                let better = e[l] < f.error[l];
                f.own[l] = if better { own[l] } else { f.own[l] };
                f.error[l] = if better { e[l] } else { f.error[l] };
            }
        }
        f
    }

    #[inline(always)]
    fn each(&self) -> Lanes {
        lanes(
            #[inline(always)]
            |l| self.d[l] * self.own[l],
        )
    }

    /// The common scale of least squares for the codes of these.
    #[inline(always)]
    fn refit(&self, b: &Batch<32>) -> Lanes {
        let each = self.each();
        let by = inverse(&each);
        let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
        for i in 0..32 {
            for l in 0..LANES {
                let v = self.own[l] * snap(b.x[i][l] * by[l]);
                xq[l] += b.w[i][l] * b.x[i][l] * v;
                qq[l] += b.w[i][l] * v * v;
            }
        }
        let mut d = self.d;
        for block in 0..LANES / GROUPS {
            let range = block * GROUPS..(block + 1) * GROUPS;
            let (xq, qq): (f32, f32) = (xq[range.clone()].iter().sum(), qq[range.clone()].iter().sum());
            if qq > 0.0 {
                d[range].fill(as_half(xq / qq));
            }
        }
        d
    }

    #[inline(always)]
    fn take_better(&mut self, other: &Self) {
        for block in 0..LANES / GROUPS {
            let range = block * GROUPS..(block + 1) * GROUPS;
            let (mine, theirs): (f32, f32) = (self.error[range.clone()].iter().sum(), other.error[range.clone()].iter().sum());
            if theirs < mine {
                for l in range {
                    (self.d[l], self.own[l], self.error[l]) = (other.d[l], other.own[l], other.error[l]);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn iq4_xs(b: &Batch<32>, out: &mut [u8]) {
    let wanted = scales(b);
    let mut d = [0.0; LANES];
    for block in 0..LANES / GROUPS {
        let range = block * GROUPS..(block + 1) * GROUPS;
        let mut largest = 0.0f32;
        for v in &wanted[range.clone()] {
            largest = if v.abs() > largest.abs() { *v } else { largest };
        }
        // The largest gets -32, which has no positive twin.
        d[range].fill(as_half(-largest / 32.0));
    }
    let mut best = Fitted::with_scale(b, &wanted, d);
    for _ in 0..2 {
        let again = Fitted::with_scale(b, &wanted, best.refit(b));
        best.take_better(&again);
    }
    let q = places(b, &best.each());
    for (block, out) in out.chunks_exact_mut(136).enumerate() {
        let first = block * GROUPS;
        put_half(out, best.d[first]);
        out[2..8].fill(0);
        for group in 0..GROUPS {
            let s = (best.own[first + group] + 32.0) as u8;
            out[4 + group / 2] |= (s & 15) << (4 * (group % 2));
            out[2 + group / 4] |= (s >> 4) << (2 * (group % 4));
            nibbles(&q, first + group, &mut out[8 + 16 * group..]);
        }
    }
}

/// The code of the 4-bit float that is nearest to half of v.
#[inline(always)]
fn fp4(v: f32) -> u8 {
    let magnitude = v.abs();
    let mut code = 0;
    for i in 0..7 {
        let middle = (FP4_DOUBLED[i] + FP4_DOUBLED[i + 1]) as f32 / 2.0;
        code += u8::from(magnitude > middle);
    }
    code | if v < 0.0 { 8 } else { 0 }
}

#[inline(always)]
pub(super) fn mxfp4(x: &[f32], out: &mut [u8]) {
    let mut peak = 0.0f32;
    for v in x {
        peak = peak.max(v.abs());
    }
    if peak == 0.0 {
        out.fill(0);
        return;
    }
    // The largest code is 12: the peak fits under this power of two, or is clipped under the next.
    let above = ((peak / 12.0).log2().ceil() as i32 + 128).clamp(1, 254) as u8;
    let mut least = f32::INFINITY;
    let mut exponent = above;
    for e in [above, above - 1] {
        let d = e8m0_half(e);
        let mut wrong = 0.0;
        for v in x {
            let c = fp4(v / d);
            let sign = if c & 8 == 0 { d } else { -d };
            let left = v - sign * FP4_DOUBLED[usize::from(c & 7)] as f32;
            wrong += left * left;
        }
        if wrong < least {
            (least, exponent) = (wrong, e);
        }
    }
    let d = e8m0_half(exponent);
    out[0] = exponent;
    for j in 0..16 {
        out[1 + j] = fp4(x[j] / d) | fp4(x[j + 16] / d) << 4;
    }
}

/// Scale and codes 0, 1, 2 of a block of ternary numbers.
#[inline(always)]
fn ternary(x: &[f32]) -> (f32, [u8; 256]) {
    let mut d = 0.0f32;
    for v in x {
        d = d.max(v.abs());
    }
    let by = if d == 0.0 { 0.0 } else { 1.0 / d };
    let mut q = [0u8; 256];
    for (q, v) in q.iter_mut().zip(x) {
        *q = (super::lanes::code(v * by, -1.0, 1.0) + 1.0) as u8;
    }
    (d, q)
}

#[inline(always)]
pub(super) fn tq2_0(x: &[f32], out: &mut [u8]) {
    let (d, q) = ternary(x);
    for half in 0..2 {
        for l in 0..32 {
            let at = |p: usize| q[128 * half + 32 * p + l] << (2 * p);
            out[32 * half + l] = at(0) | at(1) | at(2) | at(3);
        }
    }
    put_half(&mut out[64..], d);
}

/// A number of five digits to the base 3 as the byte whose multiples by 3 carry them out one by one.
#[inline(always)]
fn digits(q: [u8; 5]) -> u8 {
    let mut v = 0u32;
    for digit in q {
        v = v * 3 + u32::from(digit);
    }
    ((v * 256).div_ceil(243)) as u8
}

#[inline(always)]
pub(super) fn tq1_0(x: &[f32], out: &mut [u8]) {
    let (d, q) = ternary(x);
    for l in 0..32 {
        out[l] = digits([q[l], q[32 + l], q[64 + l], q[96 + l], q[128 + l]]);
    }
    for l in 0..16 {
        out[32 + l] = digits([q[160 + l], q[176 + l], q[192 + l], q[208 + l], q[224 + l]]);
    }
    for l in 0..4 {
        out[48 + l] = digits([q[240 + l], q[244 + l], q[248 + l], q[252 + l], 0]);
    }
    put_half(&mut out[52..], d);
}
