//! Quantised weights: 4-bit NF4 as bitsandbytes stores it, and 8-bit blocks.

mod dynamic_map;
mod nf4;
mod q8;

pub use dynamic_map::{dynamic_map, nearest_code};
pub(crate) use nf4::NESTED_BLOCK;
pub use nf4::{Absmax, CODEBOOK, Nf4};
pub use q8::Q8;

/// Elements that share one scale, in NF4 and in Q8.
pub const BLOCK: usize = 64;
