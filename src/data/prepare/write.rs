//! Rows into files: JSON Lines, a JSON list, CSV, Parquet.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::config::Format;

/// Rows of a row group.
const GROUP_ROWS: usize = 10_000;

type Row = Map<String, Value>;

/// The bytes of a file with these rows. In CSV and Parquet lists and objects are written as JSON text,
/// which is read back as what it is where a layout expects a list.
///
/// # Errors
/// In words, when the writer of the format fails.
pub(super) fn bytes(rows: &[Row], format: Format) -> Result<Vec<u8>, String> {
    match format {
        Format::Jsonl => Ok(lines(rows, "", "\n", "")),
        Format::Json => Ok(lines(rows, "[\n", ",\n", "\n]\n")),
        Format::Csv => csv(rows).map_err(|e| e.to_string()),
        Format::Parquet => parquet(rows).map_err(|e| e.to_string()),
    }
}

fn lines(rows: &[Row], open: &str, between: &str, close: &str) -> Vec<u8> {
    let rows: Vec<String> = rows.iter().map(|r| Value::Object(r.clone()).to_string()).collect();
    let end = if close.is_empty() && !rows.is_empty() { between } else { close };
    [open, &rows.join(between), end].concat().into_bytes()
}

/// The columns of all rows, in the order in which they first occur.
fn columns(rows: &[Row]) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    rows.iter().flat_map(|r| r.keys()).map(String::as_str).filter(|name| seen.insert(*name)).collect()
}

/// A value as the text of a cell; nothing for null.
fn cell(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn csv(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let columns = columns(rows);
    out.write_record(&columns)?;
    for row in rows {
        out.write_record(columns.iter().map(|c| cell(row.get(*c)).unwrap_or_default()))?;
    }
    out.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Float,
    Bool,
}

fn kind(rows: &[Row], column: &str) -> Kind {
    let values = || rows.iter().filter_map(|r| r.get(column)).filter(|v| !v.is_null());
    match () {
        () if values().next().is_none() => Kind::Text,
        () if values().all(Value::is_i64) => Kind::Integer,
        () if values().all(Value::is_number) => Kind::Float,
        () if values().all(Value::is_boolean) => Kind::Bool,
        () => Kind::Text,
    }
}

fn parquet(rows: &[Row]) -> Result<Vec<u8>, ParquetError> {
    let columns: Vec<(&str, Kind)> = columns(rows).into_iter().map(|c| (c, kind(rows, c))).collect();
    let field = |(name, kind): &(&str, Kind)| {
        let (physical, logical) = match kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Integer => (Physical::INT64, None),
            Kind::Float => (Physical::DOUBLE, None),
            Kind::Bool => (Physical::BOOLEAN, None),
        };
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical).with_repetition(Repetition::OPTIONAL);
        built.build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("rows").with_fields(fields).build()?);
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut out = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for rows in rows.chunks(GROUP_ROWS) {
        let mut group = out.next_row_group()?;
        for (name, kind) in &columns {
            column(&mut group, rows, name, *kind)?;
        }
        group.close()?;
    }
    out.into_inner()
}

fn column<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    name: &str,
    kind: Kind,
) -> Result<(), ParquetError> {
    let values: Vec<Option<&Value>> = rows.iter().map(|r| r.get(name).filter(|v| !v.is_null())).collect();
    let there: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
    let values = || values.iter().flatten().copied();
    let Some(mut out) = group.next_column()? else {
        return Err(ParquetError::General(format!("there is no column `{name}`")));
    };
    match (kind, out.untyped()) {
        (Kind::Integer, ColumnWriter::Int64ColumnWriter(w)) => {
            w.write_batch(&values().filter_map(Value::as_i64).collect::<Vec<_>>(), Some(&there), None)?
        }
        (Kind::Float, ColumnWriter::DoubleColumnWriter(w)) => {
            w.write_batch(&values().filter_map(Value::as_f64).collect::<Vec<_>>(), Some(&there), None)?
        }
        (Kind::Bool, ColumnWriter::BoolColumnWriter(w)) => {
            w.write_batch(&values().filter_map(Value::as_bool).collect::<Vec<_>>(), Some(&there), None)?
        }
        (_, ColumnWriter::ByteArrayColumnWriter(w)) => {
            let texts: Vec<ByteArray> = values().filter_map(|v| cell(Some(v))).map(|t| ByteArray::from(t.into_bytes())).collect();
            w.write_batch(&texts, Some(&there), None)?
        }
        _ => return Err(ParquetError::General(format!("the column `{name}` has another type"))),
    };
    out.close()
}
