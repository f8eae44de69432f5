//! JSON Lines, and one array of JSON objects.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use super::{Format, Row, Rows, broken, object, partition, place, shape, strict};
use crate::base::cancel;
use crate::data::error::{DataError, Location, RowProblem};

/// Longest line in bytes: its values take several times that in memory.
const LINE_BYTES: usize = 16 << 20;

/// Which of the two a text is.
pub(super) fn kind(bytes: &[u8]) -> Format {
    match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => Format::Json,
        _ => Format::Jsonl,
    }
}

/// One object a line.
pub(super) fn read_lines(bytes: &[u8], file: &Arc<str>, path: &Path) -> Result<Rows, DataError> {
    if let Some(message) = shape::not_lines(bytes) {
        return Err(broken(path, message));
    }
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let token = cancel::Token::current();
    let parsed: Vec<Option<Result<Row, RowProblem>>> = lines
        .par_iter()
        .enumerate()
        .map(|(i, line)| {
            token.checkpoint();
            one_line(line, place(file, i as u64 + 1))
        })
        .collect();
    let rows = partition(parsed.into_iter().flatten());
    match shape::not_rows(&rows.0) {
        Some(message) => Err(broken(path, message)),
        None => Ok(rows),
    }
}

fn one_line(line: &[u8], at: Location) -> Option<Result<Row, RowProblem>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return None;
    }
    if line.len() > LINE_BYTES {
        let message = format!("{} bytes in one line; at most {LINE_BYTES}", line.len());
        return Some(Err(RowProblem::error(&at, "line_too_long", message)));
    }
    Some(match strict::parse(line) {
        Ok(value) => object(value, at),
        Err(e) => Err(RowProblem::error(&at, "bad_json", not_json(line, &e))),
    })
}

/// What is wrong with a line, in words that help.
fn not_json(line: &[u8], error: &serde_json::Error) -> String {
    if let Err(utf8) = std::str::from_utf8(line) {
        let (column, byte) = (utf8.valid_up_to() + 1, line[utf8.valid_up_to()]);
        return format!("not UTF-8: byte 0x{byte:02X} at column {column}; save the file as UTF-8 (it may be Latin-1 or Windows-1252)");
    }
    let word = |word: &str| {
        let at = error.column().saturating_sub(1).min(line.len());
        line[at.saturating_sub(word.len())..].starts_with(word.as_bytes()) || line[at..].starts_with(word.as_bytes())
    };
    for name in ["NaN", "Infinity", "-Infinity", "None", "True", "False", "undefined"] {
        if word(name) {
            return format!("not JSON: {name} at column {}; JSON has null, true, false and finite numbers", error.column());
        }
    }
    format!("not JSON: {}", reason(error))
}

/// serde_json's message without its own "at line 1": the line of the file is already known.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    format!("{reason} at column {}", error.column())
}

/// One array of objects. Where rows share a line, they are known by their number.
pub(super) fn read_array(bytes: &[u8], file: &Arc<str>, path: &Path) -> Result<Rows, DataError> {
    if let Some(message) = shape::lists_by_line(bytes) {
        return Err(broken(path, message));
    }
    let fail = |line: u64, message: &str| broken(path, format!("line {line}: {message}"));
    let mut at = 0;
    let mut line = 1u64;
    skip_space(bytes, &mut at, &mut line);
    at += 1; // the '[' that `kind` saw
    let mut values: Vec<(u64, Value)> = Vec::new();
    let mut after_comma = false;
    loop {
        cancel::checkpoint();
        skip_space(bytes, &mut at, &mut line);
        match bytes.get(at) {
            Some(b']') if after_comma => return Err(fail(line, "a comma without a row behind it")),
            Some(b']') => break,
            None => return Err(fail(line, "the array has no closing bracket")),
            Some(_) => {}
        }
        let (value, end) = match strict::parse_prefix(&bytes[at..]) {
            Ok((value, length)) => (value, at + length),
            // Without a complete value there is no safe place to go on from.
            Err(e) => return Err(fail(line + e.line().saturating_sub(1) as u64, &format!("not JSON: {}", reason(&e)))),
        };
        values.push((line, value));
        line += newlines(&bytes[at..end]);
        at = end;
        skip_space(bytes, &mut at, &mut line);
        after_comma = bytes.get(at) == Some(&b',');
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => {}
            _ => return Err(fail(line, "expected a comma or the closing bracket")),
        }
    }
    at += 1;
    skip_space(bytes, &mut at, &mut line);
    if at < bytes.len() {
        return Err(fail(line, "more behind the closing bracket"));
    }
    if let Some(message) = shape::not_objects(&values) {
        return Err(broken(path, message));
    }
    let counts_rows = values.windows(2).any(|pair| pair[0].0 == pair[1].0);
    let row = |(i, (line, value)): (usize, (u64, Value))| {
        let line = if counts_rows { i as u64 + 1 } else { line };
        object(value, Location { file: file.clone(), line, counts_rows })
    };
    Ok(partition(values.into_iter().enumerate().map(row)))
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
