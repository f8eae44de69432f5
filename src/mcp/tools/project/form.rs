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

// The model that is tuned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct BaseModelIn {
    /// custom: unknown architectures, read as a Llama.
    #[serde(rename = "type")]
    pub(super) family: FamilyName,
    /// Hugging Face id, or `embedded`.
    pub(super) model_id: String,
    /// Its folder, instead of model_id.
    pub(super) local_path: Option<String>,
    /// Default none.
    pub(super) quantization: Option<QuantizationName>,
}

// How it is trained.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct TrainingIn {
    /// Default 1. Rows of a second stage: data/raw/stage2.jsonl.
    #[schemars(range(min = 1, max = 2))]
    pub(super) num_stages: Option<u64>,
    /// Steps. Default 100.
    #[schemars(range(min = 1))]
    pub(super) stage1_iterations: Option<u64>,
    /// Default 150.
    #[schemars(range(min = 1))]
    pub(super) stage2_iterations: Option<u64>,
    /// Default 2e-5; LoRA on a small model wants about 2e-4.
    pub(super) learning_rate: Option<f64>,
    /// Default 1e-6.
    pub(super) stage2_learning_rate: Option<f64>,
    /// Rows a step. Default 4.
    #[schemars(range(min = 1))]
    pub(super) batch_size: Option<u64>,
    /// How much more often a good row is seen. Default 2.5.
    pub(super) quality_weight_multiplier: Option<f64>,
}

// The adapter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct LoraIn {
    /// Default 8.
    #[schemars(range(min = 1, max = 4096))]
    pub(super) rank: Option<u64>,
    /// Default 16.
    pub(super) alpha: Option<f64>,
    /// Default 0.05.
    pub(super) dropout: Option<f64>,
    /// Default q_proj and v_proj; `all-linear` is all.
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

// How rows are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct DatasetIn {
    /// Default: by the file's name.
    pub(super) format: Option<FormatName>,
    /// Field with a score or grade.
    pub(super) quality_field: Option<String>,
    /// Default instruction.
    pub(super) instruction_field: Option<String>,
    /// Default output.
    pub(super) output_field: Option<String>,
    /// Never trained on.
    pub(super) metadata_field: Option<String>,
}

// What is switched on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct FeaturesIn {
    /// Train on an Apple GPU, where this build can.
    pub(super) enable_mlx_optimization: Option<bool>,
    /// Default true; needs dataset.quality_field.
    pub(super) enable_quality_weighting: Option<bool>,
    /// Energy and CO2. Default true.
    #[serde(alias = "enable_carbon_tracking")]
    pub(super) enable_carbontracking: Option<bool>,
    /// Base and result on the test rows. Default true.
    pub(super) enable_evaluation: Option<bool>,
    /// Not here: export_model uploads.
    pub(super) enable_huggingface_upload: Option<bool>,
}

// Trackers. Naming one switches it on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp::tools) struct IntegrationsIn {
    /// Log to this MLflow server.
    pub(super) mlflow_tracking_uri: Option<String>,
    /// Name in the emissions file.
    pub(super) codecarbon_project_name: Option<String>,
    /// Write offline W&B runs of this project.
    pub(super) wandb_project: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp::tools) struct GenerateIn {
    /// Also the folder's name. Letters, digits, - _ and .
    pub(super) project_name: String,
    /// Where the folder is made.
    pub(super) output_dir: String,
    pub(super) base_model: BaseModelIn,
    #[serde(default)]
    pub(super) training: TrainingIn,
    #[serde(default)]
    pub(super) lora: LoraIn,
    #[serde(default)]
    pub(super) dataset: DatasetIn,
    #[serde(default)]
    pub(super) features: FeaturesIn,
    #[serde(default)]
    pub(super) integrations: IntegrationsIn,
}
