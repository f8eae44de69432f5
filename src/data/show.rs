//! How one example is masked, as text.

use serde::Serialize;

use super::encode::{Example, IGNORED};
use super::tokenizer::{TextTokenizer, in_library};

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

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// What it adds to the text. A character can need several tokens; the last of them gives it.
    pub text: String,
    /// Whether the loss covers it.
    pub trained: bool,
}

/// The tokens of an example in order. Their texts together are what the model sees.
pub fn pieces<'a>(example: &'a Example, tokenizer: &'a TextTokenizer) -> impl Iterator<Item = Piece> + 'a {
    let mut stream = tokenizer.inner().decode_stream(false);
    example.input_ids.iter().zip(&example.labels).map(move |(id, label)| Piece {
        id: *id,
        text: in_library(0, || stream.step(*id)).and_then(|step| step.ok().flatten()).unwrap_or_default(),
        trained: *label != IGNORED,
    })
}

/// The text of an example, cut where the mask changes. It is decoded from the ids, so it shows what the model sees.
pub fn segments(example: &Example, tokenizer: &TextTokenizer) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for piece in pieces(example, tokenizer) {
        match out.last_mut().filter(|s| s.trained == piece.trained) {
            Some(segment) => {
                segment.text.push_str(&piece.text);
                segment.tokens += 1;
            }
            None => out.push(Segment { text: piece.text, trained: piece.trained, tokens: 1 }),
        }
    }
    out
}
