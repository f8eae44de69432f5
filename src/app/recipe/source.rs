//! The corpus as batches: every document is seen once.

use rayon::prelude::*;

use super::bpe::END_OF_TEXT;
use super::{MAX_DOCUMENT, corpus};
use crate::data::{Cursor, DataError, PackedBatch, TextTokenizer};
use crate::train::Batches;

/// Documents that are tokenised in parallel at a time.
const CHUNK: u64 = 4096;

/// Documents of one seed in their order, packed to a number of tokens.
#[derive(Debug)]
pub struct Corpus {
    batches: Vec<PackedBatch>,
    seed: u64,
    next: usize,
}

impl Corpus {
    /// As many documents as make `tokens`, in batches of at least `tokens_a_batch`.
    ///
    /// # Errors
    /// The tokenizer's own.
    pub fn new(tokenizer: &TextTokenizer, seed: u64, tokens: usize, tokens_a_batch: usize) -> Result<Self, DataError> {
        let mut batches = Vec::new();
        let mut open = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
        let (mut made, mut at) = (0, 0);
        while made < tokens {
            let encode = |i| tokenizer.encode(&corpus::document(seed, i), false);
            let documents: Vec<Vec<u32>> = (at..at + CHUNK).into_par_iter().map(encode).collect::<Result<_, _>>()?;
            at += CHUNK;
            for ids in documents {
                push(&mut open, ids);
                if open.tokens() >= tokens_a_batch && made < tokens {
                    made += open.tokens();
                    batches.push(std::mem::replace(&mut open, PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() }));
                }
            }
        }
        Ok(Self { batches, seed, next: 0 })
    }

    /// All batches, for evaluation.
    pub fn all(self) -> Vec<PackedBatch> {
        self.batches
    }
}

/// Adds a document with its end. Every token but the first is a target.
fn push(batch: &mut PackedBatch, mut ids: Vec<u32>) {
    ids.push(END_OF_TEXT);
    ids.truncate(MAX_DOCUMENT);
    batch.targets.extend(ids[1..].iter().map(|id| i64::from(*id)));
    batch.targets.push(crate::data::IGNORED);
    batch.input_ids.append(&mut ids);
    batch.cu_seqlens.push(batch.input_ids.len() as u32);
}

impl Batches for Corpus {
    fn next_batch(&mut self) -> PackedBatch {
        let batch = self.batches[self.next % self.batches.len()].clone();
        self.next += 1;
        batch
    }

    fn cursor(&self) -> Cursor {
        Cursor { epoch: 0, position: self.next, seed: self.seed, order_hash: "corpus".into() }
    }

    fn seek(&mut self, cursor: &Cursor) -> Result<(), DataError> {
        if cursor.seed != self.seed {
            return Err(DataError::Cursor { message: "the seed has changed".into() });
        }
        self.next = cursor.position;
        Ok(())
    }
}
