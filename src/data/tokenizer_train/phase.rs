//! Merging over sequences that memory need not hold: one phase of it.
//!
//! ```text
//!   store (disk) ── count pairs ──> threshold ── cut at rarer pairs ──> distinct runs (memory) ── merge down to the
//!        ▲                                                                    │                     threshold
//!        └────────────────── each run replaced by what it became ─────────────┘
//! ```
//! A pair that a merge makes, (x, ab), occurs at most as often as (x, a) did. So whatever is merged while counts stay
//! at or above the threshold lies between pairs that occur at least that often now: cutting the sequences at all rarer
//! pairs loses nothing, and the runs that are left are short and mostly equal, which is why they fit. Then the
//! sequences are rewritten and the next phase goes on below. How the thresholds are chosen does not change a merge.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHasher};

use super::counter::{Counter, Key};
use super::merger::{Shard, merge};
use super::store::{Chunk, Store};
use super::vocabulary::{Vocabulary, pair};
use crate::base::error::Fault;
use crate::base::{cancel, progress};

/// Shares of the runs, whatever the number of threads.
const SHARDS: usize = 16;
/// Memory that one occurrence of a pair in a run takes, at most.
const OCCURRENCE_BYTES: u64 = 48;
/// Memory of a pair with its count in a table and in the queue.
const PAIR_BYTES: usize = 80;

/// What bounds the merging.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Size of the vocabulary.
    pub target: usize,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Memory for tables, sequences and runs, about.
    pub memory_bytes: usize,
    /// Folder for temporary files.
    pub scratch: &'a Path,
}

/// What merging took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// How often the sequences were read and rewritten.
    pub phases: usize,
    /// Tables that were written out because memory was full.
    pub spills: usize,
    /// Largest size of the sequences on disk.
    pub file_bytes: u64,
}

impl Limits<'_> {
    /// The fault of a temporary file.
    pub(super) fn disk(&self, e: &std::io::Error) -> Fault {
        Fault::io("use a temporary file in", self.scratch, e)
    }

    /// Sequences in a quarter of the memory.
    pub(super) fn store(&self) -> Store {
        Store::new(self.memory_bytes / 4, self.scratch)
    }

    /// Counts in a quarter of the memory.
    pub(super) fn counter<K: Key>(&self) -> Counter<K> {
        Counter::new(self.memory_bytes / 4, self.scratch)
    }
}

/// Merges until the vocabulary is full or no allowed pair is frequent enough.
///
/// # Errors
/// When the temporary folder cannot be written or read.
pub fn merge_all(
    mut store: Store,
    vocabulary: &mut Vocabulary,
    limits: Limits<'_>,
    allowed: impl Fn(&[u8]) -> bool + Sync,
) -> Result<Effort, Fault> {
    let mut effort = Effort::default();
    while vocabulary.len() < limits.target {
        effort.phases += 1;
        effort.file_bytes = effort.file_bytes.max(store.file_bytes());
        let (mut frequent, floor) = frequent_pairs(&store, limits, &mut effort)?;
        frequent.retain(|(_, of)| allowed(&vocabulary.joined(*of)));
        let threshold = threshold(&frequent, limits.target - vocabulary.len(), floor, store.words(), limits);
        frequent.retain(|(count, _)| *count >= threshold);
        let counts: FxHashMap<u64, u64> = frequent.into_iter().map(|(count, of)| (of, count)).collect();
        if !counts.is_empty() {
            let kept = counts.clone();
            let mut shards = runs(&store, &kept, limits)?;
            merge(&mut shards, counts, threshold, limits.target, vocabulary, &allowed);
            if vocabulary.len() < limits.target && threshold > limits.min_frequency {
                store = rewritten(&store, &kept, &shards, limits)?;
            }
        }
        if threshold <= limits.min_frequency {
            break;
        }
    }
    Ok(effort)
}

/// Does `work` with each chunk, several at a time, and gives the results in order.
fn each_chunk<R: Send>(
    store: &Store,
    limits: Limits<'_>,
    what: &str,
    work: impl Fn(&Chunk) -> R + Sync,
    mut take: impl FnMut(R) -> std::io::Result<()>,
) -> Result<(), Fault> {
    let (chunks, step) = (store.chunks(), rayon::current_num_threads() * 2);
    for from in (0..chunks).step_by(step.max(1)) {
        cancel::checkpoint();
        progress::report(what, "chunks", from as u64, chunks as u64);
        let some: Vec<_> = (from..chunks.min(from + step)).into_par_iter().map(|i| store.with(i, &work)).collect();
        for one in some {
            one.and_then(&mut take).map_err(|e| limits.disk(&e))?;
        }
    }
    Ok(())
}

