//! The CUDA side of every operation: what is launched on which addresses. Nothing here computes.
//!
//! [`Launchers`] is the back end of tensors on a GPU, and of all tensors on a thread where the emulator is on. Launchers work
//! on addresses ([`memory::Span`]) and go through [`launch::Kernel`] and [`gemm::Gemm`], which have two executors: the driver's stream, and the emulator of
//! `kernels/cuda/emulate` (feature `emulate`), on which grids, arguments and kernels are tested without a GPU.
//!
//! One stream does everything in order, so no launch waits for another and scratch memory can be used again at once. Only
//! copies to host memory and back ([`side`](crate::offload)) run on a second one.
//! One host thread at a time works with a device.

mod backend;
#[cfg(feature = "cuda")]
pub(crate) mod driver;
#[cfg(emulator)]
pub(crate) mod emulated_side;
#[cfg(emulator)]
pub mod emulator;
pub(crate) mod gemm;
pub(crate) mod launch;
#[cfg(late_cuda)]
pub(crate) mod libraries;
pub(crate) mod memory;
#[cfg(feature = "cuda")]
pub(crate) mod side;

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod cross_entropy;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod lora;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod optim;
pub(crate) mod quant;
pub(crate) mod rope;

use candle_core::Tensor;

pub(crate) use backend::Launchers;

use crate::{Error, Result};

/// The name that kernels of this activation type end in.
pub(crate) fn suffix(op: &'static str, what: &'static str, t: &Tensor) -> Result<&'static str> {
    match t.dtype() {
        candle_core::DType::F32 => Ok("f32"),
        candle_core::DType::BF16 => Ok("bf16"),
        got => Err(Error::Dtype { op, what, got, want: "f32 or bf16" }),
    }
}
