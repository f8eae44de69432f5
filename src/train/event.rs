//! What a run tells, from its preparation to its end: one stream of events.
//!
//! ```text
//!   use case, trainer ──Event──> Observer: journal, manifest, terminal, ...
//! ```
//! Whoever tells them prints and stores nothing itself. Where several listen, one observer hands each
//! event on to the others.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;
use super::evaluate::Evaluation;
use super::memory::MemoryPlan;
use crate::data::DatasetRecord;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What is being done, for people who wait.
    Doing {
        /// In words.
        what: String,
    },
    /// The data is ready.
    Data {
        /// Its figures.
        record: Box<DatasetRecord>,
    },
    /// Memory is planned.
    Plan {
        /// The plan.
        plan: Box<MemoryPlan>,
    },
    /// The run's folder is there.
    Run {
        /// The folder.
        path: PathBuf,
    },
    /// A stage begins; the events after it are its own.
    Stage {
        /// 1 or 2.
        number: usize,
        /// Its steps.
        total_steps: u64,
        /// Steps that go once over its rows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch_steps: Option<f64>,
    },
    /// Test rows were evaluated.
    Judged {
        /// `base` or `tuned`.
        what: String,
        /// Which rows, in words.
        rows: String,
        /// The figures.
        evaluation: Evaluation,
    },
    /// The loop begins.
    Started {
        /// Steps already done (above 0 after a resume).
        step: u64,
        /// Steps the run shall have at its end.
        total_steps: u64,
        /// Trained values.
        trainable_parameters: u64,
    },
    /// A checkpoint was taken up.
    Resumed {
        /// The step it was written after.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
    /// Something a person should know; the run goes on.
    Warning {
        /// A stable name.
        code: String,
        /// The words.
        message: String,
    },
    /// An optimiser step was made.
    Step {
        /// Its number, from 1.
        step: u64,
        /// Mean loss over the trained tokens of the step.
        loss: f64,
        /// Learning rate.
        lr: f64,
        /// Norm of all gradients together, before clipping.
        grad_norm: f64,
        /// Sequences of this step; with packing several share a row of a batch.
        sequences: u64,
        /// Tokens that went through the model in this step.
        tokens: u64,
        /// Those of them that were trained.
        trained_tokens: u64,
        /// Tokens through the model a second, this step alone.
        tokens_per_second: f64,
        /// Seconds of training so far, earlier sessions included.
        elapsed: f64,
        /// Largest resident size of the process so far, in bytes.
        peak_rss: u64,
    },
    /// The validation rows were evaluated.
    Eval {
        /// After this step.
        step: u64,
        /// Mean loss over all labelled tokens.
        loss: f64,
        /// `exp(loss)`.
        perplexity: f64,
        /// Share of labelled tokens whose most probable prediction is right.
        accuracy: f64,
        /// Labelled tokens.
        tokens: u64,
        /// Whether this is the best so far.
        best: bool,
    },
    /// The model answered the sample prompts.
    Samples {
        /// After this step.
        step: u64,
        /// The prompts with their answers.
        samples: Vec<Sample>,
    },
    /// A checkpoint is complete on disk.
    Checkpoint {
        /// After this step.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
    /// The run was asked to end and did.
    Stopped {
        /// Steps done.
        step: u64,
        /// The checkpoint to continue from.
        checkpoint: Option<PathBuf>,
    },
    /// The validation loss has stopped falling.
    EarlyStop {
        /// Steps done.
        step: u64,
        /// The best step.
        best_step: u64,
        /// Its loss.
        best_loss: f64,
    },
    /// Loss or gradients are no longer finite: nothing was changed by the step that saw it.
    Diverged {
        /// What was found.
        diagnosis: Diagnosis,
    },
    /// All steps are done.
    Finished {
        /// Steps done.
        step: u64,
        /// Seconds of training, earlier sessions included.
        elapsed: f64,
    },
}

/// A prompt and what the model made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// As the settings have it.
    pub prompt: String,
    /// The answer.
    pub text: String,
}

impl Event {
    /// What is being done.
    pub fn doing(what: impl Into<String>) -> Self {
        Self::Doing { what: what.into() }
    }

    /// Something a person should know.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self::Warning { code: code.to_owned(), message: message.into() }
    }
}

/// Takes events as they happen, on the training thread.
pub trait Observer {
    /// One event. It should return soon: the next step waits.
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Observer for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// Forgets everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event) {}
}

/// Keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// The events in order.
    pub events: Vec<Event>,
}

impl Observer for Recorder {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}
