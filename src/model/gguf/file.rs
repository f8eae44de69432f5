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
    /// The part of a split file that holds it.
    part: usize,
    start: usize,
}

/// A GGUF file, mapped; of a model that was split into several files, all of them.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    parts: Vec<MappedFile>,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// Longest text and list that a sound file holds; more is damage.
const MOST: u64 = 1 << 28;
/// Elements of all lists of a file's metadata together. The largest vocabularies have some 300,000 tokens with three
/// lists beside them; a value in memory takes up to 32 times its bytes in the file.
const MOST_ELEMENTS: usize = 1 << 22;
/// Bytes that a pair of the metadata, and the description of a tensor, have at the least.
const LEAST_PAIR: usize = 8 + 4 + 1;
const LEAST_TENSOR: usize = 8 + 4 + 8 + 4 + 8;
/// Elements that a byte of a tensor can hold at the most.
const MOST_IN_A_BYTE: usize = 4;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Largest alignment of tensors.
const MOST_ALIGNMENT: u64 = 1 << 20;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Elements of lists read so far.
    elements: usize,
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

    /// A number of things that take at least so many bytes each: no more than the rest of the file has room for.
    fn count(&mut self, least: usize) -> Result<usize, String> {
        let n = self.length()?;
        let room = (self.bytes.len() - self.at) / least.max(1);
        if n > room {
            return Err(format!("the file is cut short or damaged: it claims {n} entries and has room for {room}"));
        }
        Ok(n)
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
                let kind = self.u32()?;
                if kind == 9 {
                    return Err("lists of lists are not supported".into());
                }
                let n = self.count(least_bytes(kind))?;
                self.elements += n;
                if self.elements > MOST_ELEMENTS {
                    return Err(format!("the lists of the metadata hold more than {MOST_ELEMENTS} elements"));
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

/// Bytes that a metadata value of this type has at the least.
fn least_bytes(kind: u32) -> usize {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        _ => 1,
    }
}

impl GgufFile {
    /// Opens a file and reads its header. Any part of a split file opens the whole, whose metadata
    /// are those of the first part.
    ///
    /// # Errors
    /// When it cannot be read, is no GGUF file of version 2 or 3, or is damaged, or a part is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let (map, metadata, tensors) = open_part(path)?;
        let count = metadata.get("split.count").and_then(Value::as_u64).unwrap_or(1) as usize;
        if count <= 1 {
            return Ok(Self { path: path.to_path_buf(), parts: vec![map], metadata, tensors });
        }
        let bad = |message: String| Error::WeightFile { path: path.to_path_buf(), message };
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = split_stem(&name)
            .ok_or_else(|| bad(format!("is one of {count} parts; parts are found by names that end in -00001-of-{count:05}.gguf")))?;
        let mut whole = Self { path: path.to_path_buf(), parts: Vec::new(), metadata: BTreeMap::new(), tensors: BTreeMap::new() };
        for part in 0..count {
            let at = path.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", part + 1));
            let (map, metadata, tensors) = open_part(&at)?;
            whole.parts.push(map);
            whole.tensors.extend(tensors.into_iter().map(|(name, t)| (name, TensorInfo { part, ..t })));
            if part == 0 {
                whole.metadata = metadata;
            }
        }
        Ok(whole)
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
        let map = &self.parts[info.part];
        let out = super::dequantize(info.kind, &map.bytes()[info.start..end]);
        map.release(info.start..end);
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
        let map = &self.parts[info.part];
        let out = super::dequantize(info.kind, &map.bytes()[span.clone()]);
        map.release(span);
        Ok(out)
    }
}

fn open_part(path: &Path) -> Result<(MappedFile, BTreeMap<String, Value>, BTreeMap<String, TensorInfo>)> {
    let map = MappedFile::open(path).map_err(Error::io(path))?;
    let (metadata, tensors) = header(map.bytes()).map_err(|message| Error::WeightFile { path: path.to_path_buf(), message })?;
    Ok((map, metadata, tensors))
}

/// `name` of `name-00001-of-00003.gguf`.
fn split_stem(file: &str) -> Option<&str> {
    let rest = file.strip_suffix(".gguf")?;
    let (rest, count) = rest.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    (digits(count) && digits(number)).then_some(stem)
}

type Header = (BTreeMap<String, Value>, BTreeMap<String, TensorInfo>);

fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut c = Cursor { bytes, at: 0, elements: 0 };
    if c.take(4)? != b"GGUF" {
        return Err("not a GGUF file".into());
    }
    let version = c.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("GGUF version {version} is not supported; 2 and 3 are"));
    }
    let (tensors, pairs) = (c.count(LEAST_TENSOR)?, c.count(LEAST_PAIR)?);
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
        if !(1..=MOST_DIMENSIONS).contains(&dims) {
            return Err(format!("tensor `{name}` has {dims} dimensions; 1 to {MOST_DIMENSIONS} are read"));
        }
        let mut shape = (0..dims).map(|_| c.length()).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        let (kind, offset) = (c.u32()?, c.u64()?);
        let kind = GgmlType::from_id(kind).ok_or_else(|| format!("tensor `{name}` has type {kind}, which is not read"))?;
        if shape.last().is_none_or(|n| !n.is_multiple_of(kind.block())) {
            return Err(format!("tensor `{name}` of shape {shape:?} does not fit blocks of {}", kind.block()));
        }
        infos.push((name, shape, kind, offset));
    }
    let alignment = match metadata.get("general.alignment") {
        None => ALIGNMENT as u64,
        Some(value) => {
            let power = value.as_u64().filter(|a| a.is_power_of_two() && *a <= MOST_ALIGNMENT);
            power.ok_or_else(|| format!("metadata `general.alignment` is no power of two up to {MOST_ALIGNMENT}"))?
        }
    };
    let data = c.at.next_multiple_of(alignment as usize);
    let mut out = BTreeMap::new();
    for (name, shape, kind, offset) in infos {
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(data)).unwrap_or(usize::MAX);
        let elements = shape.iter().try_fold(1usize, |a, n| a.checked_mul(*n));
        let size = elements.filter(|n| n / MOST_IN_A_BYTE <= bytes.len()).map(|n| kind.bytes(n));
        if size.and_then(|s| s.checked_add(start)).is_none_or(|end| end > bytes.len()) {
            return Err(format!("the file is cut short: it has {} bytes, tensor `{name}` goes beyond them", bytes.len()));
        }
        out.insert(name, TensorInfo { shape, kind, part: 0, start });
    }
    Ok((metadata, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, s: &str) {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.as_bytes());
    }

    /// A sound file: an alignment, a list of numbers, a list of texts, one tensor of 2 x 4.
    fn sound(alignment: u32, list: u64, shape: [u64; 2], offset: u64) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        out.extend(3u64.to_le_bytes());
        text(&mut out, "general.alignment");
        out.extend(4u32.to_le_bytes());
        out.extend(alignment.to_le_bytes());
        for kind in [0u32, 8] {
            text(&mut out, &format!("list.{kind}"));
            out.extend(9u32.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(list.to_le_bytes());
            for i in 0..list.min(3) {
                if kind == 0 { out.push(i as u8) } else { text(&mut out, "word") }
            }
        }
        text(&mut out, "t");
        out.extend(2u32.to_le_bytes());
        shape.iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.resize(out.len().next_multiple_of(32) + 32, 0);
        out
    }

    fn drawn() -> (u64, impl FnMut() -> u64) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |d| d.as_nanos() as u64);
        let mut state = seed | 1;
        let draw = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (seed, draw)
    }

    #[test]
    fn counts_and_sizes_are_checked_against_the_file() {
        assert!(header(&sound(32, 3, [4, 2], 0)).is_ok());
        let (seed, mut draw) = drawn();
        for _ in 0..300 {
            let huge = (1u64 << (23 + draw() % 41)) | draw() >> 41;
            let alignment = [0, 3, 33, u32::MAX, 1 << 21][draw() as usize % 5];
            assert!(header(&sound(alignment, 3, [4, 2], 0)).unwrap_err().contains("alignment"), "{alignment}, seed {seed}");
            for bytes in [sound(32, huge, [4, 2], 0), sound(32, 3, [huge, huge], 0), sound(32, 3, [4, 2], huge), sound(32, 3, [huge, 1], 0)]
            {
                assert!(header(&bytes).is_err(), "{huge}, seed {seed}");
            }
        }
    }

    /// Any bytes are an answer, never a panic or a request for memory that the file does not justify.
    #[test]
    fn damage_is_an_error() {
        let (seed, mut draw) = drawn();
        for i in 0..20_000 {
            let mut bytes = sound(32, 3, [4, 2], 0);
            for _ in 0..=draw() % 4 {
                let at = draw() as usize % bytes.len();
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, draw() as u8][draw() as usize % 6];
            }
            bytes.truncate(bytes.len() - (draw() as usize % 9) * usize::from(i % 2 == 0));
            if let Ok((_, tensors)) = header(&bytes) {
                for info in tensors.values() {
                    let size = info.kind.bytes(info.shape.iter().product());
                    assert!(info.start + size <= bytes.len(), "seed {seed}, round {i}");
                }
            }
        }
    }
}
