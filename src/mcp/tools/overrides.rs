//! Settings that a call changes: by dotted key or as nested sections, with their paths confined.

use serde_json::{Map, Value, json};

use crate::base::error::Fault;
use crate::mcp::tool::{Desk, within};

/// Overrides as `key=value`; sections may be nested or dotted.
fn overrides(params: &Map<String, Value>) -> Vec<String> {
    fn walk(prefix: &str, map: &Map<String, Value>, out: &mut Vec<String>) {
        for (key, value) in map {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Object(inner) => walk(&path, inner, out),
                // JSON is YAML.
                other => out.push(format!("{path}={other}")),
            }
        }
    }
    let mut out = Vec::new();
    walk("", params, &mut out);
    out
}

/// Paths among overrides start from the first root, not from wherever the server was started.
fn anchored(desk: &Desk, params: &Map<String, Value>) -> Result<Vec<String>, Fault> {
    const PATHS: [&str; 7] = [
        "base_model.local_path",
        "dataset.path",
        "dataset.train_path",
        "dataset.validation_path",
        "dataset.test_path",
        "dataset.stage2_path",
        "tensorboard.log_dir",
    ];
    let anchor = |set: String| match set.split_once('=') {
        Some((key, value)) if PATHS.contains(&key) => match serde_json::from_str::<String>(value) {
            Ok(path) => Ok(format!("{key}={}", json!(desk.roots.allow(path)?))),
            Err(_) => Ok(set),
        },
        _ => Ok(set),
    };
    overrides(params).into_iter().map(anchor).collect()
}

/// Most overrides of one call.
const MOST_OVERRIDES: usize = 200;

pub(super) fn checked_overrides(desk: &Desk, params: Option<&Map<String, Value>>) -> Result<Vec<String>, Fault> {
    let Some(params) = params else { return Ok(Vec::new()) };
    let set = anchored(desk, params)?;
    within("override_params", set.len(), 0, MOST_OVERRIDES)?;
    Ok(set)
}
