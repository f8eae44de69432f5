//! The integration tests, one binary.
mod adapters;
mod data;
<<<<<<< HEAD
mod golden;
mod gradients;
mod nf4;
mod packing;
=======
mod memory;

/// Counts, so that tests can measure memory.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;
>>>>>>> memory
