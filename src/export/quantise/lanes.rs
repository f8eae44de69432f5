//! Sixteen groups at once, one to a lane: every step over them is one vector operation, and no sum crosses lanes.
//!
//! Loops over lanes are innermost and all their bounds are known, so that they become vectors under [`widest`]. No lane
//! looks at another, so neither the width of vectors nor a group's neighbours change its result.
//!
//! [`widest`]: tallow_kernels::widest

/// Groups in a batch.
pub(super) const LANES: usize = 16;

/// A number for each group.
pub(super) type Lanes = [f32; LANES];

/// A number for each lane.
#[inline(always)]
pub(super) fn lanes(f: impl Fn(usize) -> f32) -> Lanes {
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        out[l] = f(l);
    }
    out
}

/// 1 / v, or 0 where v is 0.
#[inline(always)]
pub(super) fn inverse(v: &Lanes) -> Lanes {
    lanes(
        #[inline(always)]
        |l| if v[l] == 0.0 { 0.0 } else { 1.0 / v[l] },
    )
}

/// The nearest whole number, in plain arithmetic that every processor vectorises; beyond 2^22 something as large.
#[inline(always)]
pub(super) fn nearest(v: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (v + MAGIC) - MAGIC
}

/// The nearest whole number in `low..=high`.
#[inline(always)]
pub(super) fn code(v: f32, low: f32, high: f32) -> f32 {
    nearest(v).max(low).min(high)
}

/// Sixteen groups of N neighbouring elements: element i of group l is `x[i][l]`, and its error counts `w[i][l]`.
pub(super) struct Batch<const N: usize> {
    pub(super) x: [Lanes; N],
    pub(super) w: [Lanes; N],
    /// Whether weights were given.
    pub(super) weighed: bool,
}

impl<const N: usize> Batch<N> {
    /// The groups at the beginning of `values`, which is `from` elements into a matrix with rows of `width`, whose columns
    /// count as `importance` says. Where there are fewer than sixteen, zeros stand for the rest.
    #[inline(always)]
    pub(super) fn gather(values: &[f32], from: usize, width: usize, importance: Option<&[f32]>) -> Self {
        let mut batch = Self { x: [[0.0; LANES]; N], w: [[1.0; LANES]; N], weighed: importance.is_some() };
        for (l, group) in values.chunks_exact(N).take(LANES).enumerate() {
            for i in 0..N {
                batch.x[i][l] = group[i];
            }
            if let Some(w) = importance {
                let column = (from + l * N) % width;
                let w = &w[column..column + N];
                // A column that calibration never touched must still be stored.
                let floor = w.iter().sum::<f32>() / N as f32 * 1e-4 + f32::MIN_POSITIVE;
                for i in 0..N {
                    batch.w[i][l] = w[i].max(floor);
                }
            }
        }
        batch
    }

    /// Weighted squared error of `d q + m` with the best codes in `low..=high`.
    #[inline(always)]
    pub(super) fn error(&self, d: &Lanes, m: &Lanes, low: f32, high: f32) -> Lanes {
        let (by, mut sum) = (inverse(d), [0.0; LANES]);
        for i in 0..N {
            for l in 0..LANES {
                let x = self.x[i][l];
                let e = x - (d[l] * code((x - m[l]) * by[l], low, high) + m[l]);
                sum[l] += self.w[i][l] * e * e;
            }
        }
        sum
    }

    /// Those codes, counted from `low`.
    #[inline(always)]
    pub(super) fn codes(&self, d: &Lanes, m: &Lanes, low: f32, high: f32) -> [[u8; LANES]; N] {
        let (by, mut q) = (inverse(d), [[0u8; LANES]; N]);
        for i in 0..N {
            for l in 0..LANES {
                q[i][l] = (code((self.x[i][l] - m[l]) * by[l], low, high) - low) as u8;
            }
        }
        q
    }
}
