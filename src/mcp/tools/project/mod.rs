//! Projects: a form becomes a folder that trains as it stands.

mod form;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::project;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};
use form::GenerateIn;

/// Commands of a shell.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::mcp::tools) struct Commands {
    train: String,
    evaluate: String,
    export: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::mcp::tools) struct GenerateOut {
    success: bool,
    /// project_path of the other tools.
    project_path: String,
    /// What was written.
    project_structure: Map<String, Value>,
    /// What to do next.
    next_steps: Vec<String>,
    /// The same from a shell.
    command_examples: Commands,
    /// What was asked for and is not done.
    warnings: Vec<String>,
}

/// generate_fine_tuning_project
pub(in crate::mcp::tools) struct Generate;

impl Tool for Generate {
    const NAME: &'static str = "generate_fine_tuning_project";
    const TITLE: &'static str = "Generate a fine-tuning project";
    const ABOUT: &'static str = "Make a project folder: config/fine_tuning_config.yaml, README, justfile, .env.example, .mcp.json and \
        folders for data and runs. Never overwrites. The rows go into data/raw/train.jsonl (split 80/10/10), or are named in \
        configure_training_run.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Inspect;
    type In = GenerateIn;
    type Out = GenerateOut;

    fn call(input: GenerateIn, shared: &Shared, _: &Call) -> Result<GenerateOut, Fault> {
        let dir = shared.roots.allow(&input.output_dir)?;
        let (settings, mut warnings) = settings(&input, shared)?;
        let about = about_defaults(&input);
        let request = project::ProjectRequest { name: input.project_name, dir, settings };
        // The folder itself must lie below a root too; its name is checked with it.
        let report = project::run(&request)?;
        warnings.extend(report.warnings);
        warnings.extend(about);
        let at = report.project.display();
        let command_examples = Commands {
            train: format!("tallow train {at}"),
            evaluate: format!("cd {at} && tallow eval {} --data FILE", report.result),
            export: format!("cd {at} && tallow export {} --format gguf --out model.gguf", report.result),
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

/// What the form's schema promises where a field is left out. The program's own defaults are stronger.
const LEARNING_RATE: f64 = 2e-5;
const STAGE2_LEARNING_RATE: f64 = 1e-6;
const RANK: u64 = 8;
const ALPHA: f64 = 16.0;
const TARGETS: [&str; 2] = ["q_proj", "v_proj"];

/// What the defaults of the form will do, where the caller left them.
fn about_defaults(input: &GenerateIn) -> Option<String> {
    let (t, l) = (&input.training, &input.lora);
    let mut left = Vec::new();
    if t.learning_rate.is_none() {
        left.push(format!("learning_rate {LEARNING_RATE:e}"));
    }
    if l.rank.is_none() {
        left.push(format!("rank {RANK}"));
    }
    if l.target_modules.is_none() {
        left.push(format!("target_modules {}", TARGETS.join(" and ")));
    }
    if left.is_empty() {
        return None;
    }
    let steps = t.stage1_iterations.unwrap_or(100);
    let rows = steps.saturating_mul(t.batch_size.unwrap_or(4));
    Some(format!(
        "left at this tool's defaults: {}; {steps} steps see {rows} packed rows, and a rate this low changes a LoRA little. \
         learning_rate 2e-4, rank 16 and all-linear are usual",
        left.join(", ")
    ))
}

/// The form's answers as keys of the configuration, and what of them will have no effect.
fn settings(input: &GenerateIn, shared: &Shared) -> Result<(Vec<(String, Value)>, Vec<String>), Fault> {
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
        Some(path) => say("base_model.local_path", json!(shared.roots.allow(path)?)),
        None => say("base_model.model_id", json!(shared.roots.model(&base.model_id)?)),
    }
    say("base_model.quantization", json!(base.quantization.map(|q| format!("{q:?}").to_lowercase())));
    say("training.num_stages", json!(t.num_stages));
    say("training.stage1.iterations", json!(t.stage1_iterations));
    say("training.stage1.learning_rate", json!(t.learning_rate.unwrap_or(LEARNING_RATE)));
    say("training.stage1.batch_size", json!(t.batch_size));
    if t.num_stages == Some(2) {
        say("training.stage2.iterations", json!(t.stage2_iterations));
        say("training.stage2.learning_rate", json!(t.stage2_learning_rate.unwrap_or(STAGE2_LEARNING_RATE)));
        say("training.stage2.batch_size", json!(t.batch_size));
        say("dataset.stage2_path", json!("data/raw/stage2.jsonl"));
    }
    let weighting = f.enable_quality_weighting.unwrap_or(true);
    say("training.quality_weight_multiplier", json!(t.quality_weight_multiplier.filter(|_| weighting)));
    say("lora.rank", json!(l.rank.unwrap_or(RANK)));
    say("lora.alpha", json!(l.alpha.unwrap_or(ALPHA)));
    say("lora.dropout", json!(l.dropout));
    say("lora.target_modules", json!(l.target_modules.clone().unwrap_or_else(|| TARGETS.map(str::to_owned).to_vec())));
    say("dataset.format", json!(d.format.map(|x| format!("{x:?}").to_lowercase())));
    say("dataset.quality_field", json!(d.quality_field.as_ref().filter(|_| weighting)));
    say("dataset.instruction_field", json!(d.instruction_field));
    say("dataset.output_field", json!(d.output_field));
    say("dataset.metadata_field", json!(d.metadata_field));
    say("evaluation.enabled", json!(f.enable_evaluation));
    say("carbon_tracking.enabled", json!(f.enable_carbontracking));
    say("carbon_tracking.project_name", json!(input.integrations.codecarbon_project_name));
    if f.enable_mlx_optimization == Some(true) {
        if cfg!(feature = "metal") {
            say("device", json!("metal"));
        } else {
            warnings.push("enable_mlx_optimization: this program is not built for Metal; the device is chosen at run time".into());
        }
    }
    if f.enable_huggingface_upload == Some(true) {
        warnings.push("enable_huggingface_upload: set huggingface.repo_prefix (OWNER/NAME) and huggingface.enabled with set_config".into());
    }
    if input.integrations.mlflow_tracking_uri.is_some() {
        say("mlflow.enabled", json!(true));
        say("mlflow.tracking_uri", json!(input.integrations.mlflow_tracking_uri));
    }
    if input.integrations.wandb_project.is_some() {
        say("wandb.enabled", json!(true));
        say("wandb.project", json!(input.integrations.wandb_project));
    }
    Ok((all, warnings))
}
