//! Training of byte-level BPE and SuperBPE tokenizers on corpora that may be larger than memory.
//!
//! SuperBPE (arXiv 2503.13423) trains in two stages. The first is ordinary BPE inside words ([`pattern::WORDS`]). The
//! second cuts the corpus by a pattern that keeps phrases whole ([`pattern::PHRASES`]), encodes it with the merges of
//! the first and goes on merging, so that tokens may reach across spaces. Tokens of more than [`MAX_WORDS`] words, and
//! those with a space after a colon, are not made.
//!
//! ```text
//!   corpus ── blocks ── words ── counter ──> store ── phases ──> merges of stage one
//!     └────── blocks ── phrases ── encode ─> store ── phases ──> merges of stage two
//! ```
//! Of equally frequent pairs the one with the smaller ids is merged first. Counts are sums of whole numbers, so that
//! neither threads nor memory change the result.

mod corpus;
mod counter;
mod extend;
mod merger;
pub mod pattern;
mod phase;
mod store;
mod vocabulary;
mod write;

use std::path::PathBuf;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::Serialize;

use self::corpus::{Block, Corpus};
pub use self::extend::{Extended, Extension, NewToken, extend};
use self::phase::{Limits, merge_all};
use self::store::{Chunk, Store};
pub(in crate::data) use self::vocabulary::byte_characters;
use self::vocabulary::{Vocabulary, WordEncoder};
use crate::base::error::Fault;
use crate::base::{cancel, progress};

/// Words that a token may reach over.
pub const MAX_WORDS: usize = 4;
/// Ids of bytes.
const BYTES: usize = 256;
/// Words of 4 bytes in a chunk of sequences, about.
const CHUNK_WORDS: usize = 1 << 18;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Merges inside words only.
    Bpe,
    /// Merges inside words, then across spaces.
    SuperBpe,
}

/// How a tokenizer is trained.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Files and folders of text.
    pub corpus: Vec<PathBuf>,
    /// What is trained.
    pub kind: Kind,
    /// Number of ids, special tokens and the 256 bytes among them.
    pub vocab_size: usize,
    /// Merges of stage one; 0.8 of `vocab_size` where it is not given. For SuperBPE only.
    pub inherit_merges: Option<usize>,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Special tokens, in the order of their ids from 0.
    pub special: Vec<String>,
    /// Memory to work in, about.
    pub memory_bytes: usize,
    /// Folder for temporary files.
    pub scratch: PathBuf,
}

