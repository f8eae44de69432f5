//! GGUF files: the merged model in any of llama.cpp's types, and the adapter alone.

mod adapter;
mod general;
pub mod imatrix;
mod metadata;
mod mix;
mod read_tokenizer;
mod split;
mod tokenizer;
mod tokens;
mod unigram;
mod writer;

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

pub use adapter::{AdapterReport, AdapterType, write_adapter};
pub use metadata::notes;
pub use mix::Preset;
pub use read_tokenizer::{end_ids, tokenizer_of};
pub use split::write_parts;
pub use tokenizer::added_start;

use super::quantise::quantize;
use super::side_files::Base;
use super::{Allowed, Importance, Merged, Prompts, Proof};
use crate::base::atomic::AtomicFile;
use crate::base::error::Fault;
use crate::model::gguf::names::{gguf_name, reorder_rows, reordered_heads};
use crate::model::gguf::{Arch, GgmlType, GgufFile, GgufSource};
use crate::model::weights::check_range;
use writer::{Planned, Writer};

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct GgufReport {
    /// Tensors in the file.
    pub tensors: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// How many tensors have which type.
    pub types: std::collections::BTreeMap<&'static str, usize>,
    /// Bits a weight, over all of them.
    pub bits_per_weight: f64,
    /// The comparison with the live model.
    pub proof: Proof,
    /// Where llama.cpp differs from what the model's own config says.
    pub notes: Vec<String>,
}

/// How a model is written.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The types of its tensors.
    pub preset: Preset,
    /// What the quantiser weighs its errors by.
    pub importance: Option<&'a Importance>,
}

impl From<Preset> for Settings<'_> {
    fn from(preset: Preset) -> Self {
        Self { preset, importance: None }
    }
}

/// Writes the merged model to `out` and proves it. `progress` is told how many elements of how many are done.
///
/// # Errors
/// When llama.cpp cannot express the model, the disk refuses, or the proof fails; then nothing is left of the file.
pub fn write_model(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    settings: Settings,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<GgufReport, Fault> {
    let arch = Arch::of(merged.spec().family);
    let file = AtomicFile::new(out)?;
    let metadata = metadata::of_model(merged, base, settings)?;
    let plan = plan(merged, arch, settings)?;
    let mut writer = Writer::begin(file.file(), out, &metadata.pairs, plan.iter().map(|p| p.planned.clone()).collect())?;
    let mut done = Done { elements: 0, of: elements(&plan), progress };
    write_entries(merged, settings.importance, &plan, &mut writer, &mut done)?;
    let bytes = writer.finish()?;
    let proof = prove(merged, file.path(), &plan, prompts, settings)?;
    file.commit()?;
    Ok(report(&plan, bytes, proof, settings.preset, metadata.notes))
}

/// How much of a model is written, and who hears of it.
struct Done<'a> {
    elements: u64,
    of: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

fn elements(plan: &[Entry]) -> u64 {
    plan.iter().map(|p| p.planned.elements() as u64).sum()
}

/// Writes the tensors that `writer` has announced.
fn write_entries(
    merged: &Merged,
    importance: Option<&Importance>,
    entries: &[Entry],
    writer: &mut Writer,
    done: &mut Done,
) -> Result<(), Fault> {
    let arch = Arch::of(merged.spec().family);
    for entry in entries {
        let weights = entry.weights(importance);
        let rows = entry.planned.shape[0];
        let width = if entry.planned.shape.len() > 1 { entry.planned.elements() / rows.max(1) } else { rows };
        let mut put = |values: &[f32]| -> Result<(), Fault> {
            check_range(&entry.planned.name, values, entry.planned.kind.range())?;
            writer.put(&quantize(entry.planned.kind, values, width, weights))?;
            done.elements += values.len() as u64;
            (done.progress)(done.elements, done.of);
            Ok(())
        };
        match (&entry.source, entry.heads) {
            (Source::Values(v), _) => put(v)?,
            (Source::Tensor(name), None) if width == rows && entry.planned.shape.len() == 1 && arch.norm_offset() != 0.0 => {
                let stored = merged.values(name, &entry.planned.shape)?;
                put(&stored.iter().map(|v| v + arch.norm_offset()).collect::<Vec<f32>>())?;
            }
            (Source::Tensor(name), None) => merged.runs(name, &entry.planned.shape, |_, values| put(&values))?,
            (Source::Tensor(name), Some(heads)) => {
                put(&reorder_rows(&merged.values(name, &entry.planned.shape)?, rows, heads, false))?;
            }
        }
        if let Source::Tensor(name) = &entry.source {
            merged.base().release(name);
        }
    }
    Ok(())
}

/// Reads a file, or the first of its parts, and compares it with the live model.
fn prove(merged: &Merged, path: &Path, plan: &[Entry], prompts: &Prompts, settings: Settings) -> Result<Proof, Fault> {
    let (arch, importance) = (Arch::of(merged.spec().family), settings.importance);
    let written = GgufSource::new(GgufFile::open(path)?)?;
    let mut proof = Proof::measure(merged, written.spec(), &written, prompts, settings.preset.bounds())?;
    let kinds: std::collections::HashMap<&str, GgmlType> = plan.iter().map(|p| (p.planned.name.as_str(), p.planned.kind)).collect();
    let weighed = |name: &str| importance.is_some_and(|w| w.of(name).is_some());
    let kind = |name: &str| gguf_name(arch, name).and_then(|n| kinds.get(n.as_str()));
    let allowed =
        |name: &str| kind(name).map_or_else(Allowed::default, |k| Allowed { error: mix::loss(*k, weighed(name)), block: k.block() });
    proof.tensors(merged, &written, &allowed, importance)?;
    proof.judge()?;
    Ok(proof)
}

fn report(plan: &[Entry], bytes: u64, proof: Proof, preset: Preset, notes: Vec<String>) -> GgufReport {
    let mut types = std::collections::BTreeMap::new();
    for p in plan {
        *types.entry(p.planned.kind.name()).or_default() += 1;
    }
    let weights: usize = plan.iter().map(|p| p.planned.bytes()).sum();
    let bits_per_weight = 8.0 * weights as f64 / elements(plan) as f64;
    let notes = notes.into_iter().chain(fallen_back(plan, preset)).collect();
    GgufReport { tensors: plan.len(), bytes, types, bits_per_weight, proof, notes }
}

/// Says that rows are too short for the blocks that were asked for.
fn fallen_back(plan: &[Entry], preset: Preset) -> Option<String> {
    let block = preset.base().block();
    let matrices = plan.iter().filter(|p| p.planned.shape.len() == 2);
    let widths: std::collections::BTreeSet<usize> = matrices.map(|p| p.planned.shape[1]).filter(|w| !w.is_multiple_of(block)).collect();
    let list = widths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let text =
        format!("rows of {list} do not divide into blocks of {block}: other types stand in for {}, as llama.cpp has it", preset.name());
    (!widths.is_empty()).then_some(text)
}

enum Source {
    Tensor(String),
    Values(Vec<f32>),
}

struct Entry {
    planned: Planned,
    source: Source,
    heads: Option<usize>,
}

impl Entry {
    fn weights<'a>(&self, importance: Option<&'a Importance>) -> Option<&'a [f32]> {
        let Source::Tensor(name) = &self.source else { return None };
        importance?.of(name)
    }
}

