//! Folders in Hugging Face's layout: the merged model as safetensors, and the adapter in PEFT's form.

use std::path::Path;

use safetensors::Dtype;

use super::proof::{EXACT, bounds};
use super::side_files::{self, Base};
use super::{Bounds, Merged, Prompts, Proof, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::base::files;
use crate::model::adapter::AdapterFile;
use crate::model::gguf::is_gguf;
use crate::model::weights::{PlannedTensor, ShardWriter};
use crate::model::{Unknown, open_source, stream_logits};

/// What was written.
#[derive(Debug, Clone)]
pub struct FolderReport {
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// The comparison with the live model.
    pub proof: Proof,
    /// Where the reading program differs from what the model's config says, and what was left out.
    pub notes: Vec<String>,
}

/// How merged safetensors are written.
#[derive(Debug, Clone)]
pub struct SafetensorsOptions {
    /// F32, BF16 or F16; `None` keeps each tensor's own (BF16 where it was quantised).
    pub dtype: Option<Dtype>,
    /// Where shards are cut.
    pub max_shard_bytes: u64,
}

/// What the proof allows for weights of a dtype.
pub(super) fn bounds_of(dtype: Dtype) -> Bounds {
    match dtype {
        Dtype::F32 => EXACT,
        Dtype::F16 => bounds::F16,
        _ => bounds::BF16,
    }
}

/// The dtype that a tensor of the base is stored in, BF16 where it is quantised.
pub(super) fn stored(merged: &Merged, name: &str) -> Dtype {
    match merged.base().dtype(name) {
        Some(d @ (Dtype::F32 | Dtype::F16)) => d,
        _ => Dtype::BF16,
    }
}

/// Writes the merged model into the new folder `out`, with everything that belongs to it, and proves it.
///
/// # Errors
/// When the disk refuses or the proof fails; then nothing is left of the folder.
pub fn write_safetensors(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    options: &SafetensorsOptions,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    let folder = AtomicDir::new(out)?;
    let tensors = merged.spec().tensors();
    let plan: Vec<PlannedTensor> = tensors
        .iter()
        .map(|t| {
            let dtype = options.dtype.unwrap_or_else(|| stored(merged, &t.name));
            PlannedTensor { name: t.name.clone(), dtype, shape: t.shape.clone() }
        })
        .collect();
    let bytes = plan.iter().map(PlannedTensor::bytes).sum();
    // The coarsest of them decides what may be lost.
    let coarse = [Dtype::BF16, Dtype::F16].into_iter().find(|d| plan.iter().any(|p| p.dtype == *d)).unwrap_or(Dtype::F32);
    let total: u64 = tensors.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    let mut writer = ShardWriter::new(folder.path(), plan, options.max_shard_bytes);
    for t in &tensors {
        let values = merged.values(&t.name, &t.shape)?;
        writer.write_f32(&t.name, &values)?;
        merged.base().release(&t.name);
        done += values.len() as u64;
        progress(done, total);
    }
    writer.finish()?;
    let dtype = options.dtype.or_else(|| is_gguf(base.path).then_some(coarse));
    let notes = side_files::write(base, merged.spec(), folder.path(), dtype)?;
    let (spec, written) = open_source(folder.path(), Unknown::ReadAsLlama)?; // as the model that was opened
    let proof = Proof::of(merged, &spec, written.as_ref(), prompts, bounds_of(coarse))?;
    drop(written);
    write_file(
        &folder.path().join("README.md"),
        card::model_card(merged, base.path, "transformers", coarse_name(coarse), &proof).as_bytes(),
    )?;
    folder.commit()?;
    Ok(FolderReport { tensors: tensors.len(), bytes, proof, notes })
}

pub(super) fn coarse_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16",
        _ => "bf16",
    }
}

/// Writes the adapter into the new folder `out` as PEFT reads it, and proves it.
///
/// # Errors
/// When there is no adapter, the disk refuses, or the proof fails; then nothing is left of the folder.
pub fn write_peft(merged: &Merged, model: &Path, adapter: &Path, prompts: &Prompts, out: &Path) -> Result<FolderReport, Fault> {
    let folder = AtomicDir::new(out)?;
    let weights = adapter.join("adapter_model.safetensors");
    let content = std::fs::read(&weights).map_err(|e| Fault::io("read", &weights, &e))?;
    write_file(&folder.path().join("adapter_model.safetensors"), &content)?;
    let (config, notes) = peft_config(merged, model, &adapter.join("adapter_config.json"))?;
    write_file(&folder.path().join("adapter_config.json"), config.as_bytes())?;
    let bytes = (content.len() + config.len()) as u64;
    let read = AdapterFile::open(folder.path())?;
    read.check_places(merged.spec())?;
    let want = merged.live_logits(&prompts.ids, &prompts.cu_seqlens)?;
    let got = stream_logits(merged.spec(), merged.base(), Some(&read), &prompts.ids, &prompts.cu_seqlens)?;
    let proof = Proof::compare(&want, &got, prompts, EXACT)?;
    let tensors = read.tensor_count();
    write_file(&folder.path().join("README.md"), card::model_card(merged, model, "peft", "f32", &proof).as_bytes())?;
    folder.commit()?;
    Ok(FolderReport { tensors, bytes, proof, notes })
}

/// The adapter's config for somebody else's machine: its base by a public name, or by none.
fn peft_config(merged: &Merged, model: &Path, path: &Path) -> Result<(String, Vec<String>), Fault> {
    let text = files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Fault::new("bad_adapter", format!("{}: {e}", path.display())))?;
    let named = config["base_model_name_or_path"].as_str().unwrap_or_default().to_owned();
    let public = card::public_name(merged, model);
    config["base_model_name_or_path"] = public.clone().map_or(serde_json::Value::Null, Into::into);
    let mut notes = Vec::new();
    if public.is_none() && !named.is_empty() {
        notes.push("the base lies in a folder of this machine, so the adapter names none: give PEFT the base yourself".into());
    }
    Ok((format!("{config:#}\n"), notes))
}
