//! Projects, plans, and runs made ready.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::{configure, plan, project};
use crate::base::error::Fault;
use crate::mcp::tool::{Call, Desk, Hints, Tool, Weight, within};
use crate::train::MemoryPlan;

/// A family of models.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FamilyName {
    Olmo,
    Llama,
    Mistral,
    Qwen,
    Custom,
}

/// How the frozen base is held; q4 is NF4.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum QuantizationName {
    Q4,
    Q8,
    None,
}

/// The model that is tuned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BaseModelIn {
    /// Family that the model must be of; custom takes any.
    #[serde(rename = "type")]
    family: FamilyName,
    /// Hugging Face id, or `embedded` for the small model inside the program.
    model_id: String,
    /// Folder of the model; goes before model_id.
    local_path: Option<String>,
    /// How the base is held while training. Default none.
    quantization: Option<QuantizationName>,
}

/// How it is trained.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrainingIn {
    /// 1 or 2. Default 1. The rows of a second stage go into data/raw/stage2.jsonl.
    #[schemars(range(min = 1, max = 2))]
    num_stages: Option<u64>,
    /// Optimiser steps of stage 1. Default 100.
    #[schemars(range(min = 1))]
    stage1_iterations: Option<u64>,
    /// Optimiser steps of stage 2. Default 150.
    #[schemars(range(min = 1))]
    stage2_iterations: Option<u64>,
    /// Peak learning rate of stage 1. Default 2e-5; LoRA on a small model wants about 2e-4.
    learning_rate: Option<f64>,
    /// Peak learning rate of stage 2. Default 1e-6.
    stage2_learning_rate: Option<f64>,
    /// Rows a step. Default 4.
    #[schemars(range(min = 1))]
    batch_size: Option<u64>,
    /// How much more often a row of high quality is seen. Default 2.5.
    quality_weight_multiplier: Option<f64>,
}

/// The adapter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoraIn {
    /// Inner width. Default 8.
    #[schemars(range(min = 1, max = 4096))]
    rank: Option<u64>,
    /// Scale. Default 16.
    alpha: Option<f64>,
    /// Dropout while training. Default 0.05.
    dropout: Option<f64>,
    /// Linear layers that get an adapter. Default q_proj and v_proj; `all-linear` is all seven.
    target_modules: Option<Vec<String>>,
}

/// A file format.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatName {
    Jsonl,
    Csv,
    Parquet,
}

/// How rows are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatasetIn {
    /// File format. Default: by the file's name.
    format: Option<FormatName>,
    /// Field with a quality score or grade.
    quality_field: Option<String>,
    /// Field of the instruction. Default instruction.
    instruction_field: Option<String>,
    /// Field of the answer. Default output.
    output_field: Option<String>,
    /// Field that is carried along and never trained on. Default metadata.
    metadata_field: Option<String>,
}

/// What is switched on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FeaturesIn {
    /// Train on an Apple GPU. Only a program built for Metal can; elsewhere it is left off.
    enable_mlx_optimization: Option<bool>,
    /// See rows of high quality more often (needs dataset.quality_field). Default true.
    enable_quality_weighting: Option<bool>,
    /// Energy and CO2. Default true; this version does not measure them yet.
    #[serde(alias = "enable_carbon_tracking")]
    enable_carbontracking: Option<bool>,
    /// Evaluate base and result on the test rows. Default true.
    enable_evaluation: Option<bool>,
    /// Upload the result. Default false; this version does not upload yet.
    enable_huggingface_upload: Option<bool>,
}

/// Trackers. They are written into the configuration; this version logs to metrics.jsonl only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IntegrationsIn {
    /// Address of an MLflow server.
    mlflow_tracking_uri: Option<String>,
    /// Name in the emissions file.
    codecarbon_project_name: Option<String>,
    /// Weights & Biases project.
    wandb_project: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateIn {
    /// Name of the project; a folder of this name is made. Letters, digits, - _ and .
    project_name: String,
    /// Folder in which the project folder is made.
    output_dir: String,
    /// The model that is tuned.
    base_model: BaseModelIn,
    /// How it is trained.
    #[serde(default)]
    training: TrainingIn,
    /// The adapter.
    #[serde(default)]
    lora: LoraIn,
    /// How rows are read.
    #[serde(default)]
    dataset: DatasetIn,
    /// What is switched on.
    #[serde(default)]
    features: FeaturesIn,
    /// Trackers.
    #[serde(default)]
    integrations: IntegrationsIn,
}

