//! Rendered text to token ids and labels.

use std::ops::Range;

use super::error::Location;
use super::options::{DataOptions, Overlong};
use super::render::Rendered;
use super::tokenizer::TextTokenizer;
use super::tokens::Tokens;

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
    /// As [`Rendered`] has it.
    pub opened: usize,
    /// As [`Rendered`] has it.
    pub restated: usize,
    /// As [`Rendered`] has it.
    pub changed: usize,
    /// As [`Rendered`] has it.
    pub tools_ignored: bool,
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
    let text = match tokenizer.special("eos_token").filter(|_| rendered.append_eos) {
        // White space behind an end of text that is written out would put a second end behind it.
        Some(eos) if rendered.text.trim_end().ends_with(eos) => rendered.text.trim_end(),
        _ => &rendered.text,
    };
    let tokens = Tokens::cut(text, rendered.add_special, &rendered.cuts, tokenizer).map_err(NoExample::Failed)?;
    let mut facts = RowEncoding {
        opened: rendered.opened,
        restated: rendered.restated,
        changed: rendered.changed,
        tools_ignored: rendered.tools_ignored,
        ..RowEncoding::default()
    };
    let (mut trained, straddling) = token_flags(&tokens.offsets, &rendered.trained, text);
    facts.straddling = straddling;
    // What the tokenizer put around the text came from no character of it.
    let last = trained.len() - tokens.after;
    trained[..tokens.before].fill(false);
    trained[last..].fill(false);
    let Tokens { mut ids, offsets, .. } = tokens;
    // Nothing predicts the first token, least of all the one that begins every text.
    if rendered.add_special && ids.first().is_some_and(|id| tokenizer.bos_id() == Some(*id)) {
        trained[0] = false;
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
    facts.unended_turns = settle_turn_ends(&mut trained, &ids, &offsets, rendered, tokenizer);
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

/// A token is trained when the characters it stands for are; white space counts for nothing. Tokens that stand for
/// trained and for untrained characters are not trained, and counted.
fn token_flags(offsets: &[(usize, usize)], spans: &[Range<usize>], text: &str) -> (Vec<bool>, usize) {
    let blank = |from: usize, to: usize| text.get(from..to).is_some_and(|t| t.trim().is_empty());
    let mut straddling = 0;
    let mut span = 0;
    let flags = offsets.iter().map(|&(start, end)| {
        while span < spans.len() && spans[span].end <= start {
            span += 1;
        }
        let Some(current) = spans.get(span) else { return false };
        if end <= current.start {
            return start >= current.start;
        }
        let whole = start >= current.start || blank(start, current.start);
        let whole = whole && (end <= current.end || blank(current.end, end) || spans.get(span + 1).is_some_and(|n| n.start == current.end));
        straddling += usize::from(!whole);
        whole
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
