//! A new run that goes on from a checkpoint of another one, which stays as it is.
//!
//! ```text
//!   the run    1 ──── 20 ──── 40        untouched, also where it is finished or has diverged
//!   the new      ════ 20 ──── ...       its curve up to there, the checkpoint, and other settings where that is asked
//! ```
//! Settings that shape the data, the base or the adapter cannot be others: the checkpoint would not fit them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::checkpoints::find;
use super::load::RUN_TOKENIZER;
use super::outcome::Checkpoint;
use crate::base::atomic;
use crate::base::error::Fault;
use crate::config::{RunConfig, Sources, resolve};
use crate::runs::{Lineage, Manifest, RunFolder, StageRecord, Status};
use crate::train::checkpoint::{self, State};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct BranchRequest {
    /// The step whose checkpoint is gone on from.
    pub step: u64,
    /// 1 or 2; `None`: the last stage that has a checkpoint of this step.
    pub stage: Option<usize>,
    /// Name of the new run; the time is added. `None`: that of the other.
    pub name: Option<String>,
    /// `key=value` for what shall be otherwise from there on.
    pub set: Vec<String>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct BranchReport {
    /// The new run.
    pub run_id: String,
    /// Its folder.
    pub run: PathBuf,
    /// The run that it comes from.
    pub parent: String,
    /// The checkpoint.
    pub from: Checkpoint,
    /// Keys that are set otherwise.
    pub changed: Vec<String>,
}

/// Sections and keys that may be others from a checkpoint on.
const FREE: [&str; 15] = [
    "training.stage1.iterations",
    "training.stage1.learning_rate",
    "training.stage1.warmup_steps",
    "training.stage2",
    "training.schedule",
    "training.weight_decay",
    "training.max_grad_norm",
    "training.save_steps",
    "training.keep_checkpoints",
    "training.eval_steps",
    "training.early_stopping",
    "evaluation",
    "mlflow",
    "wandb",
    "tensorboard",
];

/// What a second stage's checkpoint has behind it, or stands on.
const FREE_IN_STAGE_2: [&str; 3] = ["training.stage2.iterations", "training.stage2.learning_rate", "training.stage2.warmup_steps"];

fn is_free(key: &str, stage: usize) -> bool {
    let is_in = |free: &str| key == free || key.strip_prefix(free).is_some_and(|rest| rest.starts_with('.'));
    let passed = key.starts_with("training.stage1.") && stage == 2;
    let started = key.starts_with("training.stage2.") && stage == 2 && !FREE_IN_STAGE_2.contains(&key);
    !passed && !started && FREE.iter().any(|free| is_in(free))
}

/// Makes the run. `tallow train --resume` and `start_training` go on with it.
///
/// # Errors
/// When there is no such checkpoint or it is damaged; when a setting is wrong, or cannot be another one.
pub fn branch(run: &RunFolder, request: &BranchRequest) -> Result<BranchReport, Fault> {
    let from = find(run, request.stage, request.step)?;
    let saved = checkpoint::verify(&from.path)?;
    let parent = Manifest::read(&run.manifest_path())?;
    let (config, changed) = settings(&parent.config, &request.set, from.stage)?;
    let steps = if from.stage == 1 { config.training.stage1.iterations } else { config.training.stage2.iterations };
    if steps < request.step || steps == request.step && from.stage == config.training.num_stages {
        let message = format!("nothing is left to train: stage {} has {steps} steps", from.stage);
        return Err(Fault::new("usage", message).hint(format!("set training.stage{}.iterations above {}", from.stage, request.step)));
    }
    let best = best(run, &from, &saved.state, &config)?;
    let name = request.name.clone().unwrap_or_else(|| parent.name.clone());
    let runs = run.path().parent().unwrap_or(Path::new("."));
    let made = RunFolder::create_filled(runs, &name, &config, &|folder, new| {
        copy_parts(run, folder, &from, &parent)?;
        for path in best.iter().chain([&from.path]) {
            let copy = folder.join(run.relative(path));
            link_folder(path, &copy)?;
            checkpoint::adopt(&copy, &config.training_hash())?;
        }
        metrics(run, folder, &from)?;
        Ok(manifest(new, &parent, run, &from, (&saved.state, steps), best.as_deref()))
    })?;
    Ok(BranchReport { run_id: made.id(), run: made.path().to_path_buf(), parent: run.id(), from, changed })
}

/// The settings of the new run, and the keys that are others.
fn settings(before: &RunConfig, set: &[String], stage: usize) -> Result<(RunConfig, Vec<String>), Fault> {
    if set.is_empty() {
        return Ok((before.clone(), Vec::new()));
    }
    let fail = |e: serde_json::Error| Fault::new("manifest_damaged", e.to_string());
    let old = serde_json::to_value(before).map_err(fail)?;
    let mut said = old.clone();
    // They were settled when the run was made: its steps say the same.
    for number in ["stage1", "stage2"] {
        if let Some(part) = said["training"][number].as_object_mut() {
            part.remove("num_epochs");
        }
    }
    let text = serde_json::to_string_pretty(&said).map_err(fail)?;
    let file = Some((PathBuf::from("the run's settings"), text));
    let here = std::env::current_dir().unwrap_or_default();
    let mut config = resolve(&Sources { file, root: here.clone(), working_dir: here, set: set.to_vec(), ..Sources::default() })?.config;
    if [config.training.stage1.num_epochs, config.training.stage2.num_epochs] != [None; 2] {
        let message = "num_epochs cannot be set from a checkpoint on: what an epoch is was settled when the run was made";
        return Err(Fault::new("usage", message).hint("set training.stage1.iterations or training.stage2.iterations, the steps in all"));
    }
    let (stage1, stage2) = (&before.training.stage1, &before.training.stage2);
    let epochs = |now: u64, was: u64, epochs: Option<f64>| epochs.filter(|_| now == was);
    config.training.stage1.num_epochs = epochs(config.training.stage1.iterations, stage1.iterations, stage1.num_epochs);
    config.training.stage2.num_epochs = epochs(config.training.stage2.iterations, stage2.iterations, stage2.num_epochs);
    let new = serde_json::to_value(&config).map_err(fail)?;
    let mut changed = Vec::new();
    differences("", &old, &new, &mut changed);
    changed.retain(|key| !key.ends_with(".num_epochs"));
    match changed.iter().find(|key| !is_free(key, stage)) {
        None => Ok((config, changed)),
        Some(key) => {
            let message = format!("{key} cannot be another one from a checkpoint on");
            Err(Fault::new("usage", message)
                .hint("start a new run for it; learning rates, steps, schedule, decay and evaluation of what comes after can change"))
        }
    }
}

/// Dotted keys of values that are not the same.
fn differences(at: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                differences(&path, &old[key], &new[key], out);
            }
        }
        (a, b) if a != b => out.push(at.to_owned()),
        _ => {}
    }
}

