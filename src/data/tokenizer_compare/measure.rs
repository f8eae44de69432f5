//! Counting: tokens by group, uses of each token, what a token stands for in the other tokenizer.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::pieces::Form;
use super::texts::Text;
use super::{EXAMPLES, Failure, Group, Rate};
use crate::data::tokenizer::TextTokenizer;

/// Characters of a failure that are shown, and how many of them stand before the difference.
const SHOWN: usize = 60;
const BEFORE: usize = 20;

/// Sums over a group of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) texts: u64,
    pub(super) bytes: u64,
    pub(super) words: u64,
    pub(super) tokens: [u64; 2],
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.texts += other.texts;
        self.bytes += other.bytes;
        self.words += other.words;
        self.tokens[0] += other.tokens[0];
        self.tokens[1] += other.tokens[1];
    }

    pub(super) fn group(self, name: String) -> Group {
        let over = |a: u64, b: u64| if b > 0 { a as f64 / b as f64 } else { 0.0 };
        let rate = |tokens: u64| Rate {
            tokens,
            bytes_per_token: over(self.bytes, tokens),
            words_per_token: over(self.words, tokens),
            tokens_per_word: over(tokens, self.words),
        };
        let [a, b] = self.tokens;
        let change = if a > 0 { over(b, a) - 1.0 } else { 0.0 };
        Group { name, texts: self.texts, bytes: self.bytes, words: self.words, a: rate(a), b: rate(b), change }
    }
}

/// Uses of a token, and the tokens that they save.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) times: u64,
    pub(super) saved: i64,
}

/// What is counted over texts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) all: Sums,
    pub(super) kinds: BTreeMap<String, Sums>,
    pub(super) languages: BTreeMap<String, Sums>,
    pub(super) used: [FxHashMap<u32, Use>; 2],
    pub(super) failed: [u64; 2],
    pub(super) failures: [Vec<Failure>; 2],
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.all.add(other.all);
        for (into, from) in [(&mut self.kinds, other.kinds), (&mut self.languages, other.languages)] {
            from.into_iter().for_each(|(name, sums)| into.entry(name).or_default().add(sums));
        }
        for (i, (used, failures)) in other.used.into_iter().zip(other.failures).enumerate() {
            for (id, one) in used {
                let all = self.used[i].entry(id).or_default();
                (all.times, all.saved) = (all.times + one.times, all.saved + one.saved);
            }
            self.failed[i] += other.failed[i];
            let room = EXAMPLES.saturating_sub(self.failures[i].len());
            self.failures[i].extend(failures.into_iter().take(room));
        }
    }
}

/// Ids, and where in the text each ends.
type Encoded = (Vec<u32>, Vec<usize>);

/// A tokenizer, and how its vocabulary writes tokens.
pub(super) type Writer<'a> = (&'a TextTokenizer, Form);

/// Counts over some texts.
pub(super) fn tally(a: Writer, b: Writer, texts: &[Text]) -> Tally {
    let mut tally = Tally::default();
    for text in texts {
        let mut encoded = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for (i, writer) in [a, b].into_iter().enumerate() {
            match encode(writer, &text.text) {
                Ok((done, failure)) => {
                    encoded[i] = done;
                    tally.fail(i, text, failure);
                }
                Err(why) => tally.fail(i, text, Some((start(&text.text, 0), why))),
            }
        }
        let [first, second] = &encoded;
        let tokens = [first.0.len() as u64, second.0.len() as u64];
        let sums = Sums { texts: 1, bytes: text.text.len() as u64, words: words(&text.text), tokens };
        tally.all.add(sums);
        tally.kinds.entry(text.kind.name().to_owned()).or_default().add(sums);
        if let Some(language) = &text.language {
            tally.languages.entry(language.clone()).or_default().add(sums);
        }
        stand_for(first, second, &mut tally.used[0]);
        stand_for(second, first, &mut tally.used[1]);
    }
    tally
}

