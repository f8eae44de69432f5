//! From a configuration to what a training loop needs: folder, tokenizer, datasets, settings.

mod rows;
mod stage2;

use std::path::PathBuf;

use candle_core::DType;
use serde_json::{Map, Value, json};

use super::models;
use crate::base::error::Fault;
use crate::config::{BaseFamily, ComputeType, DatasetConfig, RunConfig, Stage};
use crate::data::{DataOptions, Fields};
use crate::model::{DecoderSpec, LoadOptions, LoraConfig, Quantization, Unknown};
use crate::train::{OptimizerConfig, Schedule};

pub(super) use rows::{Lengths, Prepared, Sets, data, settle, train_rows};

/// How the base is held.
pub(super) fn quantization(config: &RunConfig) -> Quantization {
    config.base_model.quantization
}

/// What is done with an architecture that is not known by name.
pub(super) fn unknown(config: &RunConfig) -> Unknown {
    if config.base_model.family == Some(BaseFamily::Custom) { Unknown::ReadAsLlama } else { Unknown::Refuse }
}

/// How the base is loaded.
pub(super) fn load_options(config: &RunConfig) -> LoadOptions {
    let dtype = match config.training.dtype {
        ComputeType::F32 => Some(DType::F32),
        ComputeType::Bf16 => Some(DType::BF16),
        ComputeType::Auto => None,
    };
    LoadOptions { unknown: unknown(config), ..super::load::load_options(quantization(config), dtype) }
}

/// The adapters to train.
pub(super) fn lora(config: &RunConfig) -> LoraConfig {
    config.lora.clone()
}

/// The optimiser.
pub(super) fn optimizer(config: &RunConfig) -> OptimizerConfig {
    OptimizerConfig { kind: config.training.optimizer, weight_decay: config.training.weight_decay, ..OptimizerConfig::default() }
}

/// The learning rate of a stage.
pub(super) fn schedule(config: &RunConfig, stage: &Stage) -> Schedule {
    Schedule {
        decay: config.training.schedule,
        peak: stage.learning_rate,
        warmup_steps: stage.warmup_steps,
        total_steps: stage.iterations,
        floor: 0.0,
    }
}

/// The settings of a stage.
pub(super) fn stage(config: &RunConfig, number: usize) -> &Stage {
    if number == 2 { &config.training.stage2 } else { &config.training.stage1 }
}

/// The name and folder of the base model, its family checked against what the configuration says. Without its weights a
/// Hub model takes a few files of the network.
pub(super) fn base_model(config: &RunConfig, with_weights: bool) -> Result<(String, PathBuf, DecoderSpec), Fault> {
    let base = &config.base_model;
    let (name, folder) = match (&base.local_path, &base.model_id) {
        (Some(path), _) => (path.display().to_string(), models::resolve_folder(path)?),
        (None, Some(id)) if with_weights => (id.clone(), models::resolve(id, Some(&base.revision))?),
        (None, Some(id)) => (id.clone(), models::resolve_without_weights(id, Some(&base.revision))?),
        (None, None) => return Err(Fault::new("config_invalid", "no base model is named")),
    };
    let spec = DecoderSpec::open(&folder, unknown(config))?;
    if let Some(wanted) = base.family {
        let family = json!(spec.family).as_str().unwrap_or_default().to_owned();
        if wanted != BaseFamily::Custom && !family.starts_with(wanted.name()) {
            let message = format!("base_model.type is `{}`, but {name} is {} ({family})", wanted.name(), spec.architecture);
            return Err(Fault::new("model_family_mismatch", message).hint("remove base_model.type, or name the right model"));
        }
    }
    Ok((name, folder, spec))
}

/// How rows become tokens.
pub(super) fn data_options(dataset: &DatasetConfig, max_seq_length: usize, quality_weight_multiplier: f64) -> DataOptions {
    let d = dataset;
    DataOptions {
        format: d.format,
        layout: d.layout,
        fields: Fields {
            instruction: d.instruction_field.clone(),
            input: d.input_field.clone(),
            output: d.output_field.clone(),
            system: d.system_field.clone(),
            prompt: d.prompt_field.clone(),
            completion: d.completion_field.clone(),
            text: d.text_field.clone(),
            messages: d.messages_field.clone(),
            quality: d.quality_field.clone(),
            metadata: d.metadata_field.clone(),
            ..Fields::default()
        },
        max_seq_length,
        overlong: d.overlong,
        train_on: d.train_on,
        on_bad_row: d.on_bad_row,
        quality_weight_multiplier: quality_weight_multiplier as f32,
        quality_threshold: d.quality_threshold,
        ..DataOptions::default()
    }
}

/// Variables of the chat template, from `name=value`.
///
/// # Errors
/// When one is no name and value.
pub(super) fn template_variables(dataset: &DatasetConfig) -> Result<Map<String, Value>, Fault> {
    let one = |text: &String| {
        let bad = || {
            let message = format!("dataset.template_variables: `{text}` is not NAME=VALUE");
            Fault::new("config_invalid", message).hint("for example [enable_thinking=false]")
        };
        let (name, value) = text.split_once('=').ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        // What is no JSON is text; people write booleans as Python does, too.
        let value = match value {
            "True" => json!(true),
            "False" => json!(false),
            "None" | "none" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        };
        Ok((name.to_owned(), value))
    };
    dataset.template_variables.iter().map(one).collect()
}
