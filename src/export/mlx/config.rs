//! config.json as mlx-lm reads it.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::base::files;
use crate::model::spec::{DecoderSpec, Family, RopeScaling, RopeSpec};
use crate::model::weights::mlx::Groups;

const BASE_FIRST: &str = "export the base itself in the format mlx first, and use the adapter over that folder; or export the merged model";

/// What mlx-lm takes where a config names no `rope_theta`; `None`: it does not load such a config.
fn assumed_theta(family: Family) -> Option<f64> {
    match family {
        Family::Qwen2 | Family::Gemma3 => Some(1_000_000.0),
        Family::Granite | Family::Olmo3 => None,
        _ => Some(10_000.0),
    }
}

fn read(path: &Path) -> Result<Value, Fault> {
    let text = files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
    serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", format!("{}: {e}", path.display())))
}

/// mlx-lm looks for the rotation in the fields that configs had before transformers 5, and for the
/// groups in its own.
pub(super) fn fit(path: &Path, spec: &DecoderSpec, groups: Option<Groups>) -> Result<(), Fault> {
    let mut config = read(path)?;
    config["rope_theta"] = json!(spec.ropes[0].theta);
    if let Some(local) = spec.ropes.get(1) {
        config["rope_local_base_freq"] = json!(local.theta);
    }
    if let Some(turned) = spec.ropes[0].dim {
        config["partial_rotary_factor"] = json!(turned as f64 / spec.head_dim() as f64);
    }
    // One rotation for all layers, or one for each kind of them.
    let given = &config["rope_parameters"];
    let of_full = given.get("full_attention").unwrap_or(given);
    let mut scaling = of_full.as_object().cloned().unwrap_or_default();
    scaling.remove("rope_theta");
    if scaling.get("rope_type").is_some_and(|t| t != "default") && config["rope_scaling"].is_null() {
        config["rope_scaling"] = Value::Object(scaling);
    }
    if let Some(factors) = short_factors(spec) {
        // mlx-lm turns by the long factors at any length.
        config["rope_scaling"] = json!({"type": "longrope", "rope_type": "longrope", "short_factor": factors, "long_factor": factors});
        config["original_max_position_embeddings"] = json!(spec.max_positions);
    }
    if let Some(fields) = config.as_object_mut() {
        // What the base said of its own groups says nothing of these weights.
        fields.remove("quantization");
        fields.remove("quantization_config");
    }
    if let Some(g) = groups {
        let quantization = json!({"group_size": g.group, "bits": g.bits, "mode": g.mode_name()});
        config["quantization"] = quantization.clone();
        config["quantization_config"] = quantization;
    }
    write_file(path, format!("{config:#}\n").as_bytes())
}

/// The factors of texts no longer than the first context, where longer ones have others.
fn short_factors(spec: &DecoderSpec) -> Option<&[f32]> {
    match &spec.ropes[0] {
        RopeSpec { scaling: RopeScaling::Factors { factors, .. }, long: Some(_), .. } => Some(factors),
        _ => None,
    }
}

/// Says for which texts the rotation is right.
pub(super) fn rotation_note(spec: &DecoderSpec) -> Option<String> {
    short_factors(spec)?;
    let most = spec.max_positions;
    Some(format!("mlx-lm has one set of rotation factors for all lengths: this folder has those of texts of up to {most} tokens"))
}

/// Refuses a family that mlx-lm does not read in Hugging Face's layout.
pub(super) fn refuse_unread(spec: &DecoderSpec) -> Result<(), Fault> {
    if spec.family != Family::Olmo {
        return Ok(());
    }
    Err(Fault::new("export_unsupported", "mlx-lm reads OLMo 1 only in AI2's own layout, not in that of Hugging Face")
        .hint("choose gguf or safetensors; OLMo 2 and 3 can be exported for mlx-lm"))
}

fn as_f32(v: &Value) -> Option<f32> {
    v.as_f64().map(|v| v as f32)
}

/// Refuses a base whose rotation mlx-lm would not find: it would run the base with another one.
pub(super) fn refuse_unreadable_rotation(model: &Path, spec: &DecoderSpec) -> Result<(), Fault> {
    let path = model.join("config.json");
    if !path.is_file() {
        // A GGUF file: mlx-lm cannot load this base in any case, so the user has another copy of it.
        return Ok(());
    }
    let config = read(&path)?;
    if spec.family == Family::Qwen3 && config["rope_parameters"].is_object() {
        return Ok(()); // the one that mlx-lm reads the new form for
    }
    let (theta, own) = (config["rope_theta"].as_f64().or(assumed_theta(spec.family)), spec.ropes[0].theta);
    let turns_otherwise = theta.is_none_or(|t| (t - own).abs() > 1e-6 * own);
    let scales = !matches!(spec.ropes[0].scaling, RopeScaling::None) && config["rope_scaling"].is_null();
    if let Some(short) = short_factors(spec)
        && !config["rope_scaling"]["long_factor"].as_array().is_some_and(|l| l.iter().map(as_f32).eq(short.iter().copied().map(Some)))
    {
        let message = "mlx-lm turns by the long factors of this base at any length, and the adapter was trained with the short ones";
        return Err(Fault::new("export_unsupported", message).hint(BASE_FIRST));
    }
    if !turns_otherwise && !scales {
        return Ok(());
    }
    let message = format!(
        "{} describes the rotation in `rope_parameters` only, as transformers 5 writes it; mlx-lm reads `rope_theta` and \
         `rope_scaling` and would not load this base, or compute it with another rotation",
        path.display()
    );
    Err(Fault::new("export_unsupported", message).hint(BASE_FIRST))
}

/// Says where mlx-lm attends to more than the model does.
pub(super) fn window_note(spec: &DecoderSpec) -> Option<String> {
    let window = spec.shortest_window().filter(|w| *w < spec.max_positions)?;
    Some(format!(
        "mlx-lm ignores the sliding window of this model: beyond {window} tokens it attends to all of them, and the proof's prompts \
         are no longer than that"
    ))
}
