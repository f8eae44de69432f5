//! AdamW over all trained tensors, with its state in 32 or in 8 bits.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use tallow_kernels::optim::{Adam8State, AdamW, adamw8_step_all};

use super::error::{Result, TrainError};
use crate::model::{Grads, Params};

pub use crate::config::OptimizerKind;

impl OptimizerKind {
    /// Bytes of the moments of a tensor of `elements`.
    pub fn bytes(self, elements: usize) -> u64 {
        match self {
            Self::AdamW => 8 * elements as u64,
            Self::AdamW8bit => Adam8State::bytes_of(elements),
        }
    }
}

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimizerConfig {
    /// How the moments are held.
    pub kind: OptimizerKind,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay of matrices. Vectors (norm weights, biases) are never decayed.
    pub weight_decay: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { kind: OptimizerKind::AdamW, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// The optimiser of one run.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    step: u64,
    state: Vec<Adam8State>,
}

impl Optimizer {
    /// Zero moments for every trained tensor.
    ///
    /// # Errors
    /// When memory for them cannot be had on the device.
    pub fn new(params: &Params, config: OptimizerConfig) -> Result<Self> {
        let zeros = |p: &Tensor| match config.kind {
            OptimizerKind::AdamW => Ok(Adam8State::Full { m: p.zeros_like()?, v: p.zeros_like()? }),
            OptimizerKind::AdamW8bit => Adam8State::zeros(p),
        };
        let state = params.iter().map(|p| zeros(&p.tensor)).collect::<Result<_, tallow_kernels::Error>>()?;
        Ok(Self { config, step: 0, state })
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Bytes of the moments.
    pub fn bytes(&self) -> u64 {
        self.state.iter().map(Adam8State::bytes).sum()
    }

    /// One step over all tensors. Gradients are multiplied by `grad_scale` on the way (clipping costs no pass of its own).
    ///
    /// # Errors
    /// A kernel's own.
    pub fn step(&mut self, params: &Params, grads: &Grads, lr: f64, grad_scale: f32) -> Result<()> {
        self.step += 1;
        let c = self.config;
        let o = AdamW { lr, beta1: c.beta1, beta2: c.beta2, eps: c.eps, weight_decay: c.weight_decay, step: self.step, grad_scale };
        let decay = |t: &Tensor| if t.rank() >= 2 { c.weight_decay } else { 0.0 };
        let all = params.iter().zip(&grads.tensors).zip(&self.state);
        let all: Vec<_> = all.map(|((p, g), state)| (&p.tensor, g, state, decay(&p.tensor))).collect();
        Ok(adamw8_step_all(&all, &o)?)
    }

    /// The moments under `<parameter>.m`, `.v` (and `.m_absmax`, `.v_absmax`).
    pub(super) fn tensors(&self, params: &Params) -> HashMap<String, Tensor> {
        let mut out = HashMap::new();
        for (p, state) in params.iter().zip(&self.state) {
            for (suffix, t) in parts(state) {
                out.insert(format!("{}.{suffix}", p.name), t.clone());
            }
        }
        out
    }

    /// Takes up the moments that [`Self::tensors`] gave, from a safetensors file.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] naming the tensor that is missing or does not fit.
    pub(super) fn load(&mut self, path: &Path, params: &Params, step: u64) -> Result<()> {
        let fail = |message: String| TrainError::Checkpoint { path: path.to_path_buf(), message };
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| fail(e.to_string()))?;
        for (p, state) in params.iter().zip(&self.state) {
            for (suffix, t) in parts(state) {
                let name = format!("{}.{suffix}", p.name);
                let saved = tensors.get(&name).ok_or_else(|| fail(format!("tensor `{name}` is missing")))?;
                copy_into(t, saved).map_err(|e| fail(format!("tensor `{name}`: {e}")))?;
            }
        }
        self.step = step;
        Ok(())
    }
}

fn parts(state: &Adam8State) -> Vec<(&'static str, &Tensor)> {
    match state {
        Adam8State::Full { m, v } => vec![("m", m), ("v", v)],
        Adam8State::Blocks { m, v, m_absmax, v_absmax } => vec![("m", m), ("v", v), ("m_absmax", m_absmax), ("v_absmax", v_absmax)],
    }
}

/// Overwrites `to` in place; shapes and dtypes must agree.
pub(super) fn copy_into(to: &Tensor, from: &Tensor) -> Result<(), String> {
    if to.dims() != from.dims() || to.dtype() != from.dtype() {
        return Err(format!("it is {:?} {:?}, the run needs {:?} {:?}", from.dtype(), from.dims(), to.dtype(), to.dims()));
    }
    let from = from.to_device(to.device()).map_err(|e| e.to_string())?;
    to.slice_set(&from, 0, 0).map_err(|e| e.to_string())
}
