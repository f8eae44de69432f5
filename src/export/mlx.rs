//! mlx-lm's forms: the adapter, and the merged model with groups of few bits.
//!
//! A group is `group` neighbouring elements of a row; element i of it is `scale q + bias`. Codes are packed from the low
//! bits of 32-bit words upward.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};

use super::folder::{FolderReport, bounds, coarse_name, need_folder, stored};
use super::proof::EXACT;
use super::quantise::affine_groups;
use super::streamed::{Streamed, cast};
use super::{Bounds, Merged, Prompts, Proof, WithPairs, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::model::merge::copy_side_files;
use crate::model::spec::Role;
use crate::model::weights::{Shards, TensorSource};
use crate::model::{DecoderSpec, Error, Result as ModelResult};

const ADAPTERS: &str = "adapters.safetensors";

/// Writes the adapter as mlx-lm reads it into the new folder `out`, and proves it.
///
/// # Errors
/// When there is no adapter, the disk refuses, or the proof fails; then nothing is left of the folder.
pub fn write_adapter(merged: &Merged, model: &Path, prompts: &Prompts, out: &Path) -> Result<FolderReport, Fault> {
    let Some(adapter) = merged.adapter() else {
        return Err(Fault::new("export_no_adapter", "there is no adapter to export").hint("give --adapter DIR"));
    };
    let spec = merged.spec();
    let folder = AtomicDir::new(out)?;
    let (mut tensors, mut keys) = (Vec::new(), Vec::new());
    for linear in spec.linears() {
        let path = &linear.path;
        let Some((a, b)) = adapter.pair(path, (linear.out, linear.inp))? else { continue };
        for (name, t) in [("lora_a", a.t()?.contiguous()?), ("lora_b", b.t()?.contiguous()?)] {
            let bytes = t.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.push(Stored { name: format!("{path}.{name}"), dtype: Dtype::F32, shape: t.dims().to_vec(), bytes });
        }
        if !keys.contains(&linear.inner) {
            keys.push(linear.inner);
        }
    }
    let bytes = write_tensors(&folder.path().join(ADAPTERS), &tensors)?;
    let config = json!({
        "fine_tune_type": "lora",
        "num_layers": spec.num_layers(),
        "lora_parameters": {"rank": adapter.config.rank, "scale": adapter.config.scale(), "dropout": adapter.config.dropout, "keys": keys},
    });
    write_file(&folder.path().join("adapter_config.json"), format!("{config:#}\n").as_bytes())?;
    let back = read_adapter(merged, folder.path())?;
    let proof = Proof::of(merged, spec, &back, prompts, EXACT)?;
    write_file(&folder.path().join("README.md"), card::model_card(merged, model, "mlx", "f32", &proof).as_bytes())?;
    folder.commit()?;
    Ok(FolderReport { tensors: tensors.len(), bytes, proof })
}

/// Reads the folder as mlx-lm does, onto the base.
fn read_adapter<'a>(merged: &'a Merged, folder: &Path) -> Result<WithPairs<'a>, Fault> {
    let path = folder.join("adapter_config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, &e))?;
    let config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("export_proof_failed", e.to_string()))?;
    let scale = config["lora_parameters"]["scale"].as_f64().unwrap_or(0.0);
    let shards = Shards::open_files(&[folder.join(ADAPTERS)])?;
    let mut with = WithPairs::new(merged);
    let paths: Vec<String> = shards.names().filter_map(|n| n.strip_suffix(".lora_a").map(str::to_owned)).collect();
    for path in paths {
        let a = shards.float(&format!("{path}.lora_a"), DType::F32)?.t()?.contiguous()?;
        let b = shards.float(&format!("{path}.lora_b"), DType::F32)?.t()?.contiguous()?;
        with.add(path, a, b, scale);
    }
    Ok(with)
}

/// How matrices are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Bits of a code: 2, 4 or 8.
    pub bits: u32,
    /// Elements of a group: 32, 64 or 128.
    pub group: usize,
}

