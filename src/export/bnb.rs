//! The merged model with its linear layers in bitsandbytes' NF4, as transformers loads it.
//!
//! A matrix `<path>.weight` of n elements becomes, by names that begin so:
//!
//! ```text
//!   <path>.weight                      U8  [ceil(n/2), 1]   codes, the first of a pair in the high nibble
//!   .absmax                            U8  [ceil(n/64)]     scales in 8 bits
//!   .quant_map                         F32 [16]             the codebook
//!   .nested_absmax, .nested_quant_map  F32                  what decodes the scales
//!   .quant_state.bitsandbytes__nf4     U8                   JSON: shape, block sizes, offset of the scales
//! ```

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use serde_json::{Value, json};
use tallow_kernels::quant::{Absmax, CODEBOOK, Nf4};

use super::folder::{FolderReport, stored};
use super::proof::bounds;
use super::side_files::{self, Base};
use super::streamed::Streamed;
use super::{Allowed, Merged, Prompts, Proof, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::base::files;
use crate::model::Unknown;
use crate::model::spec::{Role, TensorSpec};
use crate::model::weights::cast;

const BLOCK: usize = 64;
const NESTED_BLOCK: usize = 256;
/// The state is JSON of about 150 characters, filled up with spaces: sizes must be known before the first byte.
const STATE_BYTES: usize = 256;
/// The relative error of a block with all its weight in one element and the rest between the smallest codes.
const LOSS: f64 = 0.3;

/// Writes the merged model into the new folder `out` and proves it.
///
/// # Errors
/// When the disk refuses or the proof fails; then nothing is left of the folder.
pub fn write_model(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    let folder = AtomicDir::new(out)?;
    let dtype = stored(merged, &merged.spec().embedding_name());
    let all = merged.spec().tensors();
    let plan = all.iter().flat_map(|t| plan(t, dtype)).collect();
    let mut writer = Streamed::new(&folder.path().join("model.safetensors"), "pt", plan)?;
    let total: u64 = all.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    for t in &all {
        if t.role == Role::Linear {
            parts(&quantized(merged, t)?, &t.shape, dtype)?.iter().try_for_each(|part| writer.put(part))?;
        } else {
            writer.put(&cast(&t.name, &merged.values(&t.name, &t.shape)?, dtype)?)?;
        }
        merged.base().release(&t.name);
        done += t.shape.iter().product::<usize>() as u64;
        progress(done, total);
    }
    let (tensors, bytes) = writer.finish()?;
    let notes = side_files::write(base, merged.spec(), folder.path(), Some(dtype))?;
    name_quantization(&folder.path().join("config.json"), dtype)?;
    let written = Merged::open_as(folder.path(), None, Unknown::ReadAsLlama)?; // as the model that was opened
    let mut proof = Proof::measure(merged, written.spec(), written.base(), prompts, bounds::FOUR)?;
    let cast = if dtype == Dtype::F32 { 0.0 } else { 4e-3 };
    let linears: std::collections::HashSet<&str> = all.iter().filter(|t| t.role == Role::Linear).map(|t| t.name.as_str()).collect();
    let allowed = |name: &str| match linears.contains(name) {
        true => Allowed { error: LOSS, block: BLOCK },
        false => Allowed { error: cast, block: 1 },
    };
    proof.tensors(merged, &written, &allowed, None)?;
    proof.judge()?;
    drop(written);
    let card = card::model_card(merged, base.path, "transformers", "NF4 of bitsandbytes, scales in 8 bits", &proof);
    write_file(&folder.path().join("README.md"), card.as_bytes())?;
    folder.commit()?;
    Ok(FolderReport { tensors, bytes, proof, notes })
}

/// A matrix in NF4; what the base holds so already and no adapter changes stays as it is.
fn quantized(merged: &Merged, t: &TensorSpec) -> Result<Nf4, Fault> {
    let path = t.name.trim_end_matches(".weight");
    if merged.base().is_nf4(&t.name) && !merged.adapter().is_some_and(|a| a.has(path)) {
        let held = merged.base().nf4(&t.name, &t.shape)?;
        if matches!(held.absmax(), Absmax::Double { .. }) {
            return Ok(held);
        }
    }
    let values = Tensor::from_vec(merged.values(&t.name, &t.shape)?, t.shape.as_slice(), &Device::Cpu)?;
    Ok(Nf4::quantize(&values, true)?)
}

fn plan(t: &TensorSpec, dtype: Dtype) -> Vec<(String, Dtype, Vec<usize>)> {
    if t.role != Role::Linear {
        return vec![(t.name.clone(), dtype, t.shape.clone())];
    }
    let n: usize = t.shape.iter().product();
    let blocks = n.div_ceil(BLOCK);
    let part = |name: &str, dtype, shape| (format!("{}.{name}", t.name), dtype, shape);
    vec![
        (t.name.clone(), Dtype::U8, vec![n.div_ceil(2), 1]),
        part("absmax", Dtype::U8, vec![blocks]),
        part("quant_map", Dtype::F32, vec![CODEBOOK.len()]),
        part("nested_absmax", Dtype::F32, vec![blocks.div_ceil(NESTED_BLOCK)]),
        part("nested_quant_map", Dtype::F32, vec![256]),
        part("quant_state.bitsandbytes__nf4", Dtype::U8, vec![STATE_BYTES]),
    ]
}

/// The bytes of what [`plan`] announced.
fn parts(w: &Nf4, shape: &[usize], dtype: Dtype) -> Result<[Vec<u8>; 6], Fault> {
    let Absmax::Double { codes, nested_absmax, map, offset } = w.absmax() else {
        return Err(Fault::new("export_internal", "scales that are not held in 8 bits"));
    };
    let state = json!({
        "quant_type": "nf4",
        "blocksize": BLOCK,
        "dtype": name_of(dtype),
        "shape": shape,
        "nested_blocksize": NESTED_BLOCK,
        "nested_dtype": "float32",
        "nested_offset": f64::from(*offset),
    });
    let mut state = state.to_string().into_bytes();
    if state.len() > STATE_BYTES {
        return Err(Fault::new("export_internal", format!("a quant_state of {} bytes", state.len())));
    }
    state.resize(STATE_BYTES, b' ');
    let bytes = |t: &Tensor| t.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>();
    let raw = |v: &[f32]| -> Vec<u8> { v.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let floats = |t: &Tensor| Ok::<_, candle_core::Error>(raw(&t.flatten_all()?.to_vec1::<f32>()?));
    Ok([bytes(w.codes())?, bytes(codes)?, raw(&CODEBOOK), floats(nested_absmax)?, floats(map)?, state])
}

fn name_of(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        _ => "bfloat16",
    }
}

/// Says in config.json how the weights are held.
fn name_quantization(path: &Path, dtype: Dtype) -> Result<(), Fault> {
    let text = files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", e.to_string()))?;
    config["quantization_config"] = json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": true,
        "load_in_8bit": false,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": true,
        "bnb_4bit_compute_dtype": name_of(dtype),
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": ["lm_head"],
    });
    write_file(path, format!("{config:#}\n").as_bytes())
}
