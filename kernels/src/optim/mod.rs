//! What happens to gradients and parameters: norm, clipping, AdamW in 32 and 8 bits. All f32, all in place.

mod adam8;
mod adamw;

pub(crate) use adam8::BLOCK;
pub use adam8::{Adam8State, adamw8_step, adamw8_step_all};
pub(crate) use adamw::Constants;
pub use adamw::{AdamW, adamw_step, adamw_step_all};

use candle_core::Tensor;

use crate::{Result, backend};

/// The L2 norm over all gradients together, in f64: fixed chunks, added in order.
///
/// # Errors
/// When a gradient is not f32 and contiguous.
pub fn global_norm(grads: &[&Tensor]) -> Result<f64> {
    const OP: &str = "global_norm";
    grads.first().map_or(Ok(0.0), |first| backend::of(OP, first)?.global_norm(OP, grads))
}

/// `t *= factor`, in place, f32.
///
/// # Errors
/// When the tensor is not f32 and contiguous.
pub fn scale_inplace(t: &Tensor, factor: f32) -> Result<()> {
    const OP: &str = "scale_inplace";
    backend::of(OP, t)?.scale_inplace(OP, t, factor)
}

/// `t = 0`, in place, f32.
///
/// # Errors
/// When the tensor is not f32 and contiguous.
pub fn zero_inplace(t: &Tensor) -> Result<()> {
    const OP: &str = "zero_inplace";
    backend::of(OP, t)?.zero_inplace(OP, t)
}
