//! Runs made ready.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::overrides::checked_overrides;
use super::plan::PlanOut;
use crate::app::configure;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

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
        its manifest. Nothing is trained yet. All problems are reported at once. A model from the Hub is \
        downloaded here.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = ConfigureIn;
    type Out = ConfigureOut;

    fn call(input: ConfigureIn, shared: &Shared, _: &Call) -> Result<ConfigureOut, Fault> {
        let project = shared.roots.project(&input.project_path)?;
        within("run_name (its length)", input.run_name.len(), 1, 100)?;
        let data = &input.training_data;
        let path = |p: &String| shared.roots.allow(p).map(|p| json!(p));
        let mut set = Vec::new();
        let split = data.validation_dataset.is_none() && data.test_dataset.is_none();
        let (key, other) = if split { ("dataset.path", "dataset.train_path") } else { ("dataset.train_path", "dataset.path") };
        set.push(format!("{key}={}", path(&data.train_dataset)?));
        set.push(format!("{other}=null"));
        for (key, file) in [("dataset.validation_path", &data.validation_dataset), ("dataset.test_path", &data.test_dataset)] {
            let value = file.as_ref().map(path).transpose()?.unwrap_or(Value::Null);
            set.push(format!("{key}={value}"));
        }
        set.extend(checked_overrides(shared, input.override_params.as_ref())?);
        let request = configure::ConfigureRequest { config: project.config, set, name: input.run_name };
        let report = configure::run(&request, &|config| shared.roots.settings(config))?;
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
        method: t.method.name().to_owned(),
        quantization: c.base_model.quantization.name().to_owned(),
        iterations: t.stage1.iterations + if t.num_stages == 2 { t.stage2.iterations } else { 0 },
        batch_size: t.stage1.batch_size.rows() as u64,
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
