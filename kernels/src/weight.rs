//! A linear layer's frozen or trainable weight, in any of the forms it can be held.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::quant::{Nf4, Q8};

/// A weight `[out, in]`.
#[derive(Debug, Clone)]
pub enum Weight {
    /// f32 or bf16, row-major.
    Dense(Tensor),
    /// 4-bit NormalFloat in blocks of 64, bitsandbytes' layout.
    Nf4(Nf4),
    /// 8-bit integers in blocks of 64 along a row.
    Q8(Q8),
}

impl Weight {
    /// Rows: the width of the layer's output.
    pub fn out_features(&self) -> usize {
        match self {
            Weight::Dense(t) => t.dims().first().copied().unwrap_or(0),
            Weight::Nf4(w) => w.shape().0,
            Weight::Q8(w) => w.shape().0,
        }
    }

    /// Columns: the width of the layer's input.
    pub fn in_features(&self) -> usize {
        match self {
            Weight::Dense(t) => t.dims().get(1).copied().unwrap_or(0),
            Weight::Nf4(w) => w.shape().1,
            Weight::Q8(w) => w.shape().1,
        }
    }

    /// Bytes that the weight holds in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Weight::Dense(t) => (t.elem_count() * t.dtype().size_in_bytes()) as u64,
            Weight::Nf4(w) => w.bytes(),
            Weight::Q8(w) => w.bytes(),
        }
    }

    /// `f32`, `bf16`, `nf4` or `q8`.
    pub fn dtype_name(&self) -> &'static str {
        match self {
            Weight::Dense(t) => t.dtype().as_str(),
            Weight::Nf4(_) => "nf4",
            Weight::Q8(_) => "q8",
        }
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        match self {
            Weight::Dense(t) => t.device(),
            Weight::Nf4(w) => w.device(),
            Weight::Q8(w) => w.device(),
        }
    }

    /// The same weight on another device.
    ///
    /// # Errors
    /// When the device has no memory for it.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(match self {
            Weight::Dense(t) => Weight::Dense(t.to_device(device)?),
            Weight::Nf4(w) => Weight::Nf4(w.to_device(device)?),
            Weight::Q8(w) => Weight::Q8(w.to_device(device)?),
        })
    }

    /// The whole matrix `[out, in]` in `dtype`, for merging and for tests; kernels never call it.
    ///
    /// # Errors
    /// When the device has no kernel for it.
    pub fn dequantize(&self, dtype: DType) -> Result<Tensor> {
        Ok(match self {
            Weight::Dense(t) => t.to_dtype(dtype)?,
            Weight::Nf4(w) => w.dequantize_as(dtype)?,
            Weight::Q8(w) => w.dequantize_as(dtype)?,
        })
    }
}
