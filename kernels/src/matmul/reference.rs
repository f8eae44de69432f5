//! The slow products that the kernels are tested against, in f64.

use candle_core::{DType, Tensor};

use crate::Result;
use crate::weight::Weight;

/// `x Wᵀ` in f64.
///
/// # Errors
/// Candle's own.
pub fn matmul(x: &Tensor, w: &Weight) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F64)?.matmul(&w.dequantize(DType::F32)?.to_dtype(DType::F64)?.t()?)?)
}

/// `dy W` in f64.
///
/// # Errors
/// Candle's own.
pub fn matmul_backward_input(dy: &Tensor, w: &Weight) -> Result<Tensor> {
    Ok(dy.to_dtype(DType::F64)?.matmul(&w.dequantize(DType::F32)?.to_dtype(DType::F64)?)?)
}

/// `dyᵀ x` in f64.
///
/// # Errors
/// Candle's own.
pub fn matmul_backward_weight(dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(dy.to_dtype(DType::F64)?.t()?.matmul(&x.to_dtype(DType::F64)?)?)
}
