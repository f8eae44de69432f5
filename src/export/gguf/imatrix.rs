//! llama.cpp's files of importance matrices: read in both forms, written in the newer one.
//!
//! ```text
//!   .gguf   general.type = imatrix; for each matrix `<name>.in_sum2` [1, in]: sums of squared inputs
//!           over tokens, and `<name>.counts` [1, 1]: over how many
//!   older   i32 matrices; each: i32 length, name, i32 calls, i32 n, n f32: mean squared inputs times calls
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use super::writer::{Planned, Writer};
use crate::base::atomic::AtomicFile;
use crate::base::error::Fault;
use crate::export::{Calibration, Importance};
use crate::model::DecoderSpec;
use crate::model::gguf::names::gguf_name;
use crate::model::gguf::{Arch, GgmlType, GgufFile, Value};

/// Tokens of one of llama.cpp's chunks, by its own default.
const CHUNK: u32 = 512;

/// Whether a file is an importance matrix, by how it begins.
pub fn is_imatrix(path: &Path) -> bool {
    let bytes = std::fs::File::open(path).and_then(|mut f| {
        let mut head = [0u8; 12];
        std::io::Read::read_exact(&mut f, &mut head).map(|()| head)
    });
    // The older form begins with a count and the length of a name, which has no line of text.
    bytes.is_ok_and(|h| h.starts_with(b"GGUF") || (h[3] == 0 && h[7] == 0 && h[0] != 0 && (4..=200).contains(&h[4])))
}

/// Reads the matrices of a model.
///
/// # Errors
/// When the file is damaged, or is of another model.
pub fn read(path: &Path, spec: &DecoderSpec) -> Result<Importance, Fault> {
    let bad = |message: String| Fault::new("bad_imatrix", format!("{}: {message}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
    let all =
        if bytes.starts_with(b"GGUF") { newer(path, &bad)? } else { older(&bytes).ok_or_else(|| bad("the file is cut short".into()))? };
    let arch = Arch::of(spec.family);
    let mut columns = BTreeMap::new();
    for t in spec.tensors().into_iter().filter(|t| t.shape.len() == 2) {
        let Some(found) = gguf_name(arch, &t.name).and_then(|n| all.get(&n)) else { continue };
        if found.len() != t.shape[1] {
            return Err(bad(format!("`{}` has {} columns there and {} in the model", t.name, found.len(), t.shape[1]))
                .hint("use an importance matrix that was made with this model"));
        }
        if let Some(i) = found.iter().position(|v| !v.is_finite() || *v < 0.0) {
            return Err(bad(format!("`{}` has the weight {} at column {i}", t.name, found[i])));
        }
        columns.insert(t.name, found.clone());
    }
    if columns.is_empty() {
        return Err(bad("it has no matrix of this model".into()).hint("use an importance matrix that was made with this model"));
    }
    Ok(Importance::from_columns(columns, Calibration { data: path.display().to_string(), rows: 0, tokens: 0 }))
}

fn newer(path: &Path, bad: &dyn Fn(String) -> Fault) -> Result<BTreeMap<String, Vec<f32>>, Fault> {
    let file = GgufFile::open(path)?;
    if file.get("general.type").and_then(Value::as_str) != Some("imatrix") {
        return Err(bad("a GGUF file, but of no importance matrix".into()).hint("give rows, or a file that llama-imatrix wrote"));
    }
    let mut out = BTreeMap::new();
    for name in file.tensors().keys().filter_map(|n| n.strip_suffix(".in_sum2")) {
        let sums = file.float(&format!("{name}.in_sum2"))?;
        let count = file.float(&format!("{name}.counts"))?.first().copied().unwrap_or(0.0);
        if count > 0.0 {
            out.insert(name.to_owned(), sums.iter().map(|s| s / count).collect());
        }
    }
    Ok(out)
}

fn older(bytes: &[u8]) -> Option<BTreeMap<String, Vec<f32>>> {
    let mut at = 0usize;
    let mut take = |n: usize| {
        let slice = bytes.get(at..at.checked_add(n)?)?;
        at += n;
        Some(slice)
    };
    let number = |b: &[u8]| b.try_into().ok().map(i32::from_le_bytes).and_then(|n| usize::try_from(n).ok());
    let mut out = BTreeMap::new();
    for _ in 0..number(take(4)?)? {
        let length = number(take(4)?)?;
        let name = String::from_utf8_lossy(take(length)?).into_owned();
        let calls = number(take(4)?)?.max(1) as f32;
        let n = number(take(4)?)?;
        let values = take(n.checked_mul(4)?)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b) / calls);
        out.insert(name, values.collect());
    }
    Some(out)
}

/// Writes an importance matrix as `llama-imatrix` does.
///
/// # Errors
/// When the disk refuses.
pub fn write(importance: &Importance, spec: &DecoderSpec, out: &Path) -> Result<(), Fault> {
    let arch = Arch::of(spec.family);
    let source = &importance.source;
    let tokens = source.tokens.max(1) as f32;
    let name = Path::new(&source.data).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let pairs = [
        ("general.type", Value::String("imatrix".into())),
        ("imatrix.datasets", Value::Array(vec![Value::String(name)])),
        ("imatrix.chunk_count", Value::U32((source.tokens as u32).div_ceil(CHUNK))),
        ("imatrix.chunk_size", Value::U32(CHUNK)),
    ];
    let pairs = pairs.map(|(k, v)| (k.to_owned(), v));
    let (mut plan, mut values) = (Vec::new(), Vec::new());
    for t in spec.tensors() {
        let (Some(columns), Some(name)) = (importance.of(&t.name), gguf_name(arch, &t.name)) else { continue };
        plan.push(Planned { name: format!("{name}.in_sum2"), shape: vec![1, columns.len()], kind: GgmlType::F32 });
        values.push(columns.iter().map(|c| c * tokens).collect::<Vec<f32>>());
        plan.push(Planned { name: format!("{name}.counts"), shape: vec![1, 1], kind: GgmlType::F32 });
        values.push(vec![tokens]);
    }
    let file = AtomicFile::new(out)?;
    let mut writer = Writer::begin(file.file(), out, &pairs, plan)?;
    for v in values {
        writer.put(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    writer.finish()?;
    file.commit()
}
