//! The fully resolved settings of a run. After resolution nothing is "maybe" except what may really be absent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::{
    BaseFamily, BatchSize, ComputeType, Decay, DeviceChoice, EarlyStopping, Format, Layout, Lora, Method, ObjectiveKind, OnBadRow,
    OptimizerKind, Order, Overlong, Quantization, TrainOn,
};

/// `project`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Name.
    pub name: String,
    /// A sentence.
    pub description: String,
    /// Version.
    pub version: String,
}

/// `base_model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseModel {
    /// Family it must be of.
    #[serde(rename = "type")]
    pub family: Option<BaseFamily>,
    /// Hub id, or `embedded`.
    pub model_id: Option<String>,
    /// Hub revision.
    pub revision: String,
    /// Folder.
    pub local_path: Option<PathBuf>,
    /// none, nf4 or q8.
    pub quantization: Quantization,
}

/// `training.stage1`, `training.stage2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Optimiser steps; settled from the data where epochs are given.
    pub iterations: u64,
    /// Passes over the data instead of a number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_epochs: Option<f64>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Rows a batch.
    pub batch_size: BatchSize,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Share of the earlier stage's rows mixed in (stage 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_ratio: Option<f64>,
}

/// `auto`, true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AutoBool {
    /// True or false.
    Fixed(bool),
    /// `auto`.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// `auto`.
    Auto,
}

/// `training`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// lora or full.
    pub method: Method,
    /// sft or dpo.
    pub objective: ObjectiveKind,
    /// 1 or 2.
    pub num_stages: usize,
    /// First stage.
    pub stage1: Stage,
    /// Second stage.
    pub stage2: Stage,
    /// Weight of rows of high quality.
    pub quality_weight_multiplier: f64,
    /// Rows a step that `batch_size: auto` is cut from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_batch_size: Option<usize>,
    /// Batches a step.
    pub gradient_accumulation: usize,
    /// Longest row.
    pub max_seq_length: usize,
    /// Several sequences a row.
    pub packing: bool,
    /// In which order an epoch's sequences come. Left out where it is the default, so that runs of earlier versions keep
    /// their hash.
    #[serde(default, skip_serializing_if = "Order::is_default")]
    pub order: Order,
    /// constant, linear or cosine.
    pub schedule: Decay,
    /// adamw or adamw8bit.
    pub optimizer: OptimizerKind,
    /// Decay of matrices.
    pub weight_decay: f64,
    /// Clipping; 0: off.
    pub max_grad_norm: f64,
    /// Steps between checkpoints.
    pub save_steps: u64,
    /// Checkpoints kept.
    pub keep_checkpoints: usize,
    /// Steps between evaluations.
    pub eval_steps: u64,
    /// Early stopping.
    #[serde(with = "super::words::early_stopping")]
    pub early_stopping: Option<EarlyStopping>,
    /// Recompute activations.
    pub gradient_checkpointing: AutoBool,
    /// auto, f32 or bf16.
    pub dtype: ComputeType,
    /// Seed.
    pub seed: u64,
}

/// `dataset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetConfig {
    /// One file to split.
    pub path: Option<PathBuf>,
    /// Training rows.
    pub train_path: Option<PathBuf>,
    /// Validation rows.
    pub validation_path: Option<PathBuf>,
    /// Test rows.
    pub test_path: Option<PathBuf>,
    /// Rows of the second stage.
    pub stage2_path: Option<PathBuf>,
    /// jsonl, csv or parquet.
    pub format: Option<Format>,
    /// auto, alpaca, chat, sharegpt, completion or text.
    #[serde(with = "super::words::auto_or")]
    pub layout: Option<Layout>,
    /// Field of a score.
    pub quality_field: Option<String>,
    /// What counts as high.
    pub quality_threshold: f64,
    /// Field of the instruction.
    pub instruction_field: String,
    /// Field of further input.
    pub input_field: String,
    /// Field of the answer.
    pub output_field: String,
    /// Field of a system prompt.
    pub system_field: String,
    /// Field of the prompt.
    pub prompt_field: String,
    /// Field of the completion.
    pub completion_field: String,
    /// Field of the text.
    pub text_field: String,
    /// Field of the messages.
    pub messages_field: String,
    /// Fields that are left out on purpose.
    pub metadata_field: Vec<String>,
    /// The chat template: auto, a name, a file or a text.
    pub chat_template: String,
    /// Variables of the chat template: `name=value`.
    pub template_variables: Vec<String>,
    /// truncate, drop or error.
    pub overlong: Overlong,
    /// error or skip.
    pub on_bad_row: OnBadRow,
    /// assistant, last_assistant or everything.
    pub train_on: TrainOn,
    /// Share to train on.
    pub train_split: f64,
    /// Share to watch.
    pub validation_split: f64,
    /// Share to judge by.
    pub test_split: f64,
}

