//! Models from the Hugging Face Hub, through its ordinary cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::error::{Error, Result};
use super::weights::weight_files;
use crate::base::{cancel, progress};

/// Tries after the first, for a file.
const RETRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How the Hub is reached.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// Another address than `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// Another cache folder than `$HF_HOME/hub` or `~/.cache/huggingface/hub`.
    pub cache_dir: Option<PathBuf>,
    /// Access token.
    pub token: Option<String>,
    /// Only the cache, no network.
    pub offline: bool,
    /// Everything but the weights: enough to predict what a run will take.
    pub without_weights: bool,
}

impl HubOptions {
    /// From `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let on = |v: String| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        Self {
            endpoint: var("HF_ENDPOINT").map(|e| e.trim_end_matches('/').to_owned()),
            cache_dir: var("HF_HUB_CACHE").map(PathBuf::from),
            token: var("HF_TOKEN"),
            offline: var("HF_HUB_OFFLINE").is_some_and(on),
            without_weights: false,
        }
    }

    fn cache(&self) -> Cache {
        self.cache_dir.clone().map_or_else(Cache::from_env, Cache::new)
    }
}

/// The folder of the cache, as the environment says.
pub fn cache_folder() -> PathBuf {
    HubOptions::from_env().cache().path().clone()
}

/// The access token that is used: of the environment, or of the file beside the cache.
pub fn access_token() -> Option<String> {
    let options = HubOptions::from_env();
    options.token.clone().or_else(|| options.cache().token())
}

/// Brings a model into the cache, as the environment says (see [`HubOptions::from_env`]), and returns its folder.
///
/// # Errors
/// When the Hub cannot be reached or refuses, or offline when the model is not in the cache.
pub fn fetch(model: &str, revision: &str) -> Result<PathBuf> {
    fetch_with(&HubOptions::from_env(), model, revision, &mut |_, _, _| {})
}

/// The same with these options. `on_file` hears each file's name, its number and how many there are.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_with(options: &HubOptions, model: &str, revision: &str, on_file: &mut dyn FnMut(&str, usize, usize)) -> Result<PathBuf> {
    let bad = |message: String| Error::Hub { model: model.to_owned(), revision: revision.to_owned(), message };
    if options.offline {
        return cached(options, model, revision).ok_or_else(|| bad("is not in the cache, and offline mode is on".into()));
    }
    let mut builder = ApiBuilder::from_cache(options.cache()).with_progress(false);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if options.token.is_some() {
        builder = builder.with_token(options.token.clone());
    }
    let api = builder.build().map_err(|e| bad(reason(&e)))?;
    let asked = api.repo(Repo::with_revision(model.to_owned(), RepoType::Model, revision.to_owned()));
    let info = match asked.info() {
        Ok(info) => info,
        // Without a network, what is in the cache still serves.
        Err(e) => return cached(options, model, revision).filter(|_| no_answer(&e)).ok_or_else(|| bad(reason(&e))),
    };
    // The commit is pinned, so that all files are of one version.
    let pinned = Repo::with_revision(model.to_owned(), RepoType::Model, info.sha.clone());
    let files: Vec<String> = info.siblings.into_iter().map(|s| s.rfilename).filter(|f| is_wanted(f)).collect();
    if !files.iter().any(|f| f == "config.json") {
        return Err(bad("has no config.json: it is not a transformers model".into()));
    }
    if !files.iter().any(|f| f.ends_with(".safetensors")) {
        return Err(bad("has no safetensors weights".into()));
    }
    let skipped = |f: &String| options.without_weights && f.ends_with(".safetensors");
    let files: Vec<String> = files.into_iter().filter(|f| !skipped(f)).collect();
    let repo: ApiRepo = api.repo(pinned.clone());
    let store = options.cache().repo(pinned);
    let mut folder = None;
    for (i, file) in files.iter().enumerate() {
        on_file(file, i + 1, files.len());
        // By its commit, whichever program put it there: the client looks only under names that it has written itself.
        let there = Some(store.pointer_path(&info.sha).join(file)).filter(|p| p.is_file());
        let path = there.map_or_else(|| download(&repo, &store, file), Ok).map_err(|e| bad(format!("{file}: {}", reason(&e))))?;
        if file == "config.json" {
            folder = path.parent().map(Path::to_path_buf);
        }
    }
    let by_name = options.cache().repo(Repo::with_revision(model.to_owned(), RepoType::Model, revision.to_owned()));
    by_name.create_ref(&info.sha).map_err(|e| bad(format!("the cache cannot be written: {e}")))?;
    folder.ok_or_else(|| bad("config.json did not arrive".into()))
}

