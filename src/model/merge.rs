//! Merging an adapter into its base, one tensor at a time: `W + scale B A` in f32, cast back, written in new shards.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use safetensors::Dtype;
use serde_json::Value;

use super::adapter::AdapterFile;
use super::decoder::check_names;
use super::error::{Error, Result};
use super::spec::{DecoderSpec, Role, TensorSpec, Unknown};
use super::weights::{PlannedTensor, ShardWriter, Shards, TensorSource, check_finite_bytes};
use crate::base::files;

/// Shards are cut at this many bytes unless told otherwise.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// What to merge.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// The base model's folder.
    pub model: PathBuf,
    /// The adapter's folder; `None` writes the base as it is (dequantised where it was quantised).
    pub adapter: Option<PathBuf>,
    /// The folder to make. It must not exist.
    pub out: PathBuf,
    /// F32, BF16 or F16 for all tensors; `None` keeps each tensor's dtype (BF16 where it was quantised).
    pub dtype: Option<Dtype>,
    /// Where shards are cut.
    pub max_shard_bytes: u64,
    /// What is done with an architecture that is not known by name.
    pub unknown: Unknown,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MergeReport {
    /// Tensors in all.
    pub tensors: usize,
    /// Tensors that an adapter changed.
    pub merged: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// A folder that is made under another name beside its final place and renamed when complete; removed when not.
pub(super) struct StagedFolder {
    temporary: Option<tempfile::TempDir>,
    out: PathBuf,
}

impl StagedFolder {
    pub(super) fn new(out: &Path) -> Result<Self> {
        if out.exists() {
            return Err(Error::Io { path: out.to_path_buf(), source: std::io::ErrorKind::AlreadyExists.into() });
        }
        let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let temporary =
            tempfile::Builder::new().prefix(crate::base::atomic::TEMPORARY_PREFIX).tempdir_in(parent).map_err(Error::io(parent))?;
        Ok(Self { temporary: Some(temporary), out: out.to_path_buf() })
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.as_ref().map_or(&self.out, |t| t.path())
    }

    pub(super) fn commit(mut self) -> Result<()> {
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.keep();
            #[cfg(unix)]
            {
                // Temporary folders are private; the finished one is an ordinary folder.
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(Error::io(&path))?;
                std::fs::File::open(&path).and_then(|d| d.sync_all()).map_err(Error::io(&path))?;
            }
            if let Err(source) = std::fs::rename(&path, &self.out) {
                let _ = std::fs::remove_dir_all(&path);
                return Err(Error::Io { path: self.out.clone(), source });
            }
        }
        Ok(())
    }
}

/// Merges, writing the whole folder or nothing.
///
/// # Errors
/// When the model or adapter does not fit, cannot be read or holds what is no number, or the output
/// cannot be written.
pub fn merge(options: &MergeOptions) -> Result<MergeReport> {
    let spec = DecoderSpec::open(&options.model, options.unknown)?;
    let shards = Shards::open(&options.model)?;
    check_names(&spec, &shards)?;
    let adapter = options.adapter.as_deref().map(AdapterFile::open).transpose()?;
    if let Some(a) = &adapter {
        a.check_places(&spec)?;
    }
    let plan: Vec<PlannedTensor> = spec
        .tensors()
        .into_iter()
        .map(|t| {
            let stored = match shards.info(&t.name) {
                Some((_, d @ (Dtype::F32 | Dtype::F16))) => d,
                _ => Dtype::BF16,
            };
            PlannedTensor { dtype: options.dtype.unwrap_or(stored), name: t.name, shape: t.shape }
        })
        .collect();
    let folder = StagedFolder::new(&options.out)?;
    let mut report = MergeReport { tensors: plan.len(), merged: 0, bytes: plan.iter().map(PlannedTensor::bytes).sum() };
    let mut writer = ShardWriter::new(folder.path(), plan.clone(), options.max_shard_bytes);
    for (t, planned) in spec.tensors().iter().zip(&plan) {
        let merges = match (&adapter, t.role) {
            (Some(a), Role::Linear) => a.has(t.name.strip_suffix(".weight").unwrap_or(&t.name)),
            _ => false,
        };
        if !merges && shards.info(&t.name).map(|i| i.1) == Some(planned.dtype) {
            let bytes = shards.bytes(&t.name)?;
            check_finite_bytes(&t.name, bytes, planned.dtype)?;
            writer.write_bytes(&t.name, bytes)?;
            shards.release(&t.name);
            continue;
        }
        report.merged += usize::from(merges);
        let w = merged_f32(&shards, adapter.as_ref(), &t.name, &t.shape)?;
        writer.write_f32(&t.name, &w.flatten_all()?.to_vec1::<f32>()?)?;
    }
    writer.finish()?;
    copy_side_files(&options.model, folder.path(), options.dtype)?;
    folder.commit()?;
    Ok(report)
}

/// A tensor in f32, dequantised where it was quantised, with the adapter folded in where there is one for it.
///
/// # Errors
/// When it is missing or damaged.
pub fn merged_f32(shards: &dyn TensorSource, adapter: Option<&AdapterFile>, name: &str, shape: &[usize]) -> Result<Tensor> {
    let w = match shards.is_nf4(name) {
        true => shards.nf4(name, shape)?.dequantize()?,
        false => shards.float(name, DType::F32)?,
    };
    let (Some(adapter), [out, inp]) = (adapter, shape) else { return Ok(w) };
    Ok(match delta(adapter, name, (*out, *inp))? {
        Some(delta) => (w + delta)?,
        None => w,
    })
}

