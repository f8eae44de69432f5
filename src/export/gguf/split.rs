//! A model in several GGUF files, as `llama-gguf-split` names and marks them.
//!
//! ```text
//!   NAME-00001-of-00003.gguf   all metadata, split.no 0, split.count 3, split.tensors.count; the first tensors
//!   NAME-00002-of-00003.gguf   split.no 1, split.count 3, split.tensors.count; the next tensors
//! ```

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use super::writer::Writer;
use super::{Done, Entry, GgufReport, Settings, elements, metadata, plan, prove, report, write_entries};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::export::side_files::Base;
use crate::export::{Merged, Prompts, card};
use crate::model::gguf::{ALIGNMENT, Arch, Value};

/// Most parts that a file name has digits for.
const MOST_PARTS: usize = 99_999;

/// Writes the merged model into the new folder `out`, in files of which each holds at most
/// `most_bytes` of tensors (one tensor where it alone is larger), and proves the whole.
///
/// # Errors
/// As [`super::write_model`]; when there would be too many parts.
pub fn write_parts(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    settings: Settings,
    (out, most_bytes): (&Path, u64),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<GgufReport, Fault> {
    let folder = AtomicDir::new(out)?;
    let metadata = metadata::of_model(merged, base, settings)?;
    let plan = plan(merged, Arch::of(merged.spec().family), settings)?;
    let parts = cut(&plan, most_bytes);
    if parts.len() > MOST_PARTS {
        let message = format!("{} parts are more than a split file can have, {MOST_PARTS}", parts.len());
        return Err(Fault::new("usage", message).hint("choose larger parts"));
    }
    let stem = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let path = |i: usize| folder.path().join(format!("{stem}-{:05}-of-{:05}.gguf", i + 1, parts.len()));
    let mut done = Done { elements: 0, of: elements(&plan), progress };
    let mut bytes = 0;
    for (i, part) in parts.iter().enumerate() {
        let entries = &plan[part.clone()];
        let mut pairs = if i == 0 { metadata.pairs.clone() } else { Vec::new() };
        pairs.extend(marks(i, parts.len(), plan.len()));
        let file = File::create_new(path(i)).map_err(|e| Fault::io("make", &path(i), &e))?;
        let mut writer = Writer::begin(&file, &path(i), &pairs, entries.iter().map(|e| e.planned.clone()).collect())?;
        write_entries(merged, settings.importance, entries, &mut writer, &mut done)?;
        bytes += writer.finish()?;
    }
    let proof = prove(merged, &path(0), &plan, prompts, settings)?;
    let card = card::model_card(merged, base.path, "gguf", settings.preset.name(), &proof);
    write_file(&folder.path().join("README.md"), card.as_bytes())?;
    folder.commit()?;
    let mut report = report(&plan, bytes, proof, settings.preset, metadata.notes);
    if parts.len() == 1 {
        report.notes.push("the model is smaller than one part: there is one file".into());
    }
    Ok(report)
}

/// What says of a file that it is a part.
fn marks(part: usize, parts: usize, tensors: usize) -> [(String, Value); 3] {
    [
        ("split.no".into(), Value::U16(part as u16)),
        ("split.count".into(), Value::U16(parts as u16)),
        ("split.tensors.count".into(), Value::I32(tensors as i32)),
    ]
}

/// Runs of tensors that fit into a part each.
fn cut(plan: &[Entry], most_bytes: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (i, entry) in plan.iter().enumerate() {
        let bytes = entry.planned.bytes().next_multiple_of(ALIGNMENT) as u64;
        if i > start && filled + bytes > most_bytes {
            parts.push(start..i);
            (start, filled) = (i, 0);
        }
        filled += bytes;
    }
    parts.push(start..plan.len());
    parts
}
