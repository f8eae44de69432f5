//! Rotary position embedding (arXiv 2104.09864) with the scalings that checkpoints use, in place on q and k.
//!
//! The convention is Hugging Face's: the head is split in halves, and element i turns with element i + dim/2. The
//! backward pass is the rotation by the opposite angle.

use candle_core::{Device, Tensor};

use crate::{Error, Result, backend};

/// How frequencies are changed for longer contexts (`modeling_rope_utils` in transformers).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RopeScaling {
    /// As trained.
    #[default]
    None,
    /// Every position divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a smooth step between.
    Llama3 {
        /// The divisor.
        factor: f64,
        /// Below this many turns in the original context a frequency is low.
        low_freq_factor: f64,
        /// Above this many it is high.
        high_freq_factor: f64,
        /// The context the model was first trained for.
        original_max_position: usize,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// The divisor.
        factor: f64,
        /// The context the model was first trained for.
        original_max_position: usize,
        /// Turns from which a dimension is kept.
        beta_fast: f64,
        /// Turns below which a dimension is divided.
        beta_slow: f64,
        /// What cos and sin are multiplied by; `0.1 ln(factor) + 1` when absent.
        attention_factor: Option<f64>,
        /// Round the ramp's ends to whole dimensions.
        truncate: bool,
    },
    /// Each frequency divided by a number of its own, as GGUF files hold them.
    Factors {
        /// The divisors, one for each pair of elements.
        factors: Vec<f32>,
        /// What cos and sin are multiplied by.
        attention_factor: f64,
    },
}

impl RopeScaling {
    /// What each frequency of a head of `dim` elements is divided by, and what cos and sin are multiplied by.
    pub fn factors(&self, dim: usize, theta: f64) -> (Vec<f32>, f32) {
        let (plain, _) = inverse_frequencies(dim, theta, &Self::None);
        let (scaled, attention) = inverse_frequencies(dim, theta, self);
        (plain.iter().zip(scaled).map(|(p, s)| p / s).collect(), attention)
    }
}

/// cos and sin of every position, f32 `[max_positions, dim/2]`, already times the attention factor.
#[derive(Debug, Clone)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
    dim: usize,
}

fn inverse_frequencies(dim: usize, theta: f64, scaling: &RopeScaling) -> (Vec<f32>, f32) {
    let base: Vec<f64> = (0..dim / 2).map(|i| 1.0 / f64::from(theta.powf((2 * i) as f64 / dim as f64) as f32)).collect();
    let pi2 = 2.0 * std::f64::consts::PI;
    match scaling.clone() {
        RopeScaling::None => (base.iter().map(|&f| f as f32).collect(), 1.0),
        RopeScaling::Linear { factor } => (base.iter().map(|&f| (f / factor) as f32).collect(), 1.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => {
            let context = original_max_position as f64;
            let change = |f: f64| {
                let wavelength = pi2 / f;
                if wavelength < context / high_freq_factor {
                    f
                } else if wavelength > context / low_freq_factor {
                    f / factor
                } else {
                    let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * f / factor + smooth * f
                }
            };
            (base.iter().map(|&f| change(f) as f32).collect(), 1.0)
        }
        RopeScaling::Yarn { factor, original_max_position, beta_fast, beta_slow, attention_factor, truncate } => {
            let turns_at = |turns: f64| dim as f64 * (original_max_position as f64 / (turns * pi2)).ln() / (2.0 * theta.ln());
            let (mut low, mut high) = (turns_at(beta_fast), turns_at(beta_slow));
            if truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
            if low == high {
                high += 0.001;
            }
            let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let mixed = base.iter().enumerate().map(|(i, &f)| (f / factor * ramp(i) + f * (1.0 - ramp(i))) as f32).collect();
            let scale = attention_factor.unwrap_or(if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 });
            (mixed, scale as f32)
        }
        RopeScaling::Factors { factors, attention_factor } => {
            (base.iter().zip(factors).map(|(&f, d)| (f / f64::from(d)) as f32).collect(), attention_factor as f32)
        }
    }
}

