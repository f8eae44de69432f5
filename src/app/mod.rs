//! Use cases: one typed request in, one typed report out. The faces (command line, MCP, web) hold no logic of their own.

pub mod bench;
pub mod bench_gpu;
pub mod compare;
pub mod configure;
pub mod data;
pub mod demo;
pub mod device;
pub mod doctor;
pub mod eval;
pub mod export;
mod fault;
pub mod generate;
pub mod gradients;
pub mod info;
pub mod init;
pub mod jobs;
pub mod load;
pub mod merge;
pub mod models;
pub mod outcome;
pub mod plan;
mod prepare;
pub mod project;
pub mod recipe;
pub mod train;
