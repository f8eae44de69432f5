//! Checkpoints: a folder that holds everything a run needs to go on as if it had never stopped.
//!
//! ```text
//!   checkpoints/step-000050/
//!     adapter_model.safetensors  adapter_config.json     what was trained, as PEFT reads it
//!     (model.safetensors         instead, in full fine-tuning: f32, every trained tensor)
//!     optimizer.safetensors      moments
//!     state.json                 step, data cursor, seeds, best so far
//!     SHA256SUMS                 the SHA-256 of each other file's bytes
//! ```
//! It is written to a temporary folder, synced, and renamed: a folder of this name is complete. It
//! is read only after every hash agrees. A damaged one is skipped and reported; where all of them
//! are damaged, that is an error and never a silent start from step 0.

mod sums;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Result, TrainError};
use super::optimiser::{Optimizer, copy_into};
use crate::base::atomic::AtomicDir;
use crate::data::Cursor;
use crate::model::{Decoder, Trainable};

/// The layout that is written. Layout 1 (checksums inside state.json) is read too.
const VERSION: u32 = 2;
const ADAPTER: &str = "adapter_model.safetensors";
const FULL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After this step.
    pub step: u64,
    /// Its validation loss.
    pub loss: f64,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this layout.
    pub version: u32,
    /// The Tallow that wrote it.
    pub tallow: String,
    /// Optimiser steps done.
    pub step: u64,
    /// Place in the data.
    pub cursor: Cursor,
    /// Seed of dropout.
    pub seed: u64,
    /// Hash of the settings that shape the run.
    pub config_hash: String,
    /// Best evaluation.
    pub best: Option<Best>,
    /// The step after which the last evaluation was made.
    pub evaluated_step: u64,
    /// Evaluations on end that were not better.
    pub evaluations_without_gain: u32,
    /// Tokens through the model.
    pub tokens: u64,
    /// Tokens trained.
    pub trained_tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Sequences trained; unknown in a run that an earlier version of the program began.
    #[serde(default)]
    pub sequences: Option<u64>,
}

impl State {
    /// The state at the beginning.
    pub fn new(cursor: Cursor, seed: u64, config_hash: String) -> Self {
        Self {
            version: VERSION,
            tallow: env!("CARGO_PKG_VERSION").to_owned(),
            step: 0,
            cursor,
            seed,
            config_hash,
            best: None,
            evaluated_step: 0,
            evaluations_without_gain: 0,
            tokens: 0,
            trained_tokens: 0,
            seconds: 0.0,
            sequences: Some(0),
        }
    }
}

/// A complete checkpoint on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its folder.
    pub path: PathBuf,
    /// What it says.
    pub state: State,
}

/// A folder that looks like a checkpoint and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The folder of a step.
pub fn folder(dir: &Path, step: u64) -> PathBuf {
    dir.join(format!("step-{step:06}"))
}

/// Writes a checkpoint of `state.step` under `dir` and gives its folder. One of the same step is replaced.
///
/// # Errors
/// [`TrainError::Checkpoint`] when anything cannot be written; then nothing of it remains.
pub fn save(dir: &Path, model: &Decoder, optimizer: &Optimizer, state: &State) -> Result<PathBuf> {
    let path = folder(dir, state.step);
    let fail =
        |e: &dyn std::fmt::Display| TrainError::Checkpoint { path: path.clone(), message: format!("cannot write the checkpoint: {e}") };
    fs::create_dir_all(dir).map_err(|e| fail(&e))?;
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| fail(&e))?;
    }
    let temporary = AtomicDir::new(&path).map_err(|e| fail(&e))?;
    write_into(temporary.path(), model, optimizer, state).map_err(|e| fail(&e))?;
    temporary.commit().map_err(|e| fail(&e))?;
    Ok(path)
}

fn write_into(dir: &Path, model: &Decoder, optimizer: &Optimizer, state: &State) -> Result<(), Box<dyn std::error::Error>> {
    if matches!(model.trainable(), Trainable::Lora(_)) {
        model.save_adapter(dir)?;
    } else {
        let tensors: std::collections::HashMap<_, _> = model.params().iter().map(|p| (p.name.clone(), p.tensor.clone())).collect();
        candle_core::safetensors::save(&tensors, dir.join(FULL))?;
    }
    candle_core::safetensors::save(&optimizer.tensors(model.params()), dir.join(OPTIMIZER))?;
    seal(dir, state)
}

/// Writes state.json and the checksums of all that is in `dir` by then.
fn seal(dir: &Path, state: &State) -> Result<(), Box<dyn std::error::Error>> {
    let state = State { version: VERSION, ..state.clone() };
    fs::write(dir.join(STATE), serde_json::to_string_pretty(&state)?)?;
    sums::write(dir)
}

/// Reads and verifies one checkpoint folder.
///
/// # Errors
/// [`TrainError::Checkpoint`] naming the file that is missing, truncated or changed.
pub fn verify(path: &Path) -> Result<Saved> {
    let state = read_verified(path).map_err(|message| TrainError::Checkpoint { path: path.to_path_buf(), message })?;
    Ok(Saved { path: path.to_path_buf(), state })
}