impl RopeTable {
    /// The table for heads of `dim` elements.
    ///
    /// # Errors
    /// When `dim` is odd.
    pub fn new(dim: usize, theta: f64, scaling: &RopeScaling, max_positions: usize, device: &Device) -> Result<Self> {
        if !dim.is_multiple_of(2) || dim == 0 {
            return Err(Error::Value { op: "rope", message: format!("head_dim {dim} must be even") });
        }
        if let RopeScaling::Factors { factors, .. } = scaling
            && factors.len() != dim / 2
        {
            return Err(Error::Value { op: "rope", message: format!("{} factors for a head_dim of {dim}", factors.len()) });
        }
        let (frequencies, scale) = inverse_frequencies(dim, theta, scaling);
        let half = dim / 2;
        let (mut cos, mut sin) = (vec![0f32; max_positions * half], vec![0f32; max_positions * half]);
        for p in 0..max_positions {
            for (i, &f) in frequencies.iter().enumerate() {
                // The angle is rounded to f32 first, as every implementation that computes in f32 does.
                let angle = f64::from(p as f32 * f);
                cos[p * half + i] = angle.cos() as f32 * scale;
                sin[p * half + i] = angle.sin() as f32 * scale;
            }
        }
        let shape = (max_positions, half);
        Ok(Self { cos: Tensor::from_vec(cos, shape, device)?, sin: Tensor::from_vec(sin, shape, device)?, dim })
    }

    /// Positions that the table covers.
    pub fn max_positions(&self) -> usize {
        self.cos.dims().first().copied().unwrap_or(0)
    }

    /// Elements of a head that turn.
    pub(crate) fn width(&self) -> usize {
        self.dim
    }

    /// The tables of cos and of sin.
    pub(crate) fn parts(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// Bytes of both tables.
    pub fn bytes(&self) -> u64 {
        2 * 4 * self.cos.elem_count() as u64
    }
}

/// Rotates q `[tokens, heads, dim]` and k `[tokens, kv_heads, dim]` in place. A table for fewer elements than a head has
/// turns the first ones of each head and leaves the others.
///
/// # Errors
/// On shapes that do not fit, or a position past the table.
pub fn rope(q: &Tensor, k: &Tensor, positions: &[u32], table: &RopeTable) -> Result<()> {
    both("rope", q, k, positions, table, 1.0)
}

/// Turns the gradients dq and dk back, in place.
///
/// # Errors
/// As [`rope`].
pub fn rope_backward(dq: &Tensor, dk: &Tensor, positions: &[u32], table: &RopeTable) -> Result<()> {
    both("rope_backward", dq, dk, positions, table, -1.0)
}

fn both(op: &'static str, q: &Tensor, k: &Tensor, positions: &[u32], table: &RopeTable, sign: f32) -> Result<()> {
    check(op, q, positions, table)?;
    check(op, k, positions, table)?;
    if k.dtype() != q.dtype() {
        return Err(Error::Dtype { op, what: "k", got: k.dtype(), want: "the dtype of q" });
    }
    backend::of(op, q)?.rope(op, q, k, positions, table, sign)
}

fn check(op: &'static str, x: &Tensor, positions: &[u32], table: &RopeTable) -> Result<()> {
    let (tokens, _, dim) = x.dims3()?;
    if tokens != positions.len() || dim < table.dim {
        let want = format!("[{}, heads, {} or more]", positions.len(), table.dim);
        return Err(Error::Shape { op, what: "x", got: format!("{:?}", x.dims()), want });
    }
    if let Some(&p) = positions.iter().find(|&&p| p as usize >= table.max_positions()) {
        return Err(Error::Value { op, message: format!("position {p} is past the table's {} positions", table.max_positions()) });
    }
    Ok(())
}
