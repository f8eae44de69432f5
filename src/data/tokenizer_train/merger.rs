//! The merging itself: from counts of pairs in distinct runs to merges, most frequent pair first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::vocabulary::{Vocabulary, pair};
use crate::base::{cancel, progress};

/// Occurrences of a pair from which on the shards work side by side.
const SIDE_BY_SIDE: usize = 4096;

/// A share of the distinct runs of tokens.
#[derive(Debug, Default)]
pub struct Shard {
    /// Each run as it was given, and its number.
    known: FxHashMap<Box<[u32]>, u32>,
    /// Runs as they are now, each at its first place: a merge makes it shorter.
    tokens: Vec<u32>,
    /// Where each run starts, and how long it is now.
    spans: Vec<(usize, u32)>,
    weights: Vec<u64>,
    /// Runs that may hold a pair.
    places: FxHashMap<u64, Vec<u32>>,
}

impl Shard {
    /// Adds a run, or its weight where it is known.
    pub fn add(&mut self, run: Box<[u32]>, weight: u64) {
        if let Some(&known) = self.known.get(&run) {
            self.weights[known as usize] += weight;
            return;
        }
        let number = self.weights.len() as u32;
        self.spans.push((self.tokens.len(), run.len() as u32));
        self.tokens.extend_from_slice(&run);
        self.weights.push(weight);
        self.known.insert(run, number);
    }

    /// What a run has become.
    pub fn now(&self, run: &[u32]) -> Option<&[u32]> {
        let (start, len) = self.spans[*self.known.get(run)? as usize];
        Some(&self.tokens[start..start + len as usize])
    }

    fn find_places(&mut self) {
        for (number, &(start, len)) in self.spans.iter().enumerate() {
            for two in self.tokens[start..start + len as usize].windows(2) {
                note(&mut self.places, pair(two[0], two[1]), number as u32);
            }
        }
    }

    /// Replaces the pair `of` by `id` everywhere and adds what that does to the counts of its neighbours.
    fn merge(&mut self, of: u64, id: u32, changes: &mut FxHashMap<u64, i64>) {
        let Some(runs) = self.places.remove(&of) else { return };
        for number in runs {
            let (start, len) = self.spans[number as usize];
            let weight = self.weights[number as usize] as i64;
            let (mut read, mut write, end) = (start, start, start + len as usize);
            while read < end {
                let here = self.tokens[read];
                if read + 1 == end || pair(here, self.tokens[read + 1]) != of {
                    self.tokens[write] = here;
                    (read, write) = (read + 1, write + 1);
                    continue;
                }
                if write > start {
                    let before = self.tokens[write - 1];
                    *changes.entry(pair(before, here)).or_default() -= weight;
                    *changes.entry(pair(before, id)).or_default() += weight;
                    note(&mut self.places, pair(before, id), number);
                }
                if read + 2 < end {
                    let after = self.tokens[read + 2];
                    *changes.entry(pair(self.tokens[read + 1], after)).or_default() -= weight;
                    *changes.entry(pair(id, after)).or_default() += weight;
                    note(&mut self.places, pair(id, after), number);
                }
                self.tokens[write] = id;
                (read, write) = (read + 2, write + 1);
            }
            self.spans[number as usize].1 = (write - start) as u32;
        }
    }
}

/// Notes that a run may hold a pair. A run may be noted twice; merging it again changes nothing.
fn note(places: &mut FxHashMap<u64, Vec<u32>>, of: u64, number: u32) {
    let runs = places.entry(of).or_default();
    if runs.last() != Some(&number) {
        runs.push(number);
    }
}

/// Merges pairs, most frequent first and of equal ones the one with the smaller ids, until the vocabulary has
/// `target` tokens or no pair occurs `threshold` times.
///
/// `counts` holds every pair of the runs with its count; `allowed` says whether a token may be made.
pub fn merge(
    shards: &mut [Shard],
    mut counts: FxHashMap<u64, u64>,
    threshold: u64,
    target: usize,
    vocabulary: &mut Vocabulary,
    allowed: impl Fn(&[u8]) -> bool,
) {
    shards.par_iter_mut().for_each(Shard::find_places);
    let mut queue: BinaryHeap<(u64, Reverse<u64>)> = counts.iter().map(|(of, count)| (*count, Reverse(*of))).collect();
    let mut round = 0_u64;
    while vocabulary.len() < target {
        let Some((count, Reverse(of))) = queue.pop() else { break };
        let current = counts.get(&of).copied().unwrap_or(0);
        if current != count {
            if current >= threshold {
                queue.push((current, Reverse(of)));
            }
            continue;
        }
        counts.remove(&of);
        if count < threshold || !allowed(&vocabulary.joined(of)) {
            continue;
        }
        let id = vocabulary.merge(of);
        for (changed, by) in changes(shards, of, id) {
            if by == 0 || changed == of {
                continue;
            }
            let old = counts.get(&changed).copied().unwrap_or(0);
            let new = old.saturating_add_signed(by);
            if new == 0 {
                counts.remove(&changed);
                continue;
            }
            counts.insert(changed, new);
            if by > 0 && new >= threshold {
                queue.push((new, Reverse(changed)));
            }
        }
        round += 1;
        if round.is_multiple_of(64) {
            cancel::checkpoint();
            progress::report("merging", "tokens", vocabulary.len() as u64, target as u64);
        }
    }
}

fn changes(shards: &mut [Shard], of: u64, id: u32) -> FxHashMap<u64, i64> {
    let places: usize = shards.iter().map(|s| s.places.get(&of).map_or(0, Vec::len)).sum();
    let mut all = FxHashMap::default();
    if places < SIDE_BY_SIDE {
        shards.iter_mut().for_each(|s| s.merge(of, id, &mut all));
        return all;
    }
    let each: Vec<FxHashMap<u64, i64>> = shards
        .par_iter_mut()
        .map(|s| {
            let mut own = FxHashMap::default();
            s.merge(of, id, &mut own);
            own
        })
        .collect();
    for (changed, by) in each.into_iter().flatten() {
        *all.entry(changed).or_default() += by;
    }
    all
}
