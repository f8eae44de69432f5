//! A run's checkpoints: listed, compared, pruned, averaged.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::load::RUN_TOKENIZER;
use super::outcome::{Checkpoint, checkpoints as kept};
use super::plot::{Curves, Figure};
use crate::base::atomic::AtomicDir;
use crate::base::error::Fault;
use crate::config::Method;
use crate::model::Result as ModelResult;
use crate::runs::{Manifest, RunFolder};
use crate::train::checkpoint;

const ADAPTER: &str = "adapter_model.safetensors";
const FULL: &str = "model.safetensors";

/// A checkpoint in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Where it is.
    #[serde(flatten)]
    pub at: Checkpoint,
    /// Its size on disk.
    pub bytes: u64,
    /// Validation loss after its step, where it was evaluated.
    pub eval_loss: Option<f64>,
    /// Whether it is the best of its stage.
    pub is_best: bool,
    /// What is wrong with its files, where they were checked.
    pub problem: Option<String>,
}

/// The checkpoints of a run, oldest first. `check`: hash every file again.
///
/// # Errors
/// When the manifest or metrics.jsonl cannot be read.
pub fn list(run: &RunFolder, check: bool) -> Result<Vec<Listed>, Fault> {
    let manifest = run.manifest()?;
    let curves = Curves::read(run.path())?;
    let listed = |at: Checkpoint| {
        let losses = curves.of(at.stage, Figure::EvalLoss);
        let best = manifest.stages.get(at.stage - 1).and_then(|s| s.best_checkpoint.as_ref());
        let problem = if check { checkpoint::verify(&at.path).err().map(|e| e.to_string()) } else { None };
        Listed {
            bytes: bytes(&at.path),
            eval_loss: losses.iter().find(|p| p.0 == at.step as f64).map(|p| p.1),
            is_best: best == Some(&run.relative(&at.path)),
            problem,
            at,
        }
    };
    Ok(kept(run).into_iter().map(listed).collect())
}

fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|e| e.metadata().ok()).filter(std::fs::Metadata::is_file).map(|m| m.len()).sum()
}

/// The checkpoint of a step; without a stage, of the last stage that has one.
///
/// # Errors
/// When there is none, with those that there are.
pub fn find(run: &RunFolder, stage: Option<usize>, step: u64) -> Result<Checkpoint, Fault> {
    let all = kept(run);
    let fits = |c: &&Checkpoint| c.step == step && stage.is_none_or(|wanted| wanted == c.stage);
    all.iter().rev().find(fits).cloned().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|c| format!("step {} of stage {}", c.step, c.stage)).collect();
        let there = if names.is_empty() { "none is kept".to_owned() } else { format!("there are {}", names.join(", ")) };
        Fault::new("no_checkpoint", format!("{}: there is no checkpoint of step {step}", run.id())).hint(there)
    })
}

/// The trained values of a checkpoint, verified.
fn values(at: &Checkpoint) -> Result<BTreeMap<String, Tensor>, Fault> {
    checkpoint::verify(&at.path)?;
    let path = [ADAPTER, FULL].map(|name| at.path.join(name)).into_iter().find(|p| p.is_file()).unwrap_or_default();
    Ok(candle_core::safetensors::load(&path, &Device::Cpu)?.into_iter().collect())
}

/// A tensor's values.
fn flat(tensor: &Tensor) -> ModelResult<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// How far a trained tensor moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// Its name.
    pub tensor: String,
    /// Euclidean norm of the difference.
    pub distance: f64,
    /// The same as a share of the norm before; none where that is 0.
    pub relative: Option<f64>,
}

/// What lies between two checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The first.
    pub from: Checkpoint,
    /// The second.
    pub to: Checkpoint,
    /// Validation losses, where they were evaluated.
    pub eval_loss: [Option<f64>; 2],
    /// Of all tensors together.
    pub distance: f64,
    /// The same as a share of the norm before.
    pub relative: Option<f64>,
    /// Each tensor, the farthest first.
    pub tensors: Vec<Moved>,
}

