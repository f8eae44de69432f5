//! Quantised weights: 4-bit NF4 as bitsandbytes stores it, and 8-bit blocks.

mod dynamic_map;
mod nf4;
mod q8;

pub use dynamic_map::{dynamic_map, nearest_code};
pub use nf4::{Absmax, CODEBOOK, Nf4};
pub(crate) use nf4::{NESTED_BLOCK, decode as decode_nf4};
pub use q8::Q8;
pub(crate) use q8::decode as decode_q8;

/// Elements that share one scale, in NF4 and in Q8.
pub const BLOCK: usize = 64;
