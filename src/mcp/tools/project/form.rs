//! The form that describes a project: what a client fills in.

use schemars::JsonSchema;
use serde::Deserialize;

/// A family of models.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::mcp::tools) enum FamilyName {
    Olmo,
    Llama,
    Mistral,
    Qwen,
    Gemma,
    Phi,
    Smollm,
    Granite,
    Custom,
}

/// How the frozen base is held; q4 is NF4.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::mcp::tools) enum QuantizationName {
    Q4,
    Q8,
    None,
}

/// The model that is tuned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct BaseModelIn {
    /// Family that the model must be of; custom also reads an architecture that is not known, as a Llama.
    #[serde(rename = "type")]
    pub(super) family: FamilyName,
    /// Hugging Face id, or `embedded` for the small model inside the program.
    pub(super) model_id: String,
    /// Folder of the model; goes before model_id.
    pub(super) local_path: Option<String>,
    /// How the base is held while training. Default none.
    pub(super) quantization: Option<QuantizationName>,
}

/// How it is trained.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct TrainingIn {
    /// 1 or 2. Default 1. The rows of a second stage go into data/raw/stage2.jsonl.
    #[schemars(range(min = 1, max = 2))]
    pub(super) num_stages: Option<u64>,
    /// Optimiser steps of stage 1. Default 100.
    #[schemars(range(min = 1))]
    pub(super) stage1_iterations: Option<u64>,
    /// Optimiser steps of stage 2. Default 150.
    #[schemars(range(min = 1))]
    pub(super) stage2_iterations: Option<u64>,
    /// Peak learning rate of stage 1. Default 2e-5; LoRA on a small model wants about 2e-4.
    pub(super) learning_rate: Option<f64>,
    /// Peak learning rate of stage 2. Default 1e-6.
    pub(super) stage2_learning_rate: Option<f64>,
    /// Rows a step. Default 4.
    #[schemars(range(min = 1))]
    pub(super) batch_size: Option<u64>,
    /// How much more often a row of high quality is seen. Default 2.5.
    pub(super) quality_weight_multiplier: Option<f64>,
}

/// The adapter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct LoraIn {
    /// Inner width. Default 8.
    #[schemars(range(min = 1, max = 4096))]
    pub(super) rank: Option<u64>,
    /// Scale. Default 16.
    pub(super) alpha: Option<f64>,
    /// Dropout while training. Default 0.05.
    pub(super) dropout: Option<f64>,
    /// Linear layers that get an adapter. Default q_proj and v_proj; `all-linear` is all seven.
    pub(super) target_modules: Option<Vec<String>>,
}

/// A file format.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::mcp::tools) enum FormatName {
    Jsonl,
    Csv,
    Parquet,
}

/// How rows are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct DatasetIn {
    /// File format. Default: by the file's name.
    pub(super) format: Option<FormatName>,
    /// Field with a quality score or grade.
    pub(super) quality_field: Option<String>,
    /// Field of the instruction. Default instruction.
    pub(super) instruction_field: Option<String>,
    /// Field of the answer. Default output.
    pub(super) output_field: Option<String>,
    /// Field that is carried along and never trained on. This version carries none.
    pub(super) metadata_field: Option<String>,
}

/// What is switched on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct FeaturesIn {
    /// Train on an Apple GPU. Only a program built for Metal can; elsewhere it is left off.
    pub(super) enable_mlx_optimization: Option<bool>,
    /// See rows of high quality more often (needs dataset.quality_field). Default true.
    pub(super) enable_quality_weighting: Option<bool>,
    /// Energy and CO2. Default false: this version does not measure them yet.
    #[serde(alias = "enable_carbon_tracking")]
    pub(super) enable_carbontracking: Option<bool>,
    /// Evaluate base and result on the test rows. Default true.
    pub(super) enable_evaluation: Option<bool>,
    /// Upload the result. Default false; this version does not upload yet.
    pub(super) enable_huggingface_upload: Option<bool>,
}

/// Trackers. They are written into the configuration; this version logs to metrics.jsonl only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct IntegrationsIn {
    /// Address of an MLflow server.
    pub(super) mlflow_tracking_uri: Option<String>,
    /// Name in the emissions file.
    pub(super) codecarbon_project_name: Option<String>,
    /// Weights & Biases project.
    pub(super) wandb_project: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct GenerateIn {
    /// Name of the project; a folder of this name is made. Letters, digits, - _ and .
    pub(super) project_name: String,
    /// Folder in which the project folder is made.
    pub(super) output_dir: String,
    /// The model that is tuned.
    pub(super) base_model: BaseModelIn,
    /// How it is trained.
    #[serde(default)]
    pub(super) training: TrainingIn,
    /// The adapter.
    #[serde(default)]
    pub(super) lora: LoraIn,
    /// How rows are read.
    #[serde(default)]
    pub(super) dataset: DatasetIn,
    /// What is switched on.
    #[serde(default)]
    pub(super) features: FeaturesIn,
    /// Trackers.
    #[serde(default)]
    pub(super) integrations: IntegrationsIn,
}
