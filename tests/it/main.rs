//! The integration tests, one binary.
mod adapters;
mod data;
mod golden;
mod gradients;
mod nf4;
mod packing;
