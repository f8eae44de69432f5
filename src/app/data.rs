//! Checking and describing a dataset: a file, or what a project trains on.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{models, prepare};
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::data::{
    CheckReport, DataOptions, Dataset, Profile, Record, Segment, TemplateReport, TextTokenizer, check_sets, read, segments, settle_template,
};

/// A request to check a file.
#[derive(Debug, Clone)]
pub struct DataRequest {
    /// The file.
    pub file: PathBuf,
    /// Model whose tokenizer and chat template are used.
    pub model: String,
    /// How rows are read.
    pub options: DataOptions,
    /// The chat template: as `dataset.chat_template`; `None` is `auto`.
    pub chat_template: Option<String>,
    /// Examples to show.
    pub show: usize,
    /// Whether the rows are profiled.
    pub profile: bool,
}

/// A request to check what a project trains on.
#[derive(Debug, Clone)]
pub struct ProjectDataRequest {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Examples to show.
    pub show: usize,
    /// Whether the rows are profiled.
    pub profile: bool,
}

/// One example, cut where its mask changes.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Where its row stands.
    pub at: String,
    /// Tokens.
    pub tokens: usize,
    /// Tokens that the loss covers.
    pub trained_tokens: usize,
    /// Its text.
    pub segments: Vec<Segment>,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct DataReport {
    /// The model whose tokenizer and chat template are used.
    pub model: String,
    /// Longest sequence in tokens.
    pub max_seq_length: usize,
    /// The findings.
    #[serde(flatten)]
    pub check: CheckReport,
    /// The chat template, `own` for the model's.
    pub template: String,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Whether rows that are errors stop a training run.
    pub bad_rows_stop: bool,
    /// The examples asked for.
    pub shown: Vec<Shown>,
    /// What the rows are made of, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Checks a file.
///
/// # Errors
/// When the file as a whole or the tokenizer cannot be read; bad rows stand in the report.
pub fn run(request: &DataRequest) -> Result<DataReport, Fault> {
    let folder = models::resolve(&request.model, None)?;
    let mut tokenizer = super::load::tokenizer_at(&folder)?;
    let set = read(&[&request.file], &request.options)?;
    let variables = &request.options.template_variables;
    let template = settle_template(&mut tokenizer, request.chat_template.as_deref(), variables, &[&set])?;
    let sets = [("data", &set)];
    let (check, datasets) = check_sets(&sets, &request.options, Some(&tokenizer))?;
    let about = About { model: request.model.clone(), folder: &folder, options: &request.options, template };
    let mut report = about.report(check, &datasets, &tokenizer, request.show);
    report.profile = request.profile.then(|| Profile::of(&set.records.iter().collect::<Vec<_>>(), &datasets));
    Ok(report)
}

/// Checks what a project trains on, as training will read it: its model, length, fields, chat template, parts, quality.
///
/// # Errors
/// As [`run`]; also when the configuration or the model cannot be used.
pub fn of_project(request: &ProjectDataRequest) -> Result<DataReport, Fault> {
    let (_, resolved) = super::train::configuration(&request.config, &request.set)?;
    let mut report = of_config(&resolved.config, request.show, request.profile)?;
    report.notes.splice(0..0, resolved.warnings);
    Ok(report)
}

/// The same for settings that are resolved already.
///
/// # Errors
/// As [`of_project`].
pub fn of_config(config: &RunConfig, show: usize, profile: bool) -> Result<DataReport, Fault> {
    let (model, folder, spec) = prepare::base_model(config, false)?;
    // Training takes no more than the model's context.
    let most = config.training.max_seq_length.min(spec.max_positions);
    let mut tokenizer = super::load::tokenizer_at(&folder)?;
    let t = &config.training;
    let options = prepare::data_options(&config.dataset, most, t.quality_weight_multiplier);
    let sets = prepare::Sets::read(config, &options)?;
    let mut template = prepare::settle(config, &mut tokenizer, &sets)?;
    template.notes.extend(sets.leaks());
    let (check, datasets) = check_sets(&sets.parts(), &options, Some(&tokenizer))?;
    let about = About { model, folder: &folder, options: &options, template };
    let mut report = about.report(check, &datasets, &tokenizer, show);
    if profile {
        let records: Vec<&Record> = sets.parts().iter().flat_map(|(_, set)| &set.records).collect();
        report.profile = Some(Profile::of(&records, &datasets));
    }
    Ok(report)
}

/// What a report says beside the findings.
struct About<'a> {
    model: String,
    folder: &'a Path,
    options: &'a DataOptions,
    template: TemplateReport,
}

impl About<'_> {
    fn report(self, check: CheckReport, datasets: &[Dataset], tokenizer: &TextTokenizer, show: usize) -> DataReport {
        let mut notes: Vec<String> = check.files.iter().flat_map(|f| f.notes.clone()).collect();
        notes.extend(tokenizer.notes().iter().cloned());
        notes.extend(self.template.notes);
        notes.extend(super::load::turn_end_note(tokenizer, self.folder));
        let examples = datasets.iter().flat_map(|d| d.examples.iter()).take(show);
        let shown = examples.map(|e| Shown {
            at: e.source.to_string(),
            tokens: e.input_ids.len(),
            trained_tokens: e.labels.iter().filter(|l| **l >= 0).count(),
            segments: segments(e, tokenizer),
        });
        DataReport {
            model: self.model,
            max_seq_length: self.options.max_seq_length,
            check,
            template: self.template.name,
            notes,
            bad_rows_stop: self.options.on_bad_row == crate::data::OnBadRow::Error,
            shown: shown.collect(),
            profile: None,
        }
    }
}