/// The checkpoint of the best step at that time, where the run would end with it.
fn best(run: &RunFolder, from: &Checkpoint, state: &State, config: &RunConfig) -> Result<Option<PathBuf>, Fault> {
    let Some(best) = state.best.filter(|b| b.step != from.step) else { return Ok(None) };
    let path = checkpoint::folder(&run.checkpoints(from.stage), best.step);
    if path.is_dir() {
        return Ok(Some(path));
    }
    if config.training.early_stopping.is_none() {
        return Ok(None);
    }
    let message = format!("step {} was the best before step {}, and its checkpoint is no longer kept", best.step, from.step);
    Err(Fault::new("no_checkpoint", message)
        .hint("early stopping would go back to it: set training.early_stopping.patience=null, or take a later checkpoint"))
}

/// What the run has besides checkpoints up to that stage, and the base's figures of all stages.
fn copy_parts(run: &RunFolder, folder: &Path, from: &Checkpoint, parent: &Manifest) -> Result<(), Fault> {
    let copy = |part: &Path| link_folder(part, &folder.join(run.relative(part)));
    copy(&run.path().join(RUN_TOKENIZER))?;
    for stage in 1..=parent.config.training.num_stages {
        let own = run.stage(stage);
        let base = Path::new("evaluation").join("base.json");
        if stage < from.stage {
            ["adapters", "training-data", "evaluation"].iter().try_for_each(|part| copy(&own.join(part)))?;
            let record = parent.stages.get(stage - 1);
            let needed = record.into_iter().flat_map(|s| s.best_checkpoint.iter().chain(&s.last_checkpoint));
            needed.map(|path| run.path().join(path)).filter(|p| p.is_dir()).try_for_each(|p| copy(&p))?;
        } else if own.join(&base).is_file() {
            atomic::link_or_copy(&own.join(&base), &folder.join(format!("stage{stage}")).join(&base))?;
        }
    }
    Ok(())
}

