//! Logits, loss and adapter gradients of a given batch, for comparing with another engine.

use std::path::PathBuf;

use super::models;
use crate::base::error::Fault;
use crate::model::debug::{GradientReport, gradients};
use crate::model::{Decoder, LoadOptions};

/// A request for gradients.
#[derive(Debug, Clone)]
pub struct GradientsRequest {
    /// The base.
    pub model: String,
    /// The adapter.
    pub adapter: PathBuf,
    /// safetensors with `input_ids` and labels `[batch, seq]`.
    pub input: PathBuf,
    /// safetensors to write.
    pub output: PathBuf,
    /// Name of the labels' tensor.
    pub labels: String,
}

/// Runs one pass in f32 without dropout.
///
/// # Errors
/// When a file cannot be read or does not fit.
pub fn run(request: &GradientsRequest) -> Result<GradientReport, Fault> {
    let folder = models::resolve(&request.model, None)?;
    let mut decoder = Decoder::load(&folder, &LoadOptions::default())?;
    decoder.load_adapter(&request.adapter)?;
    Ok(gradients(&decoder, &request.input, &request.output, &request.labels)?)
}