/// The most frequent pairs that fit into memory, and the count from which on they are all of them.
fn frequent_pairs(store: &Store, limits: Limits<'_>, effort: &mut Effort) -> Result<(Vec<(u64, u64)>, u64), Fault> {
    let mut counter = limits.counter::<u64>();
    let count = |chunk: &Chunk| {
        let mut table: FxHashMap<u64, u64> = FxHashMap::default();
        for (ids, weight) in chunk.sequences() {
            for two in ids.windows(2) {
                *table.entry(pair(two[0], two[1])).or_default() += weight;
            }
        }
        table
    };
    each_chunk(store, limits, "counting pairs", count, |table| counter.add(table))?;
    effort.spills += counter.spills();
    let most = (limits.memory_bytes / 4 / PAIR_BYTES).max(1);
    let (mut found, mut floor) = (Vec::new(), limits.min_frequency);
    let mut trim = |found: &mut Vec<(u64, u64)>| {
        if found.len() > most {
            let (_, (last, _), _) = found.select_nth_unstable_by(most, |a, b| b.cmp(a));
            floor = *last + 1;
            found.retain(|(count, _)| *count >= floor);
        }
        floor
    };
    let mut at_least = limits.min_frequency;
    let drained = counter.drain(|of, count| {
        if count >= at_least {
            found.push((count, of));
        }
        if found.len() >= 2 * most {
            at_least = trim(&mut found);
        }
        Ok(())
    });
    drained.map_err(|e| limits.disk(&e))?;
    let floor = trim(&mut found);
    found.par_sort_unstable_by(|a, b| b.cmp(a));
    Ok((found, floor))
}

/// The count down to which a phase merges: about what the wanted merges need, and no lower than runs fit for.
fn threshold(frequent: &[(u64, u64)], wanted: usize, floor: u64, words: usize, limits: Limits<'_>) -> u64 {
    let Some((highest, _)) = frequent.first() else { return limits.min_frequency };
    let by_rank = frequent.get(wanted).map_or(limits.min_frequency, |(count, _)| count / 2 + 1);
    let mut left = limits.memory_bytes as u64 / 2 / OCCURRENCE_BYTES;
    let fits = frequent.iter().take_while(|(count, _)| {
        let fits = *count <= left;
        left = left.saturating_sub(*count);
        fits
    });
    // Of equally frequent pairs all or none are merged.
    let whole = words as u64 * OCCURRENCE_BYTES <= limits.memory_bytes as u64 / 2;
    let by_memory = frequent.get(fits.count()).filter(|_| !whole).map_or(limits.min_frequency, |(count, _)| count + 1);
    by_rank.max(by_memory).max(floor).min(*highest)
}

fn shard_of(run: &[u32]) -> usize {
    let hash = BuildHasherDefault::<FxHasher>::default().hash_one(run);
    // The tables inside use the other bits.
    (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize % SHARDS
}

/// Cuts a sequence at the pairs that are not kept.
fn cut<'a>(ids: &'a [u32], kept: &FxHashMap<u64, u64>, mut each: impl FnMut(&'a [u32])) {
    let mut from = 0;
    for at in 1..=ids.len() {
        if at == ids.len() || !kept.contains_key(&pair(ids[at - 1], ids[at])) {
            each(&ids[from..at]);
            from = at;
        }
    }
}

fn runs(store: &Store, kept: &FxHashMap<u64, u64>, limits: Limits<'_>) -> Result<Vec<Shard>, Fault> {
    let shards: Vec<Mutex<Shard>> = (0..SHARDS).map(|_| Mutex::default()).collect();
    let collect = |chunk: &Chunk| {
        let mut own: Vec<FxHashMap<Box<[u32]>, u64>> = vec![FxHashMap::default(); SHARDS];
        for (ids, weight) in chunk.sequences() {
            cut(ids, kept, |run| {
                if run.len() < 2 {
                    return;
                }
                let table = &mut own[shard_of(run)];
                match table.get_mut(run) {
                    Some(n) => *n += weight,
                    None => {
                        table.insert(run.into(), weight);
                    }
                }
            });
        }
        for (shard, table) in shards.iter().zip(own) {
            let mut shard = shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            table.into_iter().for_each(|(run, weight)| shard.add(run, weight));
        }
    };
    each_chunk(store, limits, "collecting runs", collect, |()| Ok(()))?;
    Ok(shards.into_iter().map(|s| s.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).collect())
}

fn rewritten(store: &Store, kept: &FxHashMap<u64, u64>, shards: &[Shard], limits: Limits<'_>) -> Result<Store, Fault> {
    let mut new = limits.store();
    let rewrite = |chunk: &Chunk| {
        let (mut out, mut ids) = (Chunk::default(), Vec::new());
        for (old, weight) in chunk.sequences() {
            ids.clear();
            cut(old, kept, |run| {
                let now = if run.len() > 1 { shards[shard_of(run)].now(run) } else { None };
                ids.extend_from_slice(now.unwrap_or(run));
            });
            out.push(&ids, weight);
        }
        out
    };
    each_chunk(store, limits, "rewriting", rewrite, |chunk| new.push(chunk))?;
    Ok(new)
}