/// Compares the trained values of two checkpoints.
///
/// # Errors
/// When one of them is not there or damaged, or they do not hold the same tensors.
pub fn diff(run: &RunFolder, stage: Option<usize>, from: u64, to: u64) -> Result<Diff, Fault> {
    let (from, to) = (find(run, stage, from)?, find(run, stage, to)?);
    let (before, after) = (values(&from)?, values(&to)?);
    if !before.keys().eq(after.keys()) {
        return Err(
            Fault::new("checkpoints_differ", "the two checkpoints do not hold the same tensors").hint("name one stage's checkpoints")
        );
    }
    let (mut tensors, mut all, mut norm_before) = (Vec::new(), 0.0, 0.0);
    for (name, old) in &before {
        let (old, new) = (flat(old)?, flat(&after[name])?);
        let square = |v: f64| v * v;
        let moved: f64 = old.iter().zip(&new).map(|(a, b)| square(a - b)).sum();
        let size: f64 = old.iter().map(|a| square(*a)).sum();
        (all, norm_before) = (all + moved, norm_before + size);
        let relative = (size > 0.0).then(|| (moved / size).sqrt());
        tensors.push(Moved { tensor: name.clone(), distance: moved.sqrt(), relative });
    }
    tensors.sort_by(|a, b| b.distance.total_cmp(&a.distance));
    let curves = Curves::read(run.path())?;
    let loss = |c: &Checkpoint| curves.of(c.stage, Figure::EvalLoss).iter().find(|p| p.0 == c.step as f64).map(|p| p.1);
    let eval_loss = [loss(&from), loss(&to)];
    let relative = (norm_before > 0.0).then(|| (all / norm_before).sqrt());
    Ok(Diff { from, to, eval_loss, distance: all.sqrt(), relative, tensors })
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pruned {
    /// Gone.
    pub removed: Vec<Checkpoint>,
    /// Still there.
    pub kept: Vec<Checkpoint>,
    /// Freed on disk.
    pub bytes: u64,
}

/// Removes all but the newest `keep` checkpoints of each stage. The best one, and those that the
/// manifest builds on, always stay. `is_dry`: only says what would go.
///
/// # Errors
/// When a process works on the run, or a folder cannot be removed.
pub fn prune(run: &RunFolder, keep: usize, is_dry: bool) -> Result<Pruned, Fault> {
    if keep == 0 {
        return Err(Fault::new("usage", "a run without a checkpoint cannot go on").hint("keep at least 1"));
    }
    let _held = run.lock()?;
    let manifest = Manifest::read(&run.manifest_path())?;
    let needed: Vec<&PathBuf> = manifest.stages.iter().flat_map(|s| s.best_checkpoint.iter().chain(&s.last_checkpoint)).collect();
    let all = kept(run);
    let newer = |c: &Checkpoint| all.iter().filter(|o| o.stage == c.stage && o.step > c.step).count();
    let stays = |c: &Checkpoint| newer(c) < keep || needed.contains(&&run.relative(&c.path));
    let (kept, removed): (Vec<_>, Vec<_>) = all.iter().cloned().partition(stays);
    let bytes = removed.iter().map(|c| bytes(&c.path)).sum();
    if !is_dry {
        for c in &removed {
            std::fs::remove_dir_all(&c.path).map_err(|e| Fault::io("remove", &c.path, &e))?;
        }
    }
    Ok(Pruned { removed, kept, bytes })
}

/// An adapter that was averaged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Averaged {
    /// Its folder.
    pub out: PathBuf,
    /// What went into it, oldest first.
    pub of: Vec<Checkpoint>,
    /// Its tensors.
    pub tensors: usize,
}

/// Writes the mean of a stage's newest `last` checkpoints as a PEFT adapter; `stage`: without it the
/// last one that has any. The factors A and B are averaged each for itself, which is not the mean of
/// their products: near one another, as the end of a run has them, the two agree.
///
/// # Errors
/// After full fine-tuning; with fewer checkpoints than that; when one is damaged; when `out` exists.
pub fn average(run: &RunFolder, stage: Option<usize>, last: usize, out: &Path) -> Result<Averaged, Fault> {
    let manifest = Manifest::read(&run.manifest_path())?;
    if manifest.config.training.method == Method::Full {
        return Err(Fault::new("not_an_adapter", format!("{}: only adapters are averaged, this run trained every weight", run.id()))
            .hint("use one of its checkpoints"));
    }
    let all = kept(run);
    let stage = stage.or(all.last().map(|c| c.stage)).unwrap_or(1);
    let of: Vec<Checkpoint> = all.into_iter().filter(|c| c.stage == stage).collect();
    if last < 2 || of.len() < last {
        let message = format!("{}: stage {stage} has {} checkpoints, {last} were to be averaged", run.id(), of.len());
        return Err(Fault::new("no_checkpoint", message).hint("average at least 2; training.keep_checkpoints says how many are kept"));
    }
    let of = of[of.len() - last..].to_vec();
    let folder = AtomicDir::new(out)?;
    let mut sums: BTreeMap<String, (Vec<f64>, Vec<usize>)> = BTreeMap::new();
    for c in &of {
        for (name, tensor) in values(c)? {
            let new = flat(&tensor)?;
            let (sum, _) = sums.entry(name).or_insert_with(|| (vec![0.0; new.len()], tensor.dims().to_vec()));
            sum.iter_mut().zip(new).for_each(|(s, v)| *s += v);
        }
    }
    let mean = |(name, (sum, shape)): (&String, &(Vec<f64>, Vec<usize>))| {
        let values: Vec<f32> = sum.iter().map(|s| (s / last as f64) as f32).collect();
        Ok((name.clone(), Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?))
    };
    let tensors: HashMap<String, Tensor> = sums.iter().map(mean).collect::<Result<_, Fault>>()?;
    candle_core::safetensors::save(&tensors, folder.path().join(ADAPTER))?;
    let copy = |from: &Path, name: &std::ffi::OsStr| {
        std::fs::copy(from, folder.path().join(name)).map(|_| ()).map_err(|e| Fault::io("copy", from, &e))
    };
    copy(&of[last - 1].path.join("adapter_config.json"), "adapter_config.json".as_ref())?;
    for entry in std::fs::read_dir(run.path().join(RUN_TOKENIZER)).into_iter().flatten().flatten() {
        copy(&entry.path(), &entry.file_name())?;
    }
    folder.commit()?;
    Ok(Averaged { out: out.to_path_buf(), of, tensors: tensors.len() })
}
