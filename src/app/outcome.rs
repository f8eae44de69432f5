//! What a run gave, as the other use cases take it.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::eval::EvalReport;
use super::load::ModelRequest;
use super::prepare;
use crate::base::atomic::{self, AtomicDir};
use crate::base::error::Fault;
use crate::config::Method;
use crate::data::DataOptions;
use crate::runs::{Manifest, RunFolder};
use crate::train::Evaluation;

/// A run's result.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The stage that gave it.
    pub stage: usize,
    /// The base with the adapter; after full fine-tuning the whole model.
    pub model: ModelRequest,
}

/// Stage 1's test rows before and after stage 2: what the second stage left of the first one's skill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The base.
    pub base: Option<Evaluation>,
    /// What stage 1 gave.
    pub after_stage1: Option<Evaluation>,
    /// What stage 2 made of it.
    #[serde(rename = "tuned")]
    pub after_stage2: Option<Evaluation>,
}

/// What was measured on stage 1's test rows; `None` before a second stage is judged.
pub fn kept(run: &RunFolder) -> Option<Kept> {
    let bytes = std::fs::read(run.stage(2).join("evaluation/test.json")).ok()?;
    let mut figures: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    serde_json::from_value(figures["stage1_rows"].take()).ok()
}

/// The model that a run starts from, held as the run holds it.
///
/// # Errors
/// When its manifest cannot be read.
pub fn base_of_run(run: &RunFolder) -> Result<ModelRequest, Fault> {
    Ok(base(&Manifest::read(&run.manifest_path())?))
}

fn base(manifest: &Manifest) -> ModelRequest {
    let b = &manifest.config.base_model;
    let name = b.local_path.as_ref().map(|p| p.display().to_string()).or_else(|| b.model_id.clone()).unwrap_or_default();
    let options = prepare::load_options(&manifest.config);
    let revision = b.local_path.is_none().then(|| b.revision.clone());
    ModelRequest {
        model: name,
        revision,
        adapter: None,
        quantization: options.quantization,
        compute_dtype: Some(options.compute_dtype),
        unknown: options.unknown,
    }
}

/// What a run's configuration says of evaluations.
#[derive(Debug, Clone, Default)]
pub struct EvaluationWords {
    /// `evaluation.metrics`.
    pub metrics: Vec<String>,
    /// `evaluation.thresholds`.
    pub thresholds: Vec<String>,
}

impl EvaluationWords {
    /// Whether they ask for more than losses.
    pub fn judges_answers(&self) -> bool {
        !self.thresholds.is_empty() || self.metrics.iter().any(|m| m != "perplexity" && m != "accuracy")
    }
}

/// The metrics and thresholds that a run was configured with.
///
/// # Errors
/// When its manifest cannot be read.
pub fn evaluation_of(run: &RunFolder) -> Result<EvaluationWords, Fault> {
    let e = Manifest::read(&run.manifest_path())?.config.evaluation;
    Ok(EvaluationWords { metrics: e.metrics, thresholds: e.thresholds })
}

/// What a run, or one stage of it, gave.
///
/// # Errors
/// When it has not come that far.
pub fn of_run(run: &RunFolder, stage: Option<usize>) -> Result<Outcome, Fault> {
    let manifest = Manifest::read(&run.manifest_path())?;
    let last = manifest.config.training.num_stages;
    let (number, folder) = match stage {
        Some(n) => (n, run.stage(n).join("adapters")),
        None => (last, run.path().join("final-model")),
    };
    // The folder of a stage is there from the beginning; what it gave has a config in it.
    if !has_weights(&folder) {
        let what = stage.map_or_else(|| "no result".to_owned(), |n| format!("no result of stage {n}"));
        return Err(
            Fault::new("no_result", format!("{}: there is {what} yet", run.id())).hint("the run must be completed first: resume it")
        );
    }
    Ok(Outcome { stage: number, model: over(&manifest, folder) })
}

fn over(manifest: &Manifest, folder: PathBuf) -> ModelRequest {
    let base = base(manifest);
    if manifest.config.training.method == Method::Full {
        return ModelRequest { model: folder.display().to_string(), revision: None, ..base };
    }
    ModelRequest { adapter: Some(folder), ..base }
}

