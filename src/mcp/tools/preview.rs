//! A look at the first rows of a dataset.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::data::{DatasetIn, ExampleOut, examples, look};
use crate::base::error::Fault;
use crate::data::read_table;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewIn {
    /// The file: JSONL, CSV or Parquet.
    path: String,
    /// How many rows. Default 3.
    #[schemars(range(min = 1, max = 20))]
    rows: Option<u64>,
    /// true: as a model sees them, with the trained parts. Default false.
    masked: Option<bool>,
    /// With masked: whose tokenizer and chat template are used. Default embedded.
    model: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PreviewOut {
    /// jsonl, json, csv or parquet.
    format: Option<String>,
    /// Rows in the file.
    total_rows: u64,
    /// With masked false; long texts are cut.
    rows: Vec<Map<String, Value>>,
    /// With masked true.
    examples: Vec<ExampleOut>,
    /// The first rows that cannot be read.
    problems: Vec<String>,
}

/// Characters of a text that are shown.
const MOST_SHOWN: usize = 1000;
/// Problems that are shown.
const MOST_PROBLEMS: usize = 5;

/// preview_dataset
pub(super) struct Preview;

impl Tool for Preview {
    const NAME: &'static str = "preview_dataset";
    const TITLE: &'static str = "Preview a dataset";
    const ABOUT: &'static str = "The first rows of a file, as they are or as a model sees them (masked).";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Data;
    type In = PreviewIn;
    type Out = PreviewOut;

    fn call(input: PreviewIn, shared: &Shared, _: &Call) -> Result<PreviewOut, Fault> {
        let count = input.rows.unwrap_or(3);
        if input.masked == Some(true) {
            let report = look(&DatasetIn::showing(input.path, input.model, count), shared, false)?;
            let problems = report.check.problems.iter().take(MOST_PROBLEMS).map(|p| format!("{}: {}", p.at, p.message));
            return Ok(PreviewOut {
                format: None,
                total_rows: report.check.rows as u64,
                rows: Vec::new(),
                examples: examples(&report),
                problems: problems.collect(),
            });
        }
        let table = read_table(&shared.roots.allow(&input.path)?, None)?;
        let problems = table.problems.iter().take(MOST_PROBLEMS).map(|p| format!("{}: {}", p.at, p.message)).collect();
        let total_rows = (table.rows.len() + table.problems.len()) as u64;
        let format = serde_json::to_value(table.format).ok().and_then(|v| v.as_str().map(str::to_owned));
        let rows = table.rows.into_iter().take(count as usize).map(|row| {
            let mut fields = Value::Object(row.fields);
            shorten(&mut fields);
            fields.as_object().cloned().unwrap_or_default()
        });
        Ok(PreviewOut { format, total_rows, rows: rows.collect(), examples: Vec::new(), problems })
    }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(MOST_SHOWN) {
                let left = text[end..].chars().count();
                text.truncate(end);
                text.push_str(&format!("... ({left} more characters)"));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}
