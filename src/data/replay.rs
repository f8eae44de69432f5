//! Rows of an earlier stage mixed into a later one, against forgetting.

use super::dataset::{Dataset, fingerprint};
use super::encode::Example;
use super::random::{Rng, purpose};

/// A later stage's data with rows of an earlier stage in it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Both.
    pub dataset: Dataset,
    /// Sequences of the earlier stage in it.
    pub replayed: usize,
    /// Share of the replayed sequences among all that a pass over the data trains, repetitions by
    /// weight included.
    pub share: f64,
    /// How often a pass sees each replayed sequence beyond its own weight: above 1 where the earlier
    /// stage has too few for the share.
    pub repeated: f64,
}

/// What a pass over the data trains, repetitions by weight included.
fn seen<'a>(examples: impl Iterator<Item = &'a Example>) -> f64 {
    examples.map(|e| f64::from(e.weight)).sum()
}

impl Dataset {
    /// This data with a seeded choice of `earlier` mixed in. `ratio`, below 1, is the share of the
    /// replayed sequences in the mix: as many are taken as come nearest to it, and at least one for
    /// a ratio above zero. Where `earlier` has too few, they are all taken and repeated by weight.
    pub fn with_replay(&self, earlier: &Self, ratio: f64, seed: u64) -> Replay {
        let own = seen(self.examples.iter());
        let wanted = own * ratio / (1.0 - ratio);
        let mut picks: Vec<usize> = (0..earlier.len()).collect();
        Rng::for_parts(&[seed, purpose::REPLAY]).shuffle(&mut picks);
        let (mut taken, mut count) = (0.0, 0);
        while count < picks.len() && ratio > 0.0 {
            let weight = f64::from(earlier.examples[picks[count]].weight);
            // The last one is taken where that comes nearer to the share than leaving it.
            if count > 0 && taken + weight / 2.0 > wanted {
                break;
            }
            taken += weight;
            count += 1;
        }
        picks.truncate(count);
        picks.sort_unstable();
        let short = count == earlier.len() && taken > 0.0 && taken < wanted;
        let repeated = if short { wanted / taken } else { 1.0 };
        let again = |i: usize| {
            let mut example = earlier.examples[i].clone();
            example.weight *= repeated as f32;
            example
        };
        let mut dataset = self.clone();
        dataset.examples.extend(picks.into_iter().map(again));
        let c = &mut dataset.counts;
        c.examples = dataset.examples.len();
        c.tokens = dataset.examples.iter().map(|e| e.len() as u64).sum();
        c.trained_tokens = dataset.examples.iter().map(Example::trained_tokens).sum();
        dataset.fingerprint = fingerprint(&dataset.examples);
        let old = seen(dataset.examples[self.len()..].iter());
        Replay { dataset, replayed: count, share: old / (own + old).max(f64::MIN_POSITIVE), repeated }
    }
}