fn read_verified(path: &Path) -> Result<State, String> {
    let bytes = fs::read(path.join(STATE)).map_err(|e| format!("{STATE} cannot be read: {e}"))?;
    let damaged = |e: serde_json::Error| format!("{STATE} is damaged: {e}");
    let value: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    let sums = match value["version"].as_u64() {
        Some(1) => sums::read_version_1(&value)?,
        Some(v) if v == u64::from(VERSION) => sums::read(path)?,
        Some(v) => return Err(format!("{STATE} has version {v}; this program reads 1 to {VERSION}")),
        None => return Err(format!("{STATE} is damaged: it has no version")),
    };
    if !sums.contains_key(OPTIMIZER) || ![ADAPTER, FULL].iter().any(|name| sums.contains_key(*name)) {
        return Err(format!("the checksums do not list {OPTIMIZER} and {ADAPTER} (or {FULL})"));
    }
    sums::compare(path, &sums)?;
    serde_json::from_value(value).map_err(damaged)
}

/// Gives a copy of a checkpoint, whose state.json is no link, to a run of these settings.
///
/// # Errors
/// As [`verify`]; when it cannot be written.
pub fn adopt(path: &Path, config_hash: &str) -> Result<()> {
    let state = State { config_hash: config_hash.to_owned(), ..verify(path)?.state };
    let fail = |e: &dyn std::fmt::Display| TrainError::Checkpoint { path: path.to_path_buf(), message: format!("cannot be written: {e}") };
    // Layout 1 has none.
    if path.join(sums::SUMS).exists() {
        fs::remove_file(path.join(sums::SUMS)).map_err(|e| fail(&e))?;
    }
    seal(path, &state).map_err(|e| fail(&e))
}

/// All folders that bear a checkpoint's name, newest first.
fn folders(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let fail = |e: std::io::Error| TrainError::Checkpoint { path: dir.to_path_buf(), message: format!("cannot be read: {e}") };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let step = |p: &Path| p.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        found.extend(step(&path).map(|step| (step, path)));
    }
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    Ok(found)
}

/// The newest checkpoint under `dir` that is complete, and those newer ones that are not. `None`
/// means that there is no checkpoint at all.
///
/// # Errors
/// [`TrainError::NoReadableCheckpoint`] when there are checkpoints and none of them can be used.
pub fn latest(dir: &Path) -> Result<(Option<Saved>, Vec<Skipped>)> {
    let mut skipped = Vec::new();
    for (_, path) in folders(dir)? {
        match verify(&path) {
            Ok(saved) => return Ok((Some(saved), skipped)),
            Err(TrainError::Checkpoint { message, .. }) => skipped.push(Skipped { path, reason: message }),
            Err(e) => return Err(e),
        }
    }
    if skipped.is_empty() { Ok((None, skipped)) } else { Err(TrainError::NoReadableCheckpoint { skipped }) }
}

/// Takes up a verified checkpoint: trained tensors and moments are overwritten in place.
///
/// # Errors
/// [`TrainError::Checkpoint`] naming the tensor that does not fit this model.
pub fn restore(saved: &Saved, model: &mut Decoder, optimizer: &mut Optimizer) -> Result<()> {
    optimizer.load(&saved.path.join(OPTIMIZER), model.params(), saved.state.step)?;
    restore_parameters(&saved.path, model)
}

/// Takes up the trained tensors alone.
///
/// # Errors
/// As [`restore`].
pub fn restore_parameters(path: &Path, model: &mut Decoder) -> Result<()> {
    let file = path.join(if matches!(model.trainable(), Trainable::Lora(_)) { ADAPTER } else { FULL });
    let fail = |message: String| TrainError::Checkpoint { path: file.clone(), message };
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).map_err(|e| fail(e.to_string()))?;
    for p in model.params().iter() {
        let saved = tensors.get(&p.name).ok_or_else(|| fail(format!("tensor `{}` is missing", p.name)))?;
        copy_into(&p.tensor, saved).map_err(|e| fail(format!("tensor `{}`: {e}", p.name)))?;
    }
    model.sync_params()?;
    Ok(())
}

/// Deletes all but the newest `keep` checkpoints up to `step`, the one just written; those of the
/// steps in `always` stay too. 0 keeps all. Folders of later steps are damaged ones that a resume
/// went back behind: they do not count, and are replaced when the run comes to their step.
///
/// # Errors
/// [`TrainError::Checkpoint`] when a folder cannot be deleted.
pub fn prune(dir: &Path, step: u64, keep: usize, always: &[u64]) -> Result<()> {
    if keep == 0 {
        return Ok(());
    }
    let counted = folders(dir)?.into_iter().filter(|(s, _)| *s <= step);
    for (_, path) in counted.skip(keep).filter(|(s, _)| !always.contains(s)) {
        fs::remove_dir_all(&path).map_err(|e| TrainError::Checkpoint { path, message: format!("cannot be deleted: {e}") })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