/// Commands of a shell.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Commands {
    train: String,
    evaluate: String,
    export: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GenerateOut {
    success: bool,
    /// The project folder: what the other tools call project_path.
    project_path: String,
    /// What was written, by what it is.
    project_structure: Map<String, Value>,
    /// What to do next.
    next_steps: Vec<String>,
    /// The same from a shell.
    command_examples: Commands,
    /// What the settings ask for and this version does not do.
    warnings: Vec<String>,
}

/// generate_fine_tuning_project
pub(super) struct Generate;

impl Tool for Generate {
    const NAME: &'static str = "generate_fine_tuning_project";
    const TITLE: &'static str = "Generate a fine-tuning project";
    const ABOUT: &'static str = "Make a project folder: config/fine_tuning_config.yaml, README, justfile, .env.example, .mcp.json and \
        folders for data and runs. It never overwrites. The rows go into data/raw/train.jsonl (split 80/10/10), or are named later in \
        configure_training_run.";
    const HINTS: Hints = Hints::MAKE;
    const WEIGHT: Weight = Weight::Look;
    type In = GenerateIn;
    type Out = GenerateOut;

    fn call(input: GenerateIn, desk: &Desk, _: &Call) -> Result<GenerateOut, Fault> {
        let dir = desk.roots.allow(&input.output_dir)?;
        let (settings, warnings) = settings(&input, desk)?;
        let request = project::ProjectRequest { name: input.project_name, dir, settings };
        // The folder itself must lie below a root too; its name is checked with it.
        let report = project::run(&request)?;
        let at = report.project.display();
        let command_examples = Commands {
            train: format!("tallow train {at}"),
            evaluate: format!("tallow eval --model MODEL --adapter {at}/runs/RUN/final-model --data FILE"),
            export: format!("tallow merge --model MODEL --adapter {at}/runs/RUN/final-model --out FOLDER"),
        };
        let structure = report.structure.iter().map(|(what, path)| ((*what).to_owned(), json!(path))).collect();
        Ok(GenerateOut {
            success: true,
            project_path: at.to_string(),
            project_structure: structure,
            next_steps: report.next,
            command_examples,
            warnings,
        })
    }
}

