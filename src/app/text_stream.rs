//! Text from ids as they come, the same text that decoding all ids at once gives.
//!
//! An id alone does not decode to its part of the text: most decoders write the space between two
//! words with the second word and strip it at the beginning of a text, and a character may take
//! several ids. So each id is decoded together with the ids before it, from the last place where
//! everything was given out, and only the new characters are given out.

use crate::data::TextTokenizer;

/// Collects ids and gives out their text piece by piece.
#[derive(Debug, Default)]
pub(crate) struct TextStream {
    /// Special tokens are text too.
    has_special: bool,
    /// Visible ids from the beginning of the window.
    window: Vec<u32>,
    /// How many of them were there when everything was last given out.
    settled: usize,
    /// Bytes of the window's text that were given out.
    given: usize,
    /// All text that was given out.
    pub(crate) text: String,
}

impl TextStream {
    /// A stream in which special tokens are text too: some mark calls of tools.
    #[cfg(feature = "program")]
    pub(crate) fn with_special() -> Self {
        Self { has_special: true, ..Self::default() }
    }

    /// Takes an id; the text that is certain now and was not before.
    pub(crate) fn push(&mut self, tokenizer: &TextTokenizer, id: u32) -> Option<String> {
        if !self.has_special && tokenizer.is_special(id) {
            return None;
        }
        self.window.push(id);
        // Bytes written as `<0x..>` are decoded run by run: one bad byte spoils its whole run, so
        // nothing of a run is certain before it ends.
        let token = tokenizer.inner().id_to_token(id).unwrap_or_default();
        if is_byte(&token) {
            return None;
        }
        let text = tokenizer.decode(&self.window, !self.has_special).unwrap_or_default();
        // A replacement character at the end may be the first bytes of a longer one.
        let certain = text.strip_suffix('\u{fffd}').map_or(text.len(), str::len);
        let piece = self.give(&text, certain)?;
        if certain == text.len() {
            self.window.drain(..self.settled);
            self.settled = self.window.len();
            self.given = tokenizer.decode(&self.window, !self.has_special).unwrap_or_default().len();
        }
        Some(piece)
    }

    /// What is left when no more ids come.
    pub(crate) fn rest(&mut self, tokenizer: &TextTokenizer) -> Option<String> {
        let text = tokenizer.decode(&self.window, !self.has_special).ok()?;
        self.give(&text, text.len())
    }

    /// Gives out the window's text up to `end`.
    fn give(&mut self, text: &str, end: usize) -> Option<String> {
        let piece = text.get(self.given..end).filter(|p| !p.is_empty())?.to_owned();
        self.given = end;
        self.text.push_str(&piece);
        Some(piece)
    }
}

/// Whether a token stands for one byte, as in SentencePiece vocabularies.
fn is_byte(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokenizers::Tokenizer;

    use super::*;

    const SPACE: &str = "\u{2581}";

    /// Random numbers (xorshift); the seed is printed where a check fails.
    fn random(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        }
    }

    /// A tokenizer with this decoder, whose vocabulary has words with and without a space in all
    /// the ways that decoders know, bytes, punctuation and a special token.
    fn tokenizer(decoder: &Value) -> TextTokenizer {
        let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
        pieces.extend((0..256).map(|b| format!("<0x{b:02X}>")));
        for word in ["a", "lake", "small", "é", "日", "##ing", "##s", ".", ",", "'s", "n't", "\u{fffd}"] {
            pieces.extend([word.to_owned(), format!("{SPACE}{word}"), format!("{word}</w>"), format!("Ġ{word}")]);
        }
        pieces.extend([SPACE.to_owned(), format!("{SPACE}{SPACE}"), "Ã".into(), "©".into(), "âĤ".into(), "¬".into(), "|".into()]);
        pieces.sort();
        pieces.dedup();
        let vocab: serde_json::Map<String, Value> = pieces.iter().enumerate().map(|(i, p)| (p.clone(), json!(i))).collect();
        let special = |text: &str| {
            json!({"id": vocab[text], "content": text, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        };
        let whole = json!({"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
            "added_tokens": [special("<s>"), special("</s>")],
            "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab, "merges": []}});
        let inner = Tokenizer::from_bytes(whole.to_string().as_bytes()).unwrap();
        TextTokenizer::from_parts(inner, Vec::new()).unwrap()
    }

    /// Every kind of decoder, in the combinations in which models have them.
    fn decoders() -> Vec<Value> {
        let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true});
        let replace = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "decoders": steps});
        let bytes = json!({"type": "ByteFallback"});
        vec![
            sequence(vec![replace.clone(), bytes.clone(), json!({"type": "Fuse"}), strip]),
            sequence(vec![replace, bytes.clone(), json!({"type": "Fuse"})]),
            metaspace("always"),
            metaspace("first"),
            metaspace("never"),
            sequence(vec![bytes, metaspace("always")]),
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": false}),
            json!({"type": "BPEDecoder", "suffix": "</w>"}),
            json!({"type": "CTC", "pad_token": "<unk>", "word_delimiter_token": "|", "cleanup": true}),
            json!({"type": "Fuse"}),
            Value::Null,
        ]
    }

    /// The streamed text of `ids`.
    fn streamed(t: &TextTokenizer, ids: &[u32]) -> String {
        let mut stream = TextStream::default();
        let mut said: String = ids.iter().filter_map(|id| stream.push(t, *id)).collect();
        said.extend(stream.rest(t));
        assert_eq!(said, stream.text);
        said
    }

    #[test]
    fn streamed_text_is_that_of_all_ids_for_every_decoder() {
        for decoder in decoders() {
            let t = tokenizer(&decoder);
            for seed in 1..400u64 {
                let mut next = random(seed);
                let count = 1 + next(24);
                let ids: Vec<u32> = (0..count).map(|_| next(t.vocab_size()) as u32).collect();
                assert_eq!(streamed(&t, &ids), t.decode(&ids, true).unwrap(), "{decoder} seed {seed}: {ids:?}");
            }
        }
    }

    #[test]
    fn words_of_sentencepiece_keep_their_spaces() {
        let t = tokenizer(&decoders()[0]);
        let id = |p: &str| t.inner().token_to_id(p).unwrap();
        let ids = ["\u{2581}small", "\u{2581}lake", "s", "</s>", "\u{2581}a"].map(|p| if p == "s" { id("##s") } else { id(p) });
        let mut stream = TextStream::default();
        let pieces: Vec<Option<String>> = ids.iter().map(|i| stream.push(&t, *i)).collect();
        assert_eq!(pieces[..2], [Some("small".to_owned()), Some(" lake".to_owned())]);
        assert_eq!(pieces[3..], [None, Some(" a".to_owned())]);
    }
}
