//! Local files into rows: JSON Lines, a JSON array, CSV, Parquet. Each row knows where it stands.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{DataError, Location, RowProblem};
use crate::base::hash::sha256_bytes;

mod bytes;
mod csv_rows;
mod filler;
mod json;
mod parquet_rows;
mod shape;
mod strict;

pub use crate::config::Format;

/// One row: its fields in the order of the file, and its place.
#[derive(Debug, Clone)]
pub struct Row {
    /// Field name to value; CSV cells are strings.
    pub fields: Map<String, Value>,
    /// Where it stands.
    pub at: Location,
}

/// A file's rows, the rows that could not be read, and the hash of the file.
#[derive(Debug)]
pub struct Table {
    /// The format that was used.
    pub format: Format,
    /// The rows that could be read, in file order.
    pub rows: Vec<Row>,
    /// The rows that could not.
    pub problems: Vec<RowProblem>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
}

/// Rows, and those that could not be read.
type Rows = (Vec<Row>, Vec<RowProblem>);

/// Reads a whole file. `format` overrides the name's ending. Text may be UTF-8, UTF-16 with its mark, and compressed by
/// gzip or zstd.
///
/// # Errors
/// [`DataError::Io`], [`DataError::UnknownFormat`], or [`DataError::Broken`] when the file as a whole cannot be
/// parsed (not an array, a broken Parquet footer). A bad row is no error here: it stands in [`Table::problems`].
pub fn read_table(path: &Path, format: Option<Format>) -> Result<Table, DataError> {
    let content = bytes::read(path)?;
    let bytes = content.text.as_slice();
    let format = match format {
        // `.json` files in the wild hold either form; the first character tells.
        Some(Format::Json) | Some(Format::Jsonl) => json::kind(bytes),
        Some(other) => other,
        None => format_of(&content.name, path, bytes)?,
    };
    let file: Arc<str> = path.display().to_string().into();
    let sha256 = sha256_bytes(&content.raw);
    let mut notes = content.notes;
    let (mut rows, problems) = match format {
        Format::Jsonl => json::read_lines(bytes, &file, path)?,
        Format::Json => json::read_array(bytes, &file, path)?,
        Format::Csv => csv_rows::read(bytes, &file, path, &content.name)?,
        Format::Parquet => parquet_rows::read(&file, path)?,
    };
    if matches!(format, Format::Json | Format::Jsonl) {
        notes.extend(filler::strip(&mut rows));
    }
    Ok(Table { format, rows, problems, sha256, notes })
}

fn format_of(name: &str, path: &Path, bytes: &[u8]) -> Result<Format, DataError> {
    match name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default() {
        "jsonl" | "ndjson" | "json" => Ok(json::kind(bytes)),
        "csv" | "tsv" => Ok(Format::Csv),
        "parquet" => Ok(Format::Parquet),
        _ if bytes.starts_with(b"PAR1") => Ok(Format::Parquet),
        _ => Err(DataError::UnknownFormat { path: path.to_path_buf() }),
    }
}

fn place(file: &Arc<str>, line: u64) -> Location {
    Location { file: file.clone(), line, counts_rows: false }
}

fn object(value: Value, at: Location) -> Result<Row, RowProblem> {
    match value {
        Value::Object(fields) => Ok(Row { fields, at }),
        other => Err(RowProblem::error(&at, "not_an_object", format!("the row is {}, not a JSON object", kind_name(&other)))),
    }
}

/// The JSON kind of a value, with its article.
pub(crate) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn partition(results: impl Iterator<Item = Result<Row, RowProblem>>) -> Rows {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for result in results {
        match result {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    (rows, problems)
}

fn broken(path: &Path, message: impl Into<String>) -> DataError {
    DataError::Broken { path: path.to_path_buf(), message: message.into() }
}
