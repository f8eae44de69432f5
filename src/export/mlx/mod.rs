//! mlx-lm's forms: the adapter, and the merged model with groups of few bits.

mod adapter;
mod config;
mod groups;

use std::path::Path;

use safetensors::Dtype;

pub use adapter::write_adapter;
pub use groups::{Grouping, Wish};

use super::folder::{FolderReport, bounds_of, coarse_name, stored};
use super::side_files::{self, Base};
use super::streamed::Streamed;
use super::{Allowed, Merged, Prompts, Proof, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::model::weights::mlx::{Groups, MlxSource};
use crate::model::weights::{TensorSource, cast};
use crate::model::{DecoderSpec, Unknown, open_source};

/// Writes the merged model for mlx-lm into the new folder `out`, its matrices in groups where
/// `wish` says so.
///
/// # Errors
/// When no matrix divides into groups, the disk refuses or the proof fails; then nothing is left of
/// the folder.
pub fn write_model(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    wish: Option<Wish>,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    let spec = merged.spec();
    config::refuse_unread(spec)?;
    let grouping = wish.map(|w| Grouping::of(w, spec)).transpose()?;
    let groups = grouping.as_ref().map(|g| g.groups);
    let folder = AtomicDir::new(out)?;
    let dtype = stored(merged, &spec.embedding_name());
    let all = spec.tensors();
    let mut writer = Streamed::new(&folder.path().join("model.safetensors"), "mlx", plan(spec, dtype, groups))?;
    let total: u64 = all.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    for t in &all {
        let values = merged.values(&t.name, &t.shape)?;
        match groups.filter(|g| groups::fits(*g, t)) {
            Some(g) => groups::pack(&t.name, &values, g, dtype)?.iter().try_for_each(|part| writer.put(part))?,
            None => writer.put(&cast(&t.name, &values, dtype)?)?,
        }
        merged.base().release(&t.name);
        done += values.len() as u64;
        progress(done, total);
    }
    let (tensors, bytes) = writer.finish()?;
    let mut notes = side_files::write(base, merged.spec(), folder.path(), Some(dtype))?;
    config::fit(&folder.path().join("config.json"), spec, groups)?;
    let proof = prove(merged, folder.path(), prompts, groups, dtype)?;
    let kind = grouping.as_ref().map_or_else(|| coarse_name(dtype).to_owned(), Grouping::name);
    write_file(&folder.path().join("README.md"), card::model_card(merged, base.path, "mlx", &kind, &proof).as_bytes())?;
    folder.commit()?;
    notes.extend(grouping.and_then(|g| g.note));
    notes.extend(config::window_note(spec));
    notes.extend(config::rotation_note(spec));
    Ok(FolderReport { tensors, bytes, proof, notes })
}

fn prove(merged: &Merged, folder: &Path, prompts: &Prompts, groups: Option<Groups>, dtype: Dtype) -> Result<Proof, Fault> {
    let spec = merged.spec();
    let written: Box<dyn TensorSource> = match MlxSource::open(folder, spec)? {
        Some(source) => Box::new(source),
        None => open_source(folder, Unknown::ReadAsLlama)?.1,
    };
    let mut proof = Proof::measure(merged, spec, written.as_ref(), prompts, groups.map_or_else(|| bounds_of(dtype), groups::bounds))?;
    let cast = if dtype == Dtype::F32 { 0.0 } else { 4e-3 };
    let tensors = spec.tensors();
    let grouped = |name: &str| groups.filter(|g| tensors.iter().any(|t| t.name == name && groups::fits(*g, t)));
    let allowed = |name: &str| match grouped(name) {
        Some(g) => Allowed { error: cast + groups::loss(g), block: g.group },
        None => Allowed { error: cast, block: 1 },
    };
    proof.tensors(merged, written.as_ref(), &allowed, None)?;
    proof.judge()?;
    Ok(proof)
}

fn plan(spec: &DecoderSpec, dtype: Dtype, groups: Option<Groups>) -> Vec<(String, Dtype, Vec<usize>)> {
    let mut plan = Vec::new();
    for t in spec.tensors() {
        let Some(g) = groups.filter(|g| groups::fits(*g, &t)) else {
            plan.push((t.name, dtype, t.shape));
            continue;
        };
        plan.extend(groups::parts(&t, g, dtype));
    }
    plan
}
