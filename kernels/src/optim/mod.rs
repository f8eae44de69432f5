//! What happens to gradients and parameters: norm, clipping, AdamW in 32 and 8 bits. All f32, all in place.

mod adam8;
mod adamw;

pub use adam8::{Adam8State, adamw8_step, adamw8_step_all};
#[cfg(any(feature = "cuda", emulator))]
pub(crate) use adamw::Constants;
pub use adamw::{AdamW, adamw_step, adamw_step_all};

use candle_core::Tensor;
use rayon::prelude::*;

use crate::Result;
use crate::simd::wide;
use crate::view::{on_device, read, write};

const CHUNK: usize = 16384;

/// The L2 norm over all gradients together, in f64: fixed chunks, added in order.
///
/// # Errors
/// When a gradient is not f32 and contiguous.
pub fn global_norm(grads: &[&Tensor]) -> Result<f64> {
    #[cfg(any(feature = "cuda", emulator))]
    if let Some(first) = grads.first() {
        on_device!(first => crate::cuda::optim::global_norm("global_norm", grads, first.device()));
    }
    let mut total = 0.0;
    for g in grads {
        total += read::<f32, _>("global_norm", "gradient", g, |g| {
            let parts: Vec<f64> = g.par_chunks(CHUNK).map(squares).collect();
            parts.iter().sum::<f64>()
        })?;
    }
    Ok(total.sqrt())
}

wide! {
    /// The sum of squares in f64, in eight interleaved lanes.
    fn squares(x: &[f32]) -> f64 {
        let (whole, rest) = x.as_chunks::<8>();
        let mut acc = [0f64; 8];
        for part in whole {
            for (a, x) in acc.iter_mut().zip(part) {
                *a += f64::from(*x) * f64::from(*x);
            }
        }
        acc.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}

/// `t *= factor`, in place, f32.
///
/// # Errors
/// When the tensor is not f32 and contiguous.
pub fn scale_inplace(t: &Tensor, factor: f32) -> Result<()> {
    on_device!(t => crate::cuda::elementwise::scale("scale_inplace", t, factor));
    write::<f32, _>("scale_inplace", "tensor", t, |t| t.par_chunks_mut(CHUNK).for_each(|c| crate::elementwise::scale(c, factor)))
}

/// `t = 0`, in place, f32.
///
/// # Errors
/// When the tensor is not f32 and contiguous.
pub fn zero_inplace(t: &Tensor) -> Result<()> {
    on_device!(t => crate::cuda::elementwise::zero("zero_inplace", t));
    write::<f32, _>("zero_inplace", "tensor", t, |t| t.par_chunks_mut(CHUNK).for_each(|c| c.fill(0.0)))
}
