//! The report on a dataset: every bad row, figures, signs of poor quality.

use std::path::Path;

use serde::Serialize;

use super::dataset::{Dataset, read};
use super::error::{DataError, RowProblem};
use super::layout::Layout;
use super::options::DataOptions;
use super::source::Format;
use super::stats::{Counts, QualitySigns};
use super::tokenizer::TextTokenizer;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The path as given.
    pub path: String,
    /// Its format.
    pub format: Format,
    /// Its layout; `None` when no row could be read.
    pub layout: Option<Layout>,
    /// Why that layout.
    pub layout_reason: String,
    /// SHA-256 of the content.
    pub sha256: String,
    /// All rows, bad ones included.
    pub rows: usize,
    /// Rows that hold something to learn.
    pub usable_rows: usize,
}

/// The report of [`check`].
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The files.
    pub files: Vec<FileReport>,
    /// Rows in all files.
    pub rows: usize,
    /// Rows that can be used.
    pub usable_rows: usize,
    /// Rows that are errors.
    pub bad_rows: usize,
    /// Rows left out with a word (empty answers, over-long rows under `drop`).
    pub skipped_rows: usize,
    /// Every bad and every skipped row with its place and reason.
    pub problems: Vec<RowProblem>,
    /// Signs of poor quality.
    pub signs: QualitySigns,
    /// Token figures, where a tokenizer was given.
    pub counts: Option<Counts>,
    /// SHA-256 of the token ids and labels, where a tokenizer was given.
    pub fingerprint: Option<String>,
}

/// Checks files: rows and fields always, tokens and masks where there is a tokenizer. Also gives the encoded data, to show examples of.
///
/// # Errors
/// File-level errors only; bad rows stand in the report.
pub fn check(
    paths: &[&Path],
    options: &DataOptions,
    tokenizer: Option<&TextTokenizer>,
) -> Result<(CheckReport, Option<Dataset>), DataError> {
    let set = read(paths, options)?;
    let dataset = tokenizer.map(|t| Dataset::encode_all(&set, t, options)).transpose()?;
    let problems = dataset.as_ref().map_or(&set.problems, |d| &d.problems).clone();
    let mut signs = QualitySigns::of(&set.records);
    for problem in problems.iter().filter(|p| p.code == "empty_output") {
        signs.add_empty_output(&problem.at);
    }
    let rows = set.files.iter().map(|f| f.rows).sum();
    let count = |skipped: bool| {
        let mut places: Vec<_> = problems.iter().filter(|p| p.skipped == skipped).map(|p| (&p.at.file, p.at.line)).collect();
        places.dedup();
        places.len()
    };
    let (bad_rows, skipped_rows) = (count(false), count(true));
    let mut places: Vec<_> = problems.iter().map(|p| (&p.at.file, p.at.line)).collect();
    places.dedup();
    let usable_rows = rows - places.len();
    let report = CheckReport {
        files: set.files,
        rows,
        usable_rows,
        bad_rows,
        skipped_rows,
        signs,
        counts: dataset.as_ref().map(|d| d.counts.clone()),
        fingerprint: dataset.as_ref().map(|d| d.fingerprint.clone()),
        problems,
    };
    Ok((report, dataset))
}
