//! The best settings as a configuration that `tallow train` takes.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::base::atomic;
use crate::base::error::Fault;
use crate::config::{Resolved, keys};
use crate::runs::Project;
use crate::search::{Record, Trial};

/// Writes every setting that was said, wherever it was, with those of the trial. Paths are whole,
/// so that the file can lie anywhere.
pub(super) fn write(resolved: &Resolved, project: &Project, record: &Record, trial: &Trial, path: &Path) -> Result<(), Fault> {
    let tree = json!(resolved.config);
    let mut said = Map::new();
    for key in keys().iter().filter(|k| resolved.said.is_said(k.path)) {
        let value = key.path.split('.').fold(&tree, |node, part| &node[part]);
        if !value.is_null() {
            put(&mut said, key.path, value.clone());
        }
    }
    for (key, value) in trial.settings.iter().filter(|(_, value)| !value.is_null()) {
        // Steps and epochs both say how long a stage is.
        for (one, other) in [("iterations", "num_epochs"), ("num_epochs", "iterations")] {
            if let Some(section) = key.strip_suffix(one).filter(|s| s.ends_with('.')) {
                take(&mut said, &format!("{section}{other}"));
            }
        }
        put(&mut said, key, value.clone());
    }
    put(&mut said, "output_dir", json!(project.runs_of(&resolved.config)));
    let value = trial.value.map(|v| format!("{v:.6}")).unwrap_or_default();
    let mut text = format!(
        "# Trial {} of the search {}: {} {value} on the validation rows after {} steps.\n",
        trial.number,
        record.name,
        record.metric.name(),
        trial.steps
    );
    render(&said, 0, &mut text);
    atomic::write_file(path, text.as_bytes())
}

fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(map.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let inner = map.entry(section).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn take(map: &mut Map<String, Value>, key: &str) {
    match key.split_once('.') {
        None => drop(map.shift_remove(key)),
        Some((section, rest)) => {
            if let Some(Value::Object(inner)) = map.get_mut(section) {
                take(inner, rest);
            }
        }
    }
}

/// Sections as blocks, values as JSON, which is YAML.
fn render(map: &Map<String, Value>, depth: usize, out: &mut String) {
    let space = " ".repeat(2 * depth);
    for (key, value) in map {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Object(inner) if inner.is_empty() => Ok(()),
            Value::Object(inner) => {
                let _ = writeln!(out, "{space}{key}:");
                render(inner, depth + 1, out);
                Ok(())
            }
            value => writeln!(out, "{space}{key}: {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_blocks_and_steps_give_way_to_epochs() {
        let mut map = Map::new();
        put(&mut map, "lora.rank", json!(8));
        put(&mut map, "training.stage1.iterations", json!(5));
        put(&mut map, "training.stage1.learning_rate", json!(2e-5));
        put(&mut map, "lora.target_modules", json!(["q_proj"]));
        take(&mut map, "training.stage1.iterations");
        let mut text = String::new();
        render(&map, 0, &mut text);
        let want = "lora:\n  rank: 8\n  target_modules: [\"q_proj\"]\ntraining:\n  stage1:\n    learning_rate: 2e-5\n";
        assert_eq!(text.replace("0.00002", "2e-5"), want);
    }
}