/// The files of a folder under a second name; nothing where there is none.
fn link_folder(from: &Path, to: &Path) -> Result<(), Fault> {
    if !from.is_dir() || from.is_symlink() {
        return Ok(());
    }
    atomic::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).map_err(|e| Fault::io("read", from, &e))?.flatten() {
        if entry.path().is_file() && !to.join(entry.file_name()).exists() {
            atomic::link_or_copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The rows up to the checkpoint.
fn metrics(run: &RunFolder, folder: &Path, from: &Checkpoint) -> Result<(), Fault> {
    let path = run.path().join("metrics.jsonl");
    let bytes = std::fs::read(&path).map_err(|e| Fault::io("read", &path, &e))?;
    let stays = |line: &&[u8]| {
        serde_json::from_slice::<Value>(line).is_ok_and(|row| match row["stage"].as_u64() {
            Some(stage) if stage == from.stage as u64 => row["step"].as_u64() <= Some(from.step),
            stage => stage < Some(from.stage as u64),
        })
    };
    let kept: Vec<u8> = bytes.split_inclusive(|b| *b == b'\n').filter(stays).flatten().copied().collect();
    atomic::write_file(&folder.join("metrics.jsonl"), &kept)
}

/// The manifest of the new run: stopped after that step.
fn manifest(new: Manifest, parent: &Manifest, run: &RunFolder, from: &Checkpoint, at: (&State, u64), best: Option<&Path>) -> Manifest {
    let (state, iterations) = at;
    let mut stages = parent.stages.clone();
    stages.truncate(from.stage);
    if let Some(record) = stages.last_mut() {
        let last = run.relative(&from.path);
        let is_best = state.best.is_some_and(|b| b.step == from.step);
        *record = StageRecord {
            stage: from.stage,
            iterations,
            iterations_done: from.step,
            best_step: state.best.map(|b| b.step),
            best_loss: state.best.map(|b| b.loss),
            best_checkpoint: best.map(|p| run.relative(p)).or_else(|| is_best.then(|| last.clone())),
            last_checkpoint: Some(last),
            wall_seconds: state.seconds,
            tokens: state.tokens,
            trained_tokens: state.trained_tokens,
            sequences: state.sequences,
            memory_plan: record.memory_plan.clone(),
            ..StageRecord::default()
        };
    }
    Manifest {
        status: Status::Stopped,
        stages,
        base_model: parent.base_model.clone(),
        tokenizer_hash: parent.tokenizer_hash.clone(),
        chat_template: parent.chat_template.clone(),
        dataset: parent.dataset.clone(),
        lineage: Lineage { parent: Some(run.id()) },
        ..new
    }
}

#[cfg(test)]
mod tests {
    use super::is_free;

    #[test]
    fn what_may_change_depends_on_the_stage() {
        for (key, first, second) in [
            ("training.stage1.learning_rate", true, false),
            ("training.stage2.learning_rate", true, true),
            ("training.stage2.batch_size", true, false),
            ("training.stage1.batch_size", false, false),
            ("training.schedule", true, true),
            ("evaluation.enabled", true, true),
            ("training.early_stopping.patience", true, true),
            ("training.seed", false, false),
            ("lora.rank", false, false),
            ("dataset.path", false, false),
            ("evaluations", false, false),
        ] {
            assert_eq!((is_free(key, 1), is_free(key, 2)), (first, second), "{key}");
        }
    }
}
