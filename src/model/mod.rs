//! Models: one decoder with a hand-written backward pass, described by data.
//!
//! ```text
//!   config.json ── families ──> DecoderSpec ──┐
//!   *.safetensors ── weights (mapped) ────────┴──> Decoder ── loss_and_grads / evaluate / logits
//!                                                     │  ├── adapter: PEFT files in and out
//!                                                     │  └── generate: KV cache, sampling
//!   merge: base + adapter -> one tensor at a time -> new shards
//!   resize: more rows of the vocabulary, each the mean of others
//!   gguf: GGUF files as a source of tensors; names, types and blocks of the format
//! ```

pub mod adapter;
mod config_json;
pub mod debug;
pub mod decoder;
mod error;
mod families;
pub mod generate;
pub mod gguf;
pub mod hub;
mod layer_spec;
mod limits;
mod linear;
pub mod merge;
mod norm;
mod params;
pub mod random_init;
pub mod resize;
mod seed;
pub mod spec;
pub mod weights;

pub use decoder::{
    Decoder, Hardware, LoadOptions, LoraConfig, LossOut, Packed, PassBytes, PassShape, Policy, Quantization, Resident, Sketch, StepOptions,
    Trainable, check_names, open_source, stream_inputs, stream_logits,
};
pub use error::{Error, Result};
pub use params::{Grads, Param, ParamId, Params};
pub use spec::{DecoderSpec, Unknown};
