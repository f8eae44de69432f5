//! More tokens for a byte-level BPE tokenizer: its merges are inherited, and merging goes on.
//!
//! ```text
//!   corpus ── the tokenizer's own pieces ── inherited merges ──> sequences ── phases ──> new merges
//!                                                            new token = its parts, tokens of the base
//! ```
//! Inherited merges go first, so a text keeps its tokens up to the places where new ones join them.

use std::path::PathBuf;

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizer, Tokenizer};

use super::corpus::{Block, Corpus};
use super::phase::{Limits, merge_all};
use super::store::{Chunk, Store};
use super::vocabulary::{Vocabulary, byte_characters, pair, parts};
use super::{CHUNK_WORDS, each_block};
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::data::tokenizer::in_library;

/// How a tokenizer is extended.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Files and folders of text.
    pub corpus: Vec<PathBuf>,
    /// At most so many new tokens.
    pub new_tokens: usize,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Memory to work in, about.
    pub memory_bytes: usize,
    /// Folder for temporary files.
    pub scratch: PathBuf,
}

/// A new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// The tokens of the base that it stands for.
    pub parts: Vec<u32>,
}

/// An extended tokenizer.
#[derive(Debug, Clone)]
pub struct Extended {
    /// The tokenizer in the form that Hugging Face `tokenizers` reads.
    pub tokenizer_json: Value,
    /// The new tokens, by id.
    pub tokens: Vec<NewToken>,
    /// New merges; more than new tokens where two pairs give the same one.
    pub new_merges: usize,
    /// Size of the corpus.
    pub corpus_bytes: u64,
}

/// Goes on merging where a tokenizer's training ended.
///
/// # Errors
/// `bad_base_tokenizer` when it is not byte-level BPE or its merges do not follow from one another; as
/// [`super::train`] for the corpus and the temporary folder.
pub fn extend(base: &TextTokenizer, e: &Extension) -> Result<Extended, Fault> {
    let text = base.inner().to_string(false).map_err(|e| Fault::new("bad_base_tokenizer", e.to_string()))?;
    let mut json: Value = serde_json::from_str(&text).map_err(|e| Fault::new("bad_base_tokenizer", e.to_string()))?;
    let mut inherited = Inherited::of(&json)?;
    let first = inherited.vocabulary.merges().len();
    let corpus = Corpus::find(&e.corpus)?;
    let limits = Limits {
        target: inherited.vocabulary.len() + e.new_tokens,
        min_frequency: e.min_frequency.max(1),
        memory_bytes: e.memory_bytes.max(1 << 20),
        scratch: &e.scratch,
    };
    let store = words(&corpus, base.inner(), &inherited.vocabulary, limits)?;
    merge_all(store, &mut inherited.vocabulary, limits, |_| true)?;
    let tokens = inherited.take_over(&mut json, first)?;
    let new_merges = inherited.vocabulary.merges().len() - first;
    Ok(Extended { tokenizer_json: json, tokens, new_merges, corpus_bytes: corpus.bytes })
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new("bad_base_tokenizer", message)
        .hint("only byte-level BPE tokenizers (GPT-2, Llama 3, Qwen, SmolLM and their like) are extended")
}

/// The vocabulary of a tokenizer, in ids of its own.
struct Inherited {
    vocabulary: Vocabulary,
    /// Id in the tokenizer of each token that came from it.
    ids: Vec<Option<u32>>,
}

