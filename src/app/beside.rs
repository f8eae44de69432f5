//! Runs beside one another: their figures, and the settings in which they differ.

use serde::Serialize;
use serde_json::Value;

use crate::base::error::Fault;
use crate::runs::{Manifest, RunFolder};
use crate::track::{facts_of, flatten};

/// A figure of each run, `None` where a run has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureRow {
    /// Its name.
    pub name: String,
    /// In the order of the runs.
    pub values: Vec<Option<f64>>,
}

/// A setting that is not the same in all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingRow {
    /// Its dotted key.
    pub key: String,
    /// In the order of the runs; null where it is unset.
    pub values: Vec<Value>,
}

/// Runs beside one another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// Their names.
    pub runs: Vec<String>,
    /// How each stands.
    pub status: Vec<String>,
    /// Losses, time and energy.
    pub figures: Vec<FigureRow>,
    /// Only those that differ.
    pub settings: Vec<SettingRow>,
}

/// Settings that name a run and shape nothing.
const NAMES: [&str; 2] = ["project.description", "output_dir"];

/// Compares runs by what their folders say.
///
/// # Errors
/// When there are fewer than two, or a manifest cannot be read.
pub fn run(folders: &[RunFolder]) -> Result<Beside, Fault> {
    if folders.len() < 2 {
        return Err(Fault::new("usage", "one run has nothing to be compared with").hint("name at least two runs"));
    }
    let manifests = folders.iter().map(RunFolder::manifest).collect::<Result<Vec<_>, _>>()?;
    let figures: Vec<Vec<(String, f64)>> = folders.iter().zip(&manifests).map(|(f, m)| figures(f, m)).collect();
    let settings: Vec<Vec<(String, Value)>> =
        manifests.iter().map(|m| flatten(&serde_json::to_value(&m.config).unwrap_or_default())).collect();
    let figures = rows(&figures).into_iter().map(|(name, values)| FigureRow { name, values }).collect();
    let differing = rows(&settings).into_iter().filter(|(key, values)| {
        !NAMES.contains(&key.as_str()) && values.windows(2).any(|w| w[0].clone().unwrap_or_default() != w[1].clone().unwrap_or_default())
    });
    let settings = differing.map(|(key, values)| SettingRow { key, values: values.into_iter().map(Option::unwrap_or_default).collect() });
    Ok(Beside {
        runs: folders.iter().map(RunFolder::id).collect(),
        status: manifests.iter().map(|m| m.status.name().to_owned()).collect(),
        figures,
        settings: settings.collect(),
    })
}

fn figures(folder: &RunFolder, m: &Manifest) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for s in &m.stages {
        let name = |what: &str| format!("stage{}.{what}", s.stage);
        all.push((name("steps"), s.iterations_done as f64));
        all.extend(s.last_loss.map(|loss| (name("last_loss"), loss)));
        if s.wall_seconds > 0.0 {
            all.push((name("tokens_per_second"), s.tokens as f64 / s.wall_seconds));
        }
        all.extend(s.peak_memory.measured_bytes.map(|b| (name("peak_gib"), b as f64 / (1u64 << 30) as f64)));
    }
    all.extend(facts_of(m, folder.path()).results);
    all
}

/// Every name of any list, in order, with each list's value.
fn rows<T: Clone>(lists: &[Vec<(String, T)>]) -> Vec<(String, Vec<Option<T>>)> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in lists.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: &String| lists.iter().map(|list| list.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())).collect();
    names.into_iter().map(|name| (name.clone(), of(name))).collect()
}
