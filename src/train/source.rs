//! Where batches come from.

use crate::data::{Cursor, DataError, Dataset, PackedBatch, Sampler};

/// An endless row of batches whose place can be saved and sought.
pub trait Batches {
    /// The next batch.
    fn next_batch(&mut self) -> PackedBatch;

    /// The place after the batches given so far.
    fn cursor(&self) -> Cursor;

    /// Goes to a saved place.
    ///
    /// # Errors
    /// When the place belongs to other data or settings.
    fn seek(&mut self, cursor: &Cursor) -> Result<(), DataError>;
}

/// A dataset in a sampler's order.
#[derive(Debug, Clone)]
pub struct Sampled<'a> {
    /// The rows.
    pub dataset: &'a Dataset,
    /// Their order.
    pub sampler: Sampler,
}

impl Batches for Sampled<'_> {
    fn next_batch(&mut self) -> PackedBatch {
        self.sampler.next_batch(self.dataset)
    }

    fn cursor(&self) -> Cursor {
        self.sampler.cursor()
    }

    fn seek(&mut self, cursor: &Cursor) -> Result<(), DataError> {
        self.sampler.seek(cursor)
    }
}
