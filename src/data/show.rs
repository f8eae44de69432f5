//! How one example is masked, as text.

use serde::Serialize;

use super::encode::{Example, IGNORED};
use super::tokenizer::TextTokenizer;

/// A run of tokens that are all trained or all not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// The text of the tokens, special tokens included.
    pub text: String,
    /// Whether the loss covers them.
    pub trained: bool,
    /// Number of tokens.
    pub tokens: usize,
}

/// The text of an example, cut where the mask changes. It is decoded from the ids, so it shows what the model sees.
pub fn segments(example: &Example, tokenizer: &TextTokenizer) -> Vec<Segment> {
    let mut stream = tokenizer.inner().decode_stream(false);
    let mut out: Vec<Segment> = Vec::new();
    for (id, label) in example.input_ids.iter().zip(&example.labels) {
        let trained = *label != IGNORED;
        // A character can need several tokens; the stream gives it with the last of them.
        let piece = stream.step(*id).ok().flatten().unwrap_or_default();
        match out.last_mut().filter(|s| s.trained == trained) {
            Some(segment) => {
                segment.text.push_str(&piece);
                segment.tokens += 1;
            }
            None => out.push(Segment { text: piece, trained, tokens: 1 }),
        }
    }
    out
}
