//! Activations times a number: embedding, residual and logits multipliers.
//!
//! Products are rounded once to the tensor's dtype.

use candle_core::Tensor;

use crate::{Result, backend};

/// `x *= by`, in place.
///
/// # Errors
/// On a device other than the CPU, which has no kernel for it yet.
pub fn scale_inplace(x: &Tensor, by: f32) -> Result<()> {
    const OP: &str = "scale_inplace";
    backend::of(OP, x)?.times_inplace(OP, x, by)
}

/// `x * by`.
///
/// # Errors
/// As [`scale_inplace`].
pub fn scaled(x: &Tensor, by: f32) -> Result<Tensor> {
    const OP: &str = "scaled";
    backend::of(OP, x)?.times(OP, x, by)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn scales_every_element_once() {
        for dtype in [DType::F32, DType::BF16] {
            let x = Tensor::rand(-2f32, 2.0, (37, 511), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let want = (x.to_dtype(DType::F32).unwrap() * f64::from(1.75f32)).unwrap().to_dtype(dtype).unwrap();
            let (want, got) = (want.to_dtype(DType::F32).unwrap(), scaled(&x, 1.75).unwrap());
            let values = |t: &Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(&got), values(&want));
            scale_inplace(&x, 1.75).unwrap();
            assert_eq!(values(&x), values(&want));
        }
    }
}
