//! The two patterns that cut text into pieces before merges are looked for, as scanners over bytes.
//!
//! A tokenizer file states a pattern as a regular expression. Training reads the whole corpus through it, so that here
//! the two expressions are written out as code; tests compare both with the library that reads the expression.

use std::ops::Range;
use std::sync::OnceLock;

/// Words, numbers and punctuation apart, a space at the front of a word: no piece reaches over a space.
pub const WORDS: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Numbers, runs of punctuation and spare spaces apart; what lies between is one piece, spaces and all.
pub const PHRASES: &str = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)";

/// `\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}`
const UPPER: u8 = 1;
/// `\p{Ll}\p{Lm}\p{Lo}\p{M}`
const LOWER: u8 = 2;
const LETTER: u8 = 4;
const NUMBER: u8 = 8;
const SPACE: u8 = 16;

/// The classes of each character, by its number.
fn classes() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = vec![0_u8; char::MAX as usize + 1];
        for (class, bit) in [
            (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", UPPER),
            (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", LOWER),
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", SPACE),
        ] {
            let parsed = regex_syntax::parse(class).expect("the class is written correctly");
            let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = parsed.kind() else {
                unreachable!("a class of characters parses as one")
            };
            for range in set.iter() {
                for code in range.start() as usize..=range.end() as usize {
                    table[code] |= bit;
                }
            }
        }
        table
    })
}

/// A text and the place of its characters.
struct Scan<'a> {
    text: &'a str,
    classes: &'static [u8],
}

impl Scan<'_> {
    /// The character at byte `at`, its classes and where the next one starts.
    fn at(&self, at: usize) -> Option<(char, u8, usize)> {
        let first = *self.text.as_bytes().get(at)?;
        if first < 128 {
            return Some((first as char, self.classes[first as usize], at + 1));
        }
        let c = self.text[at..].chars().next()?;
        Some((c, self.classes[c as usize], at + c.len_utf8()))
    }

    /// The end of the longest run from `at` of characters that satisfy `is`.
    fn run(&self, mut at: usize, is: impl Fn(char, u8) -> bool) -> usize {
        while let Some((c, class, next)) = self.at(at)
            && is(c, class)
        {
            at = next;
        }
        at
    }

    /// `[upper]*[lower]+` or, failing that everywhere, `[upper]+[lower]*`, from `at`.
    fn upper_then_lower(&self, at: usize, least_upper: bool) -> Option<usize> {
        let upper = self.run(at, |_, c| c & UPPER != 0);
        let lower = self.run(upper, |_, c| c & LOWER != 0);
        if least_upper {
            return (upper > at).then_some(lower);
        }
        if lower > upper {
            return Some(lower);
        }
        // The capitals give back characters until one of them can be the small letter.
        let given = self.text[at..upper].char_indices().rev().find(|(_, c)| self.classes[*c as usize] & LOWER != 0);
        given.map(|(i, c)| at + i + c.len_utf8())
    }

    /// A word with at most one character before it that is neither letter, number nor line end.
    fn word(&self, at: usize) -> Option<usize> {
        let (c, class, next) = self.at(at)?;
        let prefix = c != '\r' && c != '\n' && class & (LETTER | NUMBER) == 0;
        for least_upper in [false, true] {
            let with = prefix.then(|| self.upper_then_lower(next, least_upper)).flatten();
            if let Some(end) = with.or_else(|| self.upper_then_lower(at, least_upper)) {
                return Some(end);
            }
        }
        None
    }

    fn number(&self, at: usize) -> Option<usize> {
        let mut end = at;
        for _ in 0..3 {
            match self.at(end) {
                Some((_, class, next)) if class & NUMBER != 0 => end = next,
                _ => break,
            }
        }
        (end > at).then_some(end)
    }

    /// A space or none, `least` or more marks, line ends and slashes after them.
    fn marks(&self, at: usize, least: usize) -> Option<usize> {
        let from = if self.text.as_bytes().get(at) == Some(&b' ') { at + 1 } else { at };
        let end = self.run(from, |_, c| c & (SPACE | LETTER | NUMBER) == 0);
        if self.text[from..end].chars().take(least).count() < least {
            return None;
        }
        Some(self.run(end, |c, _| matches!(c, '\r' | '\n' | '/')))
    }

    /// White space by the last three branches of [`WORDS`].
    fn white(&self, at: usize) -> usize {
        let end = self.run(at, |_, c| c & SPACE != 0);
        if let Some(last) = self.text[at..end].rfind(['\r', '\n']) {
            return at + last + 1;
        }
        let before = self.text[at..end].char_indices().next_back().map_or(at, |(i, _)| at + i);
        if end == self.text.len() || before == at { end } else { before }
    }

    /// The match of [`PHRASES`] that starts at `at`.
    fn phrase_break(&self, at: usize) -> Option<usize> {
        if let Some(end) = self.number(at).or_else(|| self.marks(at, 2)) {
            return Some(end);
        }
        let end = self.run(at, |c, _| c == ' ');
        let free = end == self.text.len() || self.at(end).is_some_and(|(_, class, _)| class & SPACE != 0);
        let end = if free { end } else { end.saturating_sub(1) };
        (end > at).then_some(end)
    }
}

