//! Removing a run for good.

use std::path::Path;

use super::record::{own, status};
use super::start::refuse;
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::error::Fault;
use crate::runs::{RunFolder, Versions};

/// Removes a run's folder; the bytes that were freed. It disappears under its name at once, so that a removal that is
/// broken off leaves no half of a run behind.
///
/// # Errors
/// When the run is under way, its result is promoted, or the folder cannot be removed.
pub fn delete(project: &Path, run: &RunFolder) -> Result<u64, Fault> {
    let (state, _) = status(run)?;
    let lock = own(run)?;
    if state.is_active() || lock.is_none() {
        return Err(refuse(run, if state.is_active() { state } else { super::State::Running }));
    }
    // A training run at a shell holds the run's own lock.
    let _held = run.lock()?;
    let all = Versions::of(project)?;
    if let Some(promoted) = all.promotions()?.stack.last() {
        let versions = all.list()?;
        let inside = |v: &&crate::runs::Listed| v.version.id == *promoted && all.path(&v.version).starts_with(run.path());
        if versions.iter().any(|v| inside(&v)) {
            return Err(Fault::new("run_promoted", format!("{}: its result is the promoted model {promoted}", run.id()))
                .hint("promote_model another version first"));
        }
    }
    let fail = |e: std::io::Error| Fault::io("remove", run.path(), &e);
    let bytes = size(run.path());
    let hidden = run.path().with_file_name(format!("{TEMPORARY_PREFIX}{}", run.id()));
    std::fs::rename(run.path(), &hidden).map_err(fail)?;
    std::fs::remove_dir_all(&hidden).map_err(fail)?;
    Ok(bytes)
}

/// Bytes of all files below a folder; links are not followed.
fn size(folder: &Path) -> u64 {
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
        _ => 0,
    };
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(of).sum()
}
