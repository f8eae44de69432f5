//! A trained vocabulary as `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::vocabulary::{byte_characters, parts};
use super::{Kind, Trained, pattern};

impl Trained {
    /// The special tokens, in the order of their ids from 0.
    pub fn special(&self) -> &[String] {
        &self.special
    }

    /// The tokenizer in the form that Hugging Face `tokenizers` reads.
    pub fn tokenizer_json(&self) -> Value {
        let characters = byte_characters();
        let spelled = |id: u32| match self.special.get(id as usize) {
            Some(token) => token.clone(),
            None => self.vocabulary.bytes(id).iter().map(|b| characters[*b as usize]).collect(),
        };
        let vocab: Map<String, Value> = (0..self.vocabulary.len() as u32).map(|id| (spelled(id), json!(id))).collect();
        let merges: Vec<Value> = self
            .vocabulary
            .merges()
            .iter()
            .map(|(of, _)| {
                let (a, b) = parts(*of);
                json!([spelled(a), spelled(b)])
            })
            .collect();
        let added = self.special.iter().enumerate().map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        });
        let regex = if self.kind == Kind::Bpe { pattern::WORDS } else { pattern::PHRASES };
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added.collect::<Vec<Value>>(),
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false},
                bytes,
            ]},
            "post_processor": null,
            "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges,
            },
        })
    }
}
