//! What the model layer refuses: each variant names the file, field or tensor.

use std::path::{Path, PathBuf};

/// Result of the model layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model, adapter or pass was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder holds no model.
    #[error("{}: {message}", path.display())]
    NotAModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        message: String,
    },
    /// A field of config.json does not fit the decoder.
    #[error("{}: field `{field}`: {message}", path.display())]
    Field {
        /// The config file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A weight file is damaged or does not fit.
    #[error("{}: {message}", path.display())]
    WeightFile {
        /// The shard or index.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// One tensor of a weight file does not fit.
    #[error("{}: tensor `{tensor}`: {message}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        message: String,
    },
    /// An adapter does not fit the model.
    #[error("{}: {message}", path.display())]
    Adapter {
        /// The adapter's folder or file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// Target modules that the model does not have.
    #[error("target module `{name}` is not in this model; it has {existing}")]
    TargetModule {
        /// The unknown name.
        name: String,
        /// Those that exist.
        existing: String,
    },
    /// The Hub refused, or cannot be reached.
    #[error("{model}@{revision}: {message}")]
    Hub {
        /// The model id.
        model: String,
        /// The revision asked for.
        revision: String,
        /// What happened.
        message: String,
        /// What to do about it, where it is not the usual.
        hint: Option<String>,
    },
    /// A weight that is not a number, or infinite.
    #[error("`{tensor}` holds {value} at element {element}: it is no number that a model can compute with")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Where it is.
        element: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A weight beyond the range of the type that it is to be written in.
    #[error("`{tensor}` holds {value:e} at element {element}: {dtype} goes to {most:e} at most")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Where it is.
        element: usize,
        /// The weight.
        value: f32,
        /// The type.
        dtype: &'static str,
        /// The largest number of the type.
        most: f32,
    },
    /// An argument that cannot be used.
    #[error("{0}")]
    Value(String),
    /// A kernel refused.
    #[error(transparent)]
    Kernel(#[from] tallow_kernels::Error),
    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// True when a device had no room for a tensor.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Kernel(e) => e.is_out_of_memory(),
            Self::Candle(e) => tallow_kernels::is_out_of_memory(e),
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, message: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_path_buf(), tensor: tensor.to_owned(), message: message.into() }
    }

    pub(crate) fn adapter(path: &Path, message: impl Into<String>) -> Self {
        Self::Adapter { path: path.to_path_buf(), message: message.into() }
    }

    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "model_io",
            Self::NotAModel { .. } => "not_a_model",
            Self::Field { .. } => "model_config_unsupported",
            Self::WeightFile { .. } => "weights_damaged",
            Self::Tensor { .. } => "weights_mismatch",
            Self::Adapter { .. } => "adapter_mismatch",
            Self::TargetModule { .. } => "unknown_target_module",
            Self::Hub { .. } => "hub_unavailable",
            Self::NotFinite { .. } => "weights_not_finite",
            Self::Overflow { .. } => "weights_overflow",
            Self::Value(_) => "model_argument",
            Self::Kernel(tallow_kernels::Error::NoKernel { .. }) => "no_kernel_for_device",
            e if e.is_out_of_memory() => "out_of_memory",
            Self::Kernel(_) | Self::Candle(_) => "kernel_failed",
        }
    }

    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::NotAModel { .. } => "give a folder with config.json and model.safetensors (or shards with their index)",
            Self::Field { .. } => "docs/families.md says what is read; another model must be converted, or is not supported yet",
            Self::WeightFile { .. } => "download or copy the file again and compare its size with the source",
            Self::Tensor { .. } => "check that config.json and the weight files belong to the same model",
            Self::Adapter { .. } => "an adapter only fits the base model that it was trained on",
            Self::TargetModule { .. } => "name modules by their last part, or use all-linear",
            Self::NotFinite { .. } => {
                "the file is damaged, or the training diverged: use an earlier checkpoint, or download the model again"
            }
            Self::Overflow { .. } => "choose bf16 or f32",
            Self::Hub { hint: Some(hint), .. } => hint,
            Self::Hub { .. } => "check the id, the revision and HF_TOKEN; offline (HF_HUB_OFFLINE=1) only models in the cache can be used",
            e if e.is_out_of_memory() => {
                "another program may use the device too; else set gradient_checkpointing: true, a smaller max_seq_length or batch, or quantization: nf4"
            }
            Self::Kernel(tallow_kernels::Error::NoKernel { .. }) => "run on the CPU, or use a build with kernels for this device",
            _ => return None,
        })
    }
}
