//! `tallow data prepare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::FieldArgs;
use super::run::data_options;
use super::style::{Paint, count};
use crate::app::prepare_data::{self, PrepareDataReport, PrepareDataRequest};
use crate::base::error::Fault;
use crate::config::Format;
use crate::data::prepare::{PrepareOptions, Redact};
use crate::data::{DataOptions, Layout};

/// `tallow data prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Data files: JSONL, JSON, CSV or Parquet, one layout or several.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// A folder for train, validation and test files; or one file, whose ending says the format.
    #[arg(long, value_name = "FOLDER|FILE")]
    pub out: PathBuf,
    /// The layout to write; unset: that of the first row.
    #[arg(long, value_enum)]
    pub to: Option<LayoutArg>,
    /// The format to write; unset: by the ending, jsonl in a folder.
    #[arg(long, value_enum)]
    pub format: Option<FormatArg>,
    /// Shares of training, validation and test rows; unset: 80/10/10.
    #[arg(long, value_name = "SHARES")]
    pub split: Option<String>,
    /// Which rows count as repeated.
    #[arg(long, value_enum, default_value_t = DedupeArg::Exact)]
    pub dedupe: DedupeArg,
    /// From this Jaccard index on two rows are nearly the same; with --dedupe near. Unset: 0.8.
    #[arg(long, value_name = "SHARE")]
    pub near: Option<f64>,
    /// Keep at most this many rows, drawn by the seed.
    #[arg(long, value_name = "N")]
    pub max_rows: Option<usize>,
    /// Leave out rows with fewer characters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_chars: usize,
    /// Leave out rows with more characters.
    #[arg(long, value_name = "N")]
    pub max_chars: Option<usize>,
    /// Leave out rows whose last answer has fewer characters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_answer_chars: usize,
    /// Leave out rows of less quality, from 0 to 1: by signs of poor rows, or by --quality-field.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub min_quality: f64,
    /// The field that holds a score or grade of each row.
    #[arg(long, value_name = "FIELD")]
    pub quality_field: Option<String>,
    /// Write each row's quality into a column `quality`.
    #[arg(long)]
    pub write_quality: bool,
    /// Take these out of all texts: secrets, emails.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub redact: Vec<RedactArg>,
    /// What split and cap are drawn from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How rows are read.
    #[command(flatten)]
    pub fields: FieldArgs,
}

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// instruction, input, output.
    Alpaca,
    /// messages with roles, tools and calls.
    Chat,
    /// conversations of from and value.
    Sharegpt,
    /// prompt and completion.
    Completion,
    /// plain text.
    Text,
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// JSON Lines.
    Jsonl,
    /// A JSON list.
    Json,
    /// Comma-separated values.
    Csv,
    /// Parquet.
    Parquet,
}

/// Which rows count as repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DedupeArg {
    /// None.
    None,
    /// The same question and answer, up to case and white space.
    Exact,
    /// Those, and rows that are nearly the same.
    Near,
}

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedactArg {
    /// Keys, tokens and passwords that have a form of their own.
    Secrets,
    /// E-mail addresses.
    Emails,
}

/// The request that the flags make.
pub fn request(a: PrepareArgs) -> Result<PrepareDataRequest, Fault> {
    if a.fields.max_seq_length.is_some() {
        return Err(Fault::new("usage", "--max-seq-length counts tokens, and nothing is tokenised here").hint("use --max-chars"));
    }
    let mut reading = data_options(&a.fields, DataOptions::default())?;
    reading.fields.quality = a.quality_field;
    let options = PrepareOptions {
        reading,
        to: a.to.map(layout),
        redact: Redact { secrets: a.redact.contains(&RedactArg::Secrets), emails: a.redact.contains(&RedactArg::Emails) },
        min_chars: a.min_chars,
        max_chars: a.max_chars.unwrap_or(usize::MAX),
        min_answer_chars: a.min_answer_chars,
        min_quality: a.min_quality,
        write_quality: a.write_quality,
        dedupe: prepare_data::dedupe(a.dedupe == DedupeArg::Exact, a.dedupe == DedupeArg::Near, a.near)?,
        max_rows: a.max_rows,
        shares: None,
        seed: a.seed,
    };
    let shares = a.split.as_deref().map(prepare_data::shares).transpose()?;
    Ok(PrepareDataRequest { files: a.files, out: a.out, format: a.format.map(format), shares, options })
}

fn layout(a: LayoutArg) -> Layout {
    match a {
        LayoutArg::Alpaca => Layout::Alpaca,
        LayoutArg::Chat => Layout::Chat,
        LayoutArg::Sharegpt => Layout::Sharegpt,
        LayoutArg::Completion => Layout::Completion,
        LayoutArg::Text => Layout::Text,
    }
}

fn format(a: FormatArg) -> Format {
    match a {
        FormatArg::Jsonl => Format::Jsonl,
        FormatArg::Json => Format::Json,
        FormatArg::Csv => Format::Csv,
        FormatArg::Parquet => Format::Parquet,
    }
}

/// Problems that are shown.
const SHOWN: usize = 10;

/// The report as text.
pub fn text(report: &PrepareDataReport, paint: Paint) -> String {
    let r = &report.rows;
    let layout = r.layout.map_or("-", Layout::name);
    let mut out = vec![format!("{} of {} rows, {layout}", count(r.written as u64), count(r.rows as u64))];
    let mut named = |name: &str, what: String| out.push(format!("{} {what}", paint.dim(&format!("{name:<12}"))));
    for file in &report.files {
        named(file.part, format!("{} rows in {}", count(file.rows as u64), file.path.display()));
    }
    let left_out = prepare_data::left_out(r);
    if !left_out.is_empty() {
        named("left out", left_out.join(", "));
    }
    if r.redacted.secrets + r.redacted.emails > 0 {
        named("redacted", format!("{} secrets, {} e-mail addresses", r.redacted.secrets, r.redacted.emails));
    }
    for problem in r.problems.iter().take(SHOWN) {
        named("problem", problem.to_string());
    }
    if r.problems.len() > SHOWN {
        named("", format!("and {} more; --json lists all", r.problems.len() - SHOWN));
    }
    out.join("\n")
}
