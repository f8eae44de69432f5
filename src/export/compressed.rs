//! The merged model in the form of compressed-tensors, for vLLM: 8-bit floats, or four bits in groups.

use std::path::Path;

use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};

use super::folder::{FolderReport, stored};
use super::proof::bounds;
use super::side_files::{self, Base};
use super::streamed::Streamed;
use super::{Allowed, Importance, Merged, Prompts, Proof, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::model::spec::{DecoderSpec, Role, TensorSpec};
use crate::model::weights::cast;
use crate::model::weights::compressed::{E4M3, to_e4m3};
use crate::model::weights::mlx::pack_bits;
use crate::model::{Unknown, open_source};

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// 8-bit floats with a scale a row; activations become 8-bit floats where the program computes.
    Fp8,
    /// Four bits in groups of 128 with a scale each.
    W4A16,
}

/// Elements under one scale of four bits.
const GROUP: usize = 128;
/// Shares of a group's largest element that are tried as the end of the range.
const CLIPS: usize = 24;

impl Scheme {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp8 => "fp8",
            Self::W4A16 => "w4a16",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Fp8 => "8-bit floats with a scale a row",
            Self::W4A16 => "4 bits in groups of 128",
        }
    }

    fn fits(self, t: &TensorSpec) -> bool {
        t.role == Role::Linear && (self == Self::Fp8 || t.shape[1].is_multiple_of(GROUP))
    }
}

/// Writes the merged model into the new folder `out` and proves it. `importance` says which columns
/// matter when four bits are fitted.
///
/// # Errors
/// When rows do not divide into groups, the disk refuses or the proof fails; then nothing is left.
pub fn write_model(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    (scheme, importance): (Scheme, Option<&Importance>),
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    let spec = merged.spec();
    let all = spec.tensors();
    let left = left_out(spec, scheme)?;
    let folder = AtomicDir::new(out)?;
    let dtype = stored(merged, &spec.embedding_name());
    let plan = all.iter().flat_map(|t| parts(scheme, t, dtype)).collect();
    let mut writer = Streamed::new(&folder.path().join("model.safetensors"), "pt", plan)?;
    let total: u64 = all.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    for t in &all {
        let values = merged.values(&t.name, &t.shape)?;
        match scheme.fits(t) {
            true => packed(scheme, t, &values, importance.and_then(|i| i.of(&t.name)))?.iter().try_for_each(|p| writer.put(p))?,
            false => writer.put(&cast(&t.name, &values, dtype)?)?,
        }
        merged.base().release(&t.name);
        done += values.len() as u64;
        progress(done, total);
    }
    let (tensors, bytes) = writer.finish()?;
    let mut notes = side_files::write(base, spec, folder.path(), Some(dtype))?;
    name_quantization(&folder.path().join("config.json"), scheme, &left)?;
    let proof = prove(merged, folder.path(), prompts, scheme, importance)?;
    write_file(&folder.path().join("README.md"), card::model_card(merged, base.path, "transformers", scheme.about(), &proof).as_bytes())?;
    folder.commit()?;
    if !left.is_empty() {
        notes.push(format!("{} matrices keep their type: their rows do not divide into groups of {GROUP}", left.len()));
    }
    Ok(FolderReport { tensors, bytes, proof, notes })
}

/// Linear layers that cannot be stored so.
fn left_out(spec: &DecoderSpec, scheme: Scheme) -> Result<Vec<String>, Fault> {
    let linear: Vec<TensorSpec> = spec.tensors().into_iter().filter(|t| t.role == Role::Linear).collect();
    let left: Vec<String> = linear.iter().filter(|t| !scheme.fits(t)).map(|t| t.name.trim_end_matches(".weight").to_owned()).collect();
    if left.len() == linear.len() {
        return Err(Fault::new("export_unsupported", format!("no matrix of this model has rows that divide into groups of {GROUP}"))
            .hint("choose fp8"));
    }
    Ok(left)
}

fn prove(merged: &Merged, folder: &Path, prompts: &Prompts, scheme: Scheme, importance: Option<&Importance>) -> Result<Proof, Fault> {
    let (spec, written) = open_source(folder, Unknown::ReadAsLlama)?; // as the model that was opened
    let limits = if scheme == Scheme::Fp8 { bounds::SIX } else { bounds::FOUR };
    let mut proof = Proof::measure(merged, &spec, written.as_ref(), prompts, limits)?;
    let fitting: std::collections::HashSet<String> = spec.tensors().into_iter().filter(|t| scheme.fits(t)).map(|t| t.name).collect();
    let allowed = |name: &str| match (fitting.contains(name), scheme) {
        (false, _) => Allowed { error: 4e-3, block: 1 },
        // A sixteenth is half of the largest step between neighbours.
        (true, Scheme::Fp8) => Allowed { error: 0.065, block: 1 },
        (true, Scheme::W4A16) => Allowed { error: if importance.is_some() { 0.8 } else { 0.35 }, block: GROUP },
    };
    proof.tensors(merged, written.as_ref(), &allowed, importance)?;
    proof.judge()?;
    Ok(proof)
}