/// `scale B A` f32 `[out, in]`.
fn delta(adapter: &AdapterFile, name: &str, shape: (usize, usize)) -> Result<Option<Tensor>> {
    let path = name.strip_suffix(".weight").unwrap_or(name);
    let Some((a, b)) = adapter.pair(path, shape)? else { return Ok(None) };
    Ok(Some((b.matmul(&a)? * adapter.config.scale())?))
}

/// Copies config, tokenizer and licence; the config loses its quantisation and gets the dtype that was written.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_side_files(from: &Path, to: &Path, dtype: Option<Dtype>) -> Result<()> {
    for entry in std::fs::read_dir(from).map_err(Error::io(from))? {
        let path = entry.map_err(Error::io(from))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = [".json", ".txt", ".model", ".jinja"].iter().any(|e| name.ends_with(e)) || name.starts_with("LICENSE");
        let weights = name.ends_with(".safetensors.index.json") || name.ends_with(".bin.index.json") || name.starts_with("adapter_");
        if !path.is_file() || !wanted || weights {
            continue;
        }
        let target = to.join(&name);
        if name == "config.json" {
            write_config(&path, &target, dtype)?;
        } else if name == "tokenizer_config.json" {
            let mut json = read_json(&path)?;
            forget_paths(&mut json);
            if is_rebuilt(&json, from) {
                json["tokenizer_class"] = PLAIN_TOKENIZER.into();
            }
            std::fs::write(&target, format!("{json:#}\n")).map_err(Error::io(&target))?;
        } else {
            std::fs::copy(&path, &target).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// The class with which transformers takes tokenizer.json as it is.
pub const PLAIN_TOKENIZER: &str = "PreTrainedTokenizerFast";

/// Whether transformers 5 would build another tokenizer than tokenizer.json describes: it builds
/// `LlamaTokenizer` anew from the vocabulary, with a space before the first word only, where older
/// files put one before every piece of text between special tokens.
fn is_rebuilt(config: &Value, folder: &Path) -> bool {
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    let tokenizer = read_json(&folder.join("tokenizer.json")).unwrap_or_default();
    matches!(class, "LlamaTokenizer" | "LlamaTokenizerFast") && tokenizer["normalizer"].to_string().contains("\"Prepend\"")
}

fn read_json(path: &Path) -> Result<Value> {
    let text = files::read_text(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|e| Error::NotAModel { path: path.to_path_buf(), message: e.to_string() })
}

/// Takes out where the files lay on somebody's disk: libraries write it when they save.
fn forget_paths(json: &mut Value) {
    let Some(fields) = json.as_object_mut() else { return };
    for key in ["_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file"] {
        let is_path = |v: &Value| v.as_str().is_some_and(|s| Path::new(s).has_root() || s.starts_with(['.', '~']) || s.contains('\\'));
        if fields.get(key).is_some_and(is_path) {
            fields.remove(key);
        }
    }
}

fn write_config(from: &Path, to: &Path, dtype: Option<Dtype>) -> Result<()> {
    let mut json = read_json(from)?;
    forget_paths(&mut json);
    if let Some(fields) = json.as_object_mut() {
        if fields.contains_key("vision_config") {
            let message = "the model also sees images, and its image part is not read: export the adapter, or GGUF of its text part";
            return Err(Error::Value(message.into()));
        }
        let quantized = fields.remove("quantization_config").is_some() | fields.remove("quantization").is_some();
        let name = match dtype {
            Some(Dtype::F32) => Some("float32"),
            Some(Dtype::F16) => Some("float16"),
            Some(_) => Some("bfloat16"),
            None => quantized.then_some("bfloat16"),
        };
        if let Some(name) = name {
            let key = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
            fields.insert(key.into(), Value::String(name.into()));
        }
    }
    std::fs::write(to, format!("{json:#}\n")).map_err(Error::io(to))
}

impl super::decoder::Decoder {
    /// Writes a fully fine-tuned model as a new folder: its trained weights, and the config and tokenizer of the folder
    /// it was loaded from. `dtype` is F32, BF16 or F16; `None`: what each tensor has there.
    ///
    /// # Errors
    /// When the model was not fully fine-tuned, or the output exists or cannot be written.
    pub fn save_model(&self, out: &Path, dtype: Option<Dtype>, max_shard_bytes: u64) -> Result<()> {
        let tensors = self.spec().tensors();
        let stored = dtype.is_none().then(|| Shards::open(self.source())).transpose()?;
        let kept = |name: &str| match stored.as_ref().and_then(|s| s.info(name)) {
            Some((_, d @ (Dtype::F32 | Dtype::F16))) => d,
            _ => Dtype::BF16,
        };
        let planned =
            |t: &TensorSpec| PlannedTensor { dtype: dtype.unwrap_or_else(|| kept(&t.name)), name: t.name.clone(), shape: t.shape.clone() };
        let plan = tensors.iter().map(planned).collect();
        let folder = StagedFolder::new(out)?;
        let mut writer = ShardWriter::new(folder.path(), plan, max_shard_bytes);
        for t in &tensors {
            let param = self.params().by_name(&t.name);
            let param = param.ok_or_else(|| Error::Value(format!("`{}` does not train: merge the adapter instead", t.name)))?;
            writer.write_f32(&t.name, &param.tensor.flatten_all()?.to_vec1::<f32>()?)?;
        }
        writer.finish()?;
        copy_side_files(self.source(), folder.path(), dtype)?;
        folder.commit()
    }
}
