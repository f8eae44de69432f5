//! The report on a dataset: every bad row, figures, signs of poor quality.

use std::path::Path;

use serde::Serialize;

use super::columns::Unread;
use super::dataset::{Dataset, RecordSet, read};
use super::error::{DataError, RowProblem};
use super::layout::Layout;
use super::options::DataOptions;
use super::record::Record;
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
    /// Columns that nothing reads.
    pub unread: Vec<Unread>,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
}

/// What became of the rows of one part. `rows` is `used_rows` and `left_out`; `sequences` is `used_rows` and `extra`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartCounts {
    /// `data`, or `train`, `validation`, `test`, `stage 2`.
    pub name: &'static str,
    /// All rows, bad ones included.
    pub rows: usize,
    /// Rows that give a sequence.
    pub used_rows: usize,
    /// Rows that give none.
    pub left_out: usize,
    /// Training sequences.
    pub sequences: usize,
    /// Sequences beyond one a row: rows whose template needs one for each answer.
    pub extra: usize,
    /// Sequences that were cut to the longest length.
    pub cut: usize,
    /// Tokens.
    pub tokens: u64,
    /// Tokens that the loss covers.
    pub trained_tokens: u64,
}

impl PartCounts {
    /// Of a part and what was made of it.
    pub fn of(name: &'static str, set: &RecordSet, dataset: &Dataset) -> Self {
        let rows = set.records.len() + places(&set.problems);
        let mut used: Vec<_> = dataset.examples.iter().map(|e| (&e.source.file, e.source.line)).collect();
        used.dedup();
        Self {
            name,
            rows,
            used_rows: used.len(),
            left_out: rows - used.len(),
            sequences: dataset.len(),
            extra: dataset.len() - used.len(),
            cut: dataset.counts.truncated,
            tokens: dataset.counts.tokens,
            trained_tokens: dataset.counts.trained_tokens,
        }
    }
}

/// Rows that problems speak of, each once.
fn places(problems: &[RowProblem]) -> usize {
    let mut places: Vec<_> = problems.iter().map(|p| (&p.at.file, p.at.line)).collect();
    places.sort_unstable();
    places.dedup();
    places.len()
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
    /// Rows that are left out and named (empty answers, over-long rows under `drop`).
    pub skipped_rows: usize,
    /// Every bad and every skipped row with its place and reason.
    pub problems: Vec<RowProblem>,
    /// Columns and members of messages that nothing reads.
    pub unread: Vec<Unread>,
    /// Signs of poor quality.
    pub signs: QualitySigns,
    /// Token figures of the first part, where a tokenizer was given.
    pub counts: Option<Counts>,
    /// What became of the rows, part by part, where a tokenizer was given.
    pub parts: Vec<PartCounts>,
    /// SHA-256 of the token ids and labels of the first part, where a tokenizer was given.
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
    let (report, mut datasets) = check_sets(&[("data", &set)], options, tokenizer)?;
    Ok((report, datasets.pop()))
}

/// The same for parts that are read already, each with its name.
///
/// # Errors
/// As [`check`].
pub fn check_sets(
    sets: &[(&'static str, &RecordSet)],
    options: &DataOptions,
    tokenizer: Option<&TextTokenizer>,
) -> Result<(CheckReport, Vec<Dataset>), DataError> {
    let mut datasets = Vec::new();
    for (_, set) in sets {
        datasets.extend(tokenizer.map(|t| Dataset::encode_all(set, t, options)).transpose()?);
    }
    let mut problems: Vec<RowProblem> = match tokenizer {
        Some(_) => datasets.iter().flat_map(|d| d.problems.clone()).collect(),
        None => sets.iter().flat_map(|(_, set)| set.problems.clone()).collect(),
    };
    problems.sort_by(|a, b| (&a.at.file, a.at.line).cmp(&(&b.at.file, b.at.line)));
    let mut records: Vec<&Record> = sets.iter().flat_map(|(_, set)| &set.records).collect();
    records.sort_by(|a, b| (&a.at.file, a.at.line).cmp(&(&b.at.file, b.at.line)));
    let mut signs = QualitySigns::of(&records);
    problems.iter().filter(|p| p.code == "empty_output").for_each(|p| signs.add_empty_output(&p.at));
    let mut files: Vec<FileReport> = Vec::new();
    for file in sets.iter().flat_map(|(_, set)| &set.files) {
        if !files.iter().any(|f| f.path == file.path) {
            files.push(file.clone());
        }
    }
    let mut unread: Vec<Unread> = files.iter().flat_map(|f| f.unread.clone()).collect();
    for one in datasets.iter().flat_map(|d| d.unread.clone()) {
        match unread.iter_mut().find(|u| u.name == one.name) {
            Some(known) => known.rows += one.rows,
            None => unread.push(one),
        }
    }
    let parts: Vec<PartCounts> = sets.iter().zip(&datasets).map(|((name, set), d)| PartCounts::of(name, set, d)).collect();
    let bad: Vec<RowProblem> = problems.iter().filter(|p| !p.skipped).cloned().collect();
    let rows = sets.iter().map(|(_, set)| set.records.len() + places(&set.problems)).sum();
    let usable_rows = match tokenizer {
        Some(_) => parts.iter().map(|p| p.used_rows).sum(),
        None => records.len(),
    };
    let bad_rows = places(&bad);
    let report = CheckReport {
        files,
        rows,
        usable_rows,
        bad_rows,
        skipped_rows: rows.saturating_sub(usable_rows + bad_rows),
        unread,
        signs,
        counts: datasets.first().map(|d| d.counts.clone()),
        parts,
        fingerprint: datasets.first().map(|d| d.fingerprint.clone()),
        problems,
    };
    Ok((report, datasets))
}
