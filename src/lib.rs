//! Tallow fine-tunes language models natively: LoRA and QLoRA adapters on CPU, CUDA and Metal.
//!
//! See `src/ARCHITECTURE.md` for the map.
#![forbid(unsafe_code)]

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod data;
pub mod eval;
pub mod export;
pub mod mcp;
pub mod model;
pub mod runs;
pub mod track;
pub mod train;
pub mod web;
