//! Raw data into prepared files: `tallow data prepare`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::atomic;
use crate::base::error::Fault;
use crate::config::Format;
use crate::data::prepare::{Dedupe, PrepareOptions, PrepareReport, Prepared, prepare};

/// A request to prepare data.
#[derive(Debug, Clone)]
pub struct PrepareDataRequest {
    /// The files that are read.
    pub files: Vec<PathBuf>,
    /// A file, or a folder for a file of each part.
    pub out: PathBuf,
    /// The format that is written; `None`: by the file's ending, JSON Lines in a folder.
    pub format: Option<Format>,
    /// Shares of training, validation and test rows in a folder; `None`: 80, 10 and 10 %.
    pub shares: Option<[f64; 3]>,
    /// What is done to the rows.
    pub options: PrepareOptions,
}

/// A file that was written.
#[derive(Debug, Clone, Serialize)]
pub struct PreparedFile {
    /// `train`, `validation`, `test`; or `all`.
    pub part: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its rows.
    pub rows: usize,
}

/// What became of the data.
#[derive(Debug, Clone, Serialize)]
pub struct PrepareDataReport {
    /// The files.
    pub files: Vec<PreparedFile>,
    /// The rows.
    #[serde(flatten)]
    pub rows: PrepareReport,
}

/// Prepares.
///
/// # Errors
/// When a file cannot be read as a whole, an output exists already, no row is left, or a file cannot
/// be written. Rows that cannot be used are left out and stand in the report.
pub fn run(request: &PrepareDataRequest) -> Result<PrepareDataReport, Fault> {
    let (format, is_file) = target(request)?;
    let ending = ending(format);
    let mut options = request.options.clone();
    options.shares = if is_file { None } else { Some(request.shares.unwrap_or([0.8, 0.1, 0.1])) };
    let path_of = |part: &str| if is_file { request.out.clone() } else { request.out.join(format!("{part}.{ending}")) };
    for part in if is_file { &["all"][..] } else { &["train", "validation", "test"] } {
        if path_of(part).exists() {
            return Err(Fault::new("already_exists", format!("{} exists already", path_of(part).display()))
                .hint("choose another place, or remove the old file first"));
        }
    }
    let paths: Vec<&Path> = request.files.iter().map(PathBuf::as_path).collect();
    let Prepared { parts, report } = prepare(&paths, &options)?;
    if report.written == 0 {
        let first = report.problems.first().map_or(String::new(), |p| format!("; the first: {p}"));
        let message = format!("no row is left of {}: {}{first}", report.rows, left_out(&report).join(", "));
        return Err(Fault::new("no_rows", message).hint("name another layout or other fields, or filter less"));
    }
    let mut contents = Vec::new();
    for (part, rows) in &parts {
        let path = path_of(part);
        let bytes = Prepared::bytes(rows, format).map_err(|m| Fault::new("io", format!("{}: {m}", path.display())))?;
        contents.push((PreparedFile { part, path, rows: rows.len() }, bytes));
    }
    if !is_file {
        atomic::create_dir_all(&request.out)?;
    }
    for (file, bytes) in &contents {
        atomic::write_file(&file.path, bytes)?;
    }
    Ok(PrepareDataReport { files: contents.into_iter().map(|(file, _)| file).collect(), rows: report })
}

/// The format, and whether one file is written.
fn target(request: &PrepareDataRequest) -> Result<(Format, bool), Fault> {
    let named = match request.out.extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "ndjson") => Some(Format::Jsonl),
        Some("json") => Some(Format::Json),
        Some("csv") => Some(Format::Csv),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    };
    let usage = |m: String| {
        Err(Fault::new("usage", m).hint("name a folder for split rows, or a file that ends in .jsonl, .json, .csv or .parquet"))
    };
    match (named, request.format) {
        (Some(named), Some(format)) if named != format => usage(format!("{} is to hold {}", request.out.display(), ending(format))),
        (Some(_), _) if request.shares.is_some() => usage(format!("{} is one file, and rows are to be split", request.out.display())),
        (Some(named), _) => Ok((named, true)),
        (None, format) => Ok((format.unwrap_or(Format::Jsonl), false)),
    }
}

fn ending(format: Format) -> &'static str {
    match format {
        Format::Jsonl => "jsonl",
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Parquet => "parquet",
    }
}

/// Rows that were left out, by reason.
pub fn left_out(r: &PrepareReport) -> Vec<String> {
    let reasons = [
        (r.bad, "cannot be read"),
        (r.not_convertible, "do not fit the layout"),
        (r.too_short, "too short"),
        (r.too_long, "too long"),
        (r.short_answers, "with a short answer"),
        (r.low_quality, "of low quality"),
        (r.duplicates, "repeated"),
        (r.near_duplicates, "nearly repeated"),
        (r.over_cap, "beyond the cap"),
    ];
    reasons.iter().filter(|(rows, _)| *rows > 0).map(|(rows, reason)| format!("{rows} {reason}")).collect()
}

/// Index of near rows where none is said.
const NEAR: f64 = 0.8;

/// Which rows count as repeated. An index says something about near rows alone.
///
/// # Errors
/// An index without near rows.
pub fn dedupe(exact: bool, near: bool, index: Option<f64>) -> Result<Dedupe, Fault> {
    match (near, index) {
        (true, index) => Ok(Dedupe::Near(index.unwrap_or(NEAR))),
        (false, Some(_)) => Err(Fault::new("usage", "an index of near rows is named, but near rows are kept").hint("choose dedupe: near")),
        (false, None) => Ok(if exact { Dedupe::Exact } else { Dedupe::Off }),
    }
}

/// Three shares written as `80/10/10`, which are divided by their sum.
///
/// # Errors
/// When they are not three numbers, none below 0, of which one is above.
pub fn shares(text: &str) -> Result<[f64; 3], Fault> {
    let numbers: Vec<f64> = text.split(['/', ',']).filter_map(|n| n.trim().trim_end_matches('%').parse().ok()).collect();
    let count = text.split(['/', ',']).count();
    match <[f64; 3]>::try_from(numbers) {
        Ok(n) if count == 3 && n.iter().all(|v| *v >= 0.0 && v.is_finite()) && n[0] > 0.0 => {
            let sum: f64 = n.iter().sum();
            Ok(n.map(|v| v / sum))
        }
        _ => Err(Fault::new("usage", format!("`{text}` are not three shares"))
            .hint("write shares of training, validation and test rows: 80/10/10")),
    }
}
