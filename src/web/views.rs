//! Runs as the page shows them.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::jobs::{self, Progress};
use crate::app::outcome;
use crate::app::overview;
use crate::base::error::Fault;
use crate::runs::{self, RunFolder};

/// A run in a list, and at the head of its own page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunRow {
    #[serde(flatten)]
    progress: Progress,
    name: String,
    model: String,
    method: Value,
    device: String,
    stages: usize,
    best_loss: Option<f64>,
    best_step: Option<u64>,
    started_at: Option<String>,
    finished_at: Option<String>,
    /// Seconds of training so far, as far as the manifest tells.
    wall_seconds: f64,
    trained_tokens: u64,
}

/// A run that cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Unreadable {
    run_id: String,
    problem: String,
}

pub(super) fn row(run: &RunFolder) -> Result<RunRow, Fault> {
    let progress = jobs::progress(run)?;
    let m = jobs::manifest(run)?;
    let base = &m.config.base_model;
    let local = base.local_path.as_ref().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let best = m.stages.iter().rev().find(|s| s.best_loss.is_some());
    Ok(RunRow {
        progress,
        name: m.name.clone(),
        model: base.model_id.clone().or(local).unwrap_or_default(),
        method: json!(m.config.training.method),
        device: m.device.clone(),
        stages: m.config.training.num_stages,
        best_loss: best.and_then(|s| s.best_loss),
        best_step: best.and_then(|s| s.best_step),
        started_at: m.started_at.clone(),
        finished_at: m.finished_at.clone(),
        wall_seconds: m.stages.iter().map(|s| s.wall_seconds).sum(),
        trained_tokens: m.stages.iter().map(|s| s.trained_tokens).sum(),
    })
}

/// The runs of a project, newest first, and those that cannot be read.
pub(super) fn rows(project: &Path) -> Result<(Vec<RunRow>, Vec<Unreadable>), Fault> {
    let (mut all, mut bad) = (Vec::new(), Vec::new());
    for (run_id, path) in runs::list(project)?.into_iter().map(|s| (s.run_id, s.path)) {
        crate::base::cancel::checkpoint();
        match RunFolder::open(&path).and_then(|run| row(&run)) {
            Ok(row) => all.push(row),
            Err(fault) => bad.push(Unreadable { run_id, problem: fault.message }),
        }
    }
    Ok((all, bad))
}

/// A checkpoint that is kept.
#[derive(Debug, Serialize)]
struct CheckpointRow {
    stage: usize,
    step: u64,
    /// Its folder below the run's.
    path: String,
    best: bool,
}

/// Everything about a run but its curves and its log.
#[derive(Debug, Serialize)]
pub(super) struct RunPage {
    run: RunRow,
    checkpoints: Vec<CheckpointRow>,
    /// Reports of evaluations by file.
    evaluations: Map<String, Value>,
    exports: Vec<Value>,
    /// Answers to the sample prompts, newest last.
    samples: Vec<Map<String, Value>>,
    config: Value,
    /// Each stage with its memory plan and its measured peak.
    stages: Value,
    dataset: Value,
    /// Versions, machine and hashes: where the run comes from.
    origin: Value,
}

pub(super) fn page(run: &RunFolder) -> Result<RunPage, Fault> {
    let m = jobs::manifest(run)?;
    let best = |c: &outcome::Checkpoint| {
        let named = m.stages.get(c.stage - 1).and_then(|s| s.best_checkpoint.as_ref());
        named.is_some_and(|b| run.path().join(b) == c.path)
    };
    let checkpoint = |c: outcome::Checkpoint| CheckpointRow {
        best: best(&c),
        stage: c.stage,
        step: c.step,
        path: run.relative(&c.path).display().to_string(),
    };
    Ok(RunPage {
        run: row(run)?,
        checkpoints: outcome::checkpoints(run).into_iter().map(checkpoint).collect(),
        evaluations: overview::figures(run, m.config.training.num_stages),
        exports: m.exports.clone(),
        samples: overview::samples(run)?,
        config: json!(m.config),
        stages: json!(m.stages),
        dataset: json!(m.dataset),
        origin: json!({
            "tallow_version": m.tallow_version, "git_commit": m.git_commit, "machine": m.machine, "config_hash": m.config_hash,
            "base_model": m.base_model, "chat_template": m.chat_template, "seeds": m.seeds, "parent": m.lineage.parent,
        }),
    })
}