/// The form's answers as keys of the configuration, and what of them will have no effect.
fn settings(input: &GenerateIn, desk: &Desk) -> Result<(Vec<(String, Value)>, Vec<String>), Fault> {
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut warnings = Vec::new();
    let mut say = |key: &str, value: Value| {
        if !value.is_null() {
            all.push((key.to_owned(), value));
        }
    };
    let (base, t, l, d, f) = (&input.base_model, &input.training, &input.lora, &input.dataset, &input.features);
    say("base_model.type", json!(format!("{:?}", base.family).to_lowercase()));
    match &base.local_path {
        Some(path) => say("base_model.local_path", json!(desk.roots.allow(path)?)),
        None => say("base_model.model_id", json!(desk.roots.model(&base.model_id)?)),
    }
    say("base_model.quantization", json!(base.quantization.map(|q| format!("{q:?}").to_lowercase())));
    say("training.num_stages", json!(t.num_stages));
    say("training.stage1.iterations", json!(t.stage1_iterations));
    say("training.stage1.learning_rate", json!(t.learning_rate));
    say("training.stage1.batch_size", json!(t.batch_size));
    // Warm-up may not take all iterations.
    say("training.stage1.warmup_steps", json!(t.stage1_iterations.filter(|n| *n < 100).map(|n| n / 10)));
    if t.num_stages == Some(2) {
        say("training.stage2.iterations", json!(t.stage2_iterations));
        say("training.stage2.learning_rate", json!(t.stage2_learning_rate));
        say("training.stage2.batch_size", json!(t.batch_size));
        say("dataset.stage2_path", json!("data/raw/stage2.jsonl"));
    }
    let weighting = f.enable_quality_weighting.unwrap_or(true);
    say("training.quality_weight_multiplier", json!(t.quality_weight_multiplier.filter(|_| weighting)));
    say("lora.rank", json!(l.rank));
    say("lora.alpha", json!(l.alpha));
    say("lora.dropout", json!(l.dropout));
    say("lora.target_modules", json!(l.target_modules));
    say("dataset.format", json!(d.format.map(|x| format!("{x:?}").to_lowercase())));
    say("dataset.quality_field", json!(d.quality_field.as_ref().filter(|_| weighting)));
    say("dataset.instruction_field", json!(d.instruction_field));
    say("dataset.output_field", json!(d.output_field));
    say("dataset.metadata_field", json!(d.metadata_field));
    say("evaluation.enabled", json!(f.enable_evaluation));
    say("carbon_tracking.enabled", json!(f.enable_carbontracking.filter(|on| !on)));
    say("carbon_tracking.project_name", json!(input.integrations.codecarbon_project_name));
    if f.enable_mlx_optimization == Some(true) {
        if cfg!(feature = "metal") {
            say("device", json!("metal"));
        } else {
            warnings.push("enable_mlx_optimization: this program is not built for Metal; the device is chosen at run time".into());
        }
    }
    if f.enable_huggingface_upload == Some(true) {
        warnings.push("enable_huggingface_upload: uploading is not in this version; the setting is left off".into());
    }
    if input.integrations.mlflow_tracking_uri.is_some() {
        say("mlflow.tracking_uri", json!(input.integrations.mlflow_tracking_uri));
        warnings.push("mlflow_tracking_uri: written down, but MLflow logging is not in this version and is left off".into());
    }
    if input.integrations.wandb_project.is_some() {
        say("wandb.project", json!(input.integrations.wandb_project));
        warnings.push("wandb_project: written down, but Weights & Biases logging is not in this version and is left off".into());
    }
    Ok((all, warnings))
}

/// Overrides as `key=value`; sections may be nested or dotted.
fn overrides(params: &Map<String, Value>) -> Vec<String> {
    fn walk(prefix: &str, map: &Map<String, Value>, out: &mut Vec<String>) {
        for (key, value) in map {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Object(inner) => walk(&path, inner, out),
                // JSON is YAML.
                other => out.push(format!("{path}={other}")),
            }
        }
    }
    let mut out = Vec::new();
    walk("", params, &mut out);
    out
}

/// Paths among overrides start from the first root, not from wherever the server was started.
fn anchored(desk: &Desk, params: &Map<String, Value>) -> Result<Vec<String>, Fault> {
    const PATHS: [&str; 7] = [
        "base_model.local_path",
        "dataset.path",
        "dataset.train_path",
        "dataset.validation_path",
        "dataset.test_path",
        "dataset.stage2_path",
        "tensorboard.log_dir",
    ];
    let anchor = |set: String| match set.split_once('=') {
        Some((key, value)) if PATHS.contains(&key) => match serde_json::from_str::<String>(value) {
            Ok(path) => Ok(format!("{key}={}", json!(desk.roots.allow(path)?))),
            Err(_) => Ok(set),
        },
        _ => Ok(set),
    };
    overrides(params).into_iter().map(anchor).collect()
}

/// Most overrides of one call.
const MOST_OVERRIDES: usize = 200;

fn checked_overrides(desk: &Desk, params: Option<&Map<String, Value>>) -> Result<Vec<String>, Fault> {
    let Some(params) = params else { return Ok(Vec::new()) };
    let set = anchored(desk, params)?;
    within("override_params", set.len(), 0, MOST_OVERRIDES)?;
    Ok(set)
}

