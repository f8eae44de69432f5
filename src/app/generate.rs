//! Text from a prompt or from chat messages.

use std::path::PathBuf;

use serde::Serialize;

use super::load::{LoadedModel, ModelRequest};
use crate::base::error::Fault;
use crate::model::generate::{Generator, SamplingOptions};

/// What to continue.
#[derive(Debug, Clone)]
pub enum Input {
    /// One user message, or with `raw` the text as it stands.
    Prompt { text: String, raw: bool },
    /// A JSON file: a list of messages, or {"messages": [...], "tools": [...]}.
    MessagesFile(PathBuf),
}

/// A request to generate.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    pub model: ModelRequest,
    pub input: Input,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct GenerateReport {
    pub text: String,
    pub prompt_tokens: usize,
    pub tokens: usize,
    pub tokens_per_second: f64,
    pub stop_reason: String,
}

/// Generates, handing each piece of text to `on_text` as it comes.
///
/// # Errors
/// When the model or the messages file cannot be read, or the tokenizer has no chat template for messages.
pub fn run(request: &GenerateRequest, on_text: &mut dyn FnMut(&str)) -> Result<GenerateReport, Fault> {
    let loaded = super::load::load(&request.model)?;
    generate_with(&loaded, request, on_text)
}

/// The same with a model that is already loaded.
///
/// # Errors
/// As [`run`].
pub fn generate_with(loaded: &LoadedModel, request: &GenerateRequest, on_text: &mut dyn FnMut(&str)) -> Result<GenerateReport, Fault> {
    let ids = prompt_ids(loaded, &request.input)?;
    let options = SamplingOptions {
        max_new_tokens: request.max_new_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        seed: request.seed,
        stop: loaded.tokenizer.stop_ids(&loaded.folder),
    };
    let mut stream = loaded.tokenizer.stream();
    let mut text = String::new();
    let out = Generator::new(&loaded.decoder).run(&ids, &options, &mut |id| {
        if let Some(piece) = stream.push(id) {
            on_text(&piece);
            text.push_str(&piece);
        }
        true
    })?;
    if let Some(rest) = stream.finish() {
        on_text(&rest);
        text.push_str(&rest);
    }
    Ok(GenerateReport {
        text,
        prompt_tokens: ids.len(),
        tokens: out.tokens.len(),
        tokens_per_second: out.tokens_per_second,
        stop_reason: out.stop_reason.to_owned(),
    })
}
