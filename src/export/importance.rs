//! The importance matrix: how large the inputs of each matrix are, column by column, on calibration rows.
//!
//! It means what llama.cpp's imatrix means: for every linear layer `y = W x` the mean of `x_j²` over the tokens. An error in
//! column j of W costs `x_j²` of the output, so the quantiser weighs its errors by it. The embedding is looked up, not
//! multiplied, and has none, also where it serves as the head.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Serialize;

use super::Merged;
use crate::base::error::Fault;
use crate::model::{Error, Packed, Result as ModelResult, stream_inputs};

/// Mean squared inputs by the matrix's name.
#[derive(Debug, Clone)]
pub struct Importance {
    columns: BTreeMap<String, Vec<f32>>,
    /// Where it comes from.
    pub source: Calibration,
}

/// What an importance matrix was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Calibration {
    /// The file of the rows.
    pub data: String,
    /// Rows used.
    pub rows: usize,
    /// Their tokens.
    pub tokens: usize,
}

/// Sums over tokens, and how many they were.
#[derive(Default)]
struct Sums {
    squares: Vec<f64>,
    tokens: usize,
}

impl Sums {
    /// Adds x `[T, in]`.
    fn add(&mut self, x: &Tensor) -> ModelResult<()> {
        let squares = x.sqr()?.sum(0)?.to_vec1::<f32>()?;
        self.squares.resize(squares.len(), 0.0);
        self.squares.iter_mut().zip(&squares).for_each(|(sum, s)| *sum += f64::from(*s));
        self.tokens += x.dim(0)?;
        Ok(())
    }

    fn mean(&self) -> Vec<f32> {
        self.squares.iter().map(|s| (s / self.tokens.max(1) as f64) as f32).collect()
    }
}

impl Importance {
    /// Runs the passes through the live model, a layer at a time, and keeps what went into each matrix.
    ///
    /// # Errors
    /// When a tensor is damaged, an id has no row, or an input is not finite.
    pub fn collect(live: &Merged, passes: &[Packed], source: Calibration) -> Result<Self, Fault> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        stream_inputs(live.spec(), live.base(), live.adapter(), passes, &mut |path, x| {
            if !path.ends_with("embed_tokens") {
                sums.entry(format!("{path}.weight")).or_default().add(x)?;
            }
            Ok(())
        })?;
        let columns: BTreeMap<String, Vec<f32>> = sums.into_iter().map(|(name, s)| (name, s.mean())).collect();
        if let Some((name, _)) = columns.iter().find(|(_, c)| c.iter().any(|v| !v.is_finite())) {
            return Err(Error::Value(format!("the inputs of `{name}` are not finite on the calibration rows")).into());
        }
        Ok(Self { columns, source })
    }

    /// Of matrices that were measured elsewhere.
    pub fn from_columns(columns: BTreeMap<String, Vec<f32>>, source: Calibration) -> Self {
        Self { columns, source }
    }

    /// The weights of a matrix's columns `[in]`.
    pub fn of(&self, name: &str) -> Option<&[f32]> {
        self.columns.get(name).map(Vec::as_slice)
    }

    /// Matrices that have one.
    pub fn matrices(&self) -> usize {
        self.columns.len()
    }
}
