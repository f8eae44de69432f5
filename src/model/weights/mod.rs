//! Weights on disk: safetensors shards mapped into memory, tensors of few bits, and writing shards.

mod bnb;
pub mod compressed;
pub mod mlx;
pub mod packed;
mod read;
mod source;
mod write;

pub(crate) use read::text_prefix;
pub use read::{Shards, weight_files, weight_hash};
pub use source::TensorSource;
pub use write::{PlannedTensor, ShardWriter, cast, check_finite, check_finite_bytes, check_range};
