//! The record of a model that is served.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::offer::ServeRequest;
use crate::base::atomic;
use crate::base::error::Fault;
use crate::cloud::Ledger;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServeStage {
    /// Nothing is made yet.
    Begun,
    /// The model's files are here.
    Exported,
    /// They are where workers read them.
    Stored,
    /// The endpoint is there.
    Made,
    /// It has answered a request.
    Answered,
    /// Nothing of it is left.
    Ended,
}

impl ServeStage {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Exported => "exported",
            Self::Stored => "stored",
            Self::Made => "made",
            Self::Answered => "answered",
            Self::Ended => "ended",
        }
    }
}

/// A file on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// As the volume's interface names this content.
    pub etag: String,
}

/// A model that is served, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// Its tag: names of what is made for it hold it.
    pub tag: String,
    /// What was asked for.
    pub wish: ServeRequest,
    /// GPU pools, as they were offered.
    pub pools: Vec<String>,
    /// Where the volume is, as it was offered; empty without one.
    pub data_center: String,
    /// GB of a volume that is made for it; 0: none is.
    pub volume_gb: u32,
    /// How far it is.
    pub stage: ServeStage,
    /// The volume, once it is known.
    pub volume_id: Option<String>,
    /// Its files there.
    pub files: BTreeMap<String, Stored>,
    /// The endpoint, once it is known.
    pub endpoint_id: Option<String>,
    /// The request that was sent.
    pub request_id: Option<String>,
    /// What came back, as the worker gave it.
    pub answer: Option<serde_json::Value>,
    /// When it was begun, by the service's clock, UTC.
    pub created_at: String,
    /// Why it ended.
    pub end: Option<String>,
    /// The folder of records.
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// The folder of records, beside the ledger's own.
pub(super) fn folder(ledger: &Ledger) -> PathBuf {
    ledger.folder().join("served")
}

impl Serving {
    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.tag))
    }

    /// Where a process that works on it writes.
    pub fn log_path(&self) -> PathBuf {
        self.path().with_extension("log")
    }

    /// Where the model's files are until they are sent.
    pub(super) fn model_folder(&self) -> PathBuf {
        self.folder.join(&self.tag)
    }

    /// The name of the volume that is made for it.
    pub(super) fn volume_name(&self) -> String {
        format!("tallow-{}", self.tag)
    }

    /// The name of its endpoint.
    pub fn endpoint_name(&self) -> String {
        format!("{} tallow-{}", self.wish.name, self.tag)
    }

    /// The folder of its files on the volume.
    pub(super) fn prefix(&self) -> String {
        format!("tallow/{}", self.tag)
    }

    /// Hours since it was begun.
    pub fn hours(&self, now: Timestamp) -> f64 {
        let since = self.created_at.parse::<Timestamp>().map(|at| now.duration_since(at).as_secs_f64());
        since.unwrap_or(0.0).max(0.0) / 3600.0
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("internal", e.to_string()))?;
        atomic::write_file(&self.path(), text.as_bytes())
    }

    fn read(path: &Path) -> Result<Self, Fault> {
        let bytes = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
        let mut serving: Self = serde_json::from_slice(&bytes).map_err(|e| {
            Fault::new("cloud_ledger_damaged", format!("{}: {e}", path.display()))
                .hint("look in the console of RunPod for the endpoint and the volume that hold tallow-(name of the file)")
        })?;
        serving.folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        Ok(serving)
    }

    /// Taken by the one process that works on it.
    ///
    /// # Errors
    /// `run_busy` when another one does.
    pub(super) fn alone(&self) -> Result<File, Fault> {
        let path = self.path().with_extension("lock");
        atomic::create_dir_all(&self.folder)?;
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Fault::new("run_busy", format!("{}: another process works on it", self.tag))
                    .hint("wait for its end, or end that process"))
            }
            Err(TryLockError::Error(e)) => Err(Fault::io("lock", &path, &e)),
        }
    }

    /// The same, and as it stands then: whoever had it before may have gone on.
    ///
    /// # Errors
    /// As [`Self::alone`], and when the record is damaged.
    pub(super) fn taken(&mut self) -> Result<File, Fault> {
        let file = self.alone()?;
        *self = Self::read(&self.path())?;
        Ok(file)
    }

    /// Whether a process works on it.
    pub fn is_followed(&self) -> bool {
        self.alone().is_err()
    }
}

/// All of them, oldest first.
///
/// # Errors
/// When one is damaged: what it stood for may still cost money.
pub fn servings(ledger: &Ledger) -> Result<Vec<Serving>, Fault> {
    let files = std::fs::read_dir(folder(ledger)).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<Serving> =
        files.filter(|p| p.extension().is_some_and(|e| e == "json")).map(|p| Serving::read(&p)).collect::<Result<_, _>>()?;
    all.sort_by(|a, b| (&a.created_at, &a.tag).cmp(&(&b.created_at, &b.tag)));
    Ok(all)
}

/// One by its tag, by its endpoint, or, among those that have not ended, by the name that it is
/// served under.
///
/// # Errors
/// When none or several fit.
pub fn find_serving(ledger: &Ledger, named: &str) -> Result<Serving, Fault> {
    let all = servings(ledger)?;
    let exact = |s: &&Serving| s.tag == named || s.endpoint_id.as_deref() == Some(named);
    if let Some(serving) = all.iter().find(exact) {
        return Ok(serving.clone());
    }
    let mut fits: Vec<Serving> = all.into_iter().filter(|s| s.stage != ServeStage::Ended && s.wish.name == named).collect();
    match fits.len() {
        1 => Ok(fits.remove(0)),
        n => Err(Fault::new("serving_not_found", format!("{n} served models fit `{named}`")).hint("list what is served; name its tag")),
    }
}
