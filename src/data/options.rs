//! The settings of data preparation, as plain values.

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::layout::{Fields, Layout};
use super::source::Format;

pub use crate::config::{OnBadRow, Overlong, TrainOn};

/// Everything that decides how rows become token ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct DataOptions {
    /// The file format; `None` reads it from the name.
    pub format: Option<Format>,
    /// The layout; `None` detects it.
    pub layout: Option<Layout>,
    /// The names of the fields.
    pub fields: Fields,
    /// Longest row in tokens.
    pub max_seq_length: usize,
    /// What happens to longer rows.
    pub overlong: Overlong,
    /// What the loss covers.
    pub train_on: TrainOn,
    /// What happens when rows are errors.
    pub on_bad_row: OnBadRow,
    /// How much more often a high-quality row is seen (1 = no difference).
    pub quality_weight_multiplier: f32,
    /// A row is of high quality from this share of the scale on (scale: 1, 5, 10 or 100, the smallest that holds all values).
    pub quality_threshold: f64,
    /// Extra variables for the chat template, such as `enable_thinking`.
    pub template_variables: serde_json::Map<String, serde_json::Value>,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            format: None,
            layout: None,
            fields: Fields::default(),
            max_seq_length: 2048,
            overlong: Overlong::default(),
            train_on: TrainOn::default(),
            on_bad_row: OnBadRow::default(),
            quality_weight_multiplier: 2.5,
            quality_threshold: 0.7,
            template_variables: serde_json::Map::new(),
        }
    }
}

impl DataOptions {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let refuse = |message: &str| Err(DataError::Options { message: message.into() });
        if self.max_seq_length < 2 {
            return refuse("max_seq_length must be at least 2: a single token has nothing to predict");
        }
        if !(self.quality_weight_multiplier.is_finite() && (0.0..=100.0).contains(&self.quality_weight_multiplier)) {
            return refuse("quality_weight_multiplier must lie between 0 and 100");
        }
        if !(0.0..=1.0).contains(&self.quality_threshold) {
            return refuse("quality_threshold must lie between 0 and 1");
        }
        Ok(())
    }
}