/// Memory as it will be used.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanOut {
    /// Most bytes in use at once.
    peak_bytes: u64,
    /// Bytes that there are.
    budget_bytes: u64,
    /// What is kept between forward and backward.
    policy: String,
    /// Most tokens in one pass.
    tokens_per_pass: u64,
    /// What the peak consists of, in bytes.
    parts: Map<String, Value>,
}

impl From<&MemoryPlan> for PlanOut {
    fn from(p: &MemoryPlan) -> Self {
        Self {
            peak_bytes: p.peak_bytes,
            budget_bytes: p.budget,
            policy: match json!(p.policy) {
                Value::String(word) => word,
                mixed => mixed.to_string(),
            },
            tokens_per_pass: p.tokens_per_pass as u64,
            parts: p.parts.iter().map(|part| (part.name.clone(), json!(part.bytes))).collect(),
        }
    }
}

/// The rows of a run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingDataIn {
    /// File to train on (JSONL, CSV, Parquet). Without validation and test files it is split 80/10/10.
    train_dataset: String,
    /// File to watch while training.
    validation_dataset: Option<String>,
    /// File to judge the result by.
    test_dataset: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigureIn {
    /// The project folder.
    project_path: String,
    /// Name of the run; the time is added.
    run_name: String,
    /// The rows.
    training_data: TrainingDataIn,
    /// Settings that differ from the project's, by dotted key or as nested sections, for example {"training.stage1.iterations": 50}.
    override_params: Option<Map<String, Value>>,
}

/// What will be trained.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SummaryOut {
    base_model: String,
    method: String,
    quantization: String,
    /// Optimiser steps of all stages.
    iterations: u64,
    batch_size: u64,
    learning_rate: f64,
    max_seq_length: u64,
    train_rows: u64,
    train_tokens: u64,
    validation_rows: u64,
    test_rows: u64,
    /// Memory as it will be used.
    memory: PlanOut,
    /// From the steps of an earlier run of this project with the same model and step size; left out where there is none.
    predicted_minutes: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigureOut {
    success: bool,
    /// Names the run in all other tools.
    run_id: String,
    run_directory: String,
    manifest_path: String,
    configuration_summary: SummaryOut,
    /// What a person should know about the data.
    warnings: Vec<String>,
}

/// configure_training_run
pub(super) struct Configure;

impl Tool for Configure {
    const NAME: &'static str = "configure_training_run";
    const TITLE: &'static str = "Configure a training run";
    const ABOUT: &'static str = "Check settings, model and every row, hash the data, predict memory and time, and make the run's folder with \
        its manifest. Nothing is trained yet. What is wrong is reported all at once, and then there is no folder. A model from the Hub is \
        downloaded here.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const WEIGHT: Weight = Weight::Work;
    type In = ConfigureIn;
    type Out = ConfigureOut;

    fn call(input: ConfigureIn, desk: &Desk, _: &Call) -> Result<ConfigureOut, Fault> {
        let project = desk.roots.project(&input.project_path)?;
        within("run_name (its length)", input.run_name.len(), 1, 100)?;
        let data = &input.training_data;
        let path = |p: &String| desk.roots.allow(p).map(|p| json!(p));
        let mut set = Vec::new();
        let split = data.validation_dataset.is_none() && data.test_dataset.is_none();
        let (key, other) = if split { ("dataset.path", "dataset.train_path") } else { ("dataset.train_path", "dataset.path") };
        set.push(format!("{key}={}", path(&data.train_dataset)?));
        set.push(format!("{other}=null"));
        for (key, file) in [("dataset.validation_path", &data.validation_dataset), ("dataset.test_path", &data.test_dataset)] {
            let value = file.as_ref().map(path).transpose()?.unwrap_or(Value::Null);
            set.push(format!("{key}={value}"));
        }
        set.extend(checked_overrides(desk, input.override_params.as_ref())?);
        let request = configure::ConfigureRequest { config: project.config, set, name: input.run_name };
        let report = configure::run(&request, &|config| desk.roots.settings(config))?;
        Ok(ConfigureOut {
            success: true,
            run_directory: report.run.display().to_string(),
            manifest_path: report.manifest.display().to_string(),
            configuration_summary: summary(&report),
            run_id: report.run_id,
            warnings: report.warnings,
        })
    }
}

