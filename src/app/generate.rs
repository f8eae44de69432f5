//! Text from a prompt or from chat messages.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::load::{LoadedModel, ModelRequest, load, stop_ids};
use super::text_stream::TextStream;
use crate::base::error::Fault;
use crate::data::{TextTokenizer, prompt_of};
use crate::model::Decoder;
use crate::model::generate::{Generator, SamplingOptions};

/// What to continue.
#[derive(Debug, Clone)]
pub enum Input {
    /// A prompt. With a chat template it becomes a user message, unless `raw`.
    Prompt {
        /// The text.
        text: String,
        /// Feed it as it stands.
        raw: bool,
    },
    /// A JSON file: a list of messages, or `{"messages": [...], "tools": [...]}`.
    MessagesFile(PathBuf),
    /// Messages and tools.
    Messages {
        /// OpenAI messages.
        messages: Value,
        /// OpenAI tools, or null.
        tools: Value,
    },
}

/// How to sample.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// Most new tokens.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Share of probability that is sampled from.
    pub top_p: f64,
    /// Seed.
    pub seed: u64,
}

/// A request to generate.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// The model.
    pub model: ModelRequest,
    /// What to continue.
    pub input: Input,
    /// How.
    pub sampling: Sampling,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct GenerateReport {
    /// The new text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// New tokens.
    pub tokens: usize,
    /// New tokens a second, without the prompt.
    pub tokens_per_second: f64,
    /// `stop_token`, `max_new_tokens`, `context_full` or `cancelled`.
    pub stop_reason: &'static str,
    /// What a person should know about how the model's config was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// Generates, handing each piece of text to `on_text` as it comes.
///
/// # Errors
/// When the model or the messages file cannot be read, or the tokenizer has no chat template for messages.
pub fn run(request: &GenerateRequest, on_text: &mut dyn FnMut(&str)) -> Result<GenerateReport, Fault> {
    let loaded = load(&request.model)?;
    generate_with(&loaded, &request.input, &request.sampling, on_text)
}

/// The same with a model that is already loaded.
///
/// # Errors
/// As [`run`].
pub fn generate_with(
    loaded: &LoadedModel,
    input: &Input,
    sampling: &Sampling,
    on_text: &mut dyn FnMut(&str),
) -> Result<GenerateReport, Fault> {
    generate_while(loaded, input, sampling, on_text, &mut || true)
}

/// The same; `go_on` is asked after each token.
///
/// # Errors
/// As [`run`].
pub fn generate_while(
    loaded: &LoadedModel,
    input: &Input,
    sampling: &Sampling,
    on_text: &mut dyn FnMut(&str),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<GenerateReport, Fault> {
    let stop = stop_ids(&loaded.tokenizer, &loaded.folder);
    answer(&loaded.decoder, &loaded.tokenizer, stop, input, sampling, on_text, go_on)
}

/// The same with a model that is held elsewhere, and the ids that end an answer.
pub(super) fn answer(
    decoder: &Decoder,
    tokenizer: &TextTokenizer,
    stop: Vec<u32>,
    input: &Input,
    sampling: &Sampling,
    on_text: &mut dyn FnMut(&str),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<GenerateReport, Fault> {
    let ids = prompt_ids(tokenizer, input)?;
    let context = decoder.spec().max_positions;
    let room = context.checked_sub(ids.len()).filter(|room| *room > 0).ok_or_else(|| prompt_too_long(ids.len(), context))?;
    let options = SamplingOptions {
        max_new_tokens: sampling.max_new_tokens.min(room),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        seed: sampling.seed,
        stop,
    };
    let mut stream = TextStream::default();
    let out = Generator::new(decoder).run(&ids, &options, &mut |id| {
        if let Some(piece) = stream.push(tokenizer, id) {
            on_text(&piece);
        }
        go_on()
    })?;
    if let Some(rest) = stream.rest(tokenizer) {
        on_text(&rest);
    }
    Ok(GenerateReport {
        text: stream.text,
        prompt_tokens: ids.len(),
        tokens: out.tokens.len(),
        tokens_per_second: out.tokens_per_second,
        stop_reason: match out.stop_reason {
            "max_new_tokens" if room < sampling.max_new_tokens => "context_full",
            reason => reason,
        },
        remarks: decoder.spec().remarks.clone(),
    })
}

pub(super) fn prompt_too_long(tokens: usize, context: usize) -> Fault {
    Fault::new("prompt_too_long", format!("the prompt has {tokens} tokens, and the model's context holds {context} with the answer"))
        .hint("shorten the prompt, or use a model with a longer context")
}

pub(super) fn prompt_ids(tokenizer: &TextTokenizer, input: &Input) -> Result<Vec<u32>, Fault> {
    let (messages, tools) = match input {
        Input::Prompt { text, raw } if *raw || tokenizer.chat_template().is_none() => return Ok(tokenizer.encode(text, true)?),
        Input::Prompt { text, .. } => (json!([{"role": "user", "content": text}]), Value::Null),
        Input::Messages { messages, tools } => (messages.clone(), tools.clone()),
        Input::MessagesFile(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
            let bad = |m: String| {
                Fault::new("bad_messages", format!("{}: {m}", path.display())).hint("give [{\"role\": \"user\", \"content\": \"...\"}]")
            };
            let mut json: Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
            match json.get_mut("messages").map(Value::take) {
                Some(messages) => (messages, json["tools"].take()),
                None if json.is_array() => (json, Value::Null),
                None => return Err(bad("expected a list of messages, or an object with `messages`".into())),
            }
        }
    };
    if tokenizer.chat_template().is_none() {
        return Err(Fault::new("no_chat_template", format!("{}: the tokenizer has no chat template", tokenizer.origin().display()))
            .hint("use --prompt with --raw, or add chat_template.jinja beside tokenizer.json"));
    }
    let refused = |m: String| Fault::new("chat_template_refused", format!("the messages cannot be made a prompt: {m}"));
    let list = messages.as_array().ok_or_else(|| refused("they are not a list".into()))?;
    Ok(prompt_of(tokenizer, list, &tools, &serde_json::Map::new()).map_err(refused)?.ids)
}
