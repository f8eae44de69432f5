//! Why a run cannot go on: where the first value that is not finite stands.

use std::fmt;
use std::path::PathBuf;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::model::{Grads, Params};

/// Where a value that is not finite was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symptom {
    /// The loss.
    Loss,
    /// The gradients, while the loss was still finite.
    Gradient,
    /// A trained value, before a checkpoint was written.
    Parameter,
    /// The loss on the validation rows.
    Evaluation,
}

/// What was found when training stopped being finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The step in which it was seen; it changed nothing.
    pub step: u64,
    /// Where it was seen.
    pub symptom: Symptom,
    /// The first tensor that holds it: a parameter if one does, else a gradient; none when only the loss does.
    pub tensor: Option<String>,
    /// Whether that tensor is a parameter (spoilt by an earlier step) and not a gradient.
    pub in_parameter: bool,
    /// The loss as it came out, in words, since JSON has no NaN.
    pub loss: String,
    /// The gradients' norm as it came out.
    pub grad_norm: String,
    /// Learning rate of the step.
    pub lr: f64,
    /// The newest complete checkpoint.
    pub last_checkpoint: Option<PathBuf>,
    /// What to try.
    pub hint: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.symptom {
            Symptom::Loss => format!("the loss is {}", self.loss),
            Symptom::Gradient => format!("the gradient norm is {}", self.grad_norm),
            Symptom::Parameter => "a trained value is not finite".to_owned(),
            Symptom::Evaluation => format!("the loss on the validation rows is {}", self.loss),
        };
        write!(f, "step {}: {what} at learning rate {:e}", self.step, self.lr)?;
        match (&self.tensor, self.in_parameter) {
            (Some(t), true) => write!(f, "; parameter `{t}` already holds a value that is not finite")?,
            (Some(t), false) => write!(f, "; first in the gradient of `{t}`")?,
            (None, _) => {}
        }
        match &self.last_checkpoint {
            Some(p) => write!(f, "; last good checkpoint {}", p.display()),
            None => write!(f, "; there is no checkpoint yet"),
        }
    }
}

/// What the loop knows when it stops.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub step: u64,
    pub symptom: Symptom,
    pub loss: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub last_checkpoint: Option<PathBuf>,
}

/// Looks for the first tensor at fault. Gradients may be absent when only parameters are to be checked.
pub(super) fn diagnose(scene: Scene, params: &Params, grads: Option<&Grads>) -> Diagnosis {
    let parameter = first_bad_parameter(params);
    let gradient = || {
        let tensors = grads.map(|g| g.tensors.as_slice()).unwrap_or_default();
        params.iter().zip(tensors).find(|(_, g)| !is_finite(g)).map(|(p, _)| p.name.clone())
    };
    let in_parameter = parameter.is_some();
    let tensor = parameter.or_else(gradient);
    let hint = if in_parameter || scene.step > 1 {
        format!(
            "lower the learning rate (it was {:e}) or max_grad_norm, lengthen warm-up, and continue from the last good checkpoint",
            scene.lr
        )
    } else {
        "the very first step is not finite: check the base weights (a damaged shard, float16 overflow) and compute in bf16 or f32"
            .to_owned()
    };
    Diagnosis {
        step: scene.step,
        symptom: scene.symptom,
        tensor,
        in_parameter,
        loss: scene.loss.to_string(),
        grad_norm: scene.grad_norm.to_string(),
        lr: scene.lr,
        last_checkpoint: scene.last_checkpoint,
        hint,
    }
}

/// The first trained tensor with a value that is not finite.
pub(super) fn first_bad_parameter(params: &Params) -> Option<String> {
    params.iter().find(|p| !is_finite(&p.tensor)).map(|p| p.name.clone())
}

/// The norm of f32 values, summed in f64, is finite exactly when all of them are.
fn is_finite(t: &Tensor) -> bool {
    tallow_kernels::optim::global_norm(&[t]).is_ok_and(f64::is_finite)
}
