//! What a tracker is told about a run beside its rows.

use std::path::PathBuf;

/// How a run stands, in the words that trackers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is under way, or has not begun.
    Running,
    /// All steps are done.
    Finished,
    /// It was stopped, and can go on.
    Stopped,
    /// An error or divergence ended it.
    Failed,
}

/// A run as its manifest tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The run's folder.
    pub folder: PathBuf,
    /// Its id: the folder's name.
    pub id: String,
    /// The project's name.
    pub project: String,
    /// How it stands.
    pub standing: Standing,
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// Milliseconds since 1970, once it has ended.
    pub ended_ms: Option<i64>,
    /// Number of stages.
    pub stages: usize,
    /// Every setting by its dotted key, as JSON.
    pub settings: Vec<(String, serde_json::Value)>,
    /// What is known about model, data and machine: name and words.
    pub tags: Vec<(String, String)>,
    /// Figures of the whole run: losses on test rows, seconds, energy.
    pub results: Vec<(String, f64)>,
    /// Files worth keeping: name at the tracker, and where they are.
    pub files: Vec<(String, PathBuf)>,
}

/// Dotted key and value of each leaf.
pub fn flatten(value: &serde_json::Value) -> Vec<(String, serde_json::Value)> {
    fn walk(path: &str, value: &serde_json::Value, out: &mut Vec<(String, serde_json::Value)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, out);
                }
            }
            leaf => out.push((path.to_owned(), leaf.clone())),
        }
    }
    let mut out = Vec::new();
    walk("", value, &mut out);
    out
}

/// A setting as trackers show it: text without its quotes, everything else as JSON.
pub fn in_words(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
