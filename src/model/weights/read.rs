//! Safetensors files of a model folder, mapped; a tensor's bytes are touched once and their pages given back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tallow_kernels::map::MappedFile;

use crate::base::files;
use crate::model::error::{Error, Result};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: MappedFile,
}

#[derive(Debug, Clone)]
struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// All tensors of a set of safetensors files.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    entries: BTreeMap<String, Entry>,
}

/// The weight files of a model folder, in the order of their names.
///
/// # Errors
/// When there are none, or the index names one that is missing.
pub fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    if crate::model::gguf::is_gguf(dir) {
        return Ok(vec![dir.to_path_buf()]);
    }
    Ok(listing(dir)?.0)
}

/// SHA-256 over names and contents of the weight files, as hex.
///
/// # Errors
/// When a file is missing or cannot be read.
pub fn weight_hash(dir: &Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut all = Sha256::new();
    for path in weight_files(dir)? {
        let mut file = std::fs::File::open(&path).map_err(Error::io(&path))?;
        all.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut buffer = vec![0u8; 1 << 20];
        loop {
            let n = std::io::Read::read(&mut file, &mut buffer).map_err(Error::io(&path))?;
            if n == 0 {
                break;
            }
            all.update(&buffer[..n]);
        }
    }
    Ok(all.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The files, and the index's map from tensor to file where there is an index.
fn listing(dir: &Path) -> Result<(Vec<PathBuf>, Option<(PathBuf, BTreeMap<String, String>)>)> {
    let index = dir.join(INDEX);
    if !index.is_file() {
        let single = dir.join(SINGLE);
        if single.is_file() {
            return Ok((vec![single], None));
        }
        let message = format!("neither {SINGLE} nor {INDEX} is in this folder");
        return Err(Error::NotAModel { path: dir.to_path_buf(), message });
    }
    let text = files::read_text(&index).map_err(Error::io(&index))?;
    let bad = |message: String| Error::WeightFile { path: index.clone(), message };
    let json: Value = serde_json::from_str(&text).map_err(|e| bad(format!("not valid JSON: {e}")))?;
    let map = json.get("weight_map").and_then(Value::as_object).ok_or_else(|| bad("has no `weight_map`".into()))?;
    let mut names = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().filter(|f| !f.contains(['/', '\\'])).ok_or_else(|| bad(format!("`{tensor}` names no file: {file}")))?;
        names.insert(tensor.clone(), file.to_owned());
    }
    let mut files: Vec<&String> = names.values().collect();
    files.sort();
    files.dedup();
    let files: Vec<PathBuf> = files.into_iter().map(|f| dir.join(f)).collect();
    if let Some(missing) = files.iter().find(|f| !f.is_file()) {
        let message = format!("shard {} is missing", missing.file_name().unwrap_or_default().to_string_lossy());
        return Err(bad(message));
    }
    Ok((files, Some((index, names))))
}

/// What the names of the text model begin with in a checkpoint that also holds an image model.
pub(crate) fn text_prefix(dir: &Path) -> Result<String> {
    let shards = Shards::open(dir)?;
    let prefixes = ["model.language_model", "language_model.model", "model"];
    let found = prefixes.into_iter().find(|p| shards.has(&format!("{p}.embed_tokens.weight")));
    found.map(str::to_owned).ok_or_else(|| {
        Error::tensor(shards.path_of(""), "model.language_model.embed_tokens.weight", "is missing, under its other names too")
    })
}

impl Shards {
    /// Opens the weights of a model folder.
    ///
    /// # Errors
    /// When a file is missing, cut short or damaged, or a tensor is not in the shard that the index names.
    pub fn open(dir: &Path) -> Result<Self> {
        let (files, index) = listing(dir)?;
        let shards = Self::open_files(&files)?;
        if let Some((index, names)) = index {
            for (tensor, file) in &names {
                if !shards.entries.contains_key(tensor) {
                    return Err(Error::tensor(
                        &dir.join(file),
                        tensor,
                        format!("is not in this shard, though {} says so", index.display()),
                    ));
                }
            }
        }
        Ok(shards)
    }

    /// Opens these files.
    ///
    /// # Errors
    /// When one is cut short or damaged.
    pub fn open_files(files: &[PathBuf]) -> Result<Self> {
        let mut all = Self { shards: Vec::new(), entries: BTreeMap::new() };
        for path in files {
            all.add(path)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let bad = |message: String| Error::WeightFile { path: path.to_path_buf(), message };
        let map = MappedFile::open(path).map_err(Error::io(path))?;
        let bytes = map.bytes();
        if bytes.starts_with(b"version https://git-lfs") {
            return Err(bad("is a pointer of git-lfs, not the file itself: run `git lfs pull` in its repository".into()));
        }
        let header = header_end(bytes).map_err(bad)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| match e {
            // The header says how many bytes follow; a file that breaks off has fewer.
            safetensors::SafeTensorError::MetadataIncompleteBuffer => bad(incomplete(bytes, header)),
            e => bad(format!("not a safetensors file: {e}")),
        })?;
        let shard = self.shards.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = (header + info.data_offsets.0, header + info.data_offsets.1);
            let entry = Entry { shard, dtype: info.dtype, shape: info.shape.clone(), start, end };
            if self.entries.insert(name.clone(), entry).is_some() {
                return Err(Error::tensor(path, &name, "is in two shards"));
            }
        }
        map.release(0..bytes.len());
        self.shards.push(Shard { path: path.to_path_buf(), map });
        Ok(())
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// True when there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Shape and dtype of a tensor.
    pub fn info(&self, name: &str) -> Option<(&[usize], Dtype)> {
        self.entries.get(name).map(|e| (e.shape.as_slice(), e.dtype))
    }

    /// The file that holds a tensor; the first file when no one does.
    pub fn path_of(&self, name: &str) -> &Path {
        let shard = self.entries.get(name).map_or(0, |e| e.shard);
        self.shards.get(shard).map_or(Path::new(""), |s| &s.path)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| Error::tensor(self.path_of(name), name, "is missing from the weights"))
    }

    /// A tensor's bytes as they stand in the file.
    ///
    /// # Errors
    /// When it is missing.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let e = self.entry(name)?;
        Ok(&self.shards[e.shard].map.bytes()[e.start..e.end])
    }

    /// Gives back the pages of a tensor that has been read.
    pub fn release(&self, name: &str) {
        if let Some(e) = self.entries.get(name) {
            self.shards[e.shard].map.release(e.start..e.end);
        }
    }

    /// Refuses a tensor of another shape than `want`.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn check_shape(&self, name: &str, want: &[usize]) -> Result<()> {
        let e = self.entry(name)?;
        if e.shape != want {
            return Err(Error::tensor(self.path_of(name), name, format!("has shape {:?}, the config asks for {want:?}", e.shape)));
        }
        Ok(())
    }

    /// Reads a floating-point tensor as f32 or bf16 on the CPU.
    ///
    /// # Errors
    /// When it is missing or not floating-point.
    pub fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let e = self.entry(name)?;
        let bytes = self.bytes(name)?;
        let t = match dtype {
            DType::F32 => floats(bytes, e.dtype, |v| v).map(|v| Tensor::from_vec(v, e.shape.as_slice(), &Device::Cpu)),
            DType::BF16 => floats(bytes, e.dtype, bf16::from_f32).map(|v| Tensor::from_vec(v, e.shape.as_slice(), &Device::Cpu)),
            other => return Err(Error::Value(format!("weights cannot be held as {other:?}"))),
        };
        let t =
            t.ok_or_else(|| Error::tensor(self.path_of(name), name, format!("has dtype {:?}; f32, f16 and bf16 are read", e.dtype)))??;
        self.release(name);
        Ok(t)
    }

    /// Rows `from..from + count` of a floating-point matrix in f32, one after the other; no other pages are touched.
    ///
    /// # Errors
    /// When it is missing or not floating-point, or has no such rows.
    pub fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        let e = self.entry(name)?;
        let bytes = self.bytes(name)?;
        let row = bytes.len() / e.shape.first().copied().unwrap_or(1).max(1);
        let span = from * row..(from + count) * row;
        let bad = |message: String| Error::tensor(self.path_of(name), name, message);
        let some = bytes.get(span.clone()).ok_or_else(|| bad(format!("has shape {:?}, no row {}", e.shape, from + count - 1)))?;
        let values = floats(some, e.dtype, |v| v).ok_or_else(|| bad(format!("has dtype {:?}; f32, f16 and bf16 are read", e.dtype)))?;
        self.shards[e.shard].map.release(e.start + span.start..e.start + span.end);
        Ok(values)
    }

    /// Reads a tensor of bytes, as quantised checkpoints hold them.
    ///
    /// # Errors
    /// When it is missing or not of bytes.
    pub fn u8(&self, name: &str) -> Result<Vec<u8>> {
        let e = self.entry(name)?;
        if e.dtype != Dtype::U8 {
            return Err(Error::tensor(self.path_of(name), name, format!("has dtype {:?}, expected U8", e.dtype)));
        }
        let bytes = self.bytes(name)?.to_vec();
        self.release(name);
        Ok(bytes)
    }
}