/// Calls `each` with every piece that [`WORDS`] cuts `text` into, in order; together they are the text.
pub fn words(text: &str, mut each: impl FnMut(&str)) {
    let scan = Scan { text, classes: classes() };
    let mut at = 0;
    while at < text.len() {
        let end = scan.word(at).or_else(|| scan.number(at)).or_else(|| scan.marks(at, 1)).unwrap_or_else(|| scan.white(at));
        each(&text[at..end]);
        at = end;
    }
}

/// Calls `each` with every piece that [`PHRASES`] cuts `text` into, in order; together they are the text.
pub fn phrases(text: &str, mut each: impl FnMut(&str)) {
    let scan = Scan { text, classes: classes() };
    let mut piece: Range<usize> = 0..0;
    while let Some((_, _, next)) = scan.at(piece.end) {
        match scan.phrase_break(piece.end) {
            None => piece.end = next,
            Some(end) => {
                if !piece.is_empty() {
                    each(&text[piece.clone()]);
                }
                each(&text[piece.end..end]);
                piece = end..end;
            }
        }
    }
    if !piece.is_empty() {
        each(&text[piece]);
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::tokenizer::SplitDelimiterBehavior;
    use tokenizers::{OffsetReferential, OffsetType};
    use tokenizers::{PreTokenizedString, PreTokenizer};

    use super::*;

    const SIGNS: [&str; 40] = [
        "a", "b", "z", "A", "Z", "Q", "1", "2", "9", " ", " ", " ", "  ", "\n", "\r\n", "\t", "'", "s", ":", ",", ".", "(", "/", "//", "-",
        "é", "ß", "Ω", "中", "文", "\u{301}", "\u{a0}", "\u{3000}", "½", "Ⅷ", "ǅ", "ʰ", "😀", "…", "\u{200d}",
    ];

    fn library(pattern: &str) -> Split {
        Split::new(SplitPattern::Regex(pattern.into()), SplitDelimiterBehavior::Isolated, false).unwrap()
    }

    fn by_library(split: &Split, text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        split.pre_tokenize(&mut cut).unwrap();
        cut.get_splits(OffsetReferential::Original, OffsetType::Byte).into_iter().map(|(s, _, _)| s.to_owned()).collect()
    }

    #[test]
    fn scanners_cut_like_their_expressions() {
        let mut state = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        let seed = state;
        let mut draw = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % n
        };
        let (by_words, by_phrases) = (library(WORDS), library(PHRASES));
        for case in 0..5_000 {
            let text: String = (0..draw(14)).map(|_| SIGNS[draw(SIGNS.len())]).collect();
            let collect = |f: &dyn Fn(&str, &mut dyn FnMut(&str))| {
                let mut out: Vec<String> = Vec::new();
                f(&text, &mut |p| out.push(p.to_owned()));
                out
            };
            assert_eq!(collect(&|t, e| words(t, e)), by_library(&by_words, &text), "seed {seed}, case {case}, {text:?}");
            assert_eq!(collect(&|t, e| phrases(t, e)), by_library(&by_phrases, &text), "seed {seed}, case {case}, {text:?}");
        }
    }
}
