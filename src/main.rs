//! The `tallow` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Training makes and drops large buffers every step: fresh pages from the system would cost as much as the arithmetic.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;

fn main() -> ExitCode {
    tallow::cli::main()
}