fn summary(report: &configure::ConfigureReport) -> SummaryOut {
    let (c, t) = (&report.config, &report.config.training);
    let local = c.base_model.local_path.as_ref().map(|p| p.display().to_string());
    let rows = |part: Option<&crate::runs::PartRecord>| part.map_or(0, |p| p.rows as u64);
    SummaryOut {
        base_model: local.or_else(|| c.base_model.model_id.clone()).unwrap_or_default(),
        method: t.method.clone(),
        quantization: c.base_model.quantization.clone(),
        iterations: t.stage1.iterations + if t.num_stages == 2 { t.stage2.iterations } else { 0 },
        batch_size: t.stage1.batch_size as u64,
        learning_rate: t.stage1.learning_rate,
        max_seq_length: t.max_seq_length as u64,
        train_rows: rows(Some(&report.dataset.train)),
        train_tokens: report.dataset.train.tokens,
        validation_rows: rows(report.dataset.validation.as_ref()),
        test_rows: rows(report.dataset.test.as_ref()),
        memory: PlanOut::from(&report.plan),
        predicted_minutes: report.seconds.map(|s| s / 60.0),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanIn {
    /// The project folder, or a configuration file.
    project_path: String,
    /// Plan this run of the project, with the settings it was configured with.
    run_id: Option<String>,
    /// Settings that differ from the project's, as in configure_training_run. Not with run_id.
    override_params: Option<Map<String, Value>>,
    /// Plan for this much memory instead of what is free, for example 24GiB.
    memory: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanTrainingOut {
    /// The base model.
    model: String,
    parameters: u64,
    /// Tokens in one optimiser step.
    window_tokens: u64,
    /// Memory as it will be used.
    memory: PlanOut,
    /// From measured steps of this project with the same model and step size; left out where there are none.
    tokens_per_second: Option<f64>,
    /// From the same steps.
    predicted_minutes: Option<f64>,
}

/// plan_training
pub(super) struct Plan;

impl Tool for Plan {
    const NAME: &'static str = "plan_training";
    const TITLE: &'static str = "Plan memory and time";
    const ABOUT: &'static str = "Predict peak memory by part and choose the fastest plan that fits, without reading the data. A plan that \
        cannot fit is an error that names settings which would.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const WEIGHT: Weight = Weight::Work;
    type In = PlanIn;
    type Out = PlanTrainingOut;

    fn call(input: PlanIn, desk: &Desk, _: &Call) -> Result<PlanTrainingOut, Fault> {
        let room = input.memory.as_deref().map(plan::parse_size).transpose()?.map_or(plan::Room::Here, plan::Room::Bytes);
        let (report, rate) = if let Some(run_id) = &input.run_id {
            if input.override_params.is_some() {
                return Err(
                    Fault::new("invalid_arguments", "a run's settings cannot be overridden").hint("leave out run_id or override_params")
                );
            }
            let config = desk.roots.run(&input.project_path, run_id)?.manifest()?.config;
            desk.roots.settings(&config)?;
            (plan::of_config(&config, room)?, configure::rate(&desk.roots.project(&input.project_path)?.root, &config))
        } else {
            let project = desk.roots.project(&input.project_path)?;
            let set = checked_overrides(desk, input.override_params.as_ref())?;
            let config = configure::settings(&project.config, &set, &|c| desk.roots.settings(c))?;
            (plan::of_config(&config, room)?, configure::rate(&project.root, &config))
        };
        Ok(PlanTrainingOut {
            model: report.model,
            parameters: report.parameters,
            window_tokens: report.window_tokens as u64,
            memory: PlanOut::from(&report.plan),
            tokens_per_second: rate.map(|r| r.tokens_per_second),
            predicted_minutes: rate.map(|r| r.seconds / 60.0),
        })
    }
}