/// Every tensor of the file, in its order.
fn plan(merged: &Merged, arch: Arch, settings: Settings) -> Result<Vec<Entry>, Fault> {
    let spec = merged.spec();
    let mut tensors = spec.tensors();
    if arch == Arch::Olmo2 && spec.tie_word_embeddings {
        // llama.cpp wants the head spelled out for this architecture.
        let mut head = tensors[0].clone();
        head.name = spec.own_head_name();
        tensors.push(head);
    }
    let tied = spec.tie_word_embeddings && arch != Arch::Olmo2;
    let mut plan = Vec::new();
    for t in tensors {
        let name =
            gguf_name(arch, &t.name).ok_or_else(|| Fault::new("export_unsupported", format!("`{}` has no name in GGUF files", t.name)))?;
        let kind = mix::choose(settings, spec, arch, tied, &name, &t.shape);
        let source = if t.name == spec.own_head_name() && spec.tie_word_embeddings { spec.embedding_name() } else { t.name.clone() };
        plan.push(Entry {
            heads: reordered_heads(arch, spec, &t.name),
            planned: Planned { name, shape: t.shape, kind },
            source: Source::Tensor(source),
        });
    }
    for (name, factors) in metadata::frequency_tables(spec, arch) {
        let planned = Planned { name: name.into(), shape: vec![factors.len()], kind: GgmlType::F32 };
        plan.push(Entry { planned, source: Source::Values(factors), heads: None });
    }
    Ok(plan)
}

/// Relative error of a type on some values: the root of the mean square, over that of the values.
pub fn relative_error(kind: GgmlType, values: &[f32], width: usize) -> f64 {
    let back = crate::model::gguf::dequantize(kind, &quantize(kind, values, width, None));
    let sum = |v: &dyn Fn(usize) -> f64| (0..values.len()).map(v).sum::<f64>();
    let wrong = sum(&|i| f64::from(values[i] - back[i]).powi(2));
    let all = values.par_iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    (wrong / all.max(f64::MIN_POSITIVE)).sqrt()
}
