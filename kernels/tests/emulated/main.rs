//! The CUDA kernels' logic without a GPU: each .cu file as host code, its threads as fibers, against the slow references.
//! Orders of threads vary; results must not. Memory around every buffer faults, and outputs begin as NaN.
//!
//!     cargo test -p tallow-kernels --test emulated

#[cfg(emulator)]
mod attention;
#[cfg(emulator)]
mod faults;
#[cfg(emulator)]
mod machine;

#[cfg(not(emulator))]
#[test]
#[ignore = "no kernel ran: the emulator needs Linux and a C++17 compiler (set CXX)"]
fn kernels() {}
