//! Codes and scales of a row, or of a group of its elements.

use safetensors::Dtype;

use crate::model::weights::compressed::{E4M3, to_e4m3};

/// Shares of a group's largest element that are tried as the end of the range.
const CLIPS: usize = 24;

/// Elements under one scale; code 8 stands for 0.
pub(super) struct Group {
    pub(super) scale: f32,
    pub(super) codes: Vec<u8>,
}

fn peak(x: &[f32]) -> f32 {
    x.iter().fold(0f32, |m, v| m.max(v.abs()))
}

/// A row in 8-bit floats, with its scale.
pub(super) fn float_row(x: &[f32]) -> (f32, Vec<u8>) {
    let peak = peak(x);
    let scale = if peak == 0.0 { 1.0 } else { peak / E4M3[E4M3.len() - 1] };
    (scale, x.iter().map(|v| to_e4m3(v / scale)).collect())
}

/// A row in whole numbers of -127 to 127, with its largest magnitude.
pub(super) fn eight_bits(x: &[f32]) -> (f32, Vec<u8>) {
    let peak = peak(x);
    let code = |v: &f32| if peak == 0.0 { 0 } else { (v / peak * 127.0).round() as i8 };
    (peak, x.iter().map(|v| code(v) as u8).collect())
}

/// The positive scale, as `stored` holds it, and codes of -8 to 7 that leave least.
pub(super) fn four_bits(x: &[f32], weights: Option<&[f32]>, stored: Dtype) -> Group {
    let scale = scale_of(x, weights, stored);
    Group { scale, codes: x.iter().map(|v| (code(*v, scale) + 8.0) as u8).collect() }
}

fn code(v: f32, scale: f32) -> f32 {
    (v / scale).round().clamp(-8.0, 7.0)
}

fn scale_of(x: &[f32], weights: Option<&[f32]>, stored: Dtype) -> f32 {
    let peak = peak(x);
    if peak == 0.0 {
        return 1.0;
    }
    let held = |s: f32| if stored == Dtype::F16 { half::f16::from_f32(s).to_f32() } else { half::bf16::from_f32(s).to_f32() };
    let error = |scale: f32| -> f32 {
        let one = |(i, v): (usize, &f32)| weights.map_or(1.0, |w| w[i]) * (v - scale * code(*v, scale)).powi(2);
        x.iter().enumerate().map(one).sum()
    };
    let scales = (0..CLIPS).map(|i| held(peak * (1.05 - 0.025 * i as f32) / 7.5)).filter(|s| *s > 0.0 && s.is_finite());
    scales.min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or_else(|| held(6e-8).max(f32::MIN_POSITIVE))
}
