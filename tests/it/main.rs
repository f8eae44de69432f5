//! The integration tests, one binary.

mod adapters;
mod bad_input;
mod bad_models;
mod cloud;
mod commands;
mod cuda;
mod data;
mod data_project;
mod documents;
mod estimate;
mod eval_batch;
mod eval_commands;
mod eval_metrics;
mod eval_report;
mod export;
mod export_forms;
mod export_hub;
mod export_more;
mod export_ollama;
mod export_packed;
mod export_proof;
mod export_served;
mod families;
mod first_hour;
mod fixed_runs;
mod fuzz;
mod gguf_blocks;
mod golden;
mod gradients;
mod hostile_files;
mod hub;
mod interrupted;
mod layers;
mod mcp;
mod mcp_client;
mod mcp_crowd;
mod mcp_hostile;
mod mcp_http;
mod mcp_limits;
mod mcp_tools;
mod memory;
mod nf4;
mod packing;
mod program;
mod resume;
mod run_faults;
mod search;
mod settings;
mod stages;
mod tokenizer;
mod tools;
mod track;
mod web;

/// Counts, so that tests can measure memory.
#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;