/// A checkpoint that holds weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// 1 or 2.
    pub stage: usize,
    /// The step of the stage after which it was written.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
}

/// The checkpoints of a run that are kept, oldest first. Those of full fine-tuning are no models by themselves.
pub fn checkpoints(run: &RunFolder) -> Vec<Checkpoint> {
    let of_stage = |stage: usize| {
        let folders = std::fs::read_dir(run.checkpoints(stage)).into_iter().flatten().flatten().map(|e| e.path());
        let named = |path: PathBuf| {
            let step = path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()?;
            let is_whole = path.join("state.json").is_file() || has_weights(&path);
            is_whole.then_some(Checkpoint { stage, step, path })
        };
        let mut all: Vec<Checkpoint> = folders.filter_map(named).collect();
        all.sort_by_key(|c| c.step);
        all
    };
    [1, 2].into_iter().flat_map(of_stage).collect()
}

/// Whether a folder can be loaded as an adapter or a model.
pub fn has_weights(folder: &Path) -> bool {
    ["adapter_config.json", "config.json"].iter().any(|name| folder.join(name).is_file())
}

/// The weights of a checkpoint; without a stage, of the last stage that has one of this step.
///
/// # Errors
/// When there is none of this step.
pub fn of_checkpoint(run: &RunFolder, stage: Option<usize>, step: u64) -> Result<Outcome, Fault> {
    let manifest = Manifest::read(&run.manifest_path())?;
    let fits = |c: &Checkpoint| c.step == step && stage.is_none_or(|wanted| wanted == c.stage);
    let found = checkpoints(run).into_iter().rev().find(fits).ok_or_else(|| {
        let of = stage.map(|n| format!(" of stage {n}")).unwrap_or_default();
        Fault::new("no_checkpoint", format!("{}: there is no checkpoint of step {step}{of}", run.id()))
            .hint("stage1/checkpoints in the run's folder has those that are kept")
    })?;
    if !has_weights(&found.path) {
        let message = format!("{}: a checkpoint of full fine-tuning holds what training goes on from, and is no model", run.id());
        return Err(
            Fault::new("no_model", message).hint("a branch from it with so many steps ends as a model (checkpoints branch, branch_run)")
        );
    }
    Ok(Outcome { stage: found.stage, model: over(&manifest, found.path) })
}

/// How a run reads rows.
///
/// # Errors
/// When its manifest cannot be read.
pub fn data_options(run: &RunFolder) -> Result<DataOptions, Fault> {
    let config = Manifest::read(&run.manifest_path())?.config;
    Ok(prepare::data_options(&config.dataset, config.training.max_seq_length, config.training.quality_weight_multiplier))
}

/// Writes figures into the run's folder: a file for each data file. One of the same name in another folder gets a
/// number, and only figures on the same file are written over.
///
/// # Errors
/// When it cannot be written.
pub fn write_evaluation(run: &RunFolder, stage: usize, report: &EvalReport) -> Result<PathBuf, Fault> {
    let stem = report.data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = run.stage(stage).join("evaluation");
    let (data, adapter) = (json!(report.data), json!(report.adapter));
    let is_of_this = |path: &Path| match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<serde_json::Value>(&bytes)
            .is_ok_and(|figures| figures["data"] == data && figures["adapter"] == adapter),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    };
    let names = std::iter::once(format!("on-{stem}.json")).chain((2..).map(|n| format!("on-{stem}-{n}.json")));
    let mut paths = names.map(|name| folder.join(name));
    let path = paths.find(|path| is_of_this(path)).unwrap_or_default();
    let text = serde_json::to_string_pretty(&json!(report)).map_err(|e| Fault::new("io", e.to_string()))?;
    atomic::write_file(&path, text.as_bytes())?;
    Ok(path)
}

/// Copies the files of a folder into a new one, whole or not at all; their bytes.
///
/// # Errors
/// When the new one exists or cannot be written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<u64, Fault> {
    let folder = AtomicDir::new(to)?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(from).map_err(|e| Fault::io("read", from, &e))?.flatten().filter(|e| e.path().is_file()) {
        bytes += std::fs::copy(entry.path(), folder.path().join(entry.file_name())).map_err(|e| Fault::io("copy", &entry.path(), &e))?;
    }
    folder.commit()?;
    Ok(bytes)
}
