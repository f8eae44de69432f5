//! Where a decoder's tensors come from: safetensors shards, a GGUF file, or a base with an adapter folded in.

use candle_core::{DType, Tensor};
use safetensors::Dtype;
use tallow_kernels::quant::Nf4;

use super::Shards;
use crate::model::error::{Error, Result};

/// Tensors by their Hugging Face names.
pub trait TensorSource: Sync + std::fmt::Debug {
    /// A floating-point tensor as f32 or bf16, on the CPU or where the model will be.
    ///
    /// # Errors
    /// When it is missing or damaged.
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor>;

    /// The dtype that a tensor is stored in, where the form has one.
    fn dtype(&self, _name: &str) -> Option<Dtype> {
        None
    }

    /// Gives back the pages of a tensor that has been read.
    fn release(&self, _name: &str) {}

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

    fn dtype(&self, name: &str) -> Option<Dtype> {
        self.info(name).map(|i| i.1)
    }

    fn release(&self, name: &str) {
        Self::release(self, name);
    }

    fn is_nf4(&self, name: &str) -> bool {
        Self::is_nf4(self, name)
    }

    fn nf4(&self, name: &str, want: &[usize]) -> Result<Nf4> {
        Self::nf4(self, name, want)
    }
}
