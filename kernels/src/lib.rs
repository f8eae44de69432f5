//! Every operation of a decoder's forward and backward pass, on CPU, CUDA and Metal.
//!
//! This crate holds all unsafe code and all device code of Tallow. Each operation is one safe function
//! over Candle tensors, beside the slow reference it is tested against. Results never depend on the
//! number of threads.

pub mod activation;
pub mod alloc;
pub mod attention;
mod backend;
#[cfg(target_arch = "x86_64")]
mod bf16_loops;
mod cpu;
pub mod cross_entropy;
#[cfg(any(feature = "cuda", emulator))]
mod cuda;
pub mod device;
pub mod elementwise;
pub mod embedding;
mod error;
pub mod geglu;
pub mod isa;
pub mod lora;
pub mod map;
pub mod matmul;
pub mod norm;
pub mod offload;
pub mod optim;
pub mod peak;
pub mod pool;
pub mod quant;
mod real;
pub mod rope;
pub mod scale;
mod simd;
pub mod stack;
mod unwritten;
pub mod variants;
mod view;
pub mod weight;

#[cfg(emulator)]
pub use cuda::emulator;
pub use error::{Error, Result, is_out_of_memory};
pub use simd::{Wide, widest};

/// Runs `f` with every operation on CPU tensors that this thread calls going to the CUDA kernels on the emulator, its threads in
/// the given order. `None` where the emulator could not be built.
#[cfg(feature = "emulate")]
pub fn emulated<R>(order: u32, f: impl FnOnce() -> R) -> Option<R> {
    #[cfg(emulator)]
    return Some(emulator::emulated(order, f));
    #[cfg(not(emulator))]
    {
        let _ = (order, f);
        None
    }
}
