//! The cache's folders, as Python's `huggingface_hub` lays them out, so that both share what is there.
//!
//! ```text
//!   models--owner--name/blobs/HASH                    a file's bytes, by its hash; HASH.incomplete while it comes
//!   models--owner--name/snapshots/COMMIT/config.json  a link to its blob
//!   models--owner--name/refs/main                     the commit that a branch or tag stood for
//!   .locks/models--owner--name/HASH.lock              held while a blob is written
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, Metadata, OpenOptions};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::client::Refused;
use crate::base::{atomic, cancel};

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A model.
    Model,
    /// Rows.
    Dataset,
}

impl Kind {
    /// As its folders and the Hub's API call it.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// True for a path of plain names, which stays below the folder that it is joined to.
pub(super) fn stays_below(path: &str) -> bool {
    let plain = |c: Component| matches!(c, Component::Normal(_));
    !path.is_empty() && !path.contains(['\\', '\0']) && Path::new(path).components().all(plain)
}

/// A repository in a cache.
#[derive(Debug, Clone)]
pub(super) struct Store {
    cache: PathBuf,
    folder: PathBuf,
}

impl Store {
    pub(super) fn new(cache: &Path, kind: Kind, id: &str) -> Self {
        let name = format!("{}--{}", kind.plural(), id.replace('/', "--"));
        Self { cache: cache.to_path_buf(), folder: cache.join(name) }
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Where the bytes of a blob are gathered.
    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The folder of a revision: of the commit that its name stood for, or of a commit.
    pub(super) fn revision(&self, revision: &str) -> Option<PathBuf> {
        let named = Some(revision).filter(|r| stays_below(r)).map(|r| self.folder.join("refs").join(r));
        let commit = named.and_then(|path| std::fs::read_to_string(path).ok());
        let commit = commit.as_deref().map_or(revision, str::trim);
        Some(self.snapshot(commit)).filter(|folder| stays_below(commit) && folder.is_dir())
    }

    /// Remembers what commit a name stands for.
    pub(super) fn name(&self, revision: &str, commit: &str) -> Result<(), Refused> {
        if revision == commit || !stays_below(revision) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if std::fs::read_to_string(&path).is_ok_and(|old| old.trim() == commit) {
            return Ok(());
        }
        atomic::write_file(&path, commit.as_bytes()).map_err(|e| Refused::Kept(format!("the cache cannot be written: {e}")))
    }

    /// Shows a blob under its name in a snapshot.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf, Refused> {
        let at = self.snapshot(commit).join(file);
        let fail = |e: std::io::Error| Refused::Kept(format!("{}: the cache cannot be written: {e}", at.display()));
        let folder = at.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(fail)?;
        let up = "../".repeat(2 + file.matches('/').count());
        // A link that leads nowhere is replaced.
        if at.symlink_metadata().is_ok() {
            std::fs::remove_file(&at).map_err(fail)?;
        }
        match symlink(Path::new(&format!("{up}blobs/{etag}")), &at) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(at),
            // Where there are no links, the file itself stands in the snapshot.
            Err(_) => std::fs::rename(self.blob(etag), &at).map_err(fail).map(|()| at.clone()),
            Ok(()) => Ok(at),
        }
    }

    /// Waits until no other program writes this blob. Where locks do not work, the hash of the result still decides.
    pub(super) fn lock(&self, etag: &str) -> Result<Option<File>, Refused> {
        let folder = self.cache.join(".locks").join(self.folder.file_name().unwrap_or_default());
        let fail = |e: std::io::Error| Refused::Kept(format!("{}: the cache cannot be written: {e}", folder.display()));
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let path = folder.join(format!("{etag}.lock"));
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(fail)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::WouldBlock) => super::client::sleep(Duration::from_millis(100)),
                Err(std::fs::TryLockError::Error(_)) => return Ok(None),
            }
        }
    }
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn symlink(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(to, at)
}

