//! Calls of tools in an answer that comes in pieces: text is given out as it comes, until it may be a call.

use super::stops::begun;
use crate::data::calls::{ToolCall, parse};

/// Texts that begin a call wherever they stand.
const MARKS: [&str; 8] = ["<use_mcp_tool", "[TOOL_CALLS]", "<parameter=", "<tool_call>", "<function=", ">>>", "<|python_tag|>", "```"];

/// An answer of a model that was offered tools. Its content is without white space at both ends.
#[derive(Debug, Default)]
pub(super) struct Calls {
    text: String,
    /// Bytes that were given out, with the white space before them.
    sent: usize,
    /// Nothing more is given out before the end.
    holds: bool,
}

impl Calls {
    /// Takes a piece; the content that is certain now.
    pub(super) fn push(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        if self.holds {
            return String::new();
        }
        if self.sent == 0 {
            self.text.drain(..self.text.len() - self.text.trim_start().len());
            let name = self.text.find(|c: char| !(c.is_alphanumeric() || "._".contains(c)));
            // A word alone may be the name of a call that goes on.
            let Some(name) = name else { return String::new() };
            self.holds = self.text.starts_with(['{', '[']) || (name > 0 && self.text[name..].starts_with('('));
            if self.holds {
                return String::new();
            }
        }
        let rest = &self.text[self.sent..];
        let mark = MARKS.iter().filter_map(|m| rest.find(m)).min();
        self.holds = mark.is_some();
        let end = mark.unwrap_or_else(|| rest.len() - MARKS.iter().map(|m| begun(rest, m)).max().unwrap_or(0));
        let out = rest[..end].trim_end().to_owned();
        self.sent += out.len();
        out
    }

    /// The rest of the content, and the calls. Where one of them cannot be read, all stays content.
    pub(super) fn end(self) -> (String, Vec<ToolCall>) {
        let parsed = parse(&self.text);
        if parsed.calls.is_empty() || !parsed.broken.is_empty() {
            return (self.text[self.sent..].trim_end().to_owned(), Vec::new());
        }
        let rest = parsed.text.strip_prefix(&self.text[..self.sent]).unwrap_or_default();
        (rest.to_owned(), parsed.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rng;

    fn run(pieces: &[String]) -> (String, String, Vec<ToolCall>) {
        let mut calls = Calls::default();
        let streamed: String = pieces.iter().map(|p| calls.push(p)).collect();
        let (rest, found) = calls.end();
        (streamed.clone(), streamed + &rest, found)
    }

    #[test]
    fn any_cut_gives_the_content_and_calls_of_the_whole() {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let mut random = Rng::for_parts(&[seed]);
        let call = "{\"name\": \"get\", \"arguments\": {\"a\": 1}}";
        for (text, content, count) in [
            (format!("<tool_call>{call}</tool_call>"), "", 1),
            (format!("  I look.\n<tool_call>\n{call}\n</tool_call>\n<tool_call>{call}</tool_call>"), "I look.", 2),
            (call.to_owned(), "", 1),
            (format!("Here:\n```json\n{call}\n```"), "Here:", 1),
            (format!("[TOOL_CALLS][{call}]"), "", 1),
            ("<function=get>{\"a\": 1}</function>".to_owned(), "", 1),
            ("[get(a=1), put(b='x')]".to_owned(), "", 2),
            ("<tool_call>{\"name\": </tool_call>".to_owned(), "<tool_call>{\"name\": </tool_call>", 0),
            ("It is 5 < 7, a[0] = {x}: fine. ".to_owned(), "It is 5 < 7, a[0] = {x}: fine.", 0),
            ("{\"no\": \"call\"} is JSON".to_owned(), "{\"no\": \"call\"} is JSON", 0),
            ("yes".to_owned(), "yes", 0),
            ("\n\n".to_owned(), "", 0),
            (String::new(), "", 0),
        ] {
            for round in 0..200 {
                let (mut pieces, mut piece) = (Vec::new(), String::new());
                for c in text.chars() {
                    piece.push(c);
                    if random.below(3) == 0 {
                        pieces.push(std::mem::take(&mut piece));
                    }
                }
                pieces.push(piece);
                let (streamed, all, found) = run(&pieces);
                assert_eq!((all.as_str(), found.len()), (content, count), "seed {seed} round {round}: {pieces:?}");
                assert!(content.starts_with(&streamed), "seed {seed} round {round}: {streamed:?}");
                assert!(found.iter().all(|c| !c.name.is_empty()));
            }
        }
    }

    #[test]
    fn plain_text_is_given_out_as_it_comes() {
        let mut calls = Calls::default();
        assert_eq!(calls.push("The"), "");
        assert_eq!(calls.push(" answer is"), "The answer is");
        assert_eq!(calls.push(" five. "), " five.");
        assert_eq!(calls.push("Next <tool"), " Next");
        assert_eq!(calls.push("s> are"), " <tools> are");
    }
}