impl Inherited {
    fn of(json: &Value) -> Result<Self, Fault> {
        let model = &json["model"];
        let unset = |name: &str| model[name].as_str().is_none_or(str::is_empty);
        let bytes = json["decoder"].to_string().contains("\"ByteLevel\"") && model["byte_fallback"] != true;
        if model["type"] != "BPE" || !bytes || !unset("continuing_subword_prefix") || !unset("end_of_word_suffix") {
            let by_pieces = model["byte_fallback"] == true || json.to_string().contains("\"Metaspace\"");
            let kind = match model["type"].as_str() {
                Some("BPE") if by_pieces => "SentencePiece's BPE of characters (Llama 2, Mistral, Gemma)",
                kind => kind.unwrap_or("unknown"),
            };
            return Err(bad(format!("the tokenizer is of the kind {kind}, not byte-level BPE")));
        }
        let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array()) else {
            return Err(bad("the tokenizer has no vocabulary or no merges"));
        };
        let of_character: FxHashMap<char, u8> = byte_characters().into_iter().zip(0u8..=255).collect();
        let spelled = |token: &str| -> Option<Vec<u8>> { token.chars().map(|c| of_character.get(&c).copied()).collect() };
        let mut vocabulary = Vocabulary::new(0);
        let mut known: FxHashMap<Vec<u8>, u32> = (0..=255u8).map(|b| (vec![b], vocabulary.byte(b))).collect();
        for (n, merge) in merges.iter().enumerate() {
            let (a, b) = two(merge).ok_or_else(|| bad(format!("merge {} of the tokenizer is no pair", n + 1)))?;
            let id = |token: &str| spelled(token).and_then(|bytes| known.get(&bytes).copied());
            let (Some(x), Some(y)) = (id(a), id(b)) else {
                return Err(bad(format!("merge {} of the tokenizer joins `{a}` and `{b}`, which no earlier merge makes", n + 1)));
            };
            let made = vocabulary.merge(pair(x, y));
            known.insert(vocabulary.bytes(made).to_vec(), made);
        }
        let mut ids = vec![None; vocabulary.len()];
        for (token, id) in vocab {
            let id = id.as_u64().and_then(|n| u32::try_from(n).ok());
            if let Some(own) = spelled(token).and_then(|bytes| known.get(&bytes).copied()) {
                ids[own as usize] = id;
            }
        }
        Ok(Self { vocabulary, ids })
    }

    /// Writes the merges from `first` on into the tokenizer, and gives the new tokens.
    fn take_over(&self, json: &mut Value, first: usize) -> Result<Vec<NewToken>, Fault> {
        let characters = byte_characters();
        let spell = |id: u32| -> String { self.vocabulary.bytes(id).iter().map(|b| characters[*b as usize]).collect() };
        let added = json["added_tokens"].as_array().into_iter().flatten().filter_map(|t| t["id"].as_u64()).max();
        let as_text = json["model"]["merges"].as_array().and_then(|m| m.first()).is_some_and(Value::is_string);
        let vocab: &mut Map<String, Value> = json["model"]["vocab"].as_object_mut().ok_or_else(|| bad("there is no vocabulary"))?;
        let largest = vocab.values().filter_map(Value::as_u64).max().max(added).unwrap_or(0);
        let mut next = u32::try_from(largest + 1).map_err(|_| bad("its ids are too large"))?;
        // What each token stands for, in ids of the base; a new one by the merge that made it first.
        let mut stands: Vec<Vec<u32>> = self.ids.iter().map(|id| id.iter().copied().collect()).collect();
        stands.resize(self.vocabulary.len(), Vec::new());
        let (mut tokens, mut merges) = (Vec::new(), Vec::new());
        for (of, made) in &self.vocabulary.merges()[first..] {
            let (a, b) = parts(*of);
            merges.push(if as_text { json!(format!("{} {}", spell(a), spell(b))) } else { json!([spell(a), spell(b)]) });
            if !stands[*made as usize].is_empty() {
                continue;
            }
            let token = spell(*made);
            // It may be there already, beyond the reach of the tokenizer's own merges.
            if let Some(id) = vocab.get(&token).and_then(Value::as_u64) {
                stands[*made as usize] = vec![id as u32];
                continue;
            }
            let parts = [stands[a as usize].as_slice(), &stands[b as usize]].concat();
            if parts.is_empty() {
                return Err(bad(format!("the tokenizer has no token for a byte of `{token}`")));
            }
            vocab.insert(token, json!(next));
            let text = String::from_utf8_lossy(self.vocabulary.bytes(*made)).into_owned();
            tokens.push(NewToken { id: next, text, parts: parts.clone() });
            stands[*made as usize] = parts;
            next += 1;
        }
        json["model"]["merges"].as_array_mut().ok_or_else(|| bad("there are no merges"))?.extend(merges);
        Ok(tokens)
    }
}

/// The two tokens of a merge, in either way of writing it.
fn two(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        Value::Array(both) => Some((both.first()?.as_str()?, both.get(1)?.as_str()?)),
        _ => None,
    }
}

/// Calls `each` with every piece that a tokenizer cuts a text into, in its byte-level alphabet.
fn pieces(tokenizer: &Tokenizer, text: &str, each: &mut dyn FnMut(&str)) -> Result<(), String> {
    let cut: Option<Result<_, String>> = in_library(text.len(), || {
        let added = tokenizer.get_added_vocabulary();
        let mut cut = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(by) = tokenizer.get_pre_tokenizer() {
            by.pre_tokenize(&mut cut).map_err(|e| e.to_string())?;
        }
        Ok(cut)
    });
    let cut = cut.unwrap_or_else(|| Err("the tokenizer failed inside".into()))?;
    for (piece, _, tokens) in cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
        // A word that was added to the vocabulary is a token of its own.
        if tokens.is_none() {
            each(piece);
        }
    }
    Ok(())
}

/// Every different piece of the corpus, in inherited tokens with its count.
fn words(corpus: &Corpus, tokenizer: &Tokenizer, vocabulary: &Vocabulary, limits: Limits<'_>) -> Result<Store, Fault> {
    let mut counter = limits.counter::<Box<str>>();
    let count = |block: &Block| {
        let (mut table, mut failed): (FxHashMap<Box<str>, u64>, _) = (FxHashMap::default(), None);
        block.texts(|text| {
            let done = pieces(tokenizer, text, &mut |word| match table.get_mut(word) {
                Some(n) => *n += 1,
                None => {
                    table.insert(word.into(), 1);
                }
            });
            failed = failed.take().or(done.err());
        })?;
        match failed {
            Some(why) => Err(Fault::new("tokenizer_failed", format!("the corpus cannot be cut into pieces: {why}"))),
            None => Ok(table),
        }
    };
    each_block(corpus, limits, "counting words", count, |table| counter.add(table))?;
    let of_character: FxHashMap<char, u8> = byte_characters().into_iter().zip(0u8..=255).collect();
    let (mut store, mut chunk, mut ids, mut bytes) = (limits.store(), Chunk::default(), Vec::new(), Vec::new());
    let drained = counter.drain(|word, n| {
        bytes.clear();
        bytes.extend(word.chars().filter_map(|c| of_character.get(&c)));
        ids.clear();
        vocabulary.encode(&bytes, &mut ids);
        chunk.push(&ids, n);
        if chunk.len() >= CHUNK_WORDS { store.push(std::mem::take(&mut chunk)) } else { Ok(()) }
    });
    drained.and_then(|()| store.push(chunk)).map_err(|e| limits.disk(&e))?;
    Ok(store)
}
