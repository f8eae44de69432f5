//! Local files into rows: JSON Lines, a JSON array, CSV, Parquet. Each row knows where it stands.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::error::{DataError, Location, RowProblem};
use crate::base::cancel;
use crate::base::hash::sha256_bytes;

mod parquet_rows;

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
}

/// Reads a whole file. `format` overrides the name's ending.
///
/// # Errors
/// [`DataError::Io`], [`DataError::UnknownFormat`], or [`DataError::Broken`] when the file as a whole cannot be
/// parsed (not an array, a broken Parquet footer). A bad row is no error here: it stands in [`Table::problems`].
pub fn read_table(path: &Path, format: Option<Format>) -> Result<Table, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Io { path: path.to_path_buf(), source })?;
    let format = match format {
        // `.json` files in the wild hold either form; the first character tells.
        Some(Format::Json) | Some(Format::Jsonl) => json_kind(&bytes),
        Some(other) => other,
        None => format_of(path, &bytes)?,
    };
    let file: Arc<str> = path.display().to_string().into();
    let sha256 = sha256_bytes(&bytes);
    let (rows, problems) = match format {
        Format::Jsonl => read_jsonl(strip_bom(&bytes), &file),
        Format::Json => read_json_array(strip_bom(&bytes), &file, path)?,
        Format::Csv => read_csv(strip_bom(&bytes), &file, path)?,
        Format::Parquet => parquet_rows::read(&file, path)?,
    };
    Ok(Table { format, rows, problems, sha256 })
}

fn format_of(path: &Path, bytes: &[u8]) -> Result<Format, DataError> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "jsonl" | "ndjson" | "json" => Ok(json_kind(bytes)),
        "csv" | "tsv" => Ok(Format::Csv),
        "parquet" => Ok(Format::Parquet),
        _ if bytes.starts_with(b"PAR1") => Ok(Format::Parquet),
        _ => Err(DataError::UnknownFormat { path: path.to_path_buf() }),
    }
}

fn json_kind(bytes: &[u8]) -> Format {
    match strip_bom(bytes).iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => Format::Json,
        _ => Format::Jsonl,
    }
}

fn strip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
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

fn read_jsonl(bytes: &[u8], file: &Arc<str>) -> (Vec<Row>, Vec<RowProblem>) {
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let token = cancel::Token::current();
    let parsed: Vec<Option<Result<Row, RowProblem>>> = lines
        .par_iter()
        .enumerate()
        .map(|(i, line)| {
            token.checkpoint();
            jsonl_line(line, place(file, i as u64 + 1))
        })
        .collect();
    partition(parsed.into_iter().flatten())
}

fn jsonl_line(line: &[u8], at: Location) -> Option<Result<Row, RowProblem>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return None;
    }
    Some(match serde_json::from_slice::<Value>(line) {
        Ok(value) => object(value, at),
        Err(e) => Err(RowProblem::error(&at, "bad_json", format!("not JSON: {}", json_reason(&e)))),
    })
}

/// serde_json's message without its own "at line 1": the line of the file is already known.
fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    format!("{reason} at column {}", error.column())
}

fn read_json_array(bytes: &[u8], file: &Arc<str>, path: &Path) -> Result<(Vec<Row>, Vec<RowProblem>), DataError> {
    let broken = |line: u64, message: &str| DataError::Broken { path: path.to_path_buf(), message: format!("line {line}: {message}") };
    let mut at = 0;
    let mut line = 1u64;
    skip_space(bytes, &mut at, &mut line);
    at += 1; // the '[' that json_kind saw
    let mut rows = Vec::new();
    loop {
        skip_space(bytes, &mut at, &mut line);
        match bytes.get(at) {
            Some(b']') => break,
            None => return Err(broken(line, "the array has no closing bracket")),
            Some(_) => {}
        }
        let mut values = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => rows.push(object(value, place(file, line))),
            // Without a complete value there is no safe place to go on from.
            Some(Err(e)) => return Err(broken(line + e.line().saturating_sub(1) as u64, &format!("not JSON: {}", json_reason(&e)))),
            None => return Err(broken(line, "the array has no closing bracket")),
        }
        let end = at + values.byte_offset();
        line += newlines(&bytes[at..end]);
        at = end;
        skip_space(bytes, &mut at, &mut line);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => {}
            _ => return Err(broken(line, "expected a comma or the closing bracket")),
        }
    }
    Ok(partition(rows.into_iter()))
}

fn skip_space(bytes: &[u8], at: &mut usize, line: &mut u64) {
    while let Some(b) = bytes.get(*at).filter(|b| b.is_ascii_whitespace()) {
        *line += u64::from(*b == b'\n');
        *at += 1;
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

fn read_csv(bytes: &[u8], file: &Arc<str>, path: &Path) -> Result<(Vec<Row>, Vec<RowProblem>), DataError> {
    let tabs = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let mut reader = csv::ReaderBuilder::new().delimiter(if tabs { b'\t' } else { b',' }).from_reader(bytes);
    let headers: Vec<String> = match reader.headers() {
        Ok(h) => h.iter().map(|name| name.trim().to_string()).collect(),
        Err(e) => return Err(DataError::Broken { path: path.to_path_buf(), message: format!("line 1: cannot read the header: {e}") }),
    };
    if let Some(name) = duplicate(&headers) {
        return Err(DataError::Broken { path: path.to_path_buf(), message: format!("line 1: the header names `{name}` twice") });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        cancel::checkpoint();
        rows.push(match record {
            Ok(cells) => {
                let line = cells.position().map_or(0, csv::Position::line);
                let fields = headers.iter().cloned().zip(cells.iter().map(|c| Value::String(c.to_string()))).collect();
                Ok(Row { fields, at: place(file, line) })
            }
            Err(e) => Err(csv_problem(&e, file)),
        });
    }
    Ok(partition(rows.into_iter()))
}

fn duplicate(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)).map(|(_, name)| name)
}

fn csv_problem(error: &csv::Error, file: &Arc<str>) -> RowProblem {
    let at = place(file, error.position().map_or(0, csv::Position::line));
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("the row has {len} cells, the header {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8".to_string(),
        _ => error.to_string(),
    };
    RowProblem::error(&at, "bad_csv", message)
}

fn partition(results: impl Iterator<Item = Result<Row, RowProblem>>) -> (Vec<Row>, Vec<RowProblem>) {
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
