//! Every operation of a decoder's forward and backward pass, on CPU, CUDA and Metal.
//!
//! This crate holds all unsafe code and all device code of Tallow. Each operation is one safe function
//! over Candle tensors, beside the slow reference it is tested against. Results never depend on the
//! number of threads.

pub mod activation;
pub mod alloc;
pub mod attention;
pub mod cross_entropy;
#[cfg(any(feature = "cuda", emulator))]
mod cuda;
pub mod device;
pub mod elementwise;
pub mod embedding;
mod error;
pub mod lora;
pub mod map;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod peak;
pub mod quant;
mod real;
pub mod rope;
mod simd;
mod unwritten;
mod view;
pub mod weight;

#[cfg(emulator)]
pub use cuda::emulator;
pub use error::{Error, Result};
