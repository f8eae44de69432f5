//! One normalisation: RMSNorm with a weight, or LayerNorm without parameters.

use candle_core::Tensor;
use tallow_kernels::elementwise::add_inplace;
use tallow_kernels::norm;

use super::error::Result;
use super::params::{Grads, ParamId};

/// What the backward pass needs of a row besides its input: f32 `[rows]` each.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    mean: Option<Tensor>,
    rstd: Tensor,
}

impl Stats {
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.mean.iter().chain(Some(&self.rstd))
    }

    pub(crate) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.mean.iter_mut().chain(Some(&mut self.rstd))
    }
}

#[derive(Debug)]
pub(crate) enum Norm {
    Rms { name: String, weight: Tensor, eps: f64, param: Option<ParamId> },
    LayerNormPlain { eps: f64 },
}

impl Norm {
    pub(crate) fn trains(&self) -> bool {
        matches!(self, Self::Rms { param: Some(_), .. })
    }

    /// x `[rows, d]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<(Tensor, Stats)> {
        Ok(match self {
            Self::Rms { weight, eps, .. } => {
                let (y, rstd) = norm::rms_norm(x, weight, *eps)?;
                (y, Stats { mean: None, rstd })
            }
            Self::LayerNormPlain { eps } => {
                let (y, mean, rstd) = norm::layer_norm(x, None, None, *eps)?;
                (y, Stats { mean: Some(mean), rstd })
            }
        })
    }

    /// `x += residual` in place, then its norm.
    pub(crate) fn forward_sum(&self, x: &Tensor, residual: &Tensor) -> Result<(Tensor, Stats)> {
        if let Self::Rms { weight, eps, .. } = self {
            let (y, rstd) = norm::add_inplace_rms_norm(x, residual, weight, *eps)?;
            return Ok((y, Stats { mean: None, rstd }));
        }
        add_inplace(x, residual)?;
        self.forward(x)
    }

    /// The gradient of x, plus `residual` where given; adds the weight's gradient where it trains.
    pub(crate) fn backward(&self, dy: &Tensor, x: &Tensor, stats: &Stats, residual: Option<&Tensor>, grads: &Grads) -> Result<Tensor> {
        Ok(match (self, &stats.mean) {
            (Self::Rms { weight, param, .. }, _) => {
                norm::rms_norm_backward(dy, x, weight, &stats.rstd, residual, param.map(|id| grads.get(id)))?
            }
            (Self::LayerNormPlain { .. }, Some(mean)) => norm::layer_norm_backward(dy, x, None, mean, &stats.rstd, residual, None, None)?,
            (Self::LayerNormPlain { .. }, None) => return Err(super::error::Error::Value("layer norm without its means".into())),
        })
    }
}
