//! Launcher of `rope.cu`.

use candle_core::{DType, Tensor};

use super::launch::Kernel;
use super::memory::{span, upload};
use super::suffix;
use crate::Result;

/// Rotates q and k in place by `sign` times the angle of each token's position.
pub(crate) fn rotate(op: &'static str, q: &Tensor, k: &Tensor, positions: &[u32], cos: &Tensor, sin: &Tensor, sign: f32) -> Result<()> {
    let ((tokens, q_heads, dim), (_, k_heads, _)) = (q.dims3()?, k.dims3()?);
    let name = format!("rope_{}", suffix(op, "q", q)?);
    let at = upload(positions, q.device())?;
    let args = [
        span(op, "q", q, q.dtype())?.into(),
        span(op, "k", k, q.dtype())?.into(),
        span(op, "positions", &at, DType::U32)?.into(),
        span(op, "cos", cos, DType::F32)?.into(),
        span(op, "sin", sin, DType::F32)?.into(),
        sign.into(),
        (q_heads as i32).into(),
        (k_heads as i32).into(),
        ((dim / 2) as i32).into(),
    ];
    // SAFETY: one block a token, of which there are as many as positions; the caller has checked these against the table.
    unsafe { Kernel::new(op, "rope", name, tokens, 256).launch(q.device(), &args) }
}
