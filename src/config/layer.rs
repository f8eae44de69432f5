//! One layer of settings: dotted key -> raw value and where it was said.

use std::collections::BTreeMap;

use serde_json::Value;

use super::problem::{Origin, Problem};
use super::yaml;

/// A value and where it was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Dotted key -> what was said.
pub(super) type Layer = BTreeMap<String, Said>;

/// `--set key=value`; the value is read as YAML, so numbers, booleans and `[a, b]` work.
pub(super) fn from_set(pairs: &[String], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    for pair in pairs {
        let origin = Origin::Set;
        match pair.split_once('=') {
            Some((key, text)) if !key.trim().is_empty() => {
                layer.insert(key.trim().to_owned(), Said { value: yaml::scalar(text), origin });
            }
            _ => problems.push(Problem {
                origin,
                key: String::new(),
                message: format!("`{pair}` is not KEY=VALUE"),
                hint: Some("for example --set training.stage1.learning_rate=1e-4".into()),
            }),
        }
    }
    layer
}

/// Prefixes of environment variables, weakest first.
const PREFIXES: [&str; 2] = ["OLMO_", "TALLOW_"];

/// `TALLOW_SECTION__KEY` (and the alias `OLMO_SECTION__KEY`, which yields to it). A variable without `__` is not ours,
/// except for the top-level `device`.
pub(super) fn from_env(variables: &[(String, String)]) -> Layer {
    let mut layer = Layer::new();
    for prefix in PREFIXES {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            if rest.contains("__") || rest == "DEVICE" {
                let key = rest.to_lowercase().replace("__", ".");
                let origin = Origin::Env { variable: name.clone() };
                layer.insert(key, Said { value: yaml::scalar(text), origin });
            }
        }
    }
    layer
}
