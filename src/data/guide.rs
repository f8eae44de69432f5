//! Answers held to a form: at each step, the tokens after which a JSON schema or a call of a tool can still come out.
//!
//! ```text
//!   tokenizer ──> Vocabulary (the bytes of every token, once for a model)
//!   schema, or tools in the form of the chat template ──> Guide ── mask() ──> choose ── took(token) ──┐
//!                                                           └──────────────────────────────────────────┘
//! ```
//! The grammars are llguidance's. What it cannot hold an answer to is refused when the guide is made, with its reason.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::calls::CallForm;

/// White space between the parts of a JSON text: enough for an indented one, and never without end.
const WHITE_SPACE: &str = r"[ \t\n\r]{0,24}";
/// Nested objects and lists of a schema.
const DEEPEST: usize = 64;

/// The tokens of a model, ready to hold answers.
pub struct Vocabulary {
    factory: ParserFactory,
    ends: Vec<u32>,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vocabulary {{ ends: {:?} }}", self.ends)
    }
}

struct Tokens(TokTrie);

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(text)
    }
}

impl Vocabulary {
    /// Of a tokenizer. `ends`: the tokens that end an answer.
    ///
    /// # Errors
    /// In words, when no token ends an answer, or the bytes of tokens are not known.
    pub fn new(tokenizer: &Tokenizer, ends: &[u32]) -> Result<Self, String> {
        let words = token_bytes(tokenizer)?;
        let known = |id: &&u32| (**id as usize) < words.len();
        let end = ends.iter().find(known).ok_or("the model names no token that ends an answer")?;
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, *end), &words);
        let tokens: TokEnv = Arc::new(Tokens(trie));
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices()).map_err(|e| reason(&e))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory, ends: ends.iter().filter(known).copied().collect() })
    }

    /// Holds an answer to JSON that a schema allows.
    ///
    /// # Errors
    /// In words, when the schema cannot be held to.
    pub fn json(&self, schema: &Value) -> Result<Guide, String> {
        check_depth(schema, 0)?;
        self.guide(TopLevelGrammar::from_json_schema(with_white_space(schema)?))
    }

    /// Holds an answer to calls of these tools (as OpenAI's API describes them) in a form: one, or one and more.
    ///
    /// # Errors
    /// In words, when a schema cannot be held to, or the form is not one that is held to.
    pub fn calls(&self, form: CallForm, tools: &[Value], several: bool) -> Result<Guide, String> {
        let (before, arguments, after) = match form {
            CallForm::Hermes => ("<tool_call>\n", "arguments", "\n</tool_call>"),
            CallForm::Llama3 => ("", "parameters", ""),
            CallForm::Json => ("", "arguments", ""),
            other => return Err(format!("calls of the form `{}`, which the model's template writes, cannot be held to", other.name())),
        };
        let mut text = String::new();
        // Several calls without marks around them would not be told apart.
        text += if several && !before.is_empty() { "start: call (\"\\n\" call)*\n" } else { "start: call\n" };
        let names: Vec<String> = (0..tools.len()).map(|i| format!("tool{i}")).collect();
        let quoted = |words: &str| if words.is_empty() { String::new() } else { json!(words).to_string() };
        text += &format!("call: {} ({}) {}\n", quoted(before), names.join(" | "), quoted(after));
        for (name, tool) in names.iter().zip(tools) {
            let function = &tool["function"];
            let parameters = match &function["parameters"] {
                Value::Null => json!({"type": "object"}),
                given => of_object(&below(given, &format!("#/properties/{arguments}")))
                    .map_err(|e| format!("`{}`: {e}", function["name"].as_str().unwrap_or_default()))?,
            };
            check_depth(&parameters, 0).map_err(|e| format!("`{}`: {e}", function["name"].as_str().unwrap_or_default()))?;
            let object = json!({
                "type": "object",
                "properties": {"name": {"const": function["name"]}, arguments: parameters},
                "required": ["name", arguments],
                "additionalProperties": false,
            });
            text += &format!("{name}: %json {}\n", with_white_space(&object)?);
        }
        self.guide(TopLevelGrammar::from_lark(text))
    }

    fn guide(&self, grammar: TopLevelGrammar) -> Result<Guide, String> {
        let parser = self.factory.create_parser(grammar).map_err(|e| reason(&e))?;
        let mut matcher = Matcher::new(Ok(parser));
        if let Some(e) = matcher.get_error() {
            return Err(e);
        }
        // Some schemas, such as one that refers to nothing but itself, show it only here.
        matcher.compute_mask_or_eos().map_err(|e| format!("nothing that can be written fits it ({})", reason(&e)))?;
        Ok(Guide { matcher, ends: self.ends.clone() })
    }
}

/// An answer on its way.
pub struct Guide {
    matcher: Matcher,
    ends: Vec<u32>,
}

impl std::fmt::Debug for Guide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guide {{ is_stopped: {} }}", self.matcher.is_stopped())
    }
}

