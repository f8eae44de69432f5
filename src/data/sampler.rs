//! The order in which examples are seen: seeded, by epoch, with a cursor that can be saved and sought.
//!
//! An epoch is planned whole from (data, settings, epoch number), so seeking is exact and needs no replay:
//! shuffle, repeat by weight, pack into rows, shuffle the rows; a batch is the next `batch_size` rows.

use serde::{Deserialize, Serialize};

use super::batch::PackedBatch;
use super::dataset::Dataset;
use super::encode::Example;
use super::error::DataError;
use super::pack::best_fit_decreasing;
use super::random::{Rng, purpose};
use crate::base::hash::sha256_bytes;
pub use crate::config::Order;

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerOptions {
    /// Rows a batch. The last batch of an epoch can have fewer.
    pub batch_size: usize,
    /// Capacity of a row in tokens; `None`: a row is one sequence.
    pub pack_to: Option<usize>,
    /// The order's seed.
    pub seed: u64,
    /// False keeps the file's order (packing still reorders within a row's choice).
    pub shuffle: bool,
    /// A curriculum, or none.
    #[serde(default)]
    pub order: Order,
    /// Sequences that are packed together; 0 packs the whole epoch. A window keeps file order roughly, the whole epoch packs tightest.
    pub pack_window: usize,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { batch_size: 1, pack_to: None, seed: 42, shuffle: true, order: Order::Shuffled, pack_window: 0 }
    }
}

/// A place in the order. It goes into checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Rows of that epoch already seen.
    pub position: usize,
    /// The order's seed.
    pub seed: u64,
    /// Hash of data and settings: a cursor fits only the order it was taken from.
    pub order_hash: String,
}

/// Gives batches for ever, epoch after epoch.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    lengths: Vec<u32>,
    weights: Vec<f32>,
    order_hash: String,
    epoch: u64,
    position: usize,
    rows: Vec<Vec<u32>>,
}

impl Sampler {
    /// A sampler at the beginning.
    ///
    /// # Errors
    /// [`DataError::Options`] for a batch size or capacity of zero, or a dataset without a sequence (or whose weights are all zero).
    pub fn new(dataset: &Dataset, options: SamplerOptions) -> Result<Self, DataError> {
        let refuse = |message: &str| Err(DataError::Options { message: message.into() });
        if options.batch_size == 0 || options.pack_to == Some(0) {
            return refuse("batch_size and the row capacity must be at least 1");
        }
        let weights: Vec<f32> = dataset.examples.iter().map(|e| e.weight).collect();
        if !weights.iter().any(|w| *w > 0.0) {
            return refuse("there is no sequence to sample");
        }
        let lengths = dataset.examples.iter().map(|e| e.len() as u32).collect();
        let mut settings = format!(
            "{}|{}|{:?}|{}|{}|{}",
            dataset.fingerprint, options.batch_size, options.pack_to, options.seed, options.shuffle, options.pack_window
        );
        // Said only where there is one, so that cursors of earlier versions stay good.
        if options.order != Order::Shuffled {
            settings += &format!("|{:?}", options.order);
        }
        let mut sampler =
            Self { options, lengths, weights, order_hash: sha256_bytes(settings.as_bytes()), epoch: 0, position: 0, rows: Vec::new() };
        sampler.start_epoch(0);
        Ok(sampler)
    }