/// Where the tensors' bytes begin.
fn header_end(bytes: &[u8]) -> Result<usize, String> {
    let Some(first) = bytes.first_chunk::<8>() else { return Err("the file is cut short: it has no safetensors header".into()) };
    let len = u64::from_le_bytes(*first);
    match usize::try_from(len).ok().and_then(|n| n.checked_add(8)) {
        Some(end) if end <= bytes.len() => Ok(end),
        _ => Err(format!("the file is cut short or not safetensors: its header says {len} bytes, the file has {}", bytes.len())),
    }
}

/// Why the tensors of a file do not fill it.
fn incomplete(bytes: &[u8], header: usize) -> String {
    let json: Value = serde_json::from_slice(&bytes[8..header]).unwrap_or_default();
    let ends = json.as_object().into_iter().flatten().filter_map(|(name, t)| Some((t["data_offsets"][1].as_u64()?, name)));
    let has = bytes.len();
    match ends.max().map(|(end, name)| (end.saturating_add(header as u64), name)) {
        Some((end, name)) if end > has as u64 => format!("the file is cut short: it has {has} bytes and the tensor `{name}` ends at {end}"),
        Some((end, _)) => format!("the file has {has} bytes, its tensors end at {end}: not a whole safetensors file"),
        None => "the header names no tensors, but bytes follow it".into(),
    }
}

/// Elements of a floating-point tensor, each turned by `to`.
fn floats<T: Send>(bytes: &[u8], dtype: Dtype, to: impl Fn(f32) -> T + Sync) -> Option<Vec<T>> {
    Some(match dtype {
        Dtype::F32 => bytes.par_chunks_exact(4).map(|b| to(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
        Dtype::BF16 => bytes.par_chunks_exact(2).map(|b| to(bf16::from_le_bytes([b[0], b[1]]).to_f32())).collect(),
        Dtype::F16 => bytes.par_chunks_exact(2).map(|b| to(f16::from_le_bytes([b[0], b[1]]).to_f32())).collect(),
        _ => return None,
    })
}
