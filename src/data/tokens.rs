//! Ids of a text, and their places in it; a text cut where a model will take over.

use super::tokenizer::TextTokenizer;

/// Most bytes of a text that is tokenised at once: the library takes 90 to 140 bytes for each.
pub(super) const TEXT_BYTES: usize = 8 << 20;

/// Ids and the byte range each came from. What the tokenizer put around the text has an empty range.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    pub(super) offsets: Vec<(usize, usize)>,
    /// Tokens before the text, put there by the tokenizer.
    pub(super) before: usize,
    /// Tokens after it.
    pub(super) after: usize,
}

impl Tokens {
    /// The tokens of a text. `add_special` adds what the tokenizer puts around a text, unless the text has it already.
    pub(super) fn of(text: &str, add_special: bool, tokenizer: &TextTokenizer) -> Result<Self, String> {
        if text.len() > TEXT_BYTES {
            return Err(format!("a text of {} bytes; at most {TEXT_BYTES}: cut it into several", text.len()));
        }
        let encoding = tokenizer.encode_with_offsets(text, add_special)?;
        let mut tokens = Self { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec(), before: 0, after: 0 };
        if !add_special {
            return Ok(tokens);
        }
        let added = |i: &usize| encoding.get_special_tokens_mask()[*i] == 1 && tokens.offsets[*i].0 == tokens.offsets[*i].1;
        let all = 0..tokens.ids.len();
        let before = all.clone().take_while(added).count();
        let after = all.clone().skip(before).rev().take_while(added).count();
        let repeats = |added: usize, own: usize| tokens.ids.get(added) == tokens.ids.get(own);
        let twice_at_end = after > 0 && all.len() > before + after && repeats(all.len() - after, all.len() - after - 1);
        let twice_at_start = before > 0 && all.len() > before + after && repeats(before - 1, before);
        (tokens.before, tokens.after) = (before, after);
        if twice_at_end {
            tokens.remove(tokens.ids.len() - after);
            tokens.after -= 1;
        }
        if twice_at_start {
            tokens.remove(before - 1);
            tokens.before -= 1;
        }
        Ok(tokens)
    }

    fn remove(&mut self, at: usize) {
        self.ids.remove(at);
        self.offsets.remove(at);
    }

    fn shifted(mut self, by: usize) -> Self {
        self.offsets.iter_mut().for_each(|o| *o = (o.0 + by, o.1 + by));
        self
    }

    /// The tokens of a text that is cut at some places: there a prompt ends and an answer begins. The ids before a cut
    /// are those of the prompt alone, as the model is given them; the answer's are those of a text that goes on there.
    ///
    /// ```text
    ///   whole   ... assistant \n <think> \n\n </think>      the two line breaks are one token
    ///   cut                               ^
    ///   wanted  ... assistant \n <think> \n │ \n </think>   what the model is given, and what it writes
    /// ```
    /// The whole text is tokenised once; around each cut, from the special token before it to the one after it, the
    /// parts are tokenised again and put in where they differ.
    pub(super) fn cut(text: &str, add_special: bool, cuts: &[usize], tokenizer: &TextTokenizer) -> Result<Self, String> {
        let mut tokens = Self::of(text, add_special, tokenizer)?;
        let mut from = tokens.before;
        for &cut in cuts.iter().filter(|c| **c > 0 && **c < text.len()) {
            from = tokens.cut_at(cut, from, text, tokenizer)?;
        }
        Ok(tokens)
    }

    /// Makes one cut right; gives the index of the first token behind it.
    fn cut_at(&mut self, cut: usize, from: usize, text: &str, tokenizer: &TextTokenizer) -> Result<usize, String> {
        let end = self.ids.len() - self.after;
        // The first token of the answer, were there no token across the cut.
        let behind = (from..end).find(|i| self.offsets[*i].0 >= cut).unwrap_or(end);
        let start = (from..behind).rev().find(|i| tokenizer.is_special(self.ids[*i])).unwrap_or(from);
        let begin = match start {
            start if start == self.before => 0,
            start if tokenizer.is_special(self.ids[start]) => self.offsets[start].0,
            // Ranges leave out the space before a word: it belongs to the token all the same.
            start => text.floor_char_boundary(self.offsets[start - 1].1),
        };
        let prompt = match start == self.before || tokenizer.is_special(self.ids[start]) {
            true => Self::of(&text[begin..cut], false, tokenizer)?,
            false => Self::going_on(&text[begin..cut], tokenizer)?,
        };
        let crosses = self.offsets[start..behind].iter().any(|o| o.1 > cut);
        if !crosses && prompt.ids == self.ids[start..behind] {
            return Ok(behind);
        }
        let stop = (behind..end).find(|i| tokenizer.is_special(self.ids[*i])).unwrap_or(end);
        let until = if stop == end { text.len() } else { self.offsets[stop].0 };
        let answer = Self::going_on(&text[cut..until], tokenizer)?.shifted(cut);
        let prompt = prompt.shifted(begin);
        let next = start + prompt.ids.len();
        self.ids.splice(start..stop, prompt.ids.into_iter().chain(answer.ids));
        self.offsets.splice(start..stop, prompt.offsets.into_iter().chain(answer.offsets));
        Ok(next)
    }

    /// The tokens of a text that goes on where another ended: without the space that some tokenizers put before a text.
    fn going_on(text: &str, tokenizer: &TextTokenizer) -> Result<Self, String> {
        if !tokenizer.prepends_space() {
            return Self::of(text, false, tokenizer);
        }
        for anchor in ["\n", ":", ">", "a"] {
            let both = Self::of(&format!("{anchor}{text}"), false, tokenizer)?;
            let at = both.offsets.iter().position(|o| o.0 >= anchor.len()).unwrap_or(both.ids.len());
            if both.offsets[..at].iter().all(|o| o.1 <= anchor.len()) {
                let (ids, offsets) = (both.ids[at..].to_vec(), both.offsets[at..].iter());
                let offsets = offsets.map(|o| (o.0 - anchor.len(), o.1 - anchor.len())).collect();
                return Ok(Self { ids, offsets, before: 0, after: 0 });
            }
        }
        Self::of(text, false, tokenizer)
    }
}
