//! Tokenizers that were made from SentencePiece: merges become scores, since llama.cpp merges the best score first.

use std::collections::HashMap;

use serde_json::Value as Json;

/// Whether a BPE tokenizer without byte level is SentencePiece's: words marked by `▁`, other characters as bytes.
pub(super) fn is_like_sentencepiece(json: &Json) -> bool {
    json["model"]["byte_fallback"] == true && json["model"]["vocab"].get("<0x00>").is_some()
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

/// A piece that is merged earlier scores higher; pieces that nothing merges into are never asked for.
pub(super) fn scores(pieces: &[&str], merges: &[(String, String)]) -> Vec<f32> {
    let mut rank: HashMap<String, usize> = HashMap::new();
    for (i, (a, b)) in merges.iter().enumerate() {
        rank.entry(format!("{a}{b}")).or_insert(i);
    }
    let last = merges.len();
    pieces.iter().map(|p| -(rank.get(*p).copied().unwrap_or(last) as f32)).collect()
}
