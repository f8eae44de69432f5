//! Training: the loop, its optimiser and schedule, checkpoints, and the memory plan.
//!
//! It knows no runs, files of configuration or terminals: it is given a model, a source of batches and plain settings,
//! and tells an [`Observer`] what happens.

pub mod checkpoint;
mod config;
mod diagnosis;
mod error;
mod evaluate;
mod event;
pub mod memory;
mod objective;
mod optimiser;
mod schedule;
mod source;
mod step;
mod trainer;
mod window;

pub use crate::base::cancel::StopFlag;
pub use config::{EarlyStopping, Resume, TrainConfig};
pub use diagnosis::{Diagnosis, Symptom};
pub use error::{Result, TrainError};
pub use evaluate::{Evaluation, evaluate, evaluation_passes};
pub use event::{Event, Observer, Recorder, Sample, Silent};
pub use memory::{EVALUATION_TOKENS, GPU_HELD, HeldOut, MemoryPlan, MemoryRequest, PROGRAM_HELD, Part, available_memory, plan, predict};
pub use objective::{Objective, Sft};
pub use optimiser::{Optimizer, OptimizerConfig, OptimizerKind};
pub use schedule::{Decay, Schedule};
pub use source::{Batches, Sampled};
pub use step::{StepOut, StepSettings, train_step};
pub use trainer::{End, Outcome, Trainer};
pub use window::passes;
