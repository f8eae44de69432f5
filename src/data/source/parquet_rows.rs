//! Parquet through the crate's own record reader, without Arrow.

use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};

use super::{DataError, Location, Row, RowProblem};

pub(super) fn read(file: &Arc<str>, path: &Path) -> Result<(Vec<Row>, Vec<RowProblem>), DataError> {
    let broken = |e: parquet::errors::ParquetError| DataError::Broken {
        path: path.to_path_buf(),
        message: format!("not a readable Parquet file: {e}"),
    };
    let opened = std::fs::File::open(path).map_err(|source| DataError::Io { path: path.to_path_buf(), source })?;
    let reader = SerializedFileReader::new(opened).map_err(broken)?;
    let mut rows = Vec::new();
    for (i, row) in reader.get_row_iter(None).map_err(broken)?.enumerate() {
        crate::base::cancel::checkpoint();
        let at = Location { file: file.clone(), line: i as u64 + 1, counts_rows: true };
        let columns = row.map_err(broken)?.into_columns();
        rows.push(Row { fields: columns.into_iter().map(|(name, field)| (name, to_json(&field))).collect(), at });
    }
    Ok((rows, Vec::new()))
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