impl Trained {
    /// Some of the first tokens that reach across a space, as text.
    pub fn superwords(&self, most: usize) -> Vec<String> {
        let ids = 0..self.vocabulary.len() as u32;
        let texts = ids.map(|id| self.vocabulary.bytes(id)).filter(|bytes| reaches_across(bytes));
        texts.take(most).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

/// Whether a token holds a space after something else.
fn reaches_across(token: &[u8]) -> bool {
    token.windows(2).any(|two| !two[0].is_ascii_whitespace() && two[1] == b' ')
}

/// What training gave.
#[derive(Debug, Clone)]
pub struct Trained {
    vocabulary: Vocabulary,
    special: Vec<String>,
    kind: Kind,
    /// How it went.
    pub figures: Figures,
}

/// How training went.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Size of the corpus.
    pub corpus_bytes: u64,
    /// Different words in it.
    pub distinct_words: u64,
    /// Number of ids.
    pub vocab_size: usize,
    /// Merges inside words.
    pub word_merges: usize,
    /// Merges of stage two.
    pub phrase_merges: usize,
    /// Tokens that reach across a space.
    pub superwords: usize,
    /// How often the sequences were read, both stages together.
    pub phases: usize,
    /// Tables that were written out because memory was full.
    pub spills: usize,
    /// Largest size of the sequences on disk.
    pub spilled_bytes: u64,
}

impl Settings {
    /// Merges of stage one.
    ///
    /// # Errors
    /// When the sizes leave no room for a stage.
    fn word_merges(&self) -> Result<usize, Fault> {
        let room = self.vocab_size.saturating_sub(BYTES + self.special.len());
        let size = |message: String, hint: &str| Err(Fault::new("bad_vocab_size", message).hint(hint));
        if room == 0 {
            let least = BYTES + self.special.len() + 1;
            return size(format!("a vocabulary of {} has no room for merges", self.vocab_size), &format!("choose at least {least}"));
        }
        if self.vocab_size > 1 << 24 {
            return size(format!("a vocabulary of {} is too large", self.vocab_size), "choose at most 16777216");
        }
        let twice = self.special.iter().enumerate().find(|(i, t)| t.is_empty() || self.special[..*i].contains(t));
        if let Some((_, token)) = twice {
            return Err(Fault::new("bad_special_token", format!("special token `{token}` is empty or given twice"))
                .hint("give each special token once"));
        }
        match (self.kind, self.inherit_merges) {
            (Kind::Bpe, None) => Ok(room),
            (Kind::Bpe, Some(_)) => Err(Fault::new("bad_inherit_merges", "plain BPE has one stage and inherits no merges")
                .hint("leave the number of inherited merges out, or train superbpe")),
            (Kind::SuperBpe, given) => {
                let merges = given.unwrap_or(self.vocab_size * 4 / 5);
                if merges == 0 || merges >= room {
                    return Err(Fault::new(
                        "bad_inherit_merges",
                        format!("{merges} inherited merges of {room} in all: one of the two stages would have none"),
                    )
                    .hint("choose fewer inherited merges or a larger vocabulary"));
                }
                Ok(merges)
            }
        }
    }
}

/// Whether SuperBPE may make a token of these bytes.
fn allowed(token: &[u8]) -> bool {
    let words = token.split(|b| *b == b' ').filter(|word| !word.is_empty()).count();
    words <= MAX_WORDS && !token.windows(2).any(|two| two == b": ")
}

/// Trains a tokenizer.
///
/// # Errors
/// When sizes do not fit together, a file cannot be read or is not text, or the temporary folder cannot be written.
pub fn train(settings: &Settings) -> Result<Trained, Fault> {
    let word_merges = settings.word_merges()?;
    let corpus = Corpus::find(&settings.corpus)?;
    let mut vocabulary = Vocabulary::new(settings.special.len());
    let first = vocabulary.len();
    let mut limits = Limits {
        target: first + word_merges,
        min_frequency: settings.min_frequency.max(1),
        memory_bytes: settings.memory_bytes.max(1 << 20),
        scratch: &settings.scratch,
    };
    let (store, distinct_words, spills) = words(&corpus, &vocabulary, limits)?;
    let mut effort = merge_all(store, &mut vocabulary, limits, |_| true)?;
    effort.spills += spills;
    let made = vocabulary.merges().len();
    if settings.kind == Kind::SuperBpe {
        limits.target = settings.vocab_size;
        let store = phrases(&corpus, &vocabulary, limits)?;
        let second = merge_all(store, &mut vocabulary, limits, allowed)?;
        effort.phases += second.phases;
        effort.spills += second.spills;
        effort.file_bytes = effort.file_bytes.max(second.file_bytes);
    }
    let across = |id: &u32| reaches_across(vocabulary.bytes(*id));
    let figures = Figures {
        corpus_bytes: corpus.bytes,
        distinct_words,
        vocab_size: vocabulary.len(),
        word_merges: made,
        phrase_merges: vocabulary.merges().len() - made,
        superwords: (first as u32..vocabulary.len() as u32).filter(across).count(),
        phases: effort.phases,
        spills: effort.spills,
        spilled_bytes: effort.file_bytes,
    };
    Ok(Trained { vocabulary, special: settings.special.clone(), kind: settings.kind, figures })
}

/// Does `work` with every block, several at a time, and gives the results in order.
fn each_block<R: Send>(
    corpus: &Corpus,
    limits: Limits<'_>,
    what: &str,
    work: impl Fn(&Block) -> Result<R, Fault> + Sync,
    mut take: impl FnMut(R) -> std::io::Result<()>,
) -> Result<(), Fault> {
    let mut done = 0;
    corpus.blocks(rayon::current_num_threads() * 2, |blocks| {
        cancel::checkpoint();
        let results: Vec<Result<R, Fault>> = blocks.par_iter().map(&work).collect();
        for result in results {
            take(result?).map_err(|e| limits.disk(&e))?;
        }
        done += blocks.iter().map(Block::bytes).sum::<u64>();
        progress::report(what, "MB", done >> 20, corpus.bytes >> 20);
        Ok(())
    })
}

/// Every different word as a sequence of bytes with its count; their number; how often memory was full.
fn words(corpus: &Corpus, vocabulary: &Vocabulary, limits: Limits<'_>) -> Result<(Store, u64, usize), Fault> {
    let mut counter = limits.counter::<Box<str>>();
    let count = |block: &Block| {
        let mut table: FxHashMap<Box<str>, u64> = FxHashMap::default();
        block.texts(|text| {
            pattern::words(text, |word| match table.get_mut(word) {
                Some(n) => *n += 1,
                None => {
                    table.insert(word.into(), 1);
                }
            });
        })?;
        Ok(table)
    };
    each_block(corpus, limits, "counting words", count, |table| counter.add(table))?;
    let spills = counter.spills();
    let (mut store, mut chunk, mut ids, mut distinct) = (limits.store(), Chunk::default(), Vec::new(), 0);
    let drained = counter.drain(|word, n| {
        distinct += 1;
        ids.clear();
        ids.extend(word.bytes().map(|b| vocabulary.byte(b)));
        chunk.push(&ids, n);
        if chunk.len() >= CHUNK_WORDS { store.push(std::mem::take(&mut chunk)) } else { Ok(()) }
    });
    drained.and_then(|()| store.push(chunk)).map_err(|e| limits.disk(&e))?;
    Ok((store, distinct, spills))
}

/// Every phrase of the corpus in tokens of stage one.
fn phrases(corpus: &Corpus, vocabulary: &Vocabulary, limits: Limits<'_>) -> Result<Store, Fault> {
    let encode = |block: &Block| {
        let (mut chunk, mut ids, mut encoder) = (Chunk::default(), Vec::new(), WordEncoder::new(vocabulary));
        block.texts(|text| {
            pattern::phrases(text, |piece| {
                ids.clear();
                encoder.encode(piece, &mut ids);
                chunk.push(&ids, 1);
            });
        })?;
        Ok(chunk)
    };
    let mut store = limits.store();
    each_block(corpus, limits, "encoding", encode, |chunk| store.push(chunk))?;
    Ok(store)
}

#[cfg(test)]
mod tests;
