//! Raw data into prepared files.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::LayoutName;
use crate::app::prepare_data::{self, PrepareDataRequest};
use crate::base::error::Fault;
use crate::config::Format;
use crate::data::prepare::{PrepareOptions, Redact};
use crate::data::{DataOptions, Fields};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

// A format of files.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    Jsonl,
    Json,
    Csv,
    Parquet,
}

// Which rows count as repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DedupeName {
    None,
    #[default]
    Exact,
    Near,
}

// What is taken out of texts.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RedactName {
    Secrets,
    Emails,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PrepareIn {
    /// The file: JSONL, JSON, CSV or Parquet.
    dataset: String,
    /// A folder for train, validation and test files, or one file.
    output_path: String,
    /// The layout to write. Default that of the first row.
    #[serde(default)]
    layout: LayoutName,
    /// Field of plain text. Default text.
    text_field: Option<String>,
    /// Field of the instruction or prompt.
    instruction_field: Option<String>,
    /// Field of the answer.
    output_field: Option<String>,
    /// Default by the file's ending, jsonl in a folder.
    format: Option<FormatName>,
    /// At most this many rows, drawn by the seed.
    #[schemars(range(min = 1))]
    max_samples: Option<u64>,
    /// Shares of the files in a folder. Default 80/10/10.
    split: Option<String>,
    /// near: also rows that are nearly the same. Default exact.
    #[serde(default)]
    dedupe: DedupeName,
    /// With near: the Jaccard index. Default 0.8.
    near_threshold: Option<f64>,
    /// Characters of a row at least.
    min_chars: Option<u64>,
    /// Characters of a row at most.
    max_chars: Option<u64>,
    /// Quality at least, 0 to 1, by signs of poor rows.
    min_quality: Option<f64>,
    /// Default nothing.
    #[serde(default)]
    redact: Vec<RedactName>,
    /// Default 0.
    seed: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PrepareOut {
    /// The files and their rows.
    files: BTreeMap<String, u64>,
    /// Rows read.
    rows: u64,
    /// Rows in all files.
    written: u64,
    /// What they were written as.
    layout: Option<String>,
    /// Rows left out, by reason.
    left_out: Vec<String>,
    redacted_secrets: u64,
    redacted_emails: u64,
    /// The first 50 rows that cannot be read or do not fit the layout.
    problems: Vec<String>,
}

const MOST_PROBLEMS: usize = 50;

/// prepare_dataset
pub(super) struct Prepare;

impl Tool for Prepare {
    const NAME: &'static str = "prepare_dataset";
    const TITLE: &'static str = "Prepare a dataset";
    const ABOUT: &'static str = "Convert layout and format, remove repeats, poor rows, secrets and e-mail addresses, cap and split.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Data;
    type In = PrepareIn;
    type Out = PrepareOut;

    fn call(input: PrepareIn, shared: &Shared, _: &Call) -> Result<PrepareOut, Fault> {
        let mut fields = Fields::default();
        if let Some(name) = input.text_field {
            fields.text = name;
        }
        if let Some(name) = input.instruction_field {
            (fields.instruction, fields.prompt) = (name.clone(), name);
        }
        if let Some(name) = input.output_field {
            (fields.output, fields.completion) = (name.clone(), name);
        }
        let options = PrepareOptions {
            reading: DataOptions { fields, ..DataOptions::default() },
            to: input.layout.layout(),
            redact: Redact { secrets: input.redact.contains(&RedactName::Secrets), emails: input.redact.contains(&RedactName::Emails) },
            min_chars: input.min_chars.unwrap_or(0) as usize,
            max_chars: input.max_chars.map_or(usize::MAX, |n| n as usize),
            min_quality: input.min_quality.unwrap_or(0.0),
            dedupe: prepare_data::dedupe(input.dedupe == DedupeName::Exact, input.dedupe == DedupeName::Near, input.near_threshold)?,
            max_rows: input.max_samples.map(|n| within("max_samples", n, 1, u64::MAX)).transpose()?.map(|n| n as usize),
            seed: input.seed.unwrap_or(0),
            ..PrepareOptions::default()
        };
        let format = input.format.map(|f| match f {
            FormatName::Jsonl => Format::Jsonl,
            FormatName::Json => Format::Json,
            FormatName::Csv => Format::Csv,
            FormatName::Parquet => Format::Parquet,
        });
        let report = prepare_data::run(&PrepareDataRequest {
            files: vec![shared.roots.allow(&input.dataset)?],
            out: shared.roots.allow(&input.output_path)?,
            format,
            shares: input.split.as_deref().map(prepare_data::shares).transpose()?,
            options,
        })?;
        let r = &report.rows;
        Ok(PrepareOut {
            files: report.files.iter().map(|f| (f.path.display().to_string(), f.rows as u64)).collect(),
            rows: r.rows as u64,
            written: r.written as u64,
            layout: r.layout.map(|l| l.name().to_owned()),
            left_out: prepare_data::left_out(r),
            redacted_secrets: r.redacted.secrets as u64,
            redacted_emails: r.redacted.emails as u64,
            problems: r.problems.iter().take(MOST_PROBLEMS).map(ToString::to_string).collect(),
        })
    }
}
