//! One normalisation: RMSNorm with a weight, or LayerNorm without parameters.

use candle_core::Tensor;
use tallow_kernels::elementwise::add_inplace;
use tallow_kernels::norm;

use super::decoder::Stats;
use super::error::{Error, Result};
use super::params::{Grads, ParamId};

#[derive(Debug, Clone)]
pub(crate) enum Norm {
    Rms {
        name: String,
        /// What rows are multiplied by: the stored weight, plus one where `plus_one`.
        weight: Tensor,
        plus_one: bool,
        eps: f64,
        param: Option<ParamId>,
    },
    LayerNormPlain {
        eps: f64,
    },
}

impl Norm {
    pub(crate) fn trains(&self) -> bool {
        matches!(self, Self::Rms { param: Some(_), .. })
    }

    /// What a stored weight multiplies rows by.
    pub(crate) fn factor(stored: &Tensor, plus_one: bool) -> Result<Tensor> {
        Ok(if plus_one { (stored + 1.0)? } else { stored.clone() })
    }

    /// The rows of x that it runs over: whole tokens, or heads where its weight is as wide as one.
    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rms { weight, .. } if x.dims().last() != Some(&weight.elem_count()) => {
                let width = weight.elem_count();
                Ok(x.reshape((x.elem_count() / width, width))?)
            }
            _ => Ok(x.clone()),
        }
    }

    /// x `[tokens, width]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<(Tensor, Stats<Tensor>)> {
        let x = self.rows(x)?;
        Ok(match self {
            Self::Rms { weight, eps, .. } => {
                let (y, rstd) = norm::rms_norm(&x, weight, *eps)?;
                (y, Stats { mean: None, rstd })
            }
            Self::LayerNormPlain { eps } => {
                let (y, mean, rstd) = norm::layer_norm(&x, None, None, *eps)?;
                (y, Stats { mean: Some(mean), rstd })
            }
        })
    }

    /// `x += residual` in place, then its norm.
    pub(crate) fn forward_sum(&self, x: &Tensor, residual: &Tensor) -> Result<(Tensor, Stats<Tensor>)> {
        if let Self::Rms { weight, eps, .. } = self {
            let (y, rstd) = norm::add_inplace_rms_norm(x, residual, weight, *eps)?;
            return Ok((y, Stats { mean: None, rstd }));
        }
        add_inplace(x, residual)?;
        self.forward(x)
    }

    /// The gradient of x, plus `residual` where given; adds the weight's gradient where it trains.
    pub(crate) fn backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        stats: &Stats<Tensor>,
        residual: Option<&Tensor>,
        grads: &Grads,
    ) -> Result<Tensor> {
        let (shape, dy, x) = (x.dims(), self.rows(dy)?, self.rows(x)?);
        let dx = match (self, &stats.mean) {
            (Self::Rms { weight, param, .. }, _) => {
                norm::rms_norm_backward(&dy, &x, weight, &stats.rstd, residual, param.map(|id| grads.get(id)))?
            }
            (Self::LayerNormPlain { .. }, Some(mean)) => norm::layer_norm_backward(&dy, &x, None, mean, &stats.rstd, residual, None, None)?,
            (Self::LayerNormPlain { .. }, None) => return Err(Error::Value("layer norm without its means".into())),
        };
        Ok(if dx.dims() == shape { dx } else { dx.reshape(shape)? })
    }
}
