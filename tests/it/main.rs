//! The integration tests, one binary.

mod adapters;
mod bad_models;
mod data;
mod golden;
mod gradients;
mod hub;
mod memory;
mod nf4;
mod packing;

/// Counts, so that tests can measure memory.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;
