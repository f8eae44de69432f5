//! The settings of one training loop.

use std::path::PathBuf;

use super::optimiser::OptimizerConfig;
use super::schedule::Schedule;
use crate::base::cancel::Cancel;
use crate::model::Policy;

pub use crate::config::EarlyStopping;

/// What is taken up at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// Nothing: step 0.
    #[default]
    No,
    /// The newest complete checkpoint of `checkpoint_dir`, or nothing when there is none.
    Latest,
    /// This checkpoint folder.
    From(PathBuf),
}

/// The settings of one training loop.
#[derive(Debug, Clone)]
pub struct TrainConfig {
    /// Optimiser steps in all, those before a resume included.
    pub total_steps: u64,
    /// Batches of the source that make one optimiser step.
    pub gradient_accumulation: usize,
    /// Most tokens in one pass through the model (from the memory plan); 0: the whole window in one.
    pub max_tokens_per_pass: usize,
    /// Learning rate of each step.
    pub schedule: Schedule,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Gradients are scaled down to this norm.
    pub max_grad_norm: Option<f64>,
    /// What the forward pass keeps (from the memory plan).
    pub policy: Policy,
    /// Seed of dropout.
    pub seed: u64,
    /// Whether dropout is on (its probability is the adapter's).
    pub dropout: bool,
    /// Where checkpoints go; `None`: nowhere.
    pub checkpoint_dir: Option<PathBuf>,
    /// A checkpoint every so many steps; 0: only at the end.
    pub save_steps: u64,
    /// Checkpoints that are kept, beside the best; 0: all.
    pub keep_checkpoints: usize,
    /// An evaluation every so many steps; 0: only at the end.
    pub eval_steps: u64,
    /// Early stopping; `None`: off.
    pub early_stopping: Option<EarlyStopping>,
    /// Whether the model shall hold the best evaluation's values at the end (needs checkpoints and validation rows).
    pub restore_best: bool,
    /// What is taken up at the beginning.
    pub resume: Resume,
    /// Hash of the settings that shape the run, as the caller computes it. A checkpoint of another hash is refused.
    pub config_hash: String,
    /// Raised from outside to end the run after its step.
    pub stop: Cancel,
    /// Steps to make in this session, each with the evaluation and checkpoint that are due after it;
    /// `None`: all that are left.
    pub stop_after: Option<u64>,
}

impl TrainConfig {
    /// Settings for `total_steps` at a constant rate, everything else off or usual.
    pub fn new(total_steps: u64, lr: f64) -> Self {
        let schedule = Schedule { decay: super::Decay::Constant, peak: lr, warmup_steps: 0, total_steps, floor: 0.0 };
        Self {
            total_steps,
            gradient_accumulation: 1,
            max_tokens_per_pass: 0,
            schedule,
            optimizer: OptimizerConfig::default(),
            max_grad_norm: Some(1.0),
            policy: Policy::Minimal,
            seed: 42,
            dropout: true,
            checkpoint_dir: None,
            save_steps: 0,
            keep_checkpoints: 0,
            eval_steps: 0,
            early_stopping: None,
            restore_best: false,
            resume: Resume::No,
            config_hash: String::new(),
            stop: Cancel::default(),
            stop_after: None,
        }
    }
}
