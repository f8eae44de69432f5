//! The dynamic 8-bit map of Dettmers et al. (8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861),
//! laid out as bitsandbytes builds it.

/// The 256 sorted values of the dynamic map in [-1, 1] (signed) or [0, 1] (unsigned).
///
/// Seven exponents; at exponent i, 2^i (signed) or 2^(i+1) (unsigned) fractions between 0.1 and 1, taken at
/// the midpoints, scaled by 10^(i-6). Zero and one are added.
pub fn dynamic_map(signed: bool) -> [f32; 256] {
    const EXPONENT_BITS: i32 = 7;
    let mut values: Vec<f32> = Vec::with_capacity(256);
    for i in 0..EXPONENT_BITS {
        let fractions = if signed { 1usize << i } else { 1usize << (i + 1) };
        // torch takes a factor of f32 values as f32.
        let scale = 10f64.powi(i - (EXPONENT_BITS - 1)) as f32;
        let edges = linspace_f32(0.1, 1.0, fractions + 1);
        for pair in edges.windows(2) {
            let mean = (pair[0] + pair[1]) / 2.0;
            let value = scale * mean;
            values.push(value);
            if signed {
                values.push(-value);
            }
        }
    }
    values.push(0.0);
    values.push(1.0);
    values.sort_by(f32::total_cmp);
    let mut out = [0.0; 256];
    out.copy_from_slice(&values[..256]);
    out
}

/// `n` values from `start` to `end`, counted from both ends towards the middle in f32 with one rounding each: torch
/// compiles its loop to fused multiply-adds, and without them 42 values of the map are one bit off.
fn linspace_f32(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = (end - start) / (n - 1) as f32;
    let value = |i: usize| if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - 1 - i) as f32, end) };
    (0..n).map(value).collect()
}

/// The index of the value nearest to `x` in a sorted map; the lower one on a tie.
pub fn nearest_code(map: &[f32; 256], x: f32) -> u8 {
    let above = map.partition_point(|&v| v < x).min(255);
    if above == 0 {
        return 0;
    }
    let below = above - 1;
    if (x - map[below]) <= (map[above] - x) { below as u8 } else { above as u8 }
}

#[cfg(test)]
mod tests {
    use super::{dynamic_map, nearest_code};

    #[test]
    fn maps_are_sorted_and_complete() {
        for signed in [true, false] {
            let map = dynamic_map(signed);
            assert!(map.windows(2).all(|w| w[0] < w[1]), "signed={signed}");
            assert_eq!(map[255], 1.0);
        }
        assert_eq!(dynamic_map(false)[0], 0.0);
        assert!((dynamic_map(true)[0] + 0.992_968_75).abs() < 1e-6);
    }

    #[test]
    fn the_nearest_code_is_the_nearest() {
        let map = dynamic_map(true);
        for i in 0..2001 {
            let x = i as f32 / 1000.0 - 1.0;
            let got = (map[usize::from(nearest_code(&map, x))] - x).abs();
            let best = map.iter().map(|v| (v - x).abs()).fold(f32::MAX, f32::min);
            assert_eq!(got, best, "x={x}");
        }
    }
}
