//! Weights on disk: safetensors shards mapped into memory, bitsandbytes 4-bit tensors, and writing shards.

mod bnb;
pub mod compressed;
pub mod mlx;
mod read;
mod source;
mod write;

pub(crate) use read::text_prefix;
pub use read::{Shards, weight_files, weight_hash};
pub use source::TensorSource;
pub use write::{PlannedTensor, ShardWriter, cast, check_finite, check_finite_bytes, check_range};
