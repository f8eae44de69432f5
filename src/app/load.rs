//! Opening a model with its tokenizer and adapter, as several use cases do.

use std::path::PathBuf;

use candle_core::{DType, Device};

use super::models;
use crate::base::error::Fault;
use crate::data::tokenizer::Tokenizer;
use crate::model::{Decoder, LoadOptions, Quantization};

/// Which model, how held.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Folder, Hub id or `embedded`.
    pub model: String,
    pub revision: Option<String>,
    pub adapter: Option<PathBuf>,
    pub quantization: Quantization,
    /// `None` lets the machine decide.
    pub compute_dtype: Option<DType>,
}

impl ModelRequest {
    /// A model by name, unquantised, without an adapter.
    pub fn named(model: &str) -> Self {
        Self { model: model.to_owned(), revision: None, adapter: None, quantization: Quantization::None, compute_dtype: None }
    }
}

/// A model ready to run.
#[derive(Debug)]
pub struct LoadedModel {
    pub decoder: Decoder,
    pub tokenizer: Tokenizer,
    pub folder: PathBuf,
}

/// Loads model, tokenizer and adapter.
///
/// # Errors
/// When a file is missing or does not fit; the fault names it.
pub fn load(request: &ModelRequest) -> Result<LoadedModel, Fault> {
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    let tokenizer = Tokenizer::load(&folder)?;
    let compute_dtype = request.compute_dtype.unwrap_or(DType::F32);
    let options = LoadOptions { quantization: request.quantization, compute_dtype, device: Device::Cpu };
    let mut decoder = Decoder::load(&folder, &options)?;
    if let Some(adapter) = &request.adapter {
        decoder.load_adapter(adapter)?;
    }
    Ok(LoadedModel { decoder, tokenizer, folder })
}
