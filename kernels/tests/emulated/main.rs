//! The CUDA kernels' logic without a GPU: each .cu file as host code, its threads as fibers, against the slow references.
//! Orders of threads vary; results must not. Memory around every buffer faults, and outputs begin as NaN.
//!
//!     cargo test -p tallow-kernels --test emulated

#![cfg(emulator)]

mod attention;
mod faults;
mod machine;
