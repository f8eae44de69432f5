//! The Hugging Face Hub: models and datasets into its ordinary cache, searches, and what the cache holds.
//!
//! ```text
//!   client     requests: the token stays at home, what is busy is asked again, silence has an end
//!   cache      the folders that Python's huggingface_hub knows too; what is in them; deleting
//!   download   one file: taken up where it broke off, checked by its hash
//!   search     models and datasets by words
//! ```

mod cache;
mod client;
mod download;
mod search;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use self::cache::{Store, stays_below};
use self::client::{Client, escaped};
use self::download::{Download, RemoteFile};
use super::error::{Error, Result};
use super::weights::weight_files;

pub use self::cache::{CachedRepo, CachedRevision, Kind};
pub use self::client::Refused;
pub use self::search::{
    FoundDataset, FoundModel, Query, Sort, datasets as search_datasets, model as found_model, models as search_models, small_files,
};

/// The longest wait of a download for a Hub that is too busy: its limits are over windows of five minutes.
const PATIENCE: Duration = Duration::from_secs(330);

/// How the Hub is reached.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// Another address than `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// Another cache folder than `$HF_HOME/hub` or `~/.cache/huggingface/hub`.
    pub cache_dir: Option<PathBuf>,
    /// Access token; without one that of the file beside the cache.
    pub token: Option<String>,
    /// Only the cache, no network.
    pub offline: bool,
    /// Everything but the weights: enough to predict what a run will take.
    pub without_weights: bool,
    /// How long a connection may be silent; `None`: half a minute.
    pub silence: Option<Duration>,
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

impl HubOptions {
    /// From `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_HUB_DOWNLOAD_TIMEOUT` (seconds).
    pub fn from_env() -> Self {
        let on = |v: String| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        let seconds = var("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|v| v.parse::<u64>().ok()).filter(|s| *s > 0);
        Self {
            endpoint: var("HF_ENDPOINT").map(|e| e.trim_end_matches('/').to_owned()),
            cache_dir: var("HF_HUB_CACHE").map(PathBuf::from),
            token: var("HF_TOKEN"),
            offline: var("HF_HUB_OFFLINE").is_some_and(on),
            without_weights: false,
            silence: seconds.map(Duration::from_secs),
        }
    }

    /// The folder of the cache.
    pub fn cache(&self) -> PathBuf {
        let home = || var("HF_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")));
        self.cache_dir.clone().unwrap_or_else(|| home().unwrap_or_else(std::env::temp_dir).join("hub"))
    }

    /// The access token: its own, or that of the file beside the cache.
    pub fn token(&self) -> Option<String> {
        let beside = || std::fs::read_to_string(self.cache().with_file_name("token")).ok();
        self.token.clone().or_else(|| beside().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
    }
}

/// The folder of the cache, as the environment says.
pub fn cache_folder() -> PathBuf {
    HubOptions::from_env().cache()
}

/// The access token that is used: of the environment, or of the file beside the cache.
pub fn access_token() -> Option<String> {
    HubOptions::from_env().token()
}

/// The models and datasets in the cache, the largest first.
pub fn cached_repos(options: &HubOptions) -> Vec<CachedRepo> {
    cache::scan(&options.cache())
}

