//! The models of a project, versioned by their content, and which of them is promoted.
//!
//! ```text
//!   project/models/<id>.json       a version: what it is, where it lies, how it did; id = the content's SHA-256, shortened
//!   project/models/promoted.json   the promoted versions, the last one counts; written whole each time
//! ```
//!
//! Versions are found, not registered: each finished run's result and each export that a manifest tells of is one. What is
//! written down is what would take long to find out again. A run that was deleted leaves its version behind, marked as gone.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::list::list as list_runs;
use super::manifest::{Manifest, Status};
use crate::base::error::Fault;
use crate::base::hash::sha256_tree;
use crate::base::{atomic, clock};
use crate::config::Method;

/// Characters of the hash that name a version.
const ID_LENGTH: usize = 12;
const PROMOTED: &str = "promoted.json";

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What a run gave: an adapter.
    Adapter,
    /// What a run gave: a whole model.
    Model,
    /// An export of a run's result.
    Export,
}

/// A model by its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The first characters of the content's hash.
    pub id: String,
    /// SHA-256 of its content, as `base::hash::sha256_tree` makes it.
    pub sha256: String,
    /// What it is.
    pub kind: Kind,
    /// `peft`, `safetensors`, `gguf q4_k_m` and so on.
    pub format: String,
    /// Where it lies; relative to the project where it is inside.
    pub path: PathBuf,
    /// The run that gave it.
    pub run_id: String,
    /// The base that the run started from.
    pub base: Option<String>,
    /// When the run finished, or the export was made. UTC.
    pub created_at: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Best loss on the run's validation rows. These losses are the result's own: an export, whose
    /// weights are other ones, has none.
    pub best_loss: Option<f64>,
    /// Loss on the run's test rows.
    pub test_loss: Option<f64>,
    /// Loss of the base on them.
    pub base_test_loss: Option<f64>,
    /// Of an export: mean KL divergence from the live model that its proof measured, in nats.
    #[serde(default)]
    pub kl: Option<f64>,
    /// Of an export: share of positions whose likeliest token is the live model's.
    #[serde(default)]
    pub same_top: Option<f64>,
    /// Size and time of change of its files when it was hashed: while they stand, it is not hashed again.
    stamp: String,
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// The one that is promoted.
    pub promoted: bool,
    /// How its files are now.
    pub state: State,
}

/// How a version's files are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As they were hashed.
    There,
    /// Not any more.
    Gone,
    /// Of another size or written again since.
    Changed,
}

/// A promotion or the taking back of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// UTC.
    pub at: String,
    /// `promote` or `rollback`.
    pub action: String,
    /// The version that counts from then on; none after the first promotion was taken back.
    pub version: Option<String>,
}

/// `promoted.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotions {
    /// Promoted versions; the last one counts, a rollback takes it away.
    pub stack: Vec<String>,
    /// Everything that happened.
    pub log: Vec<Move>,
}

/// A model that a manifest tells of.
struct Found {
    kind: Kind,
    format: String,
    path: PathBuf,
    created_at: String,
    kl: Option<f64>,
    same_top: Option<f64>,
}

/// The models of one project.
#[derive(Debug, Clone)]
pub struct Versions {
    project: PathBuf,
}

