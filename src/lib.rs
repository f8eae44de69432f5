//! Tallow fine-tunes language models natively: LoRA and QLoRA adapters on CPU, CUDA and Metal.
//!
//! The program `tallow` trains from configuration files and serves assistants over MCP. The same parts
//! make a library. Without the default feature `program` it has no command line, HTTP or MCP in it:
//!
//! ```toml
//! tallow = { version = "0.1", default-features = false }
//! ```
//!
//! An adapter for a model folder, from a file of rows:
//!
//! ```
//! use tallow::data::{DataOptions, Dataset, Sampler, SamplerOptions, TextTokenizer, read};
//! use tallow::model::{Decoder, LoadOptions, LoraConfig};
//! use tallow::train::{Sampled, Silent, TrainConfig, Trainer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let work = tempfile::tempdir()?;
//! # let (base, rows, adapter) = (work.path().join("base"), work.path().join("rows.jsonl"), work.path().join("adapter"));
//! # tallow::app::models::write_embedded(&base)?;
//! # std::fs::write(&rows, "{\"instruction\": \"Name a colour.\", \"output\": \"blue\"}\n".repeat(8))?;
//! // Rows in any layout (chat, instructions, text) become token ids, with the targets marked.
//! let tokenizer = TextTokenizer::load(&base)?;
//! let options = DataOptions::default();
//! let dataset = Dataset::encode(&read(&[rows.as_path()], &options)?, &tokenizer, &options)?;
//! let sampler = Sampler::new(&dataset, SamplerOptions { batch_size: 4, ..SamplerOptions::default() })?;
//!
//! let mut model = Decoder::load(&base, &LoadOptions::default())?;
//! let target_modules = vec!["all-linear".into()];
//! let lora = LoraConfig { rank: 8, alpha: 16.0, dropout: 0.0, use_rslora: false, target_modules };
//! model.add_lora(&lora, 42)?;
//!
//! let mut batches = Sampled { dataset: &dataset, sampler };
//! let config = TrainConfig::new(20, 3e-3);
//! let outcome = Trainer::new(&mut model, &mut batches, config, &mut Silent)?.run()?;
//! assert!(outcome.last_loss < Some(1.0));
//!
//! // PEFT's own files: any program that reads adapters takes the folder.
//! model.save_adapter(&adapter)?;
//! # assert!(adapter.join("adapter_model.safetensors").is_file());
//! # Ok(())
//! # }
//! ```
//!
//! The parts, from the bottom: [`data`] (rows to batches of token ids), [`model`] (decoders, their backward
//! pass, weights, generation), [`train`] (loop, optimiser, checkpoints, memory plan), [`export`] (files for
//! other programs), [`runs`] (run folders), [`app`] (whole use cases, as the program calls them).
//! `src/ARCHITECTURE.md` is the map.
#![forbid(unsafe_code)]

pub mod app;
pub mod base;
#[cfg(feature = "program")]
pub mod cli;
pub mod cloud;
pub mod config;
pub mod data;
pub mod eval;
pub mod export;
#[cfg(feature = "program")]
pub mod mcp;
pub mod model;
pub mod runs;
pub mod search;
#[cfg(feature = "program")]
pub mod serve;
pub mod track;
pub mod train;
#[cfg(feature = "program")]
pub mod web;
