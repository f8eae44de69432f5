//! config.json as mlx-lm reads it.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::model::spec::{DecoderSpec, RopeScaling};
use crate::model::weights::mlx::Groups;

/// What mlx-lm takes where a config names no base of the rotation.
const DEFAULT_THETA: f64 = 10_000.0;

fn read(path: &Path) -> Result<Value, Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
    serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", format!("{}: {e}", path.display())))
}

/// mlx-lm looks for the rotation in the fields that configs had before transformers 5, and for the
/// groups in its own.
pub(super) fn fit(path: &Path, spec: &DecoderSpec, groups: Option<Groups>) -> Result<(), Fault> {
    let mut config = read(path)?;
    config["rope_theta"] = json!(spec.ropes[0].theta);
    let mut scaling = config["rope_parameters"].as_object().cloned().unwrap_or_default();
    scaling.remove("rope_theta");
    if scaling.get("rope_type").is_some_and(|t| t != "default") && config["rope_scaling"].is_null() {
        config["rope_scaling"] = Value::Object(scaling);
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

/// Refuses a base whose rotation mlx-lm would not find: it would run the base with another one.
pub(super) fn refuse_unreadable_rotation(model: &Path, spec: &DecoderSpec) -> Result<(), Fault> {
    let path = model.join("config.json");
    if !path.is_file() {
        // A GGUF file: mlx-lm cannot load this base in any case, so the user has another copy of it.
        return Ok(());
    }
    let config = read(&path)?;
    let theta = config["rope_theta"].as_f64().unwrap_or(DEFAULT_THETA);
    let turns_otherwise = (theta - spec.ropes[0].theta).abs() > 1e-6 * spec.ropes[0].theta;
    let scales = !matches!(spec.ropes[0].scaling, RopeScaling::None) && config["rope_scaling"].is_null();
    if !turns_otherwise && !scales {
        return Ok(());
    }
    let message = format!(
        "{} describes the rotation in `rope_parameters` only, as transformers 5 writes it; mlx-lm reads `rope_theta` and \
         `rope_scaling` and would compute this base with another rotation",
        path.display()
    );
    Err(Fault::new("export_unsupported", message)
        .hint("export the base itself in the format mlx first, and use the adapter over that folder; or export the merged model"))
}

/// Says where mlx-lm attends to more than the model does.
pub(super) fn window_note(spec: &DecoderSpec) -> Option<String> {
    let window = spec.shortest_window().filter(|w| *w < spec.max_positions)?;
    Some(format!(
        "mlx-lm ignores the sliding window of this model: beyond {window} tokens it attends to all of them, and the proof's prompts \
         are no longer than that"
    ))
}
