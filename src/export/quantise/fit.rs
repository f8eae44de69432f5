//! Fitting codes to one group: `x ~ d q`, and `x ~ d q + m`.

/// The nearest whole number, in plain arithmetic that every processor vectorises. For |v| < 2^22.
#[inline(always)]
pub(super) fn nearest(v: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (v + MAGIC) - MAGIC
}

#[inline(always)]
fn code(v: f32, low: f32, high: f32) -> f32 {
    nearest(v.clamp(low - 1.0, high + 1.0)).clamp(low, high)
}

/// Codes of `x / d` in `low..=high`.
#[inline(always)]
pub(super) fn codes<const N: usize>(x: &[f32; N], d: f32, m: f32, low: f32, high: f32) -> [f32; N] {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let mut q = [0.0; N];
    for i in 0..N {
        q[i] = code((x[i] - m) * inverse, low, high);
    }
    q
}

/// Weighted squared error of `d q + m`.
#[inline(always)]
pub(super) fn error<const N: usize>(x: &[f32; N], w: &[f32; N], q: &[f32; N], d: f32, m: f32) -> f32 {
    let mut sum = [0.0f32; 8];
    for i in 0..N {
        let e = x[i] - (d * q[i] + m);
        sum[i % 8] += w[i] * e * e;
    }
    sum.iter().sum()
}

/// The element of the largest magnitude.
pub(super) fn peak(x: &[f32]) -> f32 {
    x.iter().fold(0.0f32, |p, v| if v.abs() > p.abs() { *v } else { p })
}

/// How much of x the codes of `x * inverse` explain with the scale that is best for them, and that scale.
#[inline(always)]
fn explained<const N: usize>(x: &[f32; N], w: &[f32; N], n: f32, inverse: f32) -> (f32, f32) {
    let (mut xq, mut qq) = ([0.0f32; 8], [0.0f32; 8]);
    for i in 0..N {
        let q = code(x[i] * inverse, -n, n - 1.0);
        xq[i % 8] += w[i] * x[i] * q;
        qq[i % 8] += w[i] * q * q;
    }
    let (xq, qq) = (xq.iter().sum::<f32>(), qq.iter().sum::<f32>());
    if qq > 0.0 { (xq * xq / qq, xq / qq) } else { (0.0, 0.0) }
}

/// Shares of the range that are tried where some elements count more than others: then it may be best to clip the rest.
const CLIPPED: [f32; 7] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];

/// Shares to try beside the whole range.
fn clipped<const N: usize>(w: &[f32; N]) -> impl Iterator<Item = f32> {
    let uneven = w.iter().any(|v| *v != w[0]);
    CLIPPED.into_iter().filter(move |_| uneven)
}

/// The scale d for which `d q`, q in `-n..n`, comes nearest to x.
pub(super) fn symmetric<const N: usize>(x: &[f32; N], w: &[f32; N], n: f32) -> f32 {
    let peak = peak(x);
    if peak == 0.0 || !(1.0 / peak).is_finite() {
        return 0.0;
    }
    // The largest element gets the code -n, which has no positive twin, or (last) n-1.
    let steps = (-12..=9).map(|step| -(n + 0.1 * step as f32) / peak).chain([(n - 1.0) / peak]);
    let steps = steps.chain(clipped(w).flat_map(|share| [-n / (share * peak), n / (share * peak)]));
    let better = |best: (f32, f32), new: (f32, f32)| if new.0 > best.0 { new } else { best };
    let mut best = steps.map(|inverse| explained(x, w, n, inverse)).fold((0.0, 0.0), better);
    // Two turns of codes for the scale, scale for the codes.
    for _ in 0..2 {
        if best.1 != 0.0 {
            best = better(best, explained(x, w, n, 1.0 / best.1));
        }
    }
    best.1
}

/// The scale and offset of least squares for these codes. With `below`, the offset is at most 0.
fn solve<const N: usize>(x: &[f32; N], w: &[f32; N], q: &[f32; N], below: bool) -> Option<(f32, f32)> {
    let (mut sw, mut sx, mut sq, mut sqq, mut sxq) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for i in 0..N {
        sw += w[i];
        sx += w[i] * x[i];
        sq += w[i] * q[i];
        sqq += w[i] * q[i] * q[i];
        sxq += w[i] * x[i] * q[i];
    }
    let det = sw * sqq - sq * sq;
    if det <= 0.0 {
        return None;
    }
    let (d, m) = ((sw * sxq - sx * sq) / det, (sqq * sx - sq * sxq) / det);
    Some(if below && m > 0.0 { (if sqq > 0.0 { sxq / sqq } else { 0.0 }, 0.0) } else { (d, m) })
}

/// The scale d >= 0 and offset m for which `d q + m`, q in `0..=n`, comes nearest to x.
pub(super) fn affine<const N: usize>(x: &[f32; N], w: &[f32; N], n: f32, below: bool) -> (f32, f32) {
    let (mut low, mut high) = x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if below {
        low = low.min(0.0);
        high = high.max(0.0);
    }
    if high <= low || !(1.0 / (high - low)).is_finite() {
        return (0.0, low);
    }
    let mut best = ((high - low) / n, low);
    let mut least = error(x, w, &codes(x, best.0, best.1, 0.0, n), best.0, best.1);
    let mut consider = |d: f32, m: f32, best: &mut (f32, f32)| {
        let q = codes(x, d, m, 0.0, n);
        let Some((d, m)) = solve(x, w, &q, below).filter(|(d, _)| *d > 0.0) else { return };
        let e = error(x, w, &q, d, m);
        if e < least {
            (least, *best) = (e, (d, m));
        }
    };
    for step in 0..=20 {
        consider((high - low) / (n - 1.0 + 0.1 * step as f32), low, &mut best);
    }
    for share in clipped(w) {
        for (low, high) in [(low * share, high), (low, high * share), (low * share, high * share)] {
            consider((high - low) / n, low, &mut best);
        }
    }
    for _ in 0..2 {
        let (d, m) = best;
        consider(d, m, &mut best);
    }
    best
}
