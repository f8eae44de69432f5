//! The integration tests, one binary.
mod data;
mod memory;

/// Counts, so that tests can measure memory.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;