impl Guide {
    /// The tokens that may come next, as bits: token `i` is bit `i % 32` of word `i / 32`. A token that ends the answer is
    /// among them where the answer may end.
    ///
    /// # Errors
    /// In words, when the grammar takes too much work, or nothing can follow.
    pub fn mask(&mut self) -> Result<Vec<u32>, String> {
        let set = self.matcher.compute_mask_or_eos().map_err(|e| reason(&e))?;
        let may_end = self.ends.first().is_some_and(|end| set.is_allowed(*end));
        let mut words = set.as_slice().to_vec();
        for end in self.ends.iter().filter(|_| may_end) {
            words[*end as usize / 32] |= 1 << (end % 32);
        }
        if words.iter().all(|w| *w == 0) {
            return Err("no token of the model can follow here".into());
        }
        Ok(words)
    }

    /// Goes on after a token that was chosen.
    ///
    /// # Errors
    /// In words, for a token that could not follow.
    pub fn took(&mut self, token: u32) -> Result<(), String> {
        if self.ends.contains(&token) {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|e| reason(&e))
    }
}

fn reason(e: &anyhow::Error) -> String {
    format!("{e:#}").lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Sets of tokens that are worked out beforehand: the insides of JSON strings.
fn slices() -> Vec<String> {
    llguidance::earley::SlicedBiasComputer::general_slices()
}

fn with_white_space(schema: &Value) -> Result<Value, String> {
    let mut map = match schema {
        Value::Object(map) => map.clone(),
        Value::Bool(true) => Map::new(),
        _ => return Err("the schema must be an object".into()),
    };
    map.insert("x-guidance".into(), json!({"whitespace_pattern": WHITE_SPACE}));
    Ok(Value::Object(map))
}

fn check_depth(value: &Value, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("the schema is nested more than {DEEPEST} deep"));
    }
    match value {
        Value::Object(map) => map.values().try_for_each(|v| check_depth(v, depth + 1)),
        Value::Array(list) => list.iter().try_for_each(|v| check_depth(v, depth + 1)),
        _ => Ok(()),
    }
}

/// The schema of a call's arguments, which are an object.
fn of_object(schema: &Value) -> Result<Value, String> {
    let is_object = match &schema["type"] {
        Value::Null => true,
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    let Value::Object(map) = schema else { return Err("its parameters are no schema".into()) };
    if !is_object {
        return Err("its parameters are of another type than object".into());
    }
    let mut map = map.clone();
    map.insert("type".into(), json!("object"));
    Ok(Value::Object(map))
}

/// A schema whose references begin at its own root, moved to a place inside of another.
fn below(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(to)) if to.starts_with('#') => (key.clone(), json!(format!("{place}{}", &to[1..]))),
                _ => (key.clone(), below(value, place)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(|v| below(v, place)).collect(),
        other => other.clone(),
    }
}

/// The bytes that each token stands for. Special tokens, which are no text, have a mark before their name.
fn token_bytes(tokenizer: &Tokenizer) -> Result<Vec<Vec<u8>>, String> {
    let decoder = json!(tokenizer.get_decoder()).to_string();
    let (by_bytes, by_pieces) = (decoder.contains("ByteLevel"), decoder.contains("ByteFallback") || decoder.contains("Metaspace"));
    if !by_bytes && !by_pieces {
        return Err("the tokenizer is neither byte-level nor made of pieces with bytes".into());
    }
    let alphabet = alphabet();
    let added = tokenizer.get_added_tokens_decoder();
    let size = tokenizer.get_vocab_size(true);
    let most = tokenizer.get_vocab(true).values().copied().max().map_or(size, |id| size.max(id as usize + 1));
    let word = |id: usize| -> Vec<u8> {
        let id = id as u32;
        if let Some(token) = added.get(&id) {
            // The marks of a call are text, whatever the tokenizer calls them.
            let is_text = !token.special || token.content.contains("tool_call>");
            let mark: &[u8] = if is_text { &[] } else { &[TokTrie::SPECIAL_TOKEN_MARKER] };
            return [mark, token.content.as_bytes()].concat();
        }
        let Some(text) = tokenizer.id_to_token(id) else { return Vec::new() };
        if by_bytes {
            let bytes: Option<Vec<u8>> = text.chars().map(|c| alphabet.get(&c).copied()).collect();
            return bytes.unwrap_or_else(|| text.into_bytes());
        }
        let byte = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')).filter(|t| t.len() == 2);
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => vec![byte],
            None => text.replace('\u{2581}', " ").into_bytes(),
        }
    };
    Ok((0..most).map(word).collect())
}

/// The letter that stands for each byte in byte-level tokens: printable ones for themselves, the others from U+0100 on.
fn alphabet() -> rustc_hash::FxHashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255u8).filter(|b| !printable(*b)).zip(0x100u32..);
    let plain = (0..=255u8).filter(|b| printable(*b)).map(|b| (char::from(b), b));
    plain.chain(others.filter_map(|(b, code)| Some((char::from_u32(code)?, b)))).collect()
}
