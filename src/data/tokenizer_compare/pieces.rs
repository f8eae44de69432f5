//! Tokens as the bytes that they stand for, whatever form a vocabulary writes them in.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use super::measure::Use;
use super::{LONGEST, Overlap, Piece};
use crate::data::tokenizer::TextTokenizer;
use crate::data::tokenizer_train::byte_characters;

/// How a vocabulary writes its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each character stands for a byte.
    Bytes,
    /// `▁` is a space and `<0xNN>` a byte.
    Spaces,
    /// `##` before a token that goes on in a word; others begin one.
    Continued,
    /// As they are.
    Plain,
}

impl Form {
    /// By the parts of the tokenizer that write and read spaces.
    pub(super) fn of(tokenizer: &TextTokenizer) -> Self {
        let inner = tokenizer.inner();
        let words = |part: Option<String>| part.unwrap_or_default();
        let json = words(inner.get_decoder().and_then(|d| serde_json::to_string(d).ok()))
            + &words(inner.get_pre_tokenizer().and_then(|p| serde_json::to_string(p).ok()));
        match json {
            json if json.contains("\"ByteLevel\"") => Self::Bytes,
            json if json.contains("\"WordPiece\"") => Self::Continued,
            json if json.contains("\"Metaspace\"") || json.contains('\u{2581}') => Self::Spaces,
            _ => Self::Plain,
        }
    }

    /// The bytes that a token stands for.
    fn bytes(self, token: &str, of_character: &FxHashMap<char, u8>) -> Vec<u8> {
        match self {
            Self::Bytes => {
                let all: Option<Vec<u8>> = token.chars().map(|c| of_character.get(&c).copied()).collect();
                all.unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::Spaces => match token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')) {
                Some(hex) if hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok() => u8::from_str_radix(hex, 16).into_iter().collect(),
                _ => token.replace('\u{2581}', " ").into_bytes(),
            },
            Self::Continued => match token.strip_prefix("##") {
                Some(rest) => rest.as_bytes().to_vec(),
                None => format!(" {token}").into_bytes(),
            },
            Self::Plain => token.as_bytes().to_vec(),
        }
    }
}

/// The byte of each character of a byte-level vocabulary.
fn characters() -> FxHashMap<char, u8> {
    byte_characters().into_iter().zip(0u8..=255).collect()
}

/// Used tokens with their text; words that were added to the vocabulary are left out.
fn used(tokenizer: &TextTokenizer, form: Form, uses: &FxHashMap<u32, Use>) -> Vec<Piece> {
    let of_character = characters();
    let added = tokenizer.inner().get_added_vocabulary().get_added_tokens_decoder();
    let mut all: Vec<Piece> = uses
        .iter()
        .filter(|(id, _)| !added.contains_key(id))
        .filter_map(|(id, one)| {
            let token = tokenizer.inner().id_to_token(*id)?;
            let text = String::from_utf8_lossy(&form.bytes(&token, &of_character)).into_owned();
            Some(Piece { text, id: *id, used: one.times, saved: one.saved })
        })
        .collect();
    all.sort_by_key(|p| p.id);
    all
}

/// The `most` used tokens with the most characters.
pub(super) fn longest(tokenizer: &TextTokenizer, form: Form, uses: &FxHashMap<u32, Use>, most: usize) -> Vec<Piece> {
    let mut all = used(tokenizer, form, uses);
    all.sort_by_key(|p| std::cmp::Reverse((p.text.chars().count(), p.used)));
    all.truncate(most);
    all
}

/// The `most` tokens that save the most; none that saves nothing.
pub(super) fn saving(tokenizer: &TextTokenizer, form: Form, uses: &FxHashMap<u32, Use>, most: usize) -> Vec<Piece> {
    let mut all = used(tokenizer, form, uses);
    all.retain(|p| p.saved > 0);
    all.sort_by_key(|p| std::cmp::Reverse(p.saved));
    all.truncate(most);
    all
}

/// Uses of tokens by their number of characters.
pub(super) fn lengths(tokenizer: &TextTokenizer, form: Form, uses: &FxHashMap<u32, Use>) -> Vec<u64> {
    let mut counts = vec![0; LONGEST + 1];
    for piece in used(tokenizer, form, uses) {
        counts[piece.text.chars().count().min(LONGEST)] += piece.used;
    }
    counts
}

/// What two vocabularies share.
pub(super) fn overlap(a: (&TextTokenizer, Form), b: (&TextTokenizer, Form)) -> Overlap {
    let of_character = characters();
    let all = |(tokenizer, form): (&TextTokenizer, Form)| -> HashSet<Vec<u8>> {
        let added: HashSet<u32> = tokenizer.inner().get_added_vocabulary().get_added_tokens_decoder().keys().copied().collect();
        let bytes = |(token, id): (String, u32)| match added.contains(&id) {
            true => token.into_bytes(),
            false => form.bytes(&token, &of_character),
        };
        tokenizer.inner().get_vocab(true).into_iter().map(bytes).collect()
    };
    let (first, second) = (all(a), all(b));
    let both = first.intersection(&second).count();
    let (only_a, only_b) = (first.len() - both, second.len() - both);
    let different = both + only_a + only_b;
    Overlap { both, only_a, only_b, jaccard: if different > 0 { both as f64 / different as f64 } else { 0.0 } }
}