impl Groups {
    fn bounds(self) -> Bounds {
        let (kl, max_abs) = match self.bits {
            8 => (5e-3, 0.5),
            4 => (1.5, 8.0),
            _ => (6.0, 16.0),
        };
        Bounds { kl, max_abs }
    }

    /// The relative error that a matrix may have: the steps are those of a whole group.
    fn loss(self) -> f64 {
        (self.group as f64 / 12.0).sqrt() * 1.2 / f64::from((1u32 << self.bits) - 1)
    }
}

/// Writes the merged model for mlx-lm into the new folder `out`, its matrices in groups where `groups` says so.
///
/// # Errors
/// When the disk refuses or the proof fails; then nothing is left of the folder.
pub fn write_model(
    merged: &Merged,
    model: &Path,
    prompts: &Prompts,
    groups: Option<Groups>,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    need_folder(model)?;
    let spec = merged.spec();
    let folder = AtomicDir::new(out)?;
    let dtype = stored(merged, &merged.spec().embedding_name());
    let all = spec.tensors();
    let mut writer = Streamed::new(&folder.path().join("model.safetensors"), "mlx", plan(spec, dtype, groups))?;
    let total: u64 = all.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    for t in &all {
        let values = merged.values(&t.name, &t.shape)?;
        match grouped(t.role, &t.shape, groups) {
            Some(g) => pack(&values, g, dtype).iter().try_for_each(|part| writer.put(part))?,
            None => writer.put(&cast(&values, dtype))?,
        }
        merged.base().release(&t.name);
        done += values.len() as u64;
        progress(done, total);
    }
    let (tensors, bytes) = writer.finish()?;
    copy_side_files(model, folder.path(), Some(dtype))?;
    fit_config(&folder.path().join("config.json"), spec, groups)?;
    let written = MlxSource::open(folder.path(), spec)?;
    let allowed = groups.map_or_else(|| bounds(dtype), Groups::bounds);
    let mut proof = Proof::of(merged, spec, &written, prompts, allowed)?;
    let cast = if dtype == Dtype::F32 { 0.0 } else { 4e-3 };
    proof.tensors(merged, &written, &|_| cast + groups.map_or(0.0, Groups::loss), None)?;
    drop(written);
    let kind = groups.map_or_else(|| coarse_name(dtype).to_owned(), |g| format!("{} bits in groups of {}", g.bits, g.group));
    write_file(&folder.path().join("README.md"), card::model_card(merged, model, "mlx", &kind, &proof).as_bytes())?;
    folder.commit()?;
    Ok(FolderReport { tensors, bytes, proof })
}

fn grouped(role: Role, shape: &[usize], groups: Option<Groups>) -> Option<Groups> {
    let matrix = matches!(role, Role::Embedding | Role::Head | Role::Linear);
    groups.filter(|g| matrix && shape.last().is_some_and(|n| n.is_multiple_of(g.group)))
}

fn plan(spec: &DecoderSpec, dtype: Dtype, groups: Option<Groups>) -> Vec<(String, Dtype, Vec<usize>)> {
    let mut plan = Vec::new();
    for t in spec.tensors() {
        let Some(g) = grouped(t.role, &t.shape, groups) else {
            plan.push((t.name, dtype, t.shape));
            continue;
        };
        let (rows, width) = (t.shape[0], t.shape[1]);
        let path = t.name.trim_end_matches(".weight").to_owned();
        plan.push((t.name, Dtype::U32, vec![rows, width * g.bits as usize / 32]));
        plan.push((format!("{path}.scales"), dtype, vec![rows, width / g.group]));
        plan.push((format!("{path}.biases"), dtype, vec![rows, width / g.group]));
    }
    plan
}