/// `carbon_tracking`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CarbonTracking {
    /// On.
    pub enabled: bool,
    /// Name in the file.
    pub project_name: Option<String>,
    /// Grid.
    pub country_iso_code: String,
    /// All energy of the data centre for each unit that the machine takes.
    pub pue: f64,
    /// Folder of the emissions file; `None`: `emissions/` beside `runs/`.
    pub output_dir: Option<PathBuf>,
}

/// `mlflow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mlflow {
    /// On.
    pub enabled: bool,
    /// Server.
    pub tracking_uri: Option<String>,
    /// Experiment.
    pub experiment_name: Option<String>,
}

/// `wandb`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wandb {
    /// On.
    pub enabled: bool,
    /// Project.
    pub project: Option<String>,
}

/// `tensorboard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensorboard {
    /// On.
    pub enabled: bool,
    /// Folder.
    pub log_dir: Option<PathBuf>,
}

/// `huggingface`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HuggingFace {
    /// On.
    pub enabled: bool,
    /// Prefix of repositories.
    pub repo_prefix: Option<String>,
    /// Private repositories.
    pub private_repos: bool,
    /// Checkpoints too, as they are written.
    #[serde(default)]
    pub save_checkpoints: bool,
}

fn one() -> u64 {
    1
}

fn sample_tokens() -> usize {
    64
}

/// `evaluation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationConfig {
    /// On.
    pub enabled: bool,
    /// What is measured.
    pub metrics: Vec<String>,
    /// Limits on them.
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// Prompts that are answered while training.
    #[serde(default)]
    pub sample_prompts: Vec<String>,
    /// At every so many evaluations.
    #[serde(default = "one")]
    pub sample_every: u64,
    /// Most new tokens of an answer.
    #[serde(default = "sample_tokens")]
    pub sample_tokens: usize,
    /// Token accuracy that stage 1 must reach on its test rows.
    #[serde(default)]
    pub stage1_threshold: Option<f64>,
    /// The same of stage 2.
    #[serde(default)]
    pub stage2_threshold: Option<f64>,
    /// Token accuracy that must be left on stage 1's test rows after stage 2.
    #[serde(default)]
    pub sequential_threshold: Option<f64>,
}

/// `mlx`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mlx {
    /// Means `device: metal`.
    pub enabled: bool,
    /// Accepted.
    pub memory_efficient: bool,
}

/// All settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// `project`.
    pub project: Project,
    /// `base_model`.
    pub base_model: BaseModel,
    /// `training`.
    pub training: Training,
    /// `lora`.
    pub lora: Lora,
    /// `dataset`.
    pub dataset: DatasetConfig,
    /// `device`.
    pub device: DeviceChoice,
    /// Where the folders of runs go; `None`: `runs/` of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_dir: Option<PathBuf>,
    /// `mlx`.
    pub mlx: Mlx,
    /// `carbon_tracking`.
    pub carbon_tracking: CarbonTracking,
    /// `mlflow`.
    pub mlflow: Mlflow,
    /// `wandb`.
    pub wandb: Wandb,
    /// `tensorboard`.
    pub tensorboard: Tensorboard,
    /// `huggingface`.
    pub huggingface: HuggingFace,
    /// `evaluation`.
    pub evaluation: EvaluationConfig,
}

impl RunConfig {
    /// SHA-256 of the settings that shape the trained values: everything but names, trackers, and how often is saved
    /// and evaluated, and but for places of files: what is in them is hashed by itself, and a run may be moved to another
    /// machine. A checkpoint goes on only under the same hash.
    pub fn training_hash(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(top) = value.as_object_mut() {
            for section in ["project", "output_dir", "carbon_tracking", "mlflow", "wandb", "tensorboard", "huggingface", "evaluation"] {
                top.remove(section);
            }
            if let Some(training) = top.get_mut("training").and_then(|t| t.as_object_mut()) {
                training.remove("save_steps");
                training.remove("keep_checkpoints");
            }
        }
        let places = [("dataset", "path"), ("base_model", "local_path")];
        let more = ["train_path", "validation_path", "test_path", "stage2_path"].map(|key| ("dataset", key));
        for (section, key) in places.into_iter().chain(more) {
            value.get_mut(section).and_then(|s| s.as_object_mut()?.remove(key));
        }
        crate::base::hash::sha256_bytes(value.to_string().as_bytes())
    }

    /// SHA-256 of all settings.
    pub fn hash(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        crate::base::hash::sha256_bytes(text.as_bytes())
    }
}
