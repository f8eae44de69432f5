//! The integration tests, one binary.

mod adapters;
mod bad_input;
mod bad_models;
mod commands;
mod cuda;
mod data;
mod documents;
mod export;
mod golden;
mod gradients;
mod hub;
mod layers;
mod mcp;
mod mcp_client;
mod memory;
mod nf4;
mod packing;
mod program;
mod resume;

/// Counts, so that tests can measure memory.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;