/// Bytes that the disk of a folder has left; `None` where the system does not say.
pub(super) fn room(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|f| f.is_dir())?;
    #[cfg(unix)]
    return rustix::fs::statvfs(existing).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    #[cfg(not(unix))]
    return Some(existing).and(None);
}

/// A commit of a repository in the cache.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// Branches and tags that stood for it when they were last fetched; none: nothing leads to it any more.
    pub refs: Vec<String>,
    /// Its folder.
    pub path: PathBuf,
    /// Files in it.
    pub files: usize,
    /// Whether weights are among them.
    pub has_weights: bool,
    /// Blobs that no other commit of the cache uses, in bytes.
    pub own_bytes: u64,
    #[serde(skip)]
    pub(super) blobs: HashSet<PathBuf>,
}

/// A repository in the cache.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CachedRepo {
    /// What it holds.
    pub kind: Kind,
    /// `owner/name`.
    pub id: String,
    /// Its folder in the cache.
    pub path: PathBuf,
    /// What it takes on the disk, halves of broken downloads included.
    pub bytes: u64,
    /// Of these: halves of downloads that broke off or are under way.
    pub incomplete_bytes: u64,
    /// When one of its files was last read, as far as the file system keeps account.
    pub last_used: Option<SystemTime>,
    /// Its commits.
    pub revisions: Vec<CachedRevision>,
    /// The halves.
    #[serde(skip)]
    pub incomplete: Vec<PathBuf>,
}

/// All files below a folder, links not followed.
fn files_below(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let (mut open, mut found) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = open.pop() {
        cancel::checkpoint();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => open.push(entry.path()),
                Ok(data) => found.push((entry.path(), data)),
                Err(_) => {}
            }
        }
    }
    found
}

/// The models and datasets of a cache, the largest first.
pub(super) fn scan(cache: &Path) -> Vec<CachedRepo> {
    let mut repos = Vec::new();
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of = |kind: Kind| Some((kind, name.strip_prefix(kind.plural())?.strip_prefix("--")?.replace("--", "/")));
        if let Some((kind, id)) = of(Kind::Model).or_else(|| of(Kind::Dataset))
            && entry.path().is_dir()
        {
            repos.push(look_at(kind, id, entry.path()));
        }
    }
    repos.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
    repos
}

/// Whether a file's name is that of weights.
fn is_weights(name: &str) -> bool {
    [".safetensors", ".gguf", ".bin"].iter().any(|end| name.ends_with(end))
}

/// Models of which a commit with weights is there, in order.
pub(super) fn models_with_weights(cache: &Path) -> Vec<String> {
    let names = |folder: &Path| -> Vec<(PathBuf, String)> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| (e.path(), e.file_name().to_string_lossy().into_owned())).collect()
    };
    let has_weights = |repo: &Path| {
        let commits = names(&repo.join("snapshots")).into_iter().filter(|(_, name)| !name.starts_with('.'));
        commits.into_iter().any(|(commit, _)| names(&commit).iter().any(|(_, file)| is_weights(file)))
    };
    let mut all: Vec<String> = names(cache)
        .into_iter()
        .filter_map(|(path, name)| Some((path, name.strip_prefix("models--")?.replace("--", "/"))))
        .filter(|(path, _)| has_weights(path))
        .map(|(_, id)| id)
        .collect();
    all.sort();
    all
}

