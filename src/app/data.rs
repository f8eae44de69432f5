//! Checking and describing a dataset.

use std::path::PathBuf;

use serde::Serialize;

use super::models;
use crate::base::error::Fault;
use crate::data::{CheckReport, DataOptions, Segment, check, segments};

/// A request to check a file.
#[derive(Debug, Clone)]
pub struct DataRequest {
    /// The file.
    pub file: PathBuf,
    /// Model whose tokenizer and chat template are used.
    pub model: String,
    /// How rows are read.
    pub options: DataOptions,
    /// Examples to show.
    pub show: usize,
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
    /// The findings.
    #[serde(flatten)]
    pub check: CheckReport,
    /// The examples asked for.
    pub shown: Vec<Shown>,
}

/// Checks a file.
///
/// # Errors
/// When the file as a whole or the tokenizer cannot be read; bad rows stand in the report.
pub fn run(request: &DataRequest) -> Result<DataReport, Fault> {
    let tokenizer = super::load::tokenizer_at(&models::resolve(&request.model, None)?)?;
    let (check, dataset) = check(&[&request.file], &request.options, Some(&tokenizer))?;
    let examples = dataset.iter().flat_map(|d| d.examples.iter()).take(request.show);
    let shown = examples.map(|e| Shown {
        at: e.source.to_string(),
        tokens: e.input_ids.len(),
        trained_tokens: e.labels.iter().filter(|l| **l >= 0).count(),
        segments: segments(e, &tokenizer),
    });
    Ok(DataReport { check, shown: shown.collect() })
}
