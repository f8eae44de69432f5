//! The Hugging Face Hub: searches that say what fits this machine, downloads, and the cache.

mod prune;
mod search;

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::models;
use crate::base::error::Fault;
use crate::model::hub::{self, CachedRepo, HubOptions, Kind};

pub use self::prune::{PruneReport, PruneRequest, Removal, prune};
pub use self::search::{
    DatasetHit, DatasetsFound, Fit, Machine, ModelHit, ModelsFound, Search, datasets, family_of, models as search_models,
};

/// A model that was brought into the cache.
#[derive(Debug, Clone, Serialize)]
pub struct Downloaded {
    /// `owner/name`.
    pub model: String,
    /// The commit.
    pub commit: String,
    /// Its folder, which every command takes as well as the id.
    pub path: PathBuf,
    /// What the folder's files take.
    pub bytes: u64,
    /// Of these, what was not in the cache before.
    pub fetched_bytes: u64,
}

/// Brings a model into the cache; what broke off before is taken up.
///
/// # Errors
/// When the name is no Hub id; offline; when the Hub cannot be reached or refuses, or the disk has no room.
pub fn download(model: &str, revision: Option<&str>) -> Result<Downloaded, Fault> {
    if !models::is_hub_id(model) {
        return Err(Fault::new("usage", format!("`{model}` is no id of the Hub")).hint("give owner/name, for example Qwen/Qwen3-0.6B"));
    }
    let options = HubOptions::from_env();
    let size = || bytes_of(&options, model);
    let before = size();
    let path = hub::fetch_with(&options, model, revision.unwrap_or("main"), &mut |_, _, _| {})?;
    let files = std::fs::read_dir(&path).into_iter().flatten().flatten();
    // Through the links: what the files hold.
    let bytes = files.filter_map(|e| Some(std::fs::metadata(e.path()).ok()?.len())).sum();
    let commit = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Downloaded { model: model.to_owned(), commit, path, bytes, fetched_bytes: size().saturating_sub(before) })
}

fn bytes_of(options: &HubOptions, model: &str) -> u64 {
    hub::cached_repos(options).iter().filter(|r| r.kind == Kind::Model && r.id == model).map(|r| r.bytes).sum()
}

/// What the cache holds.
#[derive(Debug, Clone, Serialize)]
pub struct CacheReport {
    /// Its folder, which other programs share.
    pub folder: PathBuf,
    /// All of it, in bytes.
    pub bytes: u64,
    /// Its models and datasets, the largest first.
    pub repos: Vec<CachedRepo>,
}

/// Looks through the cache.
pub fn cache() -> CacheReport {
    let options = HubOptions::from_env();
    let repos = hub::cached_repos(&options);
    CacheReport { folder: options.cache(), bytes: repos.iter().map(|r| r.bytes).sum(), repos }
}

/// Models whose weights are in the cache, by id. Looks at names alone: no file is opened.
pub fn cached_models() -> Vec<String> {
    hub::models_with_weights(&HubOptions::from_env())
}

/// Days since a moment, whole ones.
pub fn days_since(time: SystemTime) -> u64 {
    time.elapsed().map_or(0, |t| t.as_secs() / 86_400)
}
