//! What ends a run before its time.

use std::path::PathBuf;

use super::checkpoint::Skipped;
use super::diagnosis::Diagnosis;

/// Result of training.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// Why training could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Loss, gradients or parameters are not finite.
    #[error("training diverged: {0}")]
    Diverged(Box<Diagnosis>),
    /// A checkpoint could not be written or does not fit.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// There are checkpoints, and none of them can be used.
    #[error("none of the {} checkpoints can be used:{}", skipped.len(), skipped_lines(skipped))]
    NoReadableCheckpoint {
        /// Each with what is wrong with it, newest first.
        skipped: Vec<Skipped>,
    },
    /// The checkpoint was made with other settings.
    #[error("{}: the checkpoint was made with other settings (config {found}, now {now})", path.display())]
    ConfigChanged {
        /// Its folder.
        path: PathBuf,
        /// The hash in the checkpoint.
        found: String,
        /// The hash of this run.
        now: String,
    },
    /// Batch after batch has nothing to train on.
    #[error("no labelled token in {batches} batches on end")]
    NoTargets {
        /// How many were tried.
        batches: u64,
    },
    /// Nothing is trainable.
    #[error("the model has no trainable tensor: add an adapter or enable full fine-tuning")]
    NothingToTrain,
    /// The plan does not fit into memory.
    #[error("{message}")]
    Memory {
        /// Bytes needed by the smallest plan for these settings.
        needed: u64,
        /// Bytes that there are.
        budget: u64,
        /// The same in words.
        message: String,
        /// Settings that would fit.
        fits: Vec<String>,
    },
    /// A figure came out as NaN or infinite.
    #[error("{what} is {value}: the model's values are not finite, or too large to compute with")]
    NotFinite {
        /// Which figure.
        what: &'static str,
        /// How it came out.
        value: f64,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The data cannot continue.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// The model refused.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// A kernel refused.
    #[error(transparent)]
    Kernel(#[from] tallow_kernels::Error),
    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

fn skipped_lines(skipped: &[Skipped]) -> String {
    skipped.iter().map(|s| format!("\n  {}: {}", s.path.display(), s.reason)).collect()
}

impl TrainError {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Diverged(_) => "diverged",
            Self::Checkpoint { .. } => "checkpoint_failed",
            Self::NoReadableCheckpoint { .. } => "checkpoints_unreadable",
            Self::ConfigChanged { .. } => "config_changed",
            Self::NoTargets { .. } => "no_trained_tokens",
            Self::NothingToTrain => "nothing_to_train",
            Self::Memory { .. } => "out_of_memory_plan",
            Self::NotFinite { .. } => "not_finite",
            Self::Setting(_) => "train_setting",
            Self::Data(_) => "data",
            Self::Model(e) => e.code(),
            Self::Kernel(_) | Self::Candle(_) => "kernel_failed",
        }
    }

    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Diverged(d) => Some(d.hint.clone()),
            Self::Checkpoint { .. } => Some(
                "check free space and permissions of the folder; a damaged checkpoint can be deleted, the one before it is used".into(),
            ),
            Self::NoReadableCheckpoint { .. } => Some(
                "bring one of the folders back from a copy; or delete them all, and the stage starts again at step 1; or start a new run"
                    .into(),
            ),
            Self::ConfigChanged { .. } => Some("resume with the settings of the run and the version of Tallow that wrote it, or start a new run".into()),
            Self::NoTargets { .. } => Some("look at how an example is masked (tallow data check --show 1): every label is ignored".into()),
            Self::Memory { fits, .. } if !fits.is_empty() => Some(format!("these would fit: {}", fits.join("; "))),
            Self::NotFinite { .. } => Some(
                "check the weights and the adapter (a damaged file, float16 overflow, an adapter scaled too high) and compute in bf16 or f32"
                    .into(),
            ),
            Self::Model(e) => e.hint().map(str::to_owned),
            _ => None,
        }
    }
}
