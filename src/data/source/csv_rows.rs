//! Comma-separated rows.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Row, Rows, broken, partition, place};
use crate::base::cancel;
use crate::data::error::{DataError, RowProblem};

/// Most columns.
const COLUMNS: usize = 10_000;

pub(super) fn read(bytes: &[u8], file: &Arc<str>, path: &Path, name: &str) -> Result<Rows, DataError> {
    let delimiter = if name.ends_with(".tsv") { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
    let headers: Vec<String> = match reader.headers() {
        Ok(h) => h.iter().map(|name| name.trim().to_string()).collect(),
        Err(e) => return Err(broken(path, format!("line 1: cannot read the header: {}", csv_reason(&e)))),
    };
    if headers.len() > COLUMNS {
        return Err(broken(path, format!("line 1: {} columns; at most {COLUMNS}", headers.len())));
    }
    let mut known = HashSet::new();
    if let Some(name) = headers.iter().find(|name| !known.insert(name.as_str())) {
        return Err(broken(path, format!("line 1: the header names `{name}` twice")));
    }
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut rows = Vec::new();
    for record in reader.records() {
        cancel::checkpoint();
        rows.push(match record {
            Ok(cells) => {
                let line = lines.of(cells.position().map_or(0, csv::Position::byte));
                let fields = headers.iter().cloned().zip(cells.iter().map(|c| Value::String(c.to_string()))).collect();
                Ok(Row { fields, at: place(file, line) })
            }
            Err(e) => {
                let line = lines.of(e.position().map_or(0, csv::Position::byte));
                Err(RowProblem::error(&place(file, line), "bad_csv", csv_reason(&e)))
            }
        });
    }
    Ok(partition(rows.into_iter()))
}

/// Lines of bytes, counted once from the front. The reader's own count is behind where lines end in CR LF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that begins at or after this byte.
    fn of(&mut self, byte: u64) -> u64 {
        let mut to = (byte as usize).min(self.bytes.len());
        while self.bytes.get(to).is_some_and(|b| *b == b'\r' || *b == b'\n') {
            to += 1;
        }
        for i in self.at..to {
            let lone = self.bytes[i] == b'\r' && self.bytes.get(i + 1) != Some(&b'\n');
            self.line += u64::from(self.bytes[i] == b'\n' || lone);
        }
        self.at = self.at.max(to);
        self.line
    }
}

fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("the row has {len} cells, the header {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8; save the file as UTF-8 (it may be Latin-1 or Windows-1252)".to_string(),
        _ => error.to_string(),
    }
}