    /// Plans the epoch, and the ones after it where it is empty (weights below 1 can leave every row out).
    fn start_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.position = 0;
        self.rows = self.plan(epoch);
        while self.rows.is_empty() {
            self.epoch += 1;
            self.rows = self.plan(self.epoch);
        }
    }

    fn plan(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut rng = Rng::for_parts(&[self.options.seed, purpose::ORDER, epoch]);
        let mut order: Vec<u32> = Vec::with_capacity(self.weights.len());
        for (i, weight) in self.weights.iter().enumerate() {
            // A weight of 2.5 is twice for certain and a third time in every other epoch.
            let whole = weight.floor();
            let times = whole as usize + usize::from(rng.unit() < f64::from(weight - whole));
            order.extend(std::iter::repeat_n(i as u32, times));
        }
        if self.options.shuffle {
            rng.shuffle(&mut order);
        }
        // Stable: those of equal length or quality stay shuffled.
        match self.options.order {
            Order::Shuffled => {}
            Order::Length => order.sort_by_key(|i| self.lengths[*i as usize]),
            Order::Quality => order.sort_by(|a, b| self.weights[*a as usize].total_cmp(&self.weights[*b as usize])),
        }
        let Some(capacity) = self.options.pack_to else {
            return order.into_iter().map(|i| vec![i]).collect();
        };
        let window = self.window(&order, capacity);
        let mut rows = Vec::new();
        for part in order.chunks(window) {
            let lengths: Vec<u32> = part.iter().map(|i| self.lengths[*i as usize]).collect();
            let mut packed = best_fit_decreasing(part, &lengths, capacity as u32);
            if self.options.shuffle {
                // Rows come longest first; their order would tell lengths apart.
                rng.shuffle(&mut packed);
            }
            rows.append(&mut packed);
        }
        rows
    }

    /// Sequences that are packed together. A curriculum packs some batches at a time: over the whole epoch short and long
    /// ones would share rows, and the order would be gone.
    fn window(&self, order: &[u32], capacity: usize) -> usize {
        const BATCHES: usize = 4;
        if self.options.pack_window > 0 {
            return self.options.pack_window;
        }
        if self.options.order == Order::Shuffled || order.is_empty() {
            return order.len().max(1);
        }
        let tokens: usize = order.iter().map(|i| self.lengths[*i as usize] as usize).sum();
        (BATCHES * self.options.batch_size * capacity * order.len()).div_ceil(tokens.max(1)).max(1)
    }

    /// Indices of the examples in the next batch, row by row.
    pub fn next_rows(&mut self) -> Vec<Vec<u32>> {
        if self.position >= self.rows.len() {
            self.start_epoch(self.epoch + 1);
        }
        let end = (self.position + self.options.batch_size).min(self.rows.len());
        let batch = self.rows[self.position..end].to_vec();
        self.position = end;
        batch
    }

    /// The next batch. `dataset` is the one the sampler was made for.
    pub fn next_batch(&mut self, dataset: &Dataset) -> PackedBatch {
        let examples: Vec<&Example> = self.next_rows().iter().flatten().map(|i| &dataset.examples[*i as usize]).collect();
        PackedBatch::from_examples(&examples)
    }

    /// Rows in the present epoch.
    pub fn rows_in_epoch(&self) -> usize {
        self.rows.len()
    }

    /// Batches in the present epoch.
    pub fn batches_in_epoch(&self) -> usize {
        self.rows.len().div_ceil(self.options.batch_size)
    }

    /// Share of the packed rows' capacity that holds tokens (1 without packing).
    pub fn fill(&self) -> f64 {
        let Some(capacity) = self.options.pack_to else { return 1.0 };
        let tokens: u64 = self.rows.iter().flatten().map(|i| u64::from(self.lengths[*i as usize])).sum();
        tokens as f64 / (self.rows.len() * capacity).max(1) as f64
    }

    /// The place after the batches given so far.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, position: self.position, seed: self.options.seed, order_hash: self.order_hash.clone() }
    }

    /// Goes to a saved place: the next batch is the one that would have come then.
    ///
    /// # Errors
    /// [`DataError::Cursor`] when the cursor is from other data or settings, or is damaged.
    pub fn seek(&mut self, cursor: &Cursor) -> Result<(), DataError> {
        let refuse = |message: &str| Err(DataError::Cursor { message: message.into() });
        if cursor.seed != self.options.seed {
            return refuse("the seed has changed");
        }
        if cursor.order_hash != self.order_hash {
            return refuse("the data, the tokenizer or the batch settings have changed");
        }
        let mut sought = self.clone();
        sought.start_epoch(cursor.epoch);
        if sought.epoch != cursor.epoch || cursor.position > sought.rows.len() {
            return refuse("the place lies outside the data");
        }
        sought.position = cursor.position;
        *self = sought;
        Ok(())
    }
}