impl Tally {
    fn fail(&mut self, side: usize, text: &Text, failure: Option<(String, String)>) {
        let Some((shown, back)) = failure else { return };
        self.failed[side] += 1;
        if self.failures[side].len() < EXAMPLES {
            self.failures[side].push(Failure { place: text.place.clone(), text: shown, back });
        }
    }
}

/// The tokens of a text, and how it comes back where that is not as it was.
fn encode((tokenizer, form): Writer, text: &str) -> Result<(Encoded, Option<(String, String)>), String> {
    let encoding = tokenizer.encode_with_offsets(text, false)?;
    let ids = encoding.get_ids().to_vec();
    let ends = ends(&encoding, form, text.len());
    let failure = match tokenizer.decode(&ids, false) {
        Ok(back) if back == text => None,
        Ok(back) => {
            let same = text.bytes().zip(back.bytes()).take_while(|(x, y)| x == y).count();
            Some((start(text, same), start(&back, same)))
        }
        Err(e) => Some((start(text, 0), e.to_string())),
    };
    Ok(((ids, ends), failure))
}

/// Where each token ends. The library's byte ranges leave out spaces at the ends of tokens; where each
/// character of a token is a byte of the text, its length says more.
fn ends(encoding: &tokenizers::Encoding, form: Form, bytes: usize) -> Vec<usize> {
    if form == Form::Bytes {
        let mut at = 0;
        let ends: Vec<usize> = encoding
            .get_tokens()
            .iter()
            .map(|t| {
                at += t.chars().count();
                at
            })
            .collect();
        if at == bytes {
            return ends;
        }
    }
    encoding.get_offsets().iter().map(|o| o.1).collect()
}

/// Some of a text, from a little before a place.
fn start(text: &str, place: usize) -> String {
    let place = text.floor_char_boundary(place.min(text.len()));
    let from = text[..place].char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
    text[from..].chars().take(SHOWN).collect()
}

/// Adds the uses of one tokenizer's tokens. A token saves the other's tokens that end within its part
/// of the text, less one; where several tokens end at one place, the first has the part.
fn stand_for(own: &Encoded, other: &Encoded, used: &mut FxHashMap<u32, Use>) {
    let (mut at, mut reached) = (0, 0);
    for (i, (id, end)) in own.0.iter().zip(&own.1).enumerate() {
        let is_last = i + 1 == own.0.len();
        reached = if is_last { usize::MAX } else { reached.max(*end) };
        let from = at;
        while at < other.1.len() && other.1[at] <= reached {
            at += 1;
        }
        let one = used.entry(*id).or_default();
        one.times += 1;
        one.saved += (at - from) as i64 - 1;
    }
}

/// Words of a text: runs of letters, marks and digits. Of Chinese and Japanese each character is one.
pub(super) fn words(text: &str) -> u64 {
    let (mut count, mut inside) = (0, false);
    for c in text.chars() {
        let alone = matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}');
        let mark = matches!(c, '\'' | '\u{2019}') || is_mark(c);
        let part = (c.is_alphanumeric() || (inside && mark)) && !alone;
        count += u64::from(alone || (part && !inside));
        inside = part;
    }
    count
}

/// Combining marks: of Latin, Cyrillic, Arabic, Hebrew and the scripts of India and South-East Asia.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{981}'..='\u{983}' | '\u{9bc}'..='\u{9cd}'
        | '\u{a01}'..='\u{a03}' | '\u{a3c}'..='\u{a4d}' | '\u{a81}'..='\u{a83}' | '\u{abc}'..='\u{acd}' | '\u{b82}'
        | '\u{bbe}'..='\u{bcd}' | '\u{c3e}'..='\u{c4d}' | '\u{cbc}'..='\u{ccd}' | '\u{d3e}'..='\u{d4d}'
        | '\u{e31}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}'..='\u{ebc}' | '\u{ec8}'..='\u{ece}')
}
