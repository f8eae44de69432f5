//! Tokenizers that were made from SentencePiece: merges become scores, since llama.cpp merges the best score first.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

/// Whether a BPE tokenizer without byte level is SentencePiece's: characters it does not know as bytes, and every way to join
/// two pieces into a third is a merge. llama.cpp joins whatever makes a piece; a tokenizer that does not would come out otherwise.
pub(super) fn is_like_sentencepiece(json: &Json, merges: &[(String, String)]) -> bool {
    let Some(vocab) = json["model"]["vocab"].as_object() else { return false };
    let joins: HashSet<(&str, &str)> = merges.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let added: HashSet<&str> = json["added_tokens"].as_array().into_iter().flatten().filter_map(|t| t["content"].as_str()).collect();
    let is_byte = |piece: &str| piece.len() == 6 && piece.starts_with("<0x");
    let is_plain = |piece: &str| !added.contains(piece) && !is_byte(piece);
    let joined = |piece: &str, at: usize| {
        let (a, b) = piece.split_at(at);
        let both = vocab.contains_key(a) && vocab.contains_key(b) && is_plain(a) && is_plain(b);
        !both || joins.contains(&(a, b))
    };
    let whole = |piece: &String| !is_plain(piece) || piece.char_indices().skip(1).all(|(at, _)| joined(piece, at));
    json["model"]["byte_fallback"] == true && vocab.contains_key("<0x00>") && vocab.keys().all(whole)
}

/// Whether a text gets a space in front.
pub(super) fn adds_space(json: &Json) -> bool {
    let steps = |v: &Json, list: &str| match v[list].as_array() {
        Some(a) => a.clone(),
        None => vec![v.clone()],
    };
    let prepends = steps(&json["normalizer"], "normalizers").iter().any(|n| n["type"] == "Prepend");
    let scheme = |p: &Json| p["type"] == "Metaspace" && matches!(p["prepend_scheme"].as_str(), Some("always" | "first"));
    prepends || steps(&json["pre_tokenizer"], "pretokenizers").iter().any(scheme)
}

/// Whether the space in front is `Metaspace`'s, which, unlike SentencePiece and llama.cpp, gives none to a text that begins with one
/// and none after a special token.
pub(super) fn skips_spaces(json: &Json) -> bool {
    adds_space(json) && json["pre_tokenizer"].to_string().contains("\"Metaspace\"")
}

/// A piece that is merged earlier scores higher; pieces that nothing merges into are never asked for.
pub(super) fn scores(pieces: &[&str], merges: &[(String, String)]) -> Vec<f32> {
    let mut rank: HashMap<String, usize> = HashMap::new();
    for (i, (a, b)) in merges.iter().enumerate() {
        rank.entry(format!("{a}{b}")).or_insert(i);
    }
    let last = merges.len();
    pieces.iter().map(|p| -(rank.get(*p).copied().unwrap_or(last) as f32)).collect()
}
