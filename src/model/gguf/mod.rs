//! GGUF version 3: the container, its block formats, llama.cpp's names, and a file as a source of tensors.

mod blocks;
mod file;
pub mod grid_blocks;
pub mod grids;
pub mod names;
mod source;
pub mod tables;
mod types;

pub use blocks::dequantize;
pub use file::{GgufFile, TensorInfo, Value};
pub use names::Arch;
pub use source::{FREQUENCIES, GgufSource, LONG_FACTORS, SHORT_FACTORS};
pub use types::GgmlType;

/// Whether a path names a GGUF file.
pub fn is_gguf(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) && path.is_file()
}

/// Tensors begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 32;