fn parts(scheme: Scheme, t: &TensorSpec, dtype: Dtype) -> Vec<(String, Dtype, Vec<usize>)> {
    if !scheme.fits(t) {
        return vec![(t.name.clone(), dtype, t.shape.clone())];
    }
    let (rows, width) = (t.shape[0], t.shape[1]);
    let path = t.name.trim_end_matches(".weight");
    match scheme {
        Scheme::Fp8 => vec![(t.name.clone(), Dtype::F8_E4M3, t.shape.clone()), (format!("{path}.weight_scale"), Dtype::F32, vec![rows, 1])],
        Scheme::W4A16 => vec![
            (format!("{path}.weight_packed"), Dtype::I32, vec![rows, width / 8]),
            (format!("{path}.weight_scale"), Dtype::BF16, vec![rows, width / GROUP]),
            (format!("{path}.weight_shape"), Dtype::I64, vec![2]),
        ],
    }
}

/// The bytes of what [`parts`] announced.
fn packed(scheme: Scheme, t: &TensorSpec, values: &[f32], weights: Option<&[f32]>) -> Result<Vec<Vec<u8>>, Fault> {
    let width = t.shape[1];
    match scheme {
        Scheme::Fp8 => {
            let rows: Vec<(f32, Vec<u8>)> = values.par_chunks(width).map(float_row).collect();
            let codes = rows.iter().flat_map(|r| r.1.iter().copied()).collect();
            Ok(vec![codes, cast(&t.name, &rows.iter().map(|r| r.0).collect::<Vec<_>>(), Dtype::F32)?])
        }
        Scheme::W4A16 => {
            let group = |(i, x): (usize, &[f32])| {
                let column = i * GROUP % width;
                four_bits(x, weights.map(|w| &w[column..column + GROUP]))
            };
            let groups: Vec<(f32, Vec<u8>)> = values.par_chunks(GROUP).enumerate().map(group).collect();
            let codes: Vec<u8> = groups.iter().flat_map(|g| pack_bits(&g.1, 4)).collect();
            let scales = cast(&t.name, &groups.iter().map(|g| g.0).collect::<Vec<_>>(), Dtype::BF16)?;
            let shape = t.shape.iter().flat_map(|n| (*n as i64).to_le_bytes()).collect();
            Ok(vec![codes, scales, shape])
        }
    }
}

fn float_row(x: &[f32]) -> (f32, Vec<u8>) {
    let peak = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    let scale = if peak == 0.0 { 1.0 } else { peak / E4M3[E4M3.len() - 1] };
    (scale, x.iter().map(|v| to_e4m3(v / scale)).collect())
}

/// The positive scale, as bf16 holds it, and codes of -8 to 7 that leave least.
fn four_bits(x: &[f32], weights: Option<&[f32]>) -> (f32, Vec<u8>) {
    let peak = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    if peak == 0.0 {
        return (1.0, vec![8; x.len()]);
    }
    let code = |v: f32, scale: f32| (v / scale).round().clamp(-8.0, 7.0);
    let error = |scale: f32| -> f32 {
        let one = |(i, v): (usize, &f32)| weights.map_or(1.0, |w| w[i]) * (v - scale * code(*v, scale)).powi(2);
        x.iter().enumerate().map(one).sum()
    };
    let scales = (0..CLIPS).map(|i| half::bf16::from_f32(peak * (1.05 - 0.025 * i as f32) / 7.5).to_f32()).filter(|s| *s > 0.0);
    let scale = scales.min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(f32::MIN_POSITIVE);
    (scale, x.iter().map(|v| (code(*v, scale) + 8.0) as u8).collect())
}

/// Says in config.json how the weights are held.
fn name_quantization(path: &Path, scheme: Scheme, left: &[String]) -> Result<(), Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", e.to_string()))?;
    let (format, weights, activations) = match scheme {
        Scheme::Fp8 => (
            "float-quantized",
            json!({"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true, "dynamic": false}),
            json!({"num_bits": 8, "type": "float", "strategy": "token", "symmetric": true, "dynamic": true}),
        ),
        Scheme::W4A16 => (
            "pack-quantized",
            json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": true, "dynamic": false}),
            Value::Null,
        ),
    };
    let ignore: Vec<&str> = std::iter::once("lm_head").chain(left.iter().map(String::as_str)).collect();
    config["quantization_config"] = json!({
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": null}},
        "ignore": ignore,
        "kv_cache_scheme": null,
    });
    write_file(path, format!("{config:#}\n").as_bytes())
}
