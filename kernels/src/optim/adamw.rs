//! AdamW (Decoupled Weight Decay Regularization, arXiv 1711.05101) with f32 state, as torch.optim.AdamW steps.

use candle_core::Tensor;

use crate::{Error, Result, backend};

/// One step's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// 1 for the first step.
    pub step: u64,
    /// Gradients are multiplied by this first (clipping).
    pub grad_scale: f32,
}

impl AdamW {
    /// (decay of the parameter, step size, 1/sqrt(bias correction 2)).
    fn factors(&self) -> (f32, f32, f32) {
        let correction1 = 1.0 - self.beta1.powf(self.step as f64);
        let correction2 = 1.0 - self.beta2.powf(self.step as f64);
        ((1.0 - self.lr * self.weight_decay) as f32, (self.lr / correction1) as f32, (1.0 / correction2.sqrt()) as f32)
    }
}

/// A step's constants in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Constants {
    pub decay: f32,
    pub size: f32,
    pub root: f32,
    pub eps: f32,
    pub beta: [f32; 2],
    pub rest: [f32; 2],
    pub grad_scale: f32,
}

impl Constants {
    pub(crate) fn of(o: &AdamW) -> Self {
        let (decay, size, root) = o.factors();
        let rest = [(1.0 - o.beta1) as f32, (1.0 - o.beta2) as f32];
        Self { decay, size, root, eps: o.eps as f32, beta: [o.beta1 as f32, o.beta2 as f32], rest, grad_scale: o.grad_scale }
    }

    /// The same for moments in 8 bits, whose kernel rounds the decays first, as bitsandbytes does.
    pub(crate) fn of_8bit(o: &AdamW) -> Self {
        Self { rest: [1.0 - o.beta1 as f32, 1.0 - o.beta2 as f32], ..Self::of(o) }
    }

    /// The new (p, m, v) of one element.
    #[inline(always)]
    pub(crate) fn step(&self, p: f32, m: f32, v: f32, g: f32) -> (f32, f32, f32) {
        let g = g * self.grad_scale;
        let m = self.beta[0] * m + self.rest[0] * g;
        let v = self.beta[1] * v + self.rest[1] * g * g;
        (p * self.decay - self.size * m / (v.sqrt() * self.root + self.eps), m, v)
    }
}

/// One step of one tensor: p, g, m, v all f32 of one shape; p, m and v change in place.
///
/// # Errors
/// When shapes differ or a tensor is not f32 and contiguous.
pub fn adamw_step(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, o: &AdamW) -> Result<()> {
    const OP: &str = "adamw_step";
    for (what, t) in [("g", g), ("m", m), ("v", v)] {
        if t.dims() != p.dims() {
            return Err(Error::Shape { op: OP, what, got: format!("{:?}", t.dims()), want: format!("{:?}", p.dims()) });
        }
    }
    let state = super::Adam8State::Full { m: m.clone(), v: v.clone() };
    backend::of(OP, p)?.adamw_step(OP, &[(p, g, &state, o.weight_decay)], o)
}

/// One step of every (p, g, m, v).
///
/// # Errors
/// As [`adamw_step`].
pub fn adamw_step_all(tensors: &[(&Tensor, &Tensor, &Tensor, &Tensor)], o: &AdamW) -> Result<()> {
    let states: Vec<_> = tensors.iter().map(|(.., m, v)| super::Adam8State::Full { m: (*m).clone(), v: (*v).clone() }).collect();
    let all: Vec<_> = tensors.iter().zip(&states).map(|((p, g, ..), state)| (*p, *g, state, o.weight_decay)).collect();
    super::adamw8_step_all(&all, o)
}
