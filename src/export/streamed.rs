//! One safetensors file of any dtypes, written tensor by tensor.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::base::error::Fault;

/// A safetensors file that is written tensor by tensor, with any dtypes.
pub(super) struct Streamed {
    out: BufWriter<File>,
    path: PathBuf,
    left: Vec<u64>,
    tensors: usize,
    bytes: u64,
}

impl Streamed {
    /// Writes the header; `form` is what its metadata call the format.
    pub(super) fn new(path: &Path, form: &str, plan: Vec<(String, Dtype, Vec<usize>)>) -> Result<Self, Fault> {
        let fault = |e: std::io::Error| Fault::io("write", path, &e);
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": form}));
        let (mut at, mut left) = (0u64, Vec::new());
        for (name, dtype, shape) in &plan {
            let size = (shape.iter().product::<usize>() * dtype.bitsize() / 8) as u64;
            header.insert(name.clone(), json!({"dtype": format!("{dtype:?}"), "shape": shape, "data_offsets": [at, at + size]}));
            at += size;
            left.push(size);
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(fault)?);
        out.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| out.write_all(&header)).map_err(fault)?;
        left.reverse();
        Ok(Self { out, path: path.to_path_buf(), tensors: left.len(), left, bytes: at })
    }

    /// Writes the next planned tensor.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let due = self.left.pop();
        if due != Some(bytes.len() as u64) {
            return Err(Fault::new("export_internal", format!("{} bytes where {due:?} were planned", bytes.len())));
        }
        self.out.write_all(bytes).map_err(|e| Fault::io("write", &self.path, &e))
    }

    /// Flushes; tensors and their bytes.
    pub(super) fn finish(mut self) -> Result<(usize, u64), Fault> {
        if !self.left.is_empty() {
            return Err(Fault::new("export_internal", format!("{} tensors were not written", self.left.len())));
        }
        self.out.flush().map_err(|e| Fault::io("write", &self.path, &e))?;
        Ok((self.tensors, self.bytes))
    }
}
