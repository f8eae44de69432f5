//! Trainable parameters and their gradients, both f32 and in the same order.

use candle_core::{DType, Device, Tensor};

use super::error::Result;

/// Index of a parameter in [`Params`], and of its gradient in [`Grads`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

/// A trainable tensor.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name: PEFT's for adapters, Hugging Face's for weights.
    pub name: String,
    /// f32. The optimiser changes its storage in place.
    pub tensor: Tensor,
}

/// All trainable tensors of a model, in a fixed order.
#[derive(Debug, Clone, Default)]
pub struct Params {
    list: Vec<Param>,
}

impl Params {
    pub(crate) fn push(&mut self, name: String, tensor: Tensor) -> ParamId {
        self.list.push(Param { name, tensor });
        ParamId(self.list.len() - 1)
    }

    /// The tensor of a parameter.
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.list[id.0].tensor
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Param> {
        self.list.iter()
    }

    /// All of them, to be changed. Tensors must keep shape and dtype.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Param> {
        self.list.iter_mut()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when nothing is trainable.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The parameter of that name.
    pub fn by_name(&self, name: &str) -> Option<&Param> {
        self.list.iter().find(|p| p.name == name)
    }

    /// Number of trainable elements.
    pub fn elements(&self) -> u64 {
        self.list.iter().map(|p| p.tensor.elem_count() as u64).sum()
    }

    /// Gradients of zero, one for each.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn zero_grads(&self) -> Result<Grads> {
        let zeros = |p: &Param| Tensor::zeros(p.tensor.shape(), DType::F32, p.tensor.device());
        Ok(Grads { tensors: self.list.iter().map(zeros).collect::<candle_core::Result<_>>()? })
    }
}

/// Gradients of [`Params`], in the same order; passes add to them in place.
#[derive(Debug, Clone, Default)]
pub struct Grads {
    /// f32, shaped as the parameters.
    pub tensors: Vec<Tensor>,
}

impl Grads {
    /// The gradient of a parameter.
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// Sets all of them to zero in place.
    ///
    /// # Errors
    /// When the device has no kernel for it.
    pub fn zero(&mut self) -> Result<()> {
        for t in &self.tensors {
            tallow_kernels::optim::zero_inplace(t)?;
        }
        Ok(())
    }

    /// Where they live; the CPU when there are none.
    pub fn device(&self) -> Device {
        self.tensors.first().map_or(Device::Cpu, |t| t.device().clone())
    }
}
