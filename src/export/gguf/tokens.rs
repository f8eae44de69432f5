//! Whether llama.cpp makes the tokens that the model was trained on.
//!
//! The tokenizer of a file is built as llama.cpp builds it and compared with the model's own on texts
//! of many kinds and on rendered chats. What differs is named in the export's notes.

use tokenizers::Tokenizer;

use super::read_tokenizer::as_read;
use crate::base::panics;
use crate::base::time_limit::Library;
use crate::data::TextTokenizer;
use crate::export::ollama::sample_prompts;
use crate::model::gguf::Value;

/// Texts on which tokenizers are known to part.
const TEXTS: [&str; 48] = [
    "",
    " ",
    "  ",
    "   a",
    "a",
    " a",
    "a ",
    "a  b",
    "a   b",
    "\t",
    "\ta\tb",
    "\n",
    "\n\n",
    "a\n b",
    "a\r\nb",
    "\n \n  \n",
    "Hello, world!",
    "Hello,world !",
    "HELLO hello HeLLo",
    "don't you'll I'VE we're",
    "it\u{2019}s",
    "1",
    "12",
    "123",
    "1234",
    "1234567890",
    "3.14159",
    "1,000,000",
    "0x1F 1e-9",
    "2024-05-17T18:30",
    "caf\u{e9} cafe\u{301}",
    "\u{df}\u{1e9e}\u{131}\u{130}",
    "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{6587}",
    "\u{4f60}\u{597d}, \u{4e16}\u{754c}\u{ff01}",
    "\u{418}\u{432}\u{430}\u{43d} \u{43f}\u{43e}\u{448}\u{451}\u{43b}",
    "\u{645}\u{631}\u{62d}\u{628}\u{627}",
    "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
    "\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "a\u{a0}b\u{2003}c\u{200b}d",
    "\u{fb01}n \u{ff21}\u{ff22} x\u{b2}",
    "fn main() {\n    let eight = 1 << 3;\n}",
    "def f(x):\n\treturn x**2  # square",
    "a/b\\c:d;e|f&g",
    "((([[[{{{}}}]]])))",
    "<b>tag</b> &amp; #tag @name",
    "https://example.org/a?b=c&d=%20e",
    "...!!!???---___***",
    "____a__b_c",
];

/// What differs, for the reader of the report.
pub(super) fn notes(texts: &TextTokenizer, pairs: &[(String, Value)]) -> Vec<String> {
    let read = match as_read(pairs) {
        Ok(read) => read,
        Err(why) => return vec![format!("how llama.cpp splits texts could not be checked: {why}")],
    };
    let mut notes = Vec::new();
    let special = special_texts(texts);
    let plain: Vec<String> = TEXTS.iter().map(|t| (*t).to_owned()).chain(special).collect();
    if let Some(text) = compare(texts, &read, &plain, "texts") {
        notes.push(text);
    }
    let chats = texts.chat_template().map(sample_prompts).unwrap_or_default();
    notes.extend(compare(texts, &read, &chats, "rendered chats"));
    notes
}

/// How many rendered chats come out in other tokens.
pub(super) fn different_chats(texts: &TextTokenizer, pairs: &[(String, Value)]) -> Option<usize> {
    let chats = texts.chat_template().map(sample_prompts).filter(|c| !c.is_empty())?;
    let read = as_read(pairs).ok()?;
    Some(chats.iter().filter(|c| ids(texts.inner(), c) != ids(&read, c)).count())
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    let encoded = panics::of_library(Library::Tokenizer, text.len(), || tokenizer.encode(text, false))?;
    encoded.ok().map(|e| e.get_ids().to_vec())
}

fn compare(texts: &TextTokenizer, read: &Tokenizer, all: &[String], what: &str) -> Option<String> {
    let differs = |t: &&String| ids(texts.inner(), t) != ids(read, t);
    let different: Vec<&String> = all.iter().filter(differs).collect();
    let shortest = different.iter().min_by_key(|t| t.len())?;
    let shown: String = shortest.chars().take(60).collect();
    let (a, b) = (ids(texts.inner(), shortest)?, ids(read, shortest)?);
    let at = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let piece = |t: &Tokenizer, ids: &[u32]| ids.get(at).and_then(|id| t.id_to_token(*id)).unwrap_or_else(|| "the end".into());
    Some(format!(
        "llama.cpp makes other tokens of {} of {} {what}; of {shown:?} from token {at} on: {:?} where the model has {:?}",
        different.len(),
        all.len(),
        piece(read, &b),
        piece(texts.inner(), &a)
    ))
}

/// Added tokens in the middle of a text, where their own rules about white space show.
fn special_texts(texts: &TextTokenizer) -> Vec<String> {
    let mut added: Vec<(u32, String)> = texts.inner().get_added_tokens_decoder().into_iter().map(|(id, t)| (id, t.content)).collect();
    added.sort();
    // Many vocabularies hold hundreds of reserved ones that are all alike.
    added.iter().take(24).flat_map(|(_, t)| [format!("a {t} b"), format!("a{t}b")]).collect()
}
