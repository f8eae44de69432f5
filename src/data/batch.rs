//! What the model is given: sequences end to end, with their boundaries.

use super::encode::{Example, IGNORED};

/// Sequences packed without padding.
///
/// ```text
///   input_ids   [ a0 a1 a2 | b0 b1 ]
///   cu_seqlens  [ 0         3      5 ]
///   positions   [ 0  1  2  | 0  1  ]
///   targets     [ a1 a2 -  | b1 -  ]      - = -100
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PackedBatch {
    /// Token ids of all sequences.
    pub input_ids: Vec<u32>,
    /// The next token where it is trained, else -100; the last of each sequence is always -100.
    pub targets: Vec<i64>,
    /// Start of each sequence, and the total at the end.
    pub cu_seqlens: Vec<u32>,
    /// Weight of each target in the loss; `None` is 1 everywhere.
    pub token_weights: Option<Vec<f32>>,
}

impl PackedBatch {
    /// Packs examples in the order given. Empty examples are left out.
    pub fn from_examples(examples: &[&Example]) -> Self {
        let tokens = examples.iter().map(|e| e.len()).sum();
        let mut batch =
            Self { input_ids: Vec::with_capacity(tokens), targets: Vec::with_capacity(tokens), cu_seqlens: vec![0], token_weights: None };
        for example in examples.iter().filter(|e| !e.is_empty()) {
            batch.input_ids.extend_from_slice(&example.input_ids);
            batch.targets.extend_from_slice(&example.labels[1..]);
            batch.targets.push(IGNORED);
            batch.cu_seqlens.push(batch.input_ids.len() as u32);
        }
        batch
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }

    /// Number of targets the loss covers.
    pub fn target_tokens(&self) -> u64 {
        self.targets.iter().filter(|t| **t != IGNORED).count() as u64
    }

    /// Position of each token in its sequence.
    pub fn positions(&self) -> Vec<u32> {
        self.cu_seqlens.windows(2).flat_map(|w| 0..w[1] - w[0]).collect()
    }
}
