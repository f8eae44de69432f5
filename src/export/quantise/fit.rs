//! The scale of each group of a batch alone: `x ~ d q`, and `x ~ d q + m`.

use super::lanes::{Batch, LANES, Lanes, code, inverse, lanes};

/// Shares of the range that are tried where some elements count more than others: then it may be best to clip the rest.
const CLIPPED: [f32; 7] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];

/// The element of the largest magnitude.
#[inline(always)]
fn peaks<const N: usize>(x: &[Lanes; N]) -> Lanes {
    let mut peak = [0.0f32; LANES];
    for x in x {
        for l in 0..LANES {
            peak[l] = if x[l].abs() > peak[l].abs() { x[l] } else { peak[l] };
        }
    }
    peak
}

/// The best scales so far, and how much of x they explain.
struct Scales {
    explained: Lanes,
    d: Lanes,
}

impl Scales {
    /// Takes, lane by lane, the scale that is best for the codes of `x * by` where it explains more.
    #[inline(always)]
    fn consider<const N: usize>(&mut self, b: &Batch<N>, n: f32, by: &Lanes) {
        let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
        for i in 0..N {
            for l in 0..LANES {
                let (x, w) = (b.x[i][l], b.w[i][l]);
                let q = code(x * by[l], -n, n - 1.0);
                xq[l] += w * x * q;
                qq[l] += w * q * q;
            }
        }
        for l in 0..LANES {
            // No code but 0 explains nothing: 0 / tiny.
            let d = xq[l] / qq[l].max(f32::MIN_POSITIVE);
            let better = xq[l] * d > self.explained[l];
            self.explained[l] = if better { xq[l] * d } else { self.explained[l] };
            self.d[l] = if better { d } else { self.d[l] };
        }
    }
}

/// What the largest element may be divided into, and how many of these are tried.
#[inline(always)]
fn divisions(n: f32, weighed: bool) -> ([f32; 37], usize) {
    // The code -n has no positive twin: either sign of the peak may get it.
    let mut out = [n - 1.0; 37];
    for step in 0..22 {
        out[1 + step] = -(n + 0.1 * (step as f32 - 12.0));
    }
    for i in 0..CLIPPED.len() {
        out[23 + 2 * i] = -n / CLIPPED[i];
        out[24 + 2 * i] = n / CLIPPED[i];
    }
    (out, if weighed { 37 } else { 23 })
}

/// The scale d for which `d q`, q in `-n..n`, comes nearest to x.
#[inline(always)]
pub(super) fn symmetric<const N: usize>(b: &Batch<N>, n: f32) -> Lanes {
    let peak = peaks(&b.x);
    let mut best = Scales { explained: [0.0; LANES], d: [0.0; LANES] };
    let (divisions, count) = divisions(n, b.weighed);
    // At the end two turns of codes for the scale, scale for the codes.
    for step in 0..count + 2 {
        let by = lanes(
            #[inline(always)]
            |l| if step < count { divisions[step] / peak[l] } else { 1.0 / best.d[l] },
        );
        best.consider(b, n, &by);
    }
    // Of what is too small for a scale nothing is kept.
    lanes(
        #[inline(always)]
        |l| if (1.0 / peak[l]).is_finite() { best.d[l] } else { 0.0 },
    )
}

/// The best scales and offsets so far, and their errors.
struct Lines {
    error: Lanes,
    d: Lanes,
    m: Lanes,
}

