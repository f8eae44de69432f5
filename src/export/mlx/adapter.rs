//! The adapter alone, for mlx-lm.

use std::path::Path;

use candle_core::DType;
use safetensors::Dtype;
use serde_json::{Value, json};

use super::config;
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::base::files;
use crate::export::folder::FolderReport;
use crate::export::proof::EXACT;
use crate::export::streamed::Streamed;
use crate::export::{Merged, Prompts, Proof, WithPairs, card};
use crate::model::weights::{Shards, cast};

const ADAPTERS: &str = "adapters.safetensors";

struct Stored {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes the adapter as mlx-lm reads it into the new folder `out`, and proves it.
///
/// # Errors
/// When there is no adapter, mlx-lm would turn the base otherwise than the model does, the disk
/// refuses, or the proof fails; then nothing is left of the folder.
pub fn write_adapter(merged: &Merged, model: &Path, prompts: &Prompts, out: &Path) -> Result<FolderReport, Fault> {
    let Some(adapter) = merged.adapter() else {
        return Err(Fault::new("export_no_adapter", "there is no adapter to export").hint("give --adapter DIR"));
    };
    let spec = merged.spec();
    config::refuse_unread(spec)?;
    config::refuse_unreadable_rotation(model, spec)?;
    let folder = AtomicDir::new(out)?;
    let (mut tensors, mut keys) = (Vec::new(), Vec::new());
    for linear in spec.linears() {
        let Some((a, b)) = adapter.pair(&linear.path, (linear.out, linear.inp))? else { continue };
        for (part, t) in [("lora_a", a.t()?.contiguous()?), ("lora_b", b.t()?.contiguous()?)] {
            let name = format!("{}.{part}", linear.path);
            let bytes = cast(&name, &t.flatten_all()?.to_vec1::<f32>()?, Dtype::F32)?;
            tensors.push(Stored { name, shape: t.dims().to_vec(), bytes });
        }
        if !keys.contains(&linear.inner) {
            keys.push(linear.inner);
        }
    }
    let plan = tensors.iter().map(|t| (t.name.clone(), Dtype::F32, t.shape.clone())).collect();
    let mut writer = Streamed::new(&folder.path().join(ADAPTERS), "mlx", plan)?;
    tensors.iter().try_for_each(|t| writer.put(&t.bytes))?;
    let (count, bytes) = writer.finish()?;
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
    Ok(FolderReport { tensors: count, bytes, proof, notes: config::window_note(spec).into_iter().collect() })
}

/// Reads the folder as mlx-lm does, onto the base.
fn read_adapter<'a>(merged: &'a Merged, folder: &Path) -> Result<WithPairs<'a>, Fault> {
    let path = folder.join("adapter_config.json");
    let text = files::read_text(&path).map_err(|e| Fault::io("read", &path, &e))?;
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
