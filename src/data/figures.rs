//! The figures of a run's data: files, parts, counts and hashes, as events and the manifest tell them.

use serde::{Deserialize, Serialize};

/// A data file of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its path.
    pub path: String,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Its rows.
    pub rows: usize,
}

/// One part of the data after splitting and tokenising.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Rows of the part, those that cannot be used among them.
    pub rows: usize,
    /// Rows that give a sequence.
    #[serde(default)]
    pub used_rows: usize,
    /// Rows that are left out: `rows` less `used_rows`.
    #[serde(default)]
    pub left_out: usize,
    /// Sequences.
    pub sequences: usize,
    /// Sequences that were cut to the longest length.
    #[serde(default)]
    pub cut: usize,
    /// Tokens.
    pub tokens: u64,
    /// Tokens that the loss covers.
    pub trained_tokens: u64,
    /// SHA-256 of ids and labels.
    pub fingerprint: String,
}

/// The chat template of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTemplateRecord {
    /// `own` (the model's), `own+tools`, `none`, the name of one that comes with the program, a
    /// file, or `inline`.
    pub name: String,
    /// SHA-256 of its text, and of the one for tools where there is one.
    pub sha256: Option<String>,
}

/// The data of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Its files.
    pub files: Vec<DataFile>,
    /// Trained on.
    pub train: PartRecord,
    /// Watched.
    pub validation: Option<PartRecord>,
    /// Judged by.
    pub test: Option<PartRecord>,
    /// The second stage's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage2: Option<StageTwoRecord>,
}

/// The data of the second stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTwoRecord {
    /// Its own rows that are trained.
    pub train: PartRecord,
    /// Its own rows that decide which step is the best.
    pub validation: Option<PartRecord>,
    /// Its own rows that judge the result.
    pub test: Option<PartRecord>,
    /// Sequences of the first stage that are trained again.
    pub replayed: usize,
    /// Their share of what an epoch of this stage trains.
    pub replayed_share: f64,
}
