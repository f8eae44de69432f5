//! The runs of a project.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::folder::RunFolder;
use super::manifest::Status;
use crate::base::error::Fault;

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its folder's name.
    pub run_id: String,
    /// Its folder.
    pub path: PathBuf,
    /// How it stands; `None` when its manifest cannot be read.
    pub status: Option<Status>,
    /// UTC.
    pub created_at: String,
    /// Steps made, of all stages.
    pub iterations_done: u64,
    /// Steps it shall make, of all stages.
    pub iterations: u64,
    /// Best validation loss of the last stage.
    pub best_loss: Option<f64>,
    /// Why its manifest cannot be read.
    pub problem: Option<String>,
}

/// All runs under a project folder (or under a folder of runs), newest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(project: &Path) -> Result<Vec<RunSummary>, Fault> {
    let runs = runs_folder(project);
    if !runs.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&runs).map_err(|e| Fault::io("read", &runs, &e))?;
    let folders = entries.flatten().filter_map(|e| RunFolder::open(&e.path()).ok());
    let mut all: Vec<RunSummary> = folders.map(|f| summary(&f)).collect();
    all.sort_by(|a, b| (&b.created_at, &b.run_id).cmp(&(&a.created_at, &a.run_id)));
    Ok(all)
}

fn runs_folder(project: &Path) -> PathBuf {
    let below = project.join("runs");
    if below.is_dir() { below } else { project.to_path_buf() }
}

fn summary(folder: &RunFolder) -> RunSummary {
    let mut summary = RunSummary {
        run_id: folder.id(),
        path: folder.path().to_path_buf(),
        status: None,
        created_at: String::new(),
        iterations_done: 0,
        iterations: 0,
        best_loss: None,
        problem: None,
    };
    match folder.manifest() {
        Ok(m) => {
            summary.status = Some(m.status);
            summary.created_at = m.created_at;
            summary.iterations_done = m.stages.iter().map(|s| s.iterations_done).sum();
            let training = &m.config.training;
            summary.iterations = training.stage1.iterations + if training.num_stages == 2 { training.stage2.iterations } else { 0 };
            summary.best_loss = m.stages.last().and_then(|s| s.best_loss);
        }
        Err(fault) => summary.problem = Some(fault.message),
    }
    summary
}

/// A run by its folder, its name under the project, or the beginning of its name where only one begins so; `latest` is
/// the newest.
///
/// # Errors
/// When none or several fit.
pub fn find(project: &Path, named: &str) -> Result<RunFolder, Fault> {
    let as_path = Path::new(named);
    if as_path.join("run-manifest.json").is_file() {
        return RunFolder::open(as_path);
    }
    let all = list(project)?;
    let fits: Vec<&RunSummary> = match named {
        "latest" => all.iter().take(1).collect(),
        _ => match all.iter().filter(|r| r.run_id == named).collect::<Vec<_>>() {
            exact if !exact.is_empty() => exact,
            _ => all.iter().filter(|r| r.run_id.starts_with(named)).collect(),
        },
    };
    match fits.as_slice() {
        [one] => RunFolder::open(&one.path),
        [] => Err(Fault::new("run_not_found", format!("no run `{named}` under {}", runs_folder(project).display()))
            .hint("`tallow runs list` shows the runs of a project")),
        several => {
            let names: Vec<&str> = several.iter().map(|r| r.run_id.as_str()).collect();
            Err(Fault::new("run_ambiguous", format!("`{named}` fits several runs: {}", names.join(", "))).hint("give more of its name"))
        }
    }
}
