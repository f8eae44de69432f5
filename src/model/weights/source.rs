//! Where a decoder's tensors come from: safetensors shards, a GGUF file, or a base with an adapter folded in.

use candle_core::{DType, Tensor};
use tallow_kernels::quant::Nf4;

use super::Shards;
use crate::model::error::{Error, Result};

/// Tensors by their Hugging Face names.
pub trait TensorSource: Sync {
    /// A floating-point tensor as f32 or bf16 on the CPU.
    ///
    /// # Errors
    /// When it is missing or damaged.
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor>;

    /// True when it is stored in bitsandbytes' NF4.
    fn is_nf4(&self, _name: &str) -> bool {
        false
    }

    /// A weight that is stored in NF4.
    ///
    /// # Errors
    /// When it is not, or is damaged.
    fn nf4(&self, name: &str, _want: &[usize]) -> Result<Nf4> {
        Err(Error::Value(format!("`{name}` is not stored in NF4")))
    }
}

impl TensorSource for Shards {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        Self::float(self, name, dtype)
    }

    fn is_nf4(&self, name: &str) -> bool {
        Self::is_nf4(self, name)
    }

    fn nf4(&self, name: &str, want: &[usize]) -> Result<Nf4> {
        Self::nf4(self, name, want)
    }
}
