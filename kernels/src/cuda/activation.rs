//! Launchers of `activation.cu`.

use candle_core::Tensor;

use super::launch::Kernel;
use super::memory::{empty, span};
use super::suffix;
use crate::Result;

/// Elements of 16 bytes: what a thread takes at a time.
pub(super) fn lanes(t: &Tensor) -> usize {
    16 / t.dtype().size_in_bytes()
}

pub(crate) fn swiglu(op: &'static str, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let name = format!("swiglu_{}", suffix(op, "gate", gate)?);
    let act = empty(gate.shape(), dtype, gate.device())?;
    let args =
        [span(op, "gate", gate, dtype)?.into(), span(op, "up", up, dtype)?.into(), span(op, "act", &act, dtype)?.into(), (n as u64).into()];
    // SAFETY: three tensors of n elements, the last for the kernel to write.
    unsafe { Kernel::over(op, "activation", name, n, lanes(gate)).launch(gate.device(), &args)? };
    Ok(act)
}

/// Writes the gradients into `dgate` and `dup`, which may be `gate` and `up` themselves.
pub(crate) fn swiglu_backward(op: &'static str, dact: &Tensor, gate: &Tensor, up: &Tensor, dgate: &Tensor, dup: &Tensor) -> Result<()> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let name = format!("swiglu_backward_{}", suffix(op, "gate", gate)?);
    let args = [
        span(op, "dact", dact, dtype)?.into(),
        span(op, "gate", gate, dtype)?.into(),
        span(op, "up", up, dtype)?.into(),
        span(op, "dgate", dgate, dtype)?.into(),
        span(op, "dup", dup, dtype)?.into(),
        (n as u64).into(),
    ];
    // SAFETY: five tensors of n elements; an element is read before the thread that reads it writes it.
    unsafe { Kernel::over(op, "activation", name, n, lanes(gate)).launch(gate.device(), &args) }
}
