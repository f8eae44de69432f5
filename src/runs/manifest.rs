//! `run-manifest.json`, version 2.0: what a run is, how it stands and what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::base::atomic;
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::data::{ChatTemplateRecord, DatasetRecord};

/// The version that this program writes and reads.
pub const MANIFEST_VERSION: &str = "2.0";

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its folder is there, no step has been made.
    Created,
    /// A process is working on it.
    Running,
    /// All steps are done.
    Finished,
    /// It was asked to stop, and can go on.
    Stopped,
    /// Its process is gone without a word; it can go on from its newest checkpoint. Never written, only found.
    Interrupted,
    /// An error ended it.
    Failed,
    /// Loss or gradients were no longer finite.
    Diverged,
}

impl Status {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Diverged => "diverged",
        }
    }
}

/// The base model of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseModelRecord {
    /// Hub id, folder or `embedded`, as the configuration named it.
    pub id: String,
    /// Revision on the Hub.
    pub revision: Option<String>,
    /// The folder it was loaded from.
    pub path: PathBuf,
    /// Its architecture.
    pub architecture: String,
    /// Number of weights.
    pub parameters: u64,
    /// SHA-256 over the weight files.
    pub weight_hash: String,
    /// SHA-256 of each other file that shapes the model or its text: config, tokenizer, chat template.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// Predicted and measured peak of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeakMemory {
    /// What the plan said, in bytes.
    pub predicted_bytes: Option<u64>,
    /// What it took: the largest resident size of the process, or a GPU's most bytes in use at once.
    pub measured_bytes: Option<u64>,
    /// Largest resident size of the process, in bytes.
    pub peak_rss_bytes: Option<u64>,
}

/// One stage of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// 1 or 2.
    pub stage: usize,
    /// Steps it shall make.
    pub iterations: u64,
    /// Steps made.
    pub iterations_done: u64,
    /// Step of the best evaluation.
    pub best_step: Option<u64>,
    /// Its loss.
    pub best_loss: Option<f64>,
    /// Its checkpoint, relative to the run.
    pub best_checkpoint: Option<PathBuf>,
    /// The newest checkpoint, relative to the run.
    pub last_checkpoint: Option<PathBuf>,
    /// Loss of the last step.
    pub last_loss: Option<f64>,
    /// The finished adapter (or model), relative to the run.
    pub adapters: Option<PathBuf>,
    /// Files of evaluations, relative to the run.
    pub evaluation: Vec<PathBuf>,
    /// Seconds of training.
    pub wall_seconds: f64,
    /// Tokens through the model.
    pub tokens: u64,
    /// Tokens trained.
    pub trained_tokens: u64,
    /// Sequences trained; with packing several share a row of a batch.
    #[serde(default)]
    pub sequences: Option<u64>,
    /// Peak memory.
    pub peak_memory: PeakMemory,
    /// The plan it ran under.
    pub memory_plan: Option<serde_json::Value>,
    /// Kilowatt hours, where they were measured.
    pub energy_kwh: Option<f64>,
}

/// What a run took: measured where the machine has counters, else estimated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnergyRecord {
    /// Kilowatt hours of all sessions, PUE included.
    pub kwh: f64,
    /// Kilograms of CO2 equivalents.
    pub emissions_kg: f64,
    /// ISO 3166-1 alpha-3.
    pub country_iso_code: String,
    /// Of that country's grid.
    pub grams_per_kwh: f64,
    /// How the energy is known, in words.
    pub source: String,
}

/// Whether a stage reached a score that the configuration asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The key that asks for it, such as `evaluation.stage1_threshold`.
    pub key: String,
    /// The least token accuracy.
    pub limit: f64,
    /// The one that was measured on the test rows.
    pub accuracy: f64,
    /// Whether it is reached.
    pub passed: bool,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.passed { "reached" } else { "missed" };
        write!(f, "{} was {word}: a token accuracy of {} is asked for, it is {:.4}", self.key, self.limit, self.accuracy)
    }
}