/// Codes, scales and biases.
fn pack(values: &[f32], g: Groups, dtype: Dtype) -> [Vec<u8>; 3] {
    let most = ((1u32 << g.bits) - 1) as f32;
    let round = |v: f32| match dtype {
        Dtype::F32 => v,
        Dtype::F16 => f16::from_f32(v).to_f32(),
        _ => bf16::from_f32(v).to_f32(),
    };
    let lines = affine_groups(values, g.group, most);
    let parts: Vec<(Vec<u8>, f32, f32)> = values
        .par_chunks(g.group)
        .zip(lines)
        .map(|(x, (scale, bias))| {
            let (scale, bias) = (round(scale), round(bias));
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let per_byte = 8 / g.bits as usize;
            let codes = x.chunks(per_byte).map(|x| {
                let code = |v: &f32| ((v - bias) * inverse).round().clamp(0.0, most) as u8;
                x.iter().enumerate().fold(0u8, |byte, (i, v)| byte | code(v) << (i as u32 * g.bits))
            });
            (codes.collect(), scale, bias)
        })
        .collect();
    let codes = parts.iter().flat_map(|p| p.0.iter().copied()).collect();
    let column = |f: fn(&(Vec<u8>, f32, f32)) -> f32| cast(&parts.iter().map(f).collect::<Vec<_>>(), dtype);
    [codes, column(|p| p.1), column(|p| p.2)]
}

/// mlx-lm looks for the rotation in the fields that configs had before transformers 5, and for the groups in its own.
fn fit_config(path: &Path, spec: &DecoderSpec, groups: Option<Groups>) -> Result<(), Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", e.to_string()))?;
    config["rope_theta"] = json!(spec.ropes[0].theta);
    let mut scaling = config["rope_parameters"].as_object().cloned().unwrap_or_default();
    scaling.remove("rope_theta");
    if scaling.get("rope_type").is_some_and(|t| t != "default") && config["rope_scaling"].is_null() {
        config["rope_scaling"] = Value::Object(scaling);
    }
    if let Some(g) = groups {
        let quantization = json!({"group_size": g.group, "bits": g.bits, "mode": "affine"});
        config["quantization"] = quantization.clone();
        config["quantization_config"] = quantization;
    }
    write_file(path, format!("{config:#}\n").as_bytes())
}

struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn write_tensors(path: &Path, tensors: &[Stored]) -> Result<u64, Fault> {
    let mut writer = Streamed::new(path, "mlx", tensors.iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect())?;
    tensors.iter().try_for_each(|t| writer.put(&t.bytes))?;
    Ok(writer.finish()?.1)
}

/// The folder as mlx-lm reads it.
#[derive(Debug)]
struct MlxSource {
    shards: Shards,
    groups: Option<Groups>,
    widths: std::collections::BTreeMap<String, Vec<usize>>,
}

impl MlxSource {
    fn open(folder: &Path, spec: &DecoderSpec) -> Result<Self, Fault> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, &e))?;
        let config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("export_proof_failed", e.to_string()))?;
        let q = &config["quantization"];
        let groups = q["bits"].as_u64().zip(q["group_size"].as_u64()).map(|(b, g)| Groups { bits: b as u32, group: g as usize });
        let widths = spec.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        Ok(Self { shards: Shards::open_files(&[folder.join("model.safetensors")])?, groups, widths })
    }
}

impl TensorSource for MlxSource {
    fn float(&self, name: &str, dtype: DType) -> ModelResult<Tensor> {
        let scales = format!("{}.scales", name.trim_end_matches(".weight"));
        let (Some(g), true) = (self.groups, self.shards.has(&scales)) else { return self.shards.float(name, dtype) };
        let shape = self.widths.get(name).ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?;
        let scales = self.shards.float(&scales, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let biases = format!("{}.biases", name.trim_end_matches(".weight"));
        let biases = self.shards.float(&biases, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes = self.shards.bytes(name)?;
        let mask = ((1u32 << g.bits) - 1) as u8;
        let per_byte = 8 / g.bits as usize;
        let mut out = vec![0f32; shape.iter().product()];
        out.par_chunks_mut(g.group).enumerate().for_each(|(i, out)| {
            for (j, o) in out.iter_mut().enumerate() {
                let at = i * g.group + j;
                let code = bytes[at / per_byte] >> ((at % per_byte) as u32 * g.bits) & mask;
                *o = scales[i] * f32::from(code) + biases[i];
            }
        });
        Ok(Tensor::from_vec(out, shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)
    }
}