impl Lines {
    /// Takes, lane by lane, what is best by least squares for the codes of `(x - m) / d` where its error is smaller. With
    /// `below` the offset is at most 0.
    #[inline(always)]
    fn consider<const N: usize>(&mut self, b: &Batch<N>, n: f32, below: bool, d: &Lanes, m: &Lanes) {
        let by = inverse(d);
        let (mut sw, mut sx, mut sq, mut sqq, mut sxq) =
            ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
        for i in 0..N {
            for l in 0..LANES {
                let (x, w) = (b.x[i][l], b.w[i][l]);
                let q = code((x - m[l]) * by[l], 0.0, n);
                sw[l] += w;
                sx[l] += w * x;
                sq[l] += w * q;
                sqq[l] += w * q * q;
                sxq[l] += w * x * q;
            }
        }
        let (mut slope, mut offset) = ([0.0f32; LANES], [0.0f32; LANES]);
        for l in 0..LANES {
            let by_det = 1.0 / (sw[l] * sqq[l] - sq[l] * sq[l]);
            let (a, o) = ((sw[l] * sxq[l] - sx[l] * sq[l]) * by_det, (sqq[l] * sx[l] - sq[l] * sxq[l]) * by_det);
            let through_zero = below && o > 0.0;
            slope[l] = if through_zero { sxq[l] / sqq[l] } else { a };
            offset[l] = if through_zero { 0.0 } else { o };
        }
        let mut error = [0.0f32; LANES];
        for i in 0..N {
            for l in 0..LANES {
                let x = b.x[i][l];
                let e = x - (slope[l] * code((x - m[l]) * by[l], 0.0, n) + offset[l]);
                error[l] += b.w[i][l] * e * e;
            }
        }
        for l in 0..LANES {
            // Codes that are all alike have no line: their error is not a number, and not smaller.
            let better = slope[l] > 0.0 && error[l] < self.error[l];
            self.error[l] = if better { error[l] } else { self.error[l] };
            self.d[l] = if better { slope[l] } else { self.d[l] };
            self.m[l] = if better { offset[l] } else { self.m[l] };
        }
    }
}

/// Shares of the lowest and the highest element, and codes between them; and how many of these are tried.
#[inline(always)]
fn spans(n: f32, weighed: bool) -> ([(f32, f32, f32); 42], usize) {
    let mut out = [(1.0, 1.0, n); 42];
    for step in 0..21 {
        out[step].2 = n - 1.0 + 0.1 * step as f32;
    }
    for i in 0..CLIPPED.len() {
        let share = CLIPPED[i];
        (out[21 + 3 * i].0, out[22 + 3 * i].1) = (share, share);
        (out[23 + 3 * i].0, out[23 + 3 * i].1) = (share, share);
    }
    (out, if weighed { 42 } else { 21 })
}

/// The scale d >= 0 and offset m for which `d q + m`, q in `0..=n`, comes nearest to x.
#[inline(always)]
pub(super) fn affine<const N: usize>(b: &Batch<N>, n: f32, below: bool) -> (Lanes, Lanes) {
    let (mut low, mut high) = (b.x[0], b.x[0]);
    for x in &b.x {
        for l in 0..LANES {
            low[l] = low[l].min(x[l]);
            high[l] = high[l].max(x[l]);
        }
    }
    if below {
        low = lanes(
            #[inline(always)]
            |l| low[l].min(0.0),
        );
        high = lanes(
            #[inline(always)]
            |l| high[l].max(0.0),
        );
    }
    let range = lanes(
        #[inline(always)]
        |l| high[l] - low[l],
    );
    let d = lanes(
        #[inline(always)]
        |l| range[l] / n,
    );
    let mut best = Lines { error: b.error(&d, &low, 0.0, n), d, m: low };
    let (spans, count) = spans(n, b.weighed);
    // At the end two turns of codes for the line, line for the codes.
    for step in 0..count + 2 {
        let (down, up, codes) = spans[step.min(count - 1)];
        let (mut d, mut m) = (best.d, best.m);
        for l in 0..LANES {
            d[l] = if step < count { (high[l] * up - low[l] * down) / codes } else { d[l] };
            m[l] = if step < count { low[l] * down } else { m[l] };
        }
        best.consider(b, n, below, &d, &m);
    }
    // Where all elements are alike, or too near for a scale, the offset is all there is.
    let some = lanes(
        #[inline(always)]
        |l| if range[l] > 0.0 && (1.0 / range[l]).is_finite() { 1.0 } else { 0.0 },
    );
    let d = lanes(
        #[inline(always)]
        |l| if some[l] > 0.0 { best.d[l] } else { 0.0 },
    );
    (
        d,
        lanes(
            #[inline(always)]
            |l| if some[l] > 0.0 { best.m[l] } else { low[l] },
        ),
    )
}
