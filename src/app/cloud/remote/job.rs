//! The record of a job.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::cloud::rented::Rent;
use crate::base::atomic;
use crate::base::error::Fault;
use crate::cloud::ssh::Host;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its machine is being found, its files are being sent.
    Sending,
    /// Its worker was started there.
    Running,
    /// Everything is here, and its machine is of no use to it any more.
    Fetched,
}

impl Stage {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Running => "running",
            Self::Fetched => "fetched",
        }
    }
}

/// A job on another machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name; the folder there and a pod's name hold it.
    pub tag: String,
    /// The machine; `None` before a pod has one.
    pub host: Option<Host>,
    /// Its folder there, once it is known.
    pub folder: Option<String>,
    /// The project's folder here.
    pub project: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// Name of the run; the time is added.
    pub name: String,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// The program that is sent; `None`: this one.
    pub program: Option<PathBuf>,
    /// What is rented for it; `None`: its machine is not rented.
    #[serde(default)]
    pub rent: Option<Rent>,
    /// Whether the folder there is kept at the end.
    #[serde(default)]
    pub keep: bool,
    /// Hours without a question after which the machine is stopped.
    pub idle_hours: Option<f64>,
    /// What stops the machine, for a shell there; `None`: nothing does.
    pub stop_command: Option<String>,
    /// How far it is.
    pub stage: Stage,
    /// The run's name, once it has one.
    pub run_id: Option<String>,
}

/// The folder of a project's jobs.
fn folder(project: &Path) -> PathBuf {
    project.join("remote")
}

impl Job {
    /// Its file.
    pub fn path(&self) -> PathBuf {
        folder(&self.project).join(format!("{}.json", self.tag))
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("internal", e.to_string()))?;
        atomic::write_file(&self.path(), text.as_bytes())
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let bytes = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Fault::new("remote_job_damaged", format!("{}: {e}", path.display())).hint("remove the file; the other machine keeps its run")
        })
    }

    /// Taken by the one process that works on the job.
    ///
    /// # Errors
    /// `run_busy` when another one does.
    pub fn alone(&self) -> Result<File, Fault> {
        let path = self.path().with_extension("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Fault::new("run_busy", format!("job {}: another process follows it", self.tag))
                .hint("wait for its end, or end that process")),
            Err(TryLockError::Error(e)) => Err(Fault::io("lock", &path, &e)),
        }
    }

    /// Whether another process works on the job.
    pub fn is_followed(&self) -> bool {
        self.alone().is_err()
    }

    /// The run's folder here, once it has a name.
    pub fn run_folder(&self) -> Option<PathBuf> {
        Some(self.project.join("runs").join(self.run_id.as_ref()?))
    }

    /// The machine and the folder there.
    pub(super) fn place(&self) -> Result<(&Host, &str), Fault> {
        let missing = || Fault::new("remote_not_begun", format!("job {}: nothing was sent yet", self.tag)).hint("attach to it to go on");
        Ok((self.host.as_ref().ok_or_else(missing)?, self.folder.as_deref().ok_or_else(missing)?))
    }
}

/// The jobs of a project, by their tags.
///
/// # Errors
/// When one is damaged.
pub fn jobs(project: &Path) -> Result<Vec<Job>, Fault> {
    let entries = std::fs::read_dir(folder(project)).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files.iter().map(|p| Job::read(p)).collect()
}

/// A job by its tag, by the beginning of that, or by the name of its run.
///
/// # Errors
/// When none or several fit.
pub fn find(project: &Path, tag: &str) -> Result<Job, Fault> {
    let mut fits: Vec<Job> = jobs(project)?.into_iter().filter(|j| j.tag.starts_with(tag) || j.run_id.as_deref() == Some(tag)).collect();
    match fits.len() {
        1 => Ok(fits.remove(0)),
        n => Err(Fault::new("remote_job_not_found", format!("{}: {n} jobs fit `{tag}`", project.display()))
            .hint("`tallow remote list` shows the jobs of a project")),
    }
}
