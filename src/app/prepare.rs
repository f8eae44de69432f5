//! From a configuration to what a training loop needs: folder, tokenizer, datasets, settings.

mod stage2;

use std::path::{Path, PathBuf};

use candle_core::DType;
use serde_json::json;

use super::models;
use crate::base::error::Fault;
use crate::config::{BaseFamily, ComputeType, DatasetConfig, RunConfig, Stage};
use crate::data::{DataOptions, Dataset, Fields, RecordSet, TextTokenizer, leakage, read, split};
use crate::model::{DecoderSpec, LoadOptions, LoraConfig, Quantization, Unknown};
use crate::runs::{DataFile, DatasetRecord, PartRecord};
use crate::train::{OptimizerConfig, Schedule};

pub(super) use stage2::StageTwo;

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

/// The data of a run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) train: Dataset,
    pub(super) validation: Option<Dataset>,
    pub(super) test: Option<Dataset>,
    pub(super) stage2: Option<StageTwo>,
    pub(super) record: DatasetRecord,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

impl Prepared {
    /// Tokens of the longest sequence that any stage trains, before it is cut.
    pub(super) fn longest(&self) -> usize {
        let second = self.stage2.as_ref().map_or(0, |s| s.train.counts.lengths.max);
        self.train.counts.lengths.max.max(second) as usize
    }
}

/// Reads, splits and tokenises.
///
/// # Errors
/// Files that cannot be read, rows that are errors, parts without a usable row.
pub(super) fn data(config: &RunConfig, tokenizer: &TextTokenizer) -> Result<Prepared, Fault> {
    let d = &config.dataset;
    let options = data_options(d, config.training.max_seq_length, config.training.quality_weight_multiplier);
    let one = |path: &Path| read(&[path], &options);
    let some = |set: RecordSet| (!set.records.is_empty()).then_some(set);
    let mut files = Vec::new();
    let (train, validation, test) = if let Some(path) = &d.path {
        let set = one(path)?;
        note_files(&mut files, &set);
        let parts = split(set, [d.train_split, d.validation_split, d.test_split], config.training.seed)?;
        (parts.train, some(parts.validation), some(parts.test))
    } else {
        let path = d.train_path.as_deref().ok_or_else(|| Fault::new("config_invalid", "no dataset is named"))?;
        let train = one(path)?;
        let validation = d.validation_path.as_deref().map(one).transpose()?;
        let test = d.test_path.as_deref().map(one).transpose()?;
        [Some(&train), validation.as_ref(), test.as_ref()].into_iter().flatten().for_each(|s| note_files(&mut files, s));
        (train, validation, test)
    };
    let stage2_path = d.stage2_path.as_deref().filter(|_| config.training.num_stages == 2);
    let stage2 = stage2_path.map(|path| stage2::read_rows(config, path, &options)).transpose()?;
    stage2.iter().for_each(|s| note_files(&mut files, &s.train));

    let mut warnings = Vec::new();
    note_leaks(&[("validation", &validation), ("test", &test)], &train, &mut warnings);
    if let Some(rows) = &stage2 {
        let own = [("stage 2 validation", &Some(rows.validation.clone())), ("stage 2 test", &Some(rows.test.clone()))];
        note_leaks(&own, &train, &mut warnings);
        note_leaks(&[("validation", &validation), ("test", &test)], &rows.train, &mut warnings);
    }
    let encode = |set: &RecordSet| Dataset::encode(set, tokenizer, &options);
    let encode_part = |set: &Option<RecordSet>| set.as_ref().map(encode).transpose();
    let sets = [Some(&train), validation.as_ref(), test.as_ref()];
    let rows: Vec<usize> = sets.iter().map(|s| s.map_or(0, |s| s.records.len())).collect();
    let (train, validation, test) = (encode(&train)?, encode_part(&validation)?, encode_part(&test)?);
    note_counts("", &train, &mut warnings);
    let tools = (tokenizer, &options);
    let stage2 = stage2.map(|rows| stage2::encode(config, &rows, &train, tools, &mut warnings)).transpose()?;
    let record = DatasetRecord {
        files,
        train: part(&train, rows[0]),
        validation: validation.as_ref().map(|p| part(p, rows[1])),
        test: test.as_ref().map(|p| part(p, rows[2])),
        stage2: stage2.as_ref().map(|s| s.record.clone()),
    };
    Ok(Prepared { train, validation, test, stage2, record, warnings })
}

fn note_files(files: &mut Vec<DataFile>, set: &RecordSet) {
    files.extend(set.files.iter().map(|f| DataFile { path: f.path.clone(), sha256: f.sha256.clone(), rows: f.rows }));
}

fn part(dataset: &Dataset, rows: usize) -> PartRecord {
    let c = &dataset.counts;
    PartRecord {
        rows,
        sequences: dataset.len(),
        tokens: c.tokens,
        trained_tokens: c.trained_tokens,
        fingerprint: dataset.fingerprint.clone(),
    }
}

/// Says which held-out rows are also trained.
fn note_leaks(held_out: &[(&str, &Option<RecordSet>)], train: &RecordSet, warnings: &mut Vec<String>) {
    for (name, part) in held_out {
        let leaked = part.as_ref().map(|p| leakage(&train.records, &p.records));
        if let Some(l) = leaked.filter(|l| l.same_rows > 0) {
            warnings.push(format!("{} of the {name} rows are also trained (the first: {})", l.same_rows, l.first[0]));
        }
    }
}

/// Says what happened to rows of `which` part.
fn note_counts(which: &str, dataset: &Dataset, warnings: &mut Vec<String>) {
    let c = &dataset.counts;
    if c.truncated > 0 {
        warnings.push(format!(
            "{which}{} of {} rows are longer than max_seq_length and were cut ({} tokens lost)",
            c.truncated, c.rows, c.cut_tokens
        ));
    }
    if c.dropped_overlong + c.truncated_away > 0 {
        warnings.push(format!("{which}{} rows were left out for their length", c.dropped_overlong + c.truncated_away));
    }
    let skipped = dataset.problems.len();
    if skipped > 0 {
        warnings
            .push(format!("{which}{skipped} rows were left out (the first: {}: {})", dataset.problems[0].at, dataset.problems[0].message));
    }
    if c.unended_turns > 0 {
        warnings.push(format!("{which}{} answers have no end-of-turn token: the model would not learn to stop", c.unended_turns));
    }
}
