//! A run's facts, from its manifest and its folder.

use std::path::Path;

use serde_json::Value;

use super::energy;
use super::facts::{Facts, Standing, flatten};
use super::mlflow::remote_name;
use super::row::millis;
use crate::config::Method;
use crate::runs::{Manifest, Status};

/// What trackers are told about a run.
pub fn facts(manifest: &Manifest, run: &Path) -> Facts {
    let standing = match manifest.status {
        Status::Created | Status::Running => Standing::Running,
        Status::Finished => Standing::Finished,
        Status::Stopped | Status::Interrupted => Standing::Stopped,
        Status::Failed | Status::Diverged => Standing::Failed,
    };
    let started = manifest.started_at.as_deref().unwrap_or(&manifest.created_at);
    let settings = serde_json::to_value(&manifest.config).unwrap_or_default();
    Facts {
        folder: run.to_path_buf(),
        id: manifest.run_id.clone(),
        project: manifest.config.project.name.clone(),
        standing,
        started_ms: millis(started).unwrap_or_default(),
        ended_ms: manifest.finished_at.as_deref().and_then(millis),
        stages: manifest.config.training.num_stages,
        settings: flatten(&settings),
        tags: tags(manifest),
        results: results(manifest, run),
        files: files(manifest, run),
    }
}

/// How a run's energy is measured; `None` where its settings do not ask for it. `device`: the
/// device's name, such as `cuda:0`.
pub fn energy_plan(m: &Manifest, run: &Path, device: &str) -> Option<energy::Plan> {
    let c = &m.config.carbon_tracking;
    let runs = run.parent()?;
    let is_named_runs = runs.file_name().is_some_and(|n| n == "runs");
    let beside = runs.parent().filter(|_| is_named_runs).unwrap_or(runs).join("emissions");
    c.enabled.then_some(())?;
    Some(energy::Plan {
        run_id: m.run_id.clone(),
        project: c.project_name.clone().unwrap_or_else(|| m.config.project.name.clone()),
        country: energy::country(&c.country_iso_code)?,
        pue: c.pue,
        cpu_model: m.machine.cpu_model.clone(),
        cuda: device.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        folder: c.output_dir.clone().unwrap_or(beside),
    })
}

fn tags(m: &Manifest) -> Vec<(String, String)> {
    let base = m.base_model.as_ref();
    let hashes = m.dataset.files.iter().map(|f| f.sha256.as_str()).collect::<Vec<_>>().join(" ");
    let all = [
        ("run", Some(m.run_id.clone())),
        ("version", Some(m.tallow_version.clone())),
        ("commit", m.git_commit.clone()),
        ("config_hash", Some(m.config_hash.clone())),
        ("device", Some(m.device.clone())),
        ("cpu", m.machine.cpu_model.clone()),
        ("base_model", base.map(|b| b.id.clone())),
        ("architecture", base.map(|b| b.architecture.clone())),
        ("parameters", base.map(|b| b.parameters.to_string())),
        ("weight_hash", base.map(|b| b.weight_hash.clone())),
        ("data_hashes", Some(hashes).filter(|h| !h.is_empty())),
        ("error", m.error.as_ref().map(|e| format!("{}: {}", e.code, e.message))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Figures on test rows, and what each stage took.
fn results(m: &Manifest, run: &Path) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    if let Some(energy) = &m.energy {
        all.extend([("energy_kwh".to_owned(), energy.kwh), ("emissions_kg".to_owned(), energy.emissions_kg)]);
    }
    for stage in &m.stages {
        let mut add = |name: String, value: Option<f64>| all.extend(value.map(|v| (format!("stage{}.{name}", stage.stage), v)));
        add("seconds".into(), Some(stage.wall_seconds));
        add("best_eval_loss".into(), stage.best_loss);
        for path in stage.evaluation.iter().filter(|p| p.ends_with("test.json")) {
            let Ok(bytes) = std::fs::read(run.join(path)) else { continue };
            let figures: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            for model in ["base", "tuned"] {
                for name in ["loss", "perplexity", "accuracy"] {
                    add(format!("test_{model}_{name}"), figures[model][name].as_f64());
                }
            }
        }
    }
    all
}

/// The run's own records, and the adapter that it gave. A whole model is not sent.
fn files(m: &Manifest, run: &Path) -> Vec<(String, std::path::PathBuf)> {
    let records = ["run-manifest.json", "metrics.jsonl", "training.log", "emissions.csv"].map(|name| run.join(name));
    let evaluations = m.stages.iter().flat_map(|s| &s.evaluation).map(|path| run.join(path));
    let is_adapter = m.config.training.method == Method::Lora && m.status == Status::Finished;
    let adapter = ["adapter_model.safetensors", "adapter_config.json"].map(|name| run.join("final-model").join(name));
    let all = records.into_iter().chain(evaluations).chain(adapter.into_iter().filter(|_| is_adapter));
    all.map(|path| (remote_name(run, &path), path)).collect()
}