/// A transfer may be broken off between its pieces; what has arrived is taken up by the next try.
#[derive(Default)]
struct Breath {
    what: String,
    done: usize,
    total: usize,
}

impl hf_hub::api::Progress for Breath {
    fn init(&mut self, size: usize, filename: &str) {
        (self.what, self.total) = (format!("downloading {filename}"), size);
    }

    fn update(&mut self, size: usize) {
        cancel::checkpoint();
        self.done += size;
        let megabytes = |bytes: usize| bytes.div_ceil(1_000_000) as u64;
        progress::report(&self.what, "MB", megabytes(self.done), megabytes(self.total));
    }

    fn finish(&mut self) {}
}

/// One file, into the cache; what an earlier try left behind is taken up. The client's own retries are not used: after a
/// resumed transfer that fails at once they write the file behind its own half.
fn download(repo: &ApiRepo, store: &CacheRepo, file: &str) -> Result<PathBuf, ApiError> {
    let mut failed = 0;
    loop {
        let error = match repo.download_with_progress(file, Breath::default()) {
            Ok(path) => return Ok(path),
            Err(e) => e,
        };
        let text = error.to_string();
        // A half that is too long, or is the whole already, cannot be taken up.
        let useless = matches!(error, ApiError::InvalidResume) || text.contains("status: 416");
        failed += 1;
        if failed > RETRIES || !(useless || no_answer(&error) || text.contains("status: 5")) {
            return Err(error);
        }
        if useless {
            let halves = std::fs::read_dir(store.blob_path(""))?.flatten().map(|f| f.path());
            for half in halves.filter(|p| p.extension().is_some_and(|e| e == "part")) {
                std::fs::remove_file(half)?;
            }
        } else {
            std::thread::sleep(FIRST_WAIT * failed * failed);
        }
    }
}

/// The folder of a model whose files are all in the cache, the weights included unless they are not wanted.
fn cached(options: &HubOptions, model: &str, revision: &str) -> Option<PathBuf> {
    let cache = options.cache();
    let repo = |r: &str| cache.repo(Repo::with_revision(model.to_owned(), RepoType::Model, r.to_owned()));
    let by_name = repo(revision).get("config.json");
    let by_commit = || Some(repo(revision).pointer_path(revision).join("config.json")).filter(|p| p.is_file());
    let folder = by_name.or_else(by_commit)?.parent()?.to_path_buf();
    (options.without_weights || weight_files(&folder).is_ok()).then_some(folder)
}

/// Files in the top folder that loading or tokenising reads.
fn is_wanted(file: &str) -> bool {
    let tail = |e: &str| file.ends_with(e);
    let original = file.contains('/') || file.starts_with("consolidated");
    !original
        && (tail(".safetensors") || tail(".json") || tail(".jinja") || tail(".model") || tail("merges.txt") || file.starts_with("LICENSE"))
}

/// True when nothing answered, as opposed to an answer that refuses.
fn no_answer(e: &ApiError) -> bool {
    match e {
        // The client's error type is not re-exported; an answer with a status prints as one.
        ApiError::RequestError(e) => !e.to_string().contains("status"),
        ApiError::IoError(_) => true,
        _ => false,
    }
}

fn reason(e: &ApiError) -> String {
    let text = e.to_string();
    let hint = if text.contains("401") || text.contains("403") {
        ": access is refused: the model is gated or private and needs a valid HF_TOKEN, or there is none of this name"
    } else if text.contains("404") {
        ": there is no such model or revision"
    } else {
        ""
    };
    format!("{text}{hint}")
}

/// Model id and commit of a folder inside a Hub cache.
pub(crate) fn model_of(folder: &Path) -> Option<(String, String)> {
    let commit = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repo = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    (snapshots.file_name()? == "snapshots").then(|| (repo.replace("--", "/"), commit.to_owned()))
}
