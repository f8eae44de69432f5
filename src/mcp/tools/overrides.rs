//! Settings that a call changes: by dotted key or as nested sections, with their paths confined.

use serde_json::{Map, Value, json};

use crate::base::error::Fault;
use crate::mcp::tool::{Shared, within};

/// Keys that hold paths: those of a client start from the first root, not from wherever the server was started.
const PATHS: [&str; 8] = [
    "base_model.local_path",
    "dataset.path",
    "dataset.train_path",
    "dataset.validation_path",
    "dataset.test_path",
    "dataset.stage2_path",
    "tensorboard.log_dir",
    "carbon_tracking.output_dir",
];

/// Settings as dotted key and value; sections may be nested or dotted. Paths are whole and below a root.
pub(super) fn pairs(shared: &Shared, params: &Map<String, Value>) -> Result<Vec<(String, Value)>, Fault> {
    fn walk(prefix: &str, map: &Map<String, Value>, out: &mut Vec<(String, Value)>) {
        for (key, value) in map {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Object(inner) => walk(&path, inner, out),
                other => out.push((path, other.clone())),
            }
        }
    }
    let mut all = Vec::new();
    walk("", params, &mut all);
    for (key, value) in &mut all {
        if let (true, Some(path)) = (PATHS.contains(&key.as_str()), value.as_str()) {
            *value = json!(shared.roots.allow(path)?);
        }
    }
    Ok(all)
}

/// Most settings of one call.
pub(super) const MOST_OVERRIDES: usize = 200;

/// The same as `key=value`.
pub(super) fn checked_overrides(shared: &Shared, params: Option<&Map<String, Value>>) -> Result<Vec<String>, Fault> {
    let Some(params) = params else { return Ok(Vec::new()) };
    let all = pairs(shared, params)?;
    within("override_params (their number)", all.len(), 0, MOST_OVERRIDES)?;
    // JSON is YAML.
    Ok(all.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}
