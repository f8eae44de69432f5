//! Folding an adapter into its base.

use std::path::PathBuf;

use safetensors::Dtype;
use serde::Serialize;

use super::models;
use crate::base::error::Fault;
use crate::model::Unknown;
use crate::model::merge::{MergeOptions, SHARD_BYTES, merge};

/// A request to merge.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The base.
    pub model: String,
    /// Its revision on the Hub.
    pub revision: Option<String>,
    /// The adapter.
    pub adapter: PathBuf,
    /// The new folder.
    pub out: PathBuf,
    /// Type of the merged weights; `None`: the base's own.
    pub dtype: Option<Dtype>,
    /// What is done with an architecture that is not known by name.
    pub unknown: Unknown,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct MergeDone {
    /// The folder.
    pub out: PathBuf,
    /// Tensors written.
    pub tensors: usize,
    /// Those of them that an adapter changed.
    pub merged: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// Merges: the whole folder, or nothing.
///
/// # Errors
/// When base and adapter do not fit each other, or the folder exists or cannot be written.
pub fn run(request: &MergeRequest) -> Result<MergeDone, Fault> {
    if request.out.exists() {
        return Err(Fault::new("already_exists", format!("{} exists already", request.out.display()))
            .hint("choose another --out, or remove it first"));
    }
    let options = MergeOptions {
        model: models::resolve(&request.model, request.revision.as_deref())?,
        adapter: Some(request.adapter.clone()),
        out: request.out.clone(),
        dtype: request.dtype,
        max_shard_bytes: SHARD_BYTES,
        unknown: request.unknown,
    };
    let r = merge(&options)?;
    Ok(MergeDone { out: request.out.clone(), tensors: r.tensors, merged: r.merged, bytes: r.bytes })
}
