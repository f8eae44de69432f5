//! Rendered text to token ids and labels.

use std::ops::Range;

use super::error::Location;
use super::options::{DataOptions, Overlong};
use super::render::Rendered;
use super::tokenizer::TextTokenizer;

/// The label of a token the loss does not cover.
pub const IGNORED: i64 = -100;

/// One training sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// Same length: the token's own id where it is trained, [`IGNORED`] elsewhere. Not shifted.
    pub labels: Vec<i64>,
    /// Where its row stands.
    pub source: Location,
    /// How often it is sampled, relative to the others.
    pub weight: f32,
}

impl Example {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// Tokens that are predicted and trained: those with a label, but the first, which nothing predicts.
    pub fn trained_tokens(&self) -> u64 {
        self.labels.iter().skip(1).filter(|l| **l != IGNORED).count() as u64
    }
}

/// What encoding one rendering gave, besides the example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowEncoding {
    /// Tokens before truncation.
    pub full_tokens: usize,
    /// Tokens cut off.
    pub cut_tokens: usize,
    /// Tokens that hold both untrained and trained characters (they are not trained).
    pub straddling: usize,
    /// Tokens the vocabulary does not know.
    pub unknown: usize,
    /// Trained turns that end without a special token, so that the model does not learn to stop.
    pub unended_turns: usize,
}

/// Why a rendering gives no example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoExample {
    /// The tokenizer failed.
    Failed(String),
    /// Longer than allowed, under [`Overlong::Drop`].
    Dropped { tokens: usize },
    /// Longer than allowed, under [`Overlong::Error`].
    TooLong { tokens: usize },
    /// No trained token (is left).
    NothingTrained { tokens: usize, truncated: bool },
}

/// Encodes one rendering.
pub(crate) fn encode(
    rendered: &Rendered,
    tokenizer: &TextTokenizer,
    options: &DataOptions,
    source: &Location,
) -> Result<(Example, RowEncoding), NoExample> {
    let encoding = tokenizer.encode_with_offsets(&rendered.text, rendered.add_special).map_err(NoExample::Failed)?;
    let mut ids = encoding.get_ids().to_vec();
    let inserted = encoding.get_special_tokens_mask();
    let mut facts = RowEncoding::default();
    let (mut trained, straddling) = token_flags(encoding.get_offsets(), &rendered.trained);
    facts.straddling = straddling;
    if rendered.add_special {
        // What the tokenizer put around the text came from no character of it.
        trained
            .iter_mut()
            .zip(inserted)
            .zip(encoding.get_offsets())
            .filter(|((_, s), o)| **s == 1 && o.0 == o.1)
            .for_each(|((t, _), _)| *t = false);
    }
    if rendered.append_eos
        && let Some(eos) = tokenizer.eos_id()
    {
        if ids.last() != Some(&eos) {
            ids.push(eos);
            trained.push(false);
        }
        if let Some(last) = trained.last_mut() {
            *last = true;
        }
    }
    facts.unended_turns = settle_turn_ends(&mut trained, &ids, encoding.get_offsets(), rendered, tokenizer);
    facts.full_tokens = ids.len();
    facts.unknown = tokenizer.unk_id().map_or(0, |unk| ids.iter().filter(|id| **id == unk).count());
    let limit = options.max_seq_length;
    if ids.len() > limit {
        match options.overlong {
            Overlong::Drop => return Err(NoExample::Dropped { tokens: ids.len() }),
            Overlong::Error => return Err(NoExample::TooLong { tokens: ids.len() }),
            Overlong::Truncate => {
                facts.cut_tokens = ids.len() - limit;
                ids.truncate(limit);
                trained.truncate(limit);
            }
        }
    }
    let labels = ids.iter().zip(&trained).map(|(id, t)| if *t { i64::from(*id) } else { IGNORED }).collect();
    let example = Example { input_ids: ids, labels, source: source.clone(), weight: 1.0 };
    if example.trained_tokens() == 0 {
        return Err(NoExample::NothingTrained { tokens: facts.full_tokens, truncated: facts.cut_tokens > 0 });
    }
    Ok((example, facts))
}

/// A token is trained when its first character is. One that starts before the turn and reaches into it would not
/// exist at inference, where the prompt is tokenised alone; such tokens are counted.
fn token_flags(offsets: &[(usize, usize)], spans: &[Range<usize>]) -> (Vec<bool>, usize) {
    let mut straddling = 0;
    let mut span = 0;
    let flags = offsets.iter().map(|&(start, end)| {
        while span < spans.len() && spans[span].end <= start {
            span += 1;
        }
        let Some(current) = spans.get(span) else { return false };
        straddling += usize::from(start < current.start && end > current.start);
        start >= current.start
    });
    let flags = flags.collect();
    (flags, straddling)
}

/// A turn ends with its end-of-turn token. White space that the template writes after it (`<|im_end|>\n`) is never
/// generated, so it is not trained. Gives the number of turns without such a token.
fn settle_turn_ends(
    trained: &mut [bool],
    ids: &[u32],
    offsets: &[(usize, usize)],
    rendered: &Rendered,
    tokenizer: &TextTokenizer,
) -> usize {
    let mut unended = 0;
    let mut end = 0;
    while let Some(start) = (end..trained.len()).find(|i| trained[*i]) {
        end = (start..trained.len()).find(|i| !trained[*i]).unwrap_or(trained.len());
        let blank = |i: usize| offsets.get(i).and_then(|o| rendered.text.get(o.0..o.1)).is_some_and(|t| t.trim().is_empty());
        let last = (start..end).rev().find(|i| !blank(*i) || tokenizer.is_special(ids[*i]));
        match last {
            Some(last) if tokenizer.is_special(ids[last]) || tokenizer.eos_id() == Some(ids[last]) => trained[last + 1..end].fill(false),
            _ => unended += 1,
        }
    }
    unended
}
