//! Trained models in the forms that other programs read. Each is written under a temporary name, opened again with our
//! own reader, compared with the live model, and only then put in place.
//!
//! ```text
//!   base + adapter ── Merged (f32, a tensor at a time) ──> gguf | safetensors | mlx | bnb | packed ──> proof ──> final name
//!                └── adapter alone ──> PEFT | GGUF adapter | MLX adapter ──────────────> proof ──> final name
//! ```

pub mod bnb;
pub mod card;
pub mod folder;
pub mod gguf;
mod hf_config;
mod importance;
mod merged;
pub mod mlx;
pub mod ollama;
pub mod packed;
pub mod proof;
pub mod quantise;
pub mod served;
pub mod side_files;
mod streamed;
pub mod upload;

pub use importance::{Calibration, Importance};
pub use merged::{Merged, WithPairs};
pub use proof::{Allowed, Bounds, Prompts, Proof, Verdict};
