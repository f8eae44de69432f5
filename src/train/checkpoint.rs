//! Checkpoints: a folder that holds everything a run needs to go on as if it had never stopped.
//!
//! ```text
//!   checkpoints/step-000050/
//!     adapter_model.safetensors  adapter_config.json     what was trained, as PEFT reads it
//!     (model.safetensors         instead, in full fine-tuning: f32, every trained tensor)
//!     optimizer.safetensors      moments
//!     state.json                 step, data cursor, seeds, best so far, and the SHA-256 of each other file
//! ```
//! It is written to a temporary folder, synced, and renamed: a folder of this name is complete. It is read only after
//! every hash agrees; one that does not agree is passed over with a word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};
use super::optimiser::{Optimizer, copy_into};
use crate::base::atomic::AtomicDir;
use crate::base::hash::{sha256_bytes, sha256_file};
use crate::data::Cursor;
use crate::model::{Decoder, Trainable};

const VERSION: u32 = 1;
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
    /// SHA-256 of each other file.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of this record with an empty checksum.
    pub checksum: String,
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
            files: BTreeMap::new(),
            checksum: String::new(),
        }
    }

    fn digest(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        sha256_bytes(serde_json::to_string(&bare).unwrap_or_default().as_bytes())
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
    let mut state = state.clone();
    state.files.clear();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        state.files.insert(entry.file_name().to_string_lossy().into_owned(), sha256_file(&entry.path())?);
    }
    state.checksum = state.digest();
    fs::write(dir.join(STATE), serde_json::to_string_pretty(&state)?)?;
    Ok(())
}

/// Reads and verifies one checkpoint folder.
///
/// # Errors
/// [`TrainError::Checkpoint`] naming the file that is missing, truncated or changed.
pub fn verify(path: &Path) -> Result<Saved> {
    let fail = |message: String| TrainError::Checkpoint { path: path.to_path_buf(), message };
    let text = fs::read_to_string(path.join(STATE)).map_err(|e| fail(format!("{STATE} cannot be read: {e}")))?;
    let state: State = serde_json::from_str(&text).map_err(|e| fail(format!("{STATE} is damaged: {e}")))?;
    if state.version != VERSION {
        return Err(fail(format!("{STATE} has version {}, this program reads {VERSION}", state.version)));
    }
    if state.checksum != state.digest() {
        return Err(fail(format!("{STATE} does not match its checksum")));
    }
    if !state.files.contains_key(OPTIMIZER) {
        return Err(fail(format!("{STATE} does not list {OPTIMIZER}")));
    }
    for (name, hash) in &state.files {
        let found = sha256_file(&path.join(name)).map_err(|e| fail(format!("{name} cannot be read: {e}")))?;
        if found != *hash {
            return Err(fail(format!("{name} is truncated or changed: its SHA-256 is not the one in {STATE}")));
        }
    }
    Ok(Saved { path: path.to_path_buf(), state })
}

/// All folders that bear a checkpoint's name, newest first.
fn folders(dir: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let step = |p: &Path| p.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let mut found: Vec<(u64, PathBuf)> = entries.flatten().map(|e| e.path()).filter_map(|p| Some((step(&p)?, p))).collect();
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    found
}

/// The newest checkpoint under `dir` that is complete, and those newer ones that are not.
pub fn latest(dir: &Path) -> (Option<Saved>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    for (_, path) in folders(dir) {
        match verify(&path) {
            Ok(saved) => return (Some(saved), skipped),
            Err(e) => skipped.push(Skipped { path, reason: e.to_string() }),
        }
    }
    (None, skipped)
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

/// Deletes all but the newest `keep` checkpoints; those of the steps in `always` stay too. 0 keeps all.
///
/// # Errors
/// [`TrainError::Checkpoint`] when a folder cannot be deleted.
pub fn prune(dir: &Path, keep: usize, always: &[u64]) -> Result<()> {
    if keep == 0 {
        return Ok(());
    }
    for (_, path) in folders(dir).into_iter().skip(keep).filter(|(step, _)| !always.contains(step)) {
        fs::remove_dir_all(&path).map_err(|e| TrainError::Checkpoint { path, message: format!("cannot be deleted: {e}") })?;
    }
    Ok(())
}
