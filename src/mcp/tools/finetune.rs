//! A model tuned in one call: project, configuration, plan and start, with the names and defaults of `finetune_model`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::run::StatusName;
use crate::app::{configure, jobs, models, project};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FinetuneIn {
    /// Folder, GGUF file, Hub id or `embedded`.
    model_name: String,
    /// File of rows (JSONL, CSV, Parquet); split 80/10/10.
    dataset: String,
    /// Project folder to make; must not exist.
    output_dir: String,
    /// Default 2048.
    #[schemars(range(min = 1, max = 1_048_576))]
    max_seq_length: Option<u64>,
    /// Default 16.
    #[schemars(range(min = 1, max = 4096))]
    lora_rank: Option<u64>,
    /// Default 16.
    #[schemars(extend("exclusiveMinimum" = 0))]
    lora_alpha: Option<f64>,
    /// Default 2.
    #[schemars(range(min = 1, max = 65536))]
    batch_size: Option<u64>,
    /// Default 4.
    #[schemars(range(min = 1, max = 65536))]
    gradient_accumulation_steps: Option<u64>,
    /// Default 2e-4.
    #[schemars(extend("exclusiveMinimum" = 0))]
    learning_rate: Option<f64>,
    /// Optimiser steps. Default 100.
    #[schemars(range(min = 1))]
    max_steps: Option<u64>,
    /// Default true: hold the base in NF4.
    load_in_4bit: Option<bool>,
}

impl FinetuneIn {
    /// As keys of the configuration.
    fn settings(&self, shared: &Shared) -> Result<Vec<(String, Value)>, Fault> {
        let model = shared.roots.model(&self.model_name)?;
        let on_hub = models::is_hub_id(&model) || model == models::EMBEDDED;
        let bits = if self.load_in_4bit.unwrap_or(true) { "nf4" } else { "none" };
        let all = [
            (if on_hub { "base_model.model_id" } else { "base_model.local_path" }, json!(model)),
            ("base_model.quantization", json!(bits)),
            ("dataset.path", json!(shared.roots.allow(&self.dataset)?)),
            ("training.max_seq_length", json!(self.max_seq_length.unwrap_or(2048))),
            ("training.stage1.iterations", json!(self.max_steps.unwrap_or(100))),
            ("training.stage1.learning_rate", json!(self.learning_rate.unwrap_or(2e-4))),
            ("training.stage1.batch_size", json!(self.batch_size.unwrap_or(2))),
            ("training.gradient_accumulation", json!(self.gradient_accumulation_steps.unwrap_or(4))),
            ("lora.rank", json!(self.lora_rank.unwrap_or(16))),
            ("lora.alpha", json!(self.lora_alpha.unwrap_or(16.0))),
            ("lora.target_modules", json!("all-linear")),
        ];
        Ok(all.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FinetuneOut {
    success: bool,
    /// With run_id, what the other tools take.
    project_path: String,
    run_id: String,
    status: Option<StatusName>,
    /// Predicted peak.
    peak_bytes: u64,
    train_rows: u64,
    warnings: Vec<String>,
    next_steps: Vec<String>,
}

/// finetune_model
pub(super) struct Finetune;

impl Tool for Finetune {
    const NAME: &'static str = "finetune_model";
    const TITLE: &'static str = "Fine-tune a model in one call";
    const ABOUT: &'static str = "Make a project, check its data, plan its memory and start a LoRA run on all linear layers. Answers once the \
        run is started or queued; it is an ordinary run, for wait, get_run, export_model and the rest.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = FinetuneIn;
    type Out = FinetuneOut;

    fn call(input: FinetuneIn, shared: &Shared, _: &Call) -> Result<FinetuneOut, Fault> {
        let output = shared.roots.allow(&input.output_dir)?;
        let (Some(dir), Some(name)) = (output.parent(), output.file_name().and_then(|n| n.to_str())) else {
            return Err(Fault::new("bad_path", "output_dir names no folder").hint("name a new folder below a root"));
        };
        within("output_dir (its name's length)", name.len(), 1, 100)?;
        let settings = input.settings(shared)?;
        let request = project::ProjectRequest { name: name.to_owned(), dir: dir.to_path_buf(), settings };
        let made = project::run(&request).map_err(|fault| match fault.code {
            "already_exists" => fault.hint("name a new folder; configure_training_run makes another run of a project that is there"),
            _ => fault,
        })?;
        let half_made = HalfMade(Some(made.project.clone()));
        let request = configure::ConfigureRequest { config: made.project.clone(), set: Vec::new(), name: name.to_owned() };
        let report = configure::run(&request, &|config| shared.roots.settings(config))?;
        half_made.keep();
        let next = vec![
            "wait and monitor_training_progress follow it, stop_training pauses or cancels it".into(),
            "then generate_text, evaluate_model and export_model take project_path and run_id".into(),
            format!("from a shell: tallow runs watch {} --project {}", report.run_id, made.project.display()),
        ];
        Ok(FinetuneOut {
            success: true,
            project_path: made.project.display().to_string(),
            run_id: report.run_id,
            status: None,
            peak_bytes: report.plan.peak_bytes,
            train_rows: report.dataset.train.rows as u64,
            warnings: made.warnings.into_iter().chain(report.warnings).collect(),
            next_steps: next,
        })
    }

    /// The run's worker outlives the server, so the server starts it and not the confined process of the call.
    fn after(mut answer: Value, shared: &Shared, _: &Call) -> Result<Value, Fault> {
        let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let run = shared.roots.run(&said("project_path"), &said("run_id"))?;
        shared.roots.settings(&run.manifest()?.config)?;
        let started = jobs::start(&run, None)?;
        jobs::watch_over(run.clone(), started);
        answer["status"] = json!(StatusName::from(jobs::progress(&run)?.state));
        Ok(answer)
    }
}

/// A project that goes again when no run could be made in it.
struct HalfMade(Option<PathBuf>);

impl HalfMade {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        if let Some(project) = &self.0 {
            let _ = std::fs::remove_dir_all(project);
        }
    }
}