impl Versions {
    /// Of a project folder.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn of(project: &Path) -> Result<Self, Fault> {
        let project = project.canonicalize().map_err(|e| Fault::io("open", project, &e))?;
        Ok(Self { project })
    }

    fn folder(&self) -> PathBuf {
        self.project.join("models")
    }

    /// Where a version lies.
    pub fn path(&self, v: &Version) -> PathBuf {
        self.project.join(&v.path)
    }

    /// All versions, the newest first.
    ///
    /// # Errors
    /// When a run's result or a record cannot be read or written.
    pub fn list(&self) -> Result<Vec<Listed>, Fault> {
        let mut all = self.recorded()?;
        for run in list_runs(&self.project)?.into_iter().filter(|r| r.status == Some(Status::Finished)) {
            let folder = RunFolder::open(&run.path)?;
            self.find_in(&folder, &folder.manifest()?, &mut all)?;
        }
        all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        let current = self.promotions()?.stack.last().cloned();
        let listed = |v: Version| Listed { promoted: current.as_ref() == Some(&v.id), state: self.state(&v), version: v };
        Ok(all.into_iter().map(listed).collect())
    }

    fn state(&self, v: &Version) -> State {
        match stamp(&self.path(v)) {
            None => State::Gone,
            Some((_, now)) if now == v.stamp => State::There,
            Some(_) => State::Changed,
        }
    }

    /// The result and the exports of a finished run.
    fn find_in(&self, run: &RunFolder, m: &Manifest, all: &mut Vec<Version>) -> Result<(), Fault> {
        let whole = m.config.training.method == Method::Full;
        let result = run.path().join("final-model");
        let (kind, format) = if whole { (Kind::Model, "safetensors") } else { (Kind::Adapter, "peft") };
        let made = m.finished_at.clone().unwrap_or_else(|| m.created_at.clone());
        self.note(run, m, all, Found { kind, format: format.into(), path: result, created_at: made, kl: None, same_top: None })?;
        for e in &m.exports {
            let text = |key: &str| e[key].as_str().unwrap_or_default().to_owned();
            let format = format!("{} {}", text("format"), text("type"));
            let (path, created_at) = (PathBuf::from(text("path")), text("created_at"));
            let (kl, same_top) = (e["proof"]["mean_kl"].as_f64(), e["proof"]["same_top"].as_f64());
            self.note(run, m, all, Found { kind: Kind::Export, format, path, created_at, kl, same_top })?;
        }
        Ok(())
    }

    /// Adds a version that is not yet written down.
    fn note(&self, run: &RunFolder, m: &Manifest, all: &mut Vec<Version>, found: Found) -> Result<(), Fault> {
        let Found { kind, format, path, created_at, kl, same_top } = found;
        let Some((bytes, stamp)) = stamp(&path) else { return Ok(()) };
        let inside = path.canonicalize().ok().and_then(|p| p.strip_prefix(&self.project).map(Path::to_path_buf).ok()).unwrap_or(path);
        // A record without the figures of its proof was made by an earlier version of the program.
        if all.iter().any(|v| v.path == inside && v.stamp == stamp && (v.kind != Kind::Export || v.kl == kl)) {
            return Ok(());
        }
        let sha256 = sha256_tree(&self.project.join(&inside))?;
        let id = sha256[..ID_LENGTH].to_owned();
        let is_result = kind != Kind::Export;
        let test = test_losses(run, m).filter(|_| is_result);
        let version = Version {
            sha256,
            kind,
            format,
            path: inside,
            run_id: m.run_id.clone(),
            base: m.base_model.as_ref().map(|b| b.id.clone()),
            created_at,
            bytes,
            best_loss: m.stages.last().and_then(|s| s.best_loss).filter(|_| is_result),
            test_loss: test.map(|t| t.1),
            base_test_loss: test.map(|t| t.0),
            kl,
            same_top,
            stamp,
            id,
        };
        let text = serde_json::to_string_pretty(&version).map_err(|e| Fault::new("io", e.to_string()))?;
        let record = self.folder().join(format!("{}.json", version.id));
        match all.iter_mut().find(|v| v.id == version.id) {
            // The same content elsewhere: where it lay first is where it lies, unless it is gone there.
            Some(known) if self.project.join(&known.path).exists() && known.path != version.path => return Ok(()),
            Some(known) => *known = version,
            None => all.push(version),
        }
        atomic::write_file(&record, text.as_bytes())
    }

    fn recorded(&self) -> Result<Vec<Version>, Fault> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for path in entries.flatten().map(|e| e.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with(".json") || name == PROMOTED || name.starts_with('.') {
                continue;
            }
            all.push(read_json(&path)?);
        }
        Ok(all)
    }

    /// A version by the beginning of its id, by its run, or `latest` or `promoted`.
    ///
    /// # Errors
    /// When none or several fit.
    pub fn find(&self, named: &str) -> Result<Listed, Fault> {
        let all = self.list()?;
        // A run's name means what it gave and still has.
        let of_run = |l: &Listed| l.version.kind != Kind::Export && l.state == State::There && l.version.run_id.starts_with(named);
        let fits: Vec<&Listed> = match named {
            "latest" => all.iter().take(1).collect(),
            "promoted" => all.iter().filter(|l| l.promoted).collect(),
            _ => match all.iter().filter(|l| l.version.id.starts_with(named)).collect::<Vec<_>>() {
                none if none.is_empty() => all.iter().filter(|l| of_run(l)).collect(),
                some => some,
            },
        };
        match fits.as_slice() {
            [one] => Ok((*one).clone()),
            [] if named == "promoted" => Err(Fault::new("version_not_found", "no version of this project is promoted")
                .hint("`tallow models list` shows them; `tallow models promote VERSION` promotes one")),
            [] => Err(Fault::new("version_not_found", format!("no version `{named}` in {}", self.project.display()))
                .hint("`tallow models list` shows the versions of a project")),
            several => {
                let names: Vec<&str> = several.iter().map(|l| l.version.id.as_str()).collect();
                Err(Fault::new("version_ambiguous", format!("`{named}` fits several versions: {}", names.join(", ")))
                    .hint("give more of its id"))
            }
        }
    }

    /// What was promoted and taken back.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn promotions(&self) -> Result<Promotions, Fault> {
        let path = self.folder().join(PROMOTED);
        if path.is_file() { read_json(&path) } else { Ok(Promotions::default()) }
    }

    /// Makes a version the one that counts, after its files were hashed again.
    ///
    /// # Errors
    /// When there is no such version, its files are gone or are not what they were, or it is promoted already.
    pub fn promote(&self, named: &str) -> Result<Version, Fault> {
        let found = self.find(named)?;
        let version = found.version;
        self.verify(&version)?;
        self.change(|p| {
            if p.stack.last() == Some(&version.id) {
                return Err(Fault::new("already_promoted", format!("version {} is promoted already", version.id)));
            }
            p.stack.push(version.id.clone());
            p.log.push(Move { at: clock::now_utc(), action: "promote".into(), version: Some(version.id.clone()) });
            Ok(())
        })?;
        Ok(version)
    }

    /// Takes the last promotion back; the version that counts now.
    ///
    /// # Errors
    /// When none was promoted, or the files of the one before are gone or are not what they were.
    pub fn rollback(&self) -> Result<Option<Version>, Fault> {
        let all = self.list()?;
        let mut back = None;
        self.change(|p| {
            p.stack.pop().ok_or_else(|| {
                Fault::new("nothing_promoted", "no version of this project is promoted")
                    .hint("`tallow models promote VERSION` promotes one")
            })?;
            if let Some(id) = p.stack.last() {
                let gone = || Fault::new("version_gone", format!("version {id}, which was promoted before, has left no record"));
                let version = all.iter().find(|l| l.version.id == *id).map(|l| l.version.clone()).ok_or_else(gone)?;
                self.verify(&version)?;
                back = Some(version);
            }
            p.log.push(Move { at: clock::now_utc(), action: "rollback".into(), version: p.stack.last().cloned() });
            Ok(())
        })?;
        Ok(back)
    }

    /// Whether the files are still what they were.
    fn verify(&self, v: &Version) -> Result<(), Fault> {
        let path = self.path(v);
        if !path.exists() {
            return Err(Fault::new("version_gone", format!("the files of version {} are gone: {}", v.id, path.display()))
                .hint("promote another version, or put them back"));
        }
        if sha256_tree(&path)? == v.sha256 {
            return Ok(());
        }
        Err(Fault::new("version_changed", format!("{} is no longer what version {} was: its content has changed", path.display(), v.id))
            .hint("`tallow models list` gives the new content a version of its own, if it is a run's result"))
    }

    /// Reads, changes and writes the promotions; one process at a time.
    fn change(&self, f: impl FnOnce(&mut Promotions) -> Result<(), Fault>) -> Result<(), Fault> {
        let folder = self.folder();
        atomic::create_dir_all(&folder)?;
        let path = folder.join(".lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
        lock.lock().map_err(|e| Fault::io("lock", &path, &e))?;
        let mut promotions = self.promotions()?;
        f(&mut promotions)?;
        let text = serde_json::to_string_pretty(&promotions).map_err(|e| Fault::new("io", e.to_string()))?;
        atomic::write_file(&folder.join(PROMOTED), text.as_bytes())
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
    serde_json::from_str(&text).map_err(|e| {
        Fault::new("version_damaged", format!("{}:{}: {e}", path.display(), e.line()))
            .hint("the file was changed by hand; a version's record may be removed, it is made again")
    })
}

/// Bytes of a file or folder, and what changes when its files change.
fn stamp(path: &Path) -> Option<(u64, String)> {
    let (mut bytes, mut newest, mut files) = (0, 0, 0);
    let mut open = vec![path.to_path_buf()];
    while let Some(at) = open.pop() {
        let meta = std::fs::metadata(&at).ok()?;
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&at).ok()?.flatten().map(|e| e.path()));
        } else {
            let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            (bytes, newest, files) = (bytes + meta.len(), newest.max(changed.as_nanos()), files + 1);
        }
    }
    (files > 0).then(|| (bytes, format!("{files} files, {bytes} bytes, {newest}")))
}

/// Losses of base and tuned model on the test rows.
fn test_losses(run: &RunFolder, m: &Manifest) -> Option<(f64, f64)> {
    let path = m.stages.iter().rev().flat_map(|s| s.evaluation.iter()).find(|p| p.ends_with("test.json"))?;
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(run.path().join(path)).ok()?).ok()?;
    Some((json["base"]["loss"].as_f64()?, json["tuned"]["loss"].as_f64()?))
}
