//! An export and the run that it comes from: what the card says of the training, what the manifest says of the export.

use serde_json::{Value, json};

use super::ExportReport;
use crate::base::clock;
use crate::base::error::Fault;
use crate::base::hash::sha256_tree;
use crate::export::card::{Energy, Figures, Training, TrainingData};
use crate::runs::{Manifest, RunFolder};

/// What a model card tells of a run.
///
/// # Errors
/// When its manifest cannot be read.
pub(super) fn training_of(run: &RunFolder) -> Result<Training, Fault> {
    let m = Manifest::read(&run.manifest_path())?;
    let name = |path: &str| std::path::Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned());
    let stages = &m.stages;
    let t = &m.config.training;
    Ok(Training {
        run: m.run_id.clone(),
        base: m.base_model.as_ref().map(|b| b.id.clone()),
        method: if t.method == crate::config::Method::Full { "full fine-tuning".into() } else { "LoRA".into() },
        quantization: m.config.base_model.quantization.name().to_owned(),
        steps: stages.iter().map(|s| s.iterations_done).sum(),
        sequences: stages.iter().map(|s| s.sequences).sum(),
        learning_rate: t.stage1.learning_rate,
        tokens: stages.iter().map(|s| s.tokens).sum(),
        trained_tokens: stages.iter().map(|s| s.trained_tokens).sum(),
        seconds: stages.iter().map(|s| s.wall_seconds).sum(),
        machine: format!("{}, {} threads", m.machine.cpu_model.as_deref().unwrap_or(&m.machine.arch), m.machine.cpu_count),
        data: m.dataset.files.iter().map(|f| TrainingData { file: name(&f.path), rows: f.rows, sha256: f.sha256.clone() }).collect(),
        best_validation_loss: stages.last().and_then(|s| s.best_loss),
        base_test: figures(run, &m, "base"),
        tuned_test: figures(run, &m, "tuned"),
        energy: m.energy.as_ref().map(|e| Energy {
            kwh: e.kwh,
            emissions_kg: e.emissions_kg,
            country: e.country_iso_code.clone(),
            grams_per_kwh: e.grams_per_kwh,
            source: e.source.clone(),
        }),
    })
}

/// Figures on the test rows.
fn figures(run: &RunFolder, m: &Manifest, which: &str) -> Option<Figures> {
    let path = m.stages.iter().rev().flat_map(|s| s.evaluation.iter()).find(|p| p.ends_with("test.json"))?;
    let text = std::fs::read_to_string(run.path().join(path)).ok()?;
    let json: Value = serde_json::from_str(&text).ok()?;
    let e = &json[which];
    Some(Figures { loss: e["loss"].as_f64()?, perplexity: e["perplexity"].as_f64()?, accuracy: e["accuracy"].as_f64()? })
}

/// Adds an export to the run's manifest.
///
/// # Errors
/// When another process works on the run, or the manifest cannot be written; the export itself stands.
pub(super) fn record(run: &RunFolder, report: &ExportReport) -> Result<(), Fault> {
    let _held = run.lock()?;
    let mut manifest = run.manifest()?;
    let path = report.out.canonicalize().unwrap_or_else(|_| report.out.clone());
    manifest.exports.push(json!({
        "format": report.format,
        "type": report.kind,
        "path": path,
        "bytes": report.bytes,
        "sha256": sha256_tree(&report.out)?,
        "created_at": clock::now_utc(),
        "calibration": report.calibration,
        "proof": report.proof,
    }));
    run.write_manifest(&manifest)
}
