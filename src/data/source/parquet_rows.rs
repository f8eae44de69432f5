//! Parquet through the crate's own record reader, without Arrow.

use std::path::Path;
use std::sync::Arc;

use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};

use super::{Row, Rows, broken};
use crate::base::panics;
use crate::base::time_limit::Library;
use crate::data::error::{DataError, Location};

/// A file may always hold this many rows and bytes; beyond, they are held against its length.
const ALWAYS_ROWS: u64 = 1_000_000;
const ALWAYS_BYTES: u64 = 256 << 20;
/// How many times the length of the file its values may take.
const MOST_GROWTH: u64 = 200;

pub(super) fn read(file: &Arc<str>, path: &Path) -> Result<Rows, DataError> {
    let fail = |e: parquet::errors::ParquetError| broken(path, format!("not a readable Parquet file: {e}"));
    let opened = std::fs::File::open(path).map_err(|source| DataError::Io { path: path.to_path_buf(), source })?;
    let length = opened.metadata().map_or(0, |m| m.len());
    // The library has been seen to panic on damaged files.
    let reader = caught(length as usize, || SerializedFileReader::new(opened), path)?.map_err(fail)?;
    let most_bytes = (length * MOST_GROWTH).max(ALWAYS_BYTES);
    check_counts(reader.metadata(), length, most_bytes).map_err(|message| broken(path, message))?;
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut from = caught(0, || reader.get_row_iter(None), path)?.map_err(fail)?;
    while let Some(row) = caught(0, || from.next(), path)? {
        crate::base::cancel::checkpoint();
        let at = Location { file: file.clone(), line: rows.len() as u64 + 1, counts_rows: true };
        let columns = row.map_err(fail)?.into_columns();
        let fields: Map<String, Value> = columns.into_iter().map(|(name, field)| (name, to_json(&field))).collect();
        bytes += fields.values().map(size).sum::<u64>();
        if bytes > most_bytes {
            return Err(broken(path, format!("row {}: the values take more than {most_bytes} bytes, out of a file of {length}", at.line)));
        }
        rows.push(Row { fields, at });
    }
    Ok((rows, Vec::new()))
}

/// What the library gives, or that it panicked.
fn caught<T>(bytes: usize, work: impl FnOnce() -> T, path: &Path) -> Result<T, DataError> {
    panics::of_library(Library::Parquet, bytes, work).ok_or_else(|| broken(path, "a damaged Parquet file: the reader failed inside"))
}

/// Holds the counts that the file states against its length, before anything is made for them.
fn check_counts(about: &ParquetMetaData, length: u64, most_bytes: u64) -> Result<(), String> {
    let rows = u64::try_from(about.file_metadata().num_rows()).map_err(|_| "a negative number of rows".to_owned())?;
    if rows > ALWAYS_ROWS.max(length) {
        return Err(format!("{rows} rows in {length} bytes: the file states more than it can hold"));
    }
    let stated: i64 = about.row_groups().iter().map(|g| g.total_byte_size()).fold(0, i64::saturating_add);
    if u64::try_from(stated).is_ok_and(|bytes| bytes > most_bytes) {
        return Err(format!("{stated} bytes of values in {length} bytes: at most {MOST_GROWTH} times the file's length are read"));
    }
    Ok(())
}

/// Bytes that a value takes, roughly.
fn size(value: &Value) -> u64 {
    match value {
        Value::String(s) => 32 + s.len() as u64,
        Value::Array(list) => 32 + list.iter().map(size).sum::<u64>(),
        Value::Object(map) => map.iter().map(|(k, v)| 64 + k.len() as u64 + size(v)).sum(),
        _ => 32,
    }
}

fn to_json(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(v) => Value::Bool(*v),
        Field::Byte(v) => Value::from(*v),
        Field::Short(v) => Value::from(*v),
        Field::Int(v) | Field::Date(v) | Field::TimeMillis(v) => Value::from(*v),
        Field::Long(v) | Field::TimeMicros(v) | Field::TimestampMillis(v) | Field::TimestampMicros(v) => Value::from(*v),
        Field::UByte(v) => Value::from(*v),
        Field::UShort(v) => Value::from(*v),
        Field::UInt(v) => Value::from(*v),
        Field::ULong(v) => Value::from(*v),
        Field::Float16(v) => float(f64::from(f32::from(*v))),
        Field::Float(v) => float(f64::from(*v)),
        Field::Double(v) => float(*v),
        Field::Str(v) => Value::String(v.clone()),
        // Writers without the UTF-8 annotation still mean text.
        Field::Bytes(v) => Value::String(String::from_utf8_lossy(v.data()).into_owned()),
        Field::Group(row) => Value::Object(strip_nulls(row.get_column_iter().map(|(name, f)| (name.clone(), to_json(f))))),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(to_json).collect()),
        Field::MapInternal(map) => Value::Object(map.entries().iter().map(|(k, v)| (key_text(k), to_json(v))).collect()),
        other => Value::String(other.to_string()),
    }
}

fn float(v: f64) -> Value {
    Number::from_f64(v).map_or(Value::Null, Value::Number)
}

fn key_text(key: &Field) -> String {
    match to_json(key) {
        Value::String(s) => s,
        other => other.to_string(),
    }
}

/// A struct column gives every row every member: a message without tool calls arrives as `tool_calls: null`,
/// and templates that ask `'tool_calls' in message` would go wrong. Only `content` may say null.
fn strip_nulls(members: impl Iterator<Item = (String, Value)>) -> Map<String, Value> {
    members.filter(|(name, value)| !value.is_null() || name == "content").collect()
}
