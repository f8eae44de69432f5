//! The longest row that a training step has room for, by the memory plan.

use tallow_kernels::alloc;

use crate::base::error::Fault;
use crate::model::{Decoder, Policy, Trainable};
use crate::train::{GPU_HELD, HeldOut, MemoryPlan, MemoryRequest, OptimizerKind, PROGRAM_HELD, plan};

/// Lengths are multiples of this.
const STEP: usize = 256;

/// Its length in tokens, and what such a step keeps. `room`: bytes of memory in all, on a GPU or in this process.
pub(super) fn longest_row(model: &Decoder, room: u64, gpu: bool) -> Result<(usize, Policy), Fault> {
    let trainable: &Trainable = model.trainable();
    let of = |tokens: usize| -> Result<MemoryPlan, Fault> {
        let request = MemoryRequest {
            spec: model.spec(),
            quantization: model.quantization(),
            compute_dtype: model.compute_dtype(),
            trainable,
            optimizer: OptimizerKind::AdamW,
            window_tokens: tokens,
            longest: tokens,
            held_out: HeldOut::default(),
            tokens_per_pass: None,
            policy: None,
            budget: Some(room),
            // On the CPU what is held now is the model, which the plan counts itself.
            held: if gpu { GPU_HELD } else { PROGRAM_HELD + alloc::live_bytes().saturating_sub(model.weight_bytes()) },
            gpu,
            host_budget: None,
        };
        Ok(plan(&request)?)
    };
    let mut best = (STEP, of(STEP)?);
    // Doubled until it does not fit, then the border is found by halving.
    let mut high = 2;
    while let Ok(plan) = of(high * STEP) {
        best = (high * STEP, plan);
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low.midpoint(high);
        match of(middle * STEP) {
            Ok(plan) => (low, best) = (middle, (middle * STEP, plan)),
            Err(_) => high = middle,
        }
    }
    Ok((best.0, best.1.policy))
}