/// Where a run comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The run whose adapter it took up.
    pub parent: Option<String>,
}

/// What ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable name.
    pub code: String,
    /// In words.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// `run-manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`MANIFEST_VERSION`].
    pub manifest_version: String,
    /// Unique under its project: the folder's name.
    pub run_id: String,
    /// As given.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// UTC.
    pub created_at: String,
    /// UTC, of the first start.
    pub started_at: Option<String>,
    /// UTC, of the end.
    pub finished_at: Option<String>,
    /// The program's version.
    pub tallow_version: String,
    /// The commit that the program was built from.
    pub git_commit: Option<String>,
    /// The machine.
    pub machine: Machine,
    /// The device.
    pub device: String,
    /// All settings.
    pub config: RunConfig,
    /// SHA-256 of all settings.
    pub config_hash: String,
    /// The base model.
    pub base_model: Option<BaseModelRecord>,
    /// SHA-256 of tokenizer.json.
    pub tokenizer_hash: Option<String>,
    /// The chat template that rows are rendered with.
    #[serde(default)]
    pub chat_template: Option<ChatTemplateRecord>,
    /// The data.
    pub dataset: DatasetRecord,
    /// Seeds by purpose.
    pub seeds: BTreeMap<String, u64>,
    /// Its stages.
    pub stages: Vec<StageRecord>,
    /// Scores that the configuration asks for, as far as they were judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Energy and CO2, where they were tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<EnergyRecord>,
    /// Exports, each with its proof.
    pub exports: Vec<serde_json::Value>,
    /// Parent run.
    pub lineage: Lineage,
    /// What ended it, when it failed.
    pub error: Option<Failure>,
}

impl Manifest {
    /// The manifest of a run that has not begun.
    pub fn new(run_id: &str, name: &str, config: &RunConfig) -> Self {
        Self {
            manifest_version: MANIFEST_VERSION.into(),
            run_id: run_id.into(),
            name: name.into(),
            status: Status::Created,
            created_at: crate::base::clock::now_utc(),
            started_at: None,
            finished_at: None,
            tallow_version: env!("CARGO_PKG_VERSION").into(),
            git_commit: option_env!("TALLOW_GIT_COMMIT").map(str::to_owned),
            machine: Machine::this(),
            device: config.device.to_string(),
            config: config.clone(),
            config_hash: config.hash(),
            base_model: None,
            tokenizer_hash: None,
            chat_template: None,
            dataset: DatasetRecord::default(),
            seeds: [("training".to_owned(), config.training.seed)].into(),
            stages: Vec::new(),
            verdicts: Vec::new(),
            energy: None,
            exports: Vec::new(),
            lineage: Lineage::default(),
            error: None,
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another version.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
        let damaged = |e: serde_json::Error| {
            Fault::new("manifest_damaged", format!("{}:{}: {e}", path.display(), e.line()))
                .hint("the file was changed by hand or by another program; the checkpoints of the run are still good")
        };
        let mut value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
        let version = value["manifest_version"].as_str().unwrap_or("none");
        if version != MANIFEST_VERSION {
            let message = format!("{}: manifest version {version}, this program reads {MANIFEST_VERSION}", path.display());
            return Err(Fault::new("manifest_version", message).hint("use the version of tallow that wrote the run"));
        }
        value["config"] = crate::config::with_defaults(value["config"].take());
        serde_json::from_value(value).map_err(damaged)
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("manifest_damaged", e.to_string()))?;
        atomic::write_file(path, text.as_bytes())
    }

    /// Ends it with a failure.
    pub fn fail(&mut self, status: Status, fault: &Fault) {
        self.status = status;
        self.finished_at = Some(crate::base::clock::now_utc());
        self.error = Some(Failure { code: fault.code.into(), message: fault.message.clone(), hint: fault.hint.clone() });
    }
}