fn look_at(kind: Kind, id: String, path: PathBuf) -> CachedRepo {
    let mut refs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let names = path.join("refs");
    for (file, _) in files_below(&names) {
        let name = file.strip_prefix(&names).unwrap_or(&file).to_string_lossy().into_owned();
        if let Ok(commit) = std::fs::read_to_string(&file) {
            refs.entry(commit.trim().to_owned()).or_default().push(name);
        }
    }
    let (mut bytes, mut incomplete_bytes, mut last_used, mut incomplete) = (0, 0, None, Vec::new());
    let mut sizes = BTreeMap::new();
    let mut count = |data: &Metadata| {
        bytes += data.len();
        last_used = last_used.max(data.accessed().ok());
    };
    for (file, data) in files_below(&path.join("blobs")) {
        count(&data);
        // The older name is that of the Rust client.
        if file.extension().is_some_and(|e| e == "incomplete" || e == "part") {
            incomplete_bytes += data.len();
            incomplete.push(file);
        } else {
            sizes.insert(file, data.len());
        }
    }
    let mut revisions = Vec::new();
    for entry in std::fs::read_dir(path.join("snapshots")).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        let commit = entry.file_name().to_string_lossy().into_owned();
        if commit.starts_with('.') {
            continue;
        }
        let mut revision = CachedRevision {
            refs: refs.get(&commit).cloned().unwrap_or_default(),
            path: entry.path(),
            files: 0,
            has_weights: false,
            own_bytes: 0,
            blobs: HashSet::new(),
            commit,
        };
        for (file, data) in files_below(&entry.path()) {
            revision.files += 1;
            let name = file.to_string_lossy();
            revision.has_weights |= is_weights(&name);
            if data.is_symlink() {
                revision.blobs.extend(file.canonicalize());
            } else {
                count(&data);
                revision.own_bytes += data.len();
            }
        }
        revisions.push(revision);
    }
    own_bytes(&mut revisions, &sizes);
    revisions.sort_by(|a, b| b.refs.len().cmp(&a.refs.len()).then_with(|| a.commit.cmp(&b.commit)));
    CachedRepo { kind, id, path, bytes, incomplete_bytes, last_used, revisions, incomplete }
}

fn own_bytes(revisions: &mut [CachedRevision], sizes: &BTreeMap<PathBuf, u64>) {
    let mut users: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for blob in revisions.iter().flat_map(|r| &r.blobs) {
        *users.entry(blob.clone()).or_default() += 1;
    }
    let sizes: BTreeMap<PathBuf, u64> = sizes.iter().filter_map(|(p, n)| Some((p.canonicalize().ok()?, *n))).collect();
    for revision in revisions {
        let own = revision.blobs.iter().filter(|b| users.get(*b) == Some(&1));
        revision.own_bytes += own.filter_map(|b| sizes.get(b)).sum::<u64>();
    }
}

impl CachedRepo {
    /// Deletes everything of it.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn delete(&self) -> std::io::Result<()> {
        // Out of sight at once, so that nobody finds half of it.
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = self.path.with_file_name(format!(".deleted-{name}-{}", std::process::id()));
        std::fs::rename(&self.path, &aside)?;
        // With what a deletion that was killed left behind.
        let beside = self.path.parent().into_iter().flat_map(std::fs::read_dir).flatten().flatten();
        for gone in beside.filter(|e| e.file_name().to_string_lossy().starts_with(".deleted-")) {
            std::fs::remove_dir_all(gone.path())?;
        }
        Ok(())
    }

    /// Deletes one commit of it, with the blobs that no other uses.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn delete_revision(&self, commit: &str) -> std::io::Result<()> {
        let Some(gone) = self.revisions.iter().find(|r| r.commit == commit) else { return Ok(()) };
        for name in &gone.refs {
            std::fs::remove_file(self.path.join("refs").join(name))?;
        }
        let aside = self.path.join(format!("snapshots/.deleted-{commit}"));
        std::fs::rename(&gone.path, &aside)?;
        let others: HashSet<&PathBuf> = self.revisions.iter().filter(|r| r.commit != commit).flat_map(|r| &r.blobs).collect();
        let home = self.path.canonicalize()?;
        // A blob of a store that several repositories share is not this repository's to delete.
        for blob in gone.blobs.iter().filter(|b| !others.contains(b) && b.starts_with(&home)) {
            std::fs::remove_file(blob)?;
        }
        std::fs::remove_dir_all(&aside)
    }
}
