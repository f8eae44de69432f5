//! The container: metadata and tensors of a mapped file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tallow_kernels::map::MappedFile;

use super::{ALIGNMENT, GgmlType};
use crate::model::error::{Error, Result};

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are the format's own
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U8(v) => Some(u64::from(*v)),
            Self::U16(v) => Some(u64::from(*v)),
            Self::U32(v) => Some(u64::from(*v)),
            Self::U64(v) => Some(*v),
            Self::I8(v) => u64::try_from(*v).ok(),
            Self::I16(v) => u64::try_from(*v).ok(),
            Self::I32(v) => u64::try_from(*v).ok(),
            Self::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// A number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F32(v) => Some(f64::from(*v)),
            Self::F64(v) => Some(*v),
            other => other.as_u64().map(|v| v as f64),
        }
    }

    /// Text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// A list.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(a) => Some(a),
            _ => None,
        }
    }
}

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its shape, slowest dimension first (the file has it the other way round).
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub kind: GgmlType,
    start: usize,
}

/// A GGUF file, mapped.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: MappedFile,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// Longest text and list that a sound file holds; more is damage.
const MOST: u64 = 1 << 28;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the file is cut short: it has {} bytes", self.bytes.len()))?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize, String> {
        let n = self.u64()?;
        if n > MOST { Err(format!("a length of {n} is not believable: the file is damaged")) } else { Ok(n as usize) }
    }

    fn string(&mut self) -> Result<String, String> {
        let n = self.length()?;
        // Some vocabularies hold bytes that are no text.
        Ok(String::from_utf8_lossy(self.take(n)?).into_owned())
    }

    fn value(&mut self, kind: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::U8(self.array::<1>()?[0]),
            1 => Value::I8(self.array::<1>()?[0] as i8),
            2 => Value::U16(u16::from_le_bytes(self.array()?)),
            3 => Value::I16(i16::from_le_bytes(self.array()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.array()?)),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::String(self.string()?),
            9 => {
                let (kind, n) = (self.u32()?, self.length()?);
                if kind == 9 {
                    return Err("lists of lists are not supported".into());
                }
                (0..n).map(|_| self.value(kind)).collect::<Result<_, _>>().map(Value::Array)?
            }
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("a metadata value has the unknown type {other}")),
        })
    }
}

impl GgufFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is no GGUF file of version 2 or 3, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let map = MappedFile::open(path).map_err(Error::io(path))?;
        let bad = |message: String| Error::WeightFile { path: path.to_path_buf(), message };
        let (metadata, tensors) = header(map.bytes()).map_err(bad)?;
        Ok(Self { path: path.to_path_buf(), map, metadata, tensors })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All metadata.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// One metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All tensors.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// A tensor's elements.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn float(&self, name: &str) -> Result<Vec<f32>> {
        let info = self.tensors.get(name).ok_or_else(|| Error::tensor(&self.path, name, "is missing from the file"))?;
        let end = info.start + info.kind.bytes(info.shape.iter().product());
        let out = super::dequantize(info.kind, &self.map.bytes()[info.start..end]);
        self.map.release(info.start..end);
        Ok(out)
    }
}

impl GgufFile {
    /// Rows `from..from + count` of a matrix, one after the other.
    ///
    /// # Errors
    /// When there is no such tensor, or it has no such rows.
    pub fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        let info = self.tensors.get(name).ok_or_else(|| Error::tensor(&self.path, name, "is missing from the file"))?;
        let width: usize = info.shape.iter().skip(1).product();
        if from + count > info.shape.first().copied().unwrap_or(0) {
            return Err(Error::tensor(&self.path, name, format!("has shape {:?}, no row {}", info.shape, from + count - 1)));
        }
        let span = info.start + info.kind.bytes(from * width)..info.start + info.kind.bytes((from + count) * width);
        let out = super::dequantize(info.kind, &self.map.bytes()[span.clone()]);
        self.map.release(span);
        Ok(out)
    }
}

type Header = (BTreeMap<String, Value>, BTreeMap<String, TensorInfo>);

fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut c = Cursor { bytes, at: 0 };
    if c.take(4)? != b"GGUF" {
        return Err("not a GGUF file".into());
    }
    let version = c.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("GGUF version {version} is not supported; 2 and 3 are"));
    }
    let (tensors, pairs) = (c.length()?, c.length()?);
    let mut metadata = BTreeMap::new();
    for _ in 0..pairs {
        let key = c.string()?;
        let kind = c.u32()?;
        let value = c.value(kind).map_err(|e| format!("metadata `{key}`: {e}"))?;
        metadata.insert(key, value);
    }
    let mut infos = Vec::new();
    for _ in 0..tensors {
        let name = c.string()?;
        let dims = c.u32()?;
        let mut shape = (0..dims.min(8)).map(|_| c.length()).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        let (kind, offset) = (c.u32()?, c.u64()?);
        let kind = GgmlType::from_id(kind).ok_or_else(|| format!("tensor `{name}` has type {kind}, which is not read"))?;
        if shape.last().is_none_or(|n| !n.is_multiple_of(kind.block())) {
            return Err(format!("tensor `{name}` of shape {shape:?} does not fit blocks of {}", kind.block()));
        }
        infos.push((name, shape, kind, offset));
    }
    let alignment = metadata.get("general.alignment").and_then(Value::as_u64).unwrap_or(ALIGNMENT as u64) as usize;
    let data = c.at.next_multiple_of(alignment.max(1));
    let mut out = BTreeMap::new();
    for (name, shape, kind, offset) in infos {
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(data)).unwrap_or(usize::MAX);
        let size = shape.iter().try_fold(1usize, |a, n| a.checked_mul(*n)).map(|n| kind.bytes(n));
        if size.and_then(|s| s.checked_add(start)).is_none_or(|end| end > bytes.len()) {
            return Err(format!("the file is cut short: it has {} bytes, tensor `{name}` goes beyond them", bytes.len()));
        }
        out.insert(name, TensorInfo { shape, kind, start });
    }
    Ok((metadata, out))
}