/// Models of which a commit with weights is in the cache, by id and in order. No file is opened.
pub fn models_with_weights(options: &HubOptions) -> Vec<String> {
    cache::models_with_weights(&options.cache())
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
    let told = |message: String, hint: Option<String>| Error::Hub { model: model.to_owned(), revision: revision.to_owned(), message, hint };
    let bad = |message: String| told(message, None);
    if !is_id(model) {
        return Err(told("is no id of the Hub".into(), Some("an id is OWNER/NAME, of letters, digits, `-`, `_` and `.`".into())));
    }
    let store = Store::new(&options.cache(), Kind::Model, model);
    let here = || cached(options, &store, revision);
    if options.offline {
        return here().ok_or_else(|| bad("is not in the cache, and offline mode is on".into()));
    }
    let said = |e: Refused| told(e.to_string(), Some(e.hint()));
    let client = Client::new(options, PATIENCE).map_err(said)?;
    let listing = match Listing::of(&client, Kind::Model, model, revision) {
        Ok(listing) => listing,
        // Without a network, what is in the cache still serves.
        Err(e) => return here().filter(|_| e.is_silence()).ok_or_else(|| said(e)),
    };
    let files: Vec<RemoteFile> = listing.files.iter().filter(|f| is_wanted(&f.path)).cloned().collect();
    if !files.iter().any(|f| f.path == "config.json") {
        return Err(bad("has no config.json: it is not a transformers model".into()));
    }
    if !files.iter().any(|f| f.path.ends_with(".safetensors")) {
        return Err(bad("has no safetensors weights".into()));
    }
    let skipped = |f: &RemoteFile| options.without_weights && f.path.ends_with(".safetensors");
    let files: Vec<RemoteFile> = files.into_iter().filter(|f| !skipped(f)).collect();
    let download = Download { client: &client, store: &store, kind: Kind::Model, id: model, listing: &listing };
    download.check_room(&files).map_err(said)?;
    for (i, file) in files.iter().enumerate() {
        on_file(&file.path, i + 1, files.len());
        download.file(file).map_err(|e| told(format!("{}: {e}", file.path), Some(e.hint())))?;
    }
    store.name(revision, &listing.commit).map_err(said)?;
    Ok(store.snapshot(&listing.commit))
}

/// Whether a text is the id of a repository: a name, or an owner and a name.
pub fn is_id(text: &str) -> bool {
    let part = |p: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !p.is_empty() && p.len() <= 96 && !p.starts_with(['.', '-']) && !p.contains("..") && p.chars().all(plain)
    };
    text.matches('/').count() <= 1 && text.split('/').all(part)
}

/// What a repository holds at a commit.
#[derive(Debug)]
struct Listing {
    commit: String,
    files: Vec<RemoteFile>,
}

impl Listing {
    /// All files are of one version: the commit that the revision stands for now.
    fn of(client: &Client, kind: Kind, id: &str, revision: &str) -> std::result::Result<Self, Refused> {
        let all = client.json(&format!("/api/{}/{id}/revision/{}?blobs=true", kind.plural(), escaped(revision)))?;
        let commit = all["sha"].as_str().unwrap_or_default().to_owned();
        if !stays_below(&commit) || commit.contains('/') {
            return Err(Refused::Answer(format!("`{commit}` is no commit")));
        }
        let file = |f: &Value| {
            let large = &f["lfs"];
            let etag = large["sha256"].as_str().or_else(|| large["oid"].as_str()).or_else(|| f["blobId"].as_str());
            let bytes = large["size"].as_u64().or_else(|| f["size"].as_u64());
            Some(RemoteFile { path: f["rfilename"].as_str()?.to_owned(), etag: etag.map(str::to_owned), bytes })
        };
        let files = all["siblings"].as_array().into_iter().flatten().filter_map(file);
        Ok(Self { commit, files: files.filter(|f| stays_below(&f.path)).collect() })
    }
}

/// The folder of a model whose files are all in the cache, the weights included unless they are not wanted.
fn cached(options: &HubOptions, store: &Store, revision: &str) -> Option<PathBuf> {
    let folder = store.revision(revision).filter(|folder| folder.join("config.json").is_file())?;
    (options.without_weights || weight_files(&folder).is_ok()).then_some(folder)
}

/// Files in the top folder that loading or tokenising reads.
fn is_wanted(file: &str) -> bool {
    let tail = |e: &str| file.ends_with(e);
    let original = file.contains('/') || file.starts_with("consolidated");
    !original
        && (tail(".safetensors") || tail(".json") || tail(".jinja") || tail(".model") || tail("merges.txt") || file.starts_with("LICENSE"))
}

/// Model id and commit of a folder inside a Hub cache.
pub(crate) fn model_of(folder: &Path) -> Option<(String, String)> {
    let commit = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repo = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    (snapshots.file_name()? == "snapshots").then(|| (repo.replace("--", "/"), commit.to_owned()))
}
