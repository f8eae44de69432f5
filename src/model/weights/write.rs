//! Writing safetensors shards one tensor at a time, so that a model never has to fit in memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::model::error::{Error, Result};

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTensor {
    /// Its name.
    pub name: String,
    /// Its dtype: F32, BF16 or F16.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl PlannedTensor {
    /// Its bytes in the file.
    pub fn bytes(&self) -> u64 {
        let width = if self.dtype == Dtype::F32 { 4 } else { 2 };
        self.shape.iter().product::<usize>() as u64 * width
    }
}

/// Writes planned tensors, in their order, into `model.safetensors` or into shards with an index.
///
/// The folder must be one that is not yet the final one (see `base::atomic::AtomicDir`): files are synced here,
/// the folder is put in place by its owner.
#[derive(Debug)]
pub struct ShardWriter {
    dir: PathBuf,
    /// Planned tensors of each shard.
    plan: Vec<Vec<PlannedTensor>>,
    /// Next shard and next tensor in it.
    at: (usize, usize),
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl ShardWriter {
    /// Plans the shards: none larger than `max_shard_bytes` unless one tensor alone is.
    pub fn new(dir: &Path, tensors: Vec<PlannedTensor>, max_shard_bytes: u64) -> Self {
        let mut plan: Vec<Vec<PlannedTensor>> = vec![Vec::new()];
        let mut filled = 0;
        for t in tensors {
            if filled > 0 && filled + t.bytes() > max_shard_bytes {
                plan.push(Vec::new());
                filled = 0;
            }
            filled += t.bytes();
            if let Some(shard) = plan.last_mut() {
                shard.push(t);
            }
        }
        Self { dir: dir.to_path_buf(), plan, at: (0, 0), file: None }
    }

    fn file_name(&self, shard: usize) -> String {
        match self.plan.len() {
            1 => "model.safetensors".into(),
            n => format!("model-{:05}-of-{n:05}.safetensors", shard + 1),
        }
    }

    /// Writes the next planned tensor, given as f32 and cast to its planned dtype.
    ///
    /// # Errors
    /// When it is not the next one planned, holds what its dtype cannot, or the disk refuses.
    pub fn write_f32(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let t = self.next(name)?;
        let want: usize = t.shape.iter().product();
        if values.len() != want {
            return Err(Error::Value(format!("`{name}` has {} elements, {want} were planned", values.len())));
        }
        self.put(&cast(name, values, t.dtype)?)
    }

    /// Writes the next planned tensor from bytes already in its dtype.
    ///
    /// # Errors
    /// When it is not the next one planned, or the disk refuses.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let t = self.next(name)?;
        if bytes.len() as u64 != t.bytes() {
            return Err(Error::Value(format!("`{name}` has {} bytes, {} were planned", bytes.len(), t.bytes())));
        }
        self.put(bytes)
    }

    fn next(&mut self, name: &str) -> Result<PlannedTensor> {
        let planned = self.plan.get(self.at.0).and_then(|s| s.get(self.at.1));
        match planned {
            Some(t) if t.name == name => Ok(t.clone()),
            Some(t) => Err(Error::Value(format!("`{name}` is written where `{}` was planned", t.name))),
            None => Err(Error::Value(format!("`{name}` was not planned"))),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.file.is_none() {
            self.begin()?;
        }
        if let Some((path, file)) = &mut self.file {
            file.write_all(bytes).map_err(Error::io(path))?;
        }
        self.at.1 += 1;
        if self.at.1 == self.plan[self.at.0].len() {
            self.end()?;
            self.at = (self.at.0 + 1, 0);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let path = self.dir.join(self.file_name(self.at.0));
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut offset = 0;
        for t in &self.plan[self.at.0] {
            let end = offset + t.bytes();
            header.insert(t.name.clone(), json!({"dtype": format!("{:?}", t.dtype), "shape": t.shape, "data_offsets": [offset, end]}));
            offset = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(Error::io(&path))?);
        file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)).map_err(Error::io(&path))?;
        self.file = Some((path, file));
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((path, file)) = self.file.take() {
            let file = file.into_inner().map_err(|e| Error::Io { path: path.clone(), source: e.into_error() })?;
            file.sync_all().map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Writes the index where there are several shards.
    ///
    /// # Errors
    /// When planned tensors were not written, or the disk refuses.
    pub fn finish(self) -> Result<()> {
        if let Some(t) = self.plan.get(self.at.0).and_then(|s| s.get(self.at.1)) {
            return Err(Error::Value(format!("`{}` was planned and not written", t.name)));
        }
        if self.plan.len() == 1 {
            return Ok(());
        }
        let mut map = Map::new();
        for (i, shard) in self.plan.iter().enumerate() {
            map.extend(shard.iter().map(|t| (t.name.clone(), Value::String(self.file_name(i)))));
        }
        let total: u64 = self.plan.iter().flatten().map(PlannedTensor::bytes).sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        let path = self.dir.join("model.safetensors.index.json");
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        file.write_all(format!("{index:#}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(Error::io(&path))
    }
}

/// The bytes of finite numbers in F32, F16 or BF16.
///
/// # Errors
/// [`Error::NotFinite`], and [`Error::Overflow`] where the dtype would make an infinity of a number.
pub fn cast(name: &str, values: &[f32], dtype: Dtype) -> Result<Vec<u8>> {
    check_range(name, values, dtype)?;
    Ok(match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
    })
}

/// Refuses what F32, F16 or BF16 cannot hold.
///
/// # Errors
/// [`Error::NotFinite`] and [`Error::Overflow`], with the element.
pub fn check_range(name: &str, values: &[f32], dtype: Dtype) -> Result<()> {
    check_finite(name, values)?;
    let (dtype, most, fits): (_, _, fn(f32) -> bool) = match dtype {
        Dtype::F16 => ("f16", half::f16::MAX.to_f32(), |v| half::f16::from_f32(v).is_finite()),
        Dtype::BF16 => ("bf16", half::bf16::MAX.to_f32(), |v| half::bf16::from_f32(v).is_finite()),
        _ => return Ok(()),
    };
    // Rounding may still reach the largest number from a little beyond it.
    let beyond = values.iter().position(|v| v.abs() > most && !fits(*v));
    match beyond {
        Some(element) => Err(Error::Overflow { tensor: name.to_owned(), element, value: values[element], dtype, most }),
        None => Ok(()),
    }
}

/// Refuses NaN and infinities.
///
/// # Errors
/// [`Error::NotFinite`] with the element.
pub fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(element) => Err(Error::NotFinite { tensor: name.to_owned(), element, value: values[element] }),
        None => Ok(()),
    }
}

/// The same for bytes of F32, F16 or BF16, without making numbers of them.
///
/// # Errors
/// [`Error::NotFinite`] with the element.
pub fn check_finite_bytes(name: &str, bytes: &[u8], dtype: Dtype) -> Result<()> {
    let found = match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).enumerate().find(|(_, v)| !v.is_finite()),
        Dtype::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).enumerate().find(|(_, v)| !v.is_finite())
        }
        Dtype::BF16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).enumerate().find(|(_, v)| !v.is_finite())
        }
        _ => None,
    };
    match found {
        Some((element, value)) => Err(Error::NotFinite { tensor: name.to_owned(), element, value }),
        None => Ok(()),
    }
}
