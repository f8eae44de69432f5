//! Writing the container: header first, from a plan, then the tensors one after the other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::base::error::Fault;
use crate::model::gguf::{ALIGNMENT, GgmlType, Value};

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) name: String,
    /// Slowest dimension first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: GgmlType,
}

impl Planned {
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn bytes(&self) -> usize {
        self.kind.bytes(self.elements())
    }
}

/// Writes planned tensors in their order.
pub(super) struct Writer<'a> {
    out: BufWriter<&'a File>,
    path: PathBuf,
    plan: Vec<Planned>,
    /// The tensor that is being written, and how many of its bytes are.
    at: (usize, usize),
    written: u64,
}

fn string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

fn kind(v: &Value) -> u32 {
    match v {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn value(out: &mut Vec<u8>, v: &Value) {
    match v {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.push(*v as u8),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(s) => string(out, s),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Array(list) => {
            out.extend(list.first().map_or(8, kind).to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|v| value(out, v));
        }
    }
}

impl<'a> Writer<'a> {
    /// Writes the header. `path` is what errors call the file.
    pub(super) fn begin(file: &'a File, path: &Path, pairs: &[(String, Value)], plan: Vec<Planned>) -> Result<Self, Fault> {
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((plan.len() as u64).to_le_bytes());
        head.extend((pairs.len() as u64).to_le_bytes());
        for (key, v) in pairs {
            string(&mut head, key);
            head.extend(kind(v).to_le_bytes());
            value(&mut head, v);
        }
        let mut offset = 0u64;
        for t in &plan {
            string(&mut head, &t.name);
            head.extend((t.shape.len() as u32).to_le_bytes());
            t.shape.iter().rev().for_each(|n| head.extend((*n as u64).to_le_bytes()));
            head.extend(t.kind.id().to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += t.bytes().next_multiple_of(ALIGNMENT) as u64;
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        let mut writer = Self { out: BufWriter::with_capacity(1 << 20, file), path: path.to_path_buf(), plan, at: (0, 0), written: 0 };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| Fault::io("write", &self.path, &e))
    }

    /// Writes the next bytes of the tensor that is due.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let due = self.plan.get(self.at.0).map_or(0, Planned::bytes);
        let filled = self.at.1 + bytes.len();
        if filled > due {
            return Err(Fault::new("export_internal", format!("{filled} bytes for a tensor of {due}")));
        }
        self.write(bytes)?;
        self.at.1 = filled;
        if filled == due {
            self.write(&[0; ALIGNMENT][..due.next_multiple_of(ALIGNMENT) - due])?;
            self.at = (self.at.0 + 1, 0);
        }
        Ok(())
    }

    /// Flushes; how many bytes the file has.
    pub(super) fn finish(mut self) -> Result<u64, Fault> {
        if self.at.0 != self.plan.len() {
            return Err(Fault::new("export_internal", format!("{} of {} tensors were written", self.at.0, self.plan.len())));
        }
        self.out.flush().map_err(|e| Fault::io("write", &self.path, &e))?;
        Ok(self.written)
    }
}
