//! What a kernel refuses, with the operation's name in it.

/// Result of a kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operand's shape does not fit the others.
    #[error("{op}: {what} has shape {got}, expected {want}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The operand.
        what: &'static str,
        /// Its shape.
        got: String,
        /// What would fit.
        want: String,
    },
    /// An operand's dtype has no kernel.
    #[error("{op}: {what} has dtype {got:?}, expected {want}")]
    Dtype {
        /// The operation.
        op: &'static str,
        /// The operand.
        what: &'static str,
        /// Its dtype.
        got: candle_core::DType,
        /// What would fit.
        want: &'static str,
    },
    /// An operand must be contiguous and is not.
    #[error("{op}: {what} must be contiguous")]
    NotContiguous {
        /// The operation.
        op: &'static str,
        /// The operand.
        what: &'static str,
    },
    /// The device has no kernel for this operation in this build.
    #[error("{op}: no kernel for device {device} in this build")]
    NoKernel {
        /// The operation.
        op: &'static str,
        /// The device.
        device: String,
    },
    /// A value is out of the range that the operation accepts.
    #[error("{op}: {message}")]
    Value {
        /// The operation.
        op: &'static str,
        /// What is wrong with which value.
        message: String,
    },
    /// The device has no room for a tensor.
    #[error("{op}: the device is out of memory")]
    OutOfMemory {
        /// The operation.
        op: &'static str,
    },
    /// CUDA's driver or a library of it refused.
    #[error("{op}: {message}")]
    Cuda {
        /// The operation.
        op: &'static str,
        /// What it said.
        message: String,
    },
    /// Candle's own error.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// True when a device had no room for a tensor, whoever asked for it.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Candle(e) => is_out_of_memory(e),
            _ => false,
        }
    }
}

/// The same of candle's own error: it boxes the driver's, whose name is what remains.
pub fn is_out_of_memory(e: &candle_core::Error) -> bool {
    e.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY")
}
