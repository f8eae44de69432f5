//! Two tokenizers on the same texts: how many tokens, at what speed, and where they differ.
//!
//! ```text
//!   files ── texts (kind, language) ──┬─ tokenizer A ─ ids and byte ranges ─┬─ counts by group
//!                                     └─ tokenizer B ─ ids and byte ranges ─┘  tokens that save most
//!   vocabulary A, vocabulary B ── bytes of each token ── overlap
//! ```
//! All counts are sums of whole numbers, so the number of threads does not change them. The speed is
//! measured apart, on one thread.

mod kind;
mod measure;
mod pieces;
mod texts;

use std::collections::BTreeMap;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

pub use self::kind::TextKind;
use self::measure::{Tally, tally};
pub use self::texts::{MOST_BYTES, Text, read_texts};
use super::tokenizer::TextTokenizer;
use crate::base::cancel::Cancel;

/// Texts of a piece of work for one thread.
const AT_ONCE: usize = 32;
/// Tokens that are named, of each kind.
const NAMED: usize = 8;
/// Failures that are shown.
const EXAMPLES: usize = 5;
/// The speed is measured on so many bytes of text, or all of it.
const SPEED_BYTES: usize = 1 << 20;
/// Tokens of this many characters or more are counted together.
pub const LONGEST: usize = 20;

/// How many tokens one tokenizer needs for a group of texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Tokens.
    pub tokens: u64,
    /// Bytes of UTF-8 in a token; 0 where there is no token.
    pub bytes_per_token: f64,
    /// Words in a token; 0 where there is no token.
    pub words_per_token: f64,
    /// Tokens for a word (fertility); 0 where there is no word.
    pub tokens_per_word: f64,
}

/// A group of texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// `all`, the kind, or the language.
    pub name: String,
    /// How many texts.
    pub texts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their words.
    pub words: u64,
    /// The first tokenizer.
    pub a: Rate,
    /// The second tokenizer.
    pub b: Rate,
    /// Tokens of the second over those of the first, less one: -0.1 is 10 % fewer.
    pub change: f64,
}

/// A token and how often it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Its id.
    pub id: u32,
    /// Times that it was used in the texts.
    pub used: u64,
    /// Tokens of the other tokenizer that its uses stand for, less one for each use.
    pub saved: i64,
}

/// A text that is another one after encoding and decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where the text stands.
    pub place: String,
    /// The text, from a little before the first difference.
    pub text: String,
    /// What came back, from the same place; or why nothing did.
    pub back: String,
}

/// One of the two tokenizers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// What it was called.
    pub name: String,
    /// Number of ids.
    pub vocabulary: usize,
    /// Different ids that the texts used.
    pub used: usize,
    /// Million bytes of text that one thread encodes in a second.
    pub megabytes_per_second: f64,
    /// Used tokens with the most characters.
    pub longest: Vec<Piece>,
    /// Tokens that save the most tokens of the other tokenizer.
    pub saving: Vec<Piece>,
    /// Texts that did not come back as they were.
    pub round_trip_failures: u64,
    /// Some of them.
    pub failures: Vec<Failure>,
    /// Used tokens by their number of characters, from 0; the last entry holds all longer ones.
    pub lengths: Vec<u64>,
}

/// What two vocabularies have in common, by the bytes that tokens stand for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overlap {
    /// Tokens of both.
    pub both: usize,
    /// Tokens of the first alone.
    pub only_a: usize,
    /// Tokens of the second alone.
    pub only_b: usize,
    /// `both` over all different tokens.
    pub jaccard: f64,
}

/// Two tokenizers on the same texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// All texts.
    pub all: Group,
    /// By what kind of text it is.
    pub kinds: Vec<Group>,
    /// By language, of the texts that say theirs.
    pub languages: Vec<Group>,
    /// The vocabularies.
    pub vocabulary: Overlap,
}

/// Compares two tokenizers, each with its name, on texts.
pub fn compare(a: (&str, &TextTokenizer), b: (&str, &TextTokenizer), texts: &[Text]) -> Comparison {
    let cancel = Cancel::current();
    let forms = [pieces::Form::of(a.1), pieces::Form::of(b.1)];
    let parts: Vec<Tally> = texts
        .par_chunks(AT_ONCE)
        .map(|some| {
            cancel.checkpoint();
            tally((a.1, forms[0]), (b.1, forms[1]), some)
        })
        .collect();
    let mut total = Tally::default();
    parts.into_iter().for_each(|part| total.add(part));
    let groups = |of: BTreeMap<String, measure::Sums>| of.into_iter().map(|(name, sums)| sums.group(name)).collect();
    let side = |i: usize, (name, tokenizer): (&str, &TextTokenizer)| Side {
        name: name.to_owned(),
        vocabulary: tokenizer.vocab_size(),
        used: total.used[i].len(),
        megabytes_per_second: speed(tokenizer, texts),
        longest: pieces::longest(tokenizer, forms[i], &total.used[i], NAMED),
        saving: pieces::saving(tokenizer, forms[i], &total.used[i], NAMED),
        round_trip_failures: total.failed[i],
        failures: total.failures[i].iter().take(EXAMPLES).cloned().collect(),
        lengths: pieces::lengths(tokenizer, forms[i], &total.used[i]),
    };
    Comparison {
        a: side(0, a),
        b: side(1, b),
        all: total.all.group("all".into()),
        vocabulary: pieces::overlap((a.1, forms[0]), (b.1, forms[1])),
        kinds: groups(total.kinds),
        languages: groups(total.languages),
    }
}

/// Million bytes a second on this thread; the better of two rounds, the first of which fills caches.
fn speed(tokenizer: &TextTokenizer, texts: &[Text]) -> f64 {
    let mut bytes = 0;
    let some: Vec<&str> = texts
        .iter()
        .map(|t| t.text.as_str())
        .take_while(|t| {
            let goes_on = bytes < SPEED_BYTES;
            bytes += if goes_on { t.len() } else { 0 };
            goes_on
        })
        .collect();
    let round = || {
        let started = Instant::now();
        for text in &some {
            crate::base::cancel::checkpoint();
            let _ = tokenizer.encode_with_offsets(text, false);
        }
        started.elapsed().as_secs_f64()
    };
    let seconds = round().min(round());
    if seconds > 0.0 { bytes as f64 / seconds / 1e6 } else { 0.0 }
}

#[cfg(test)]
mod tests;
