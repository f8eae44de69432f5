//! Text from a model or from a run's result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::checkpoints::weights;
use crate::app::{generate, load};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};
use crate::mcp::warm::Which;

/// A chat message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageIn {
    /// system, user or assistant.
    role: String,
    content: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateIn {
    /// Folder, Hub id or `embedded`. This, or project_path and run_id.
    model: Option<String>,
    /// A PEFT adapter folder over the model.
    adapter: Option<String>,
    /// The project folder of run_id.
    project_path: Option<String>,
    /// A run: its final result.
    run_id: Option<String>,
    /// With run_id: what this stage gave.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// With run_id: this checkpoint (get_run lists them).
    checkpoint_step: Option<u64>,
    /// The prompt. With a chat template it becomes a user message. This, or messages.
    prompt: Option<String>,
    /// Chat messages.
    messages: Option<Vec<MessageIn>>,
    /// Default 256.
    #[schemars(range(min = 1, max = 8192))]
    max_new_tokens: Option<u64>,
    /// 0: the likeliest token. Default 0.7.
    #[schemars(range(min = 0, max = 100))]
    temperature: Option<f64>,
    /// Default 0.9.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    top_p: Option<f64>,
    /// Seed of the sampling. Default 42.
    seed: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GenerateOut {
    text: String,
    prompt_tokens: u64,
    tokens: u64,
    tokens_per_second: f64,
    /// stop_token, max_new_tokens or context_full.
    stop_reason: String,
}

/// generate_text
pub(super) struct Generate;

/// Longest prompt, in bytes.
const MOST_PROMPT_BYTES: usize = 1 << 20;

fn prompt(input: &GenerateIn) -> Result<generate::Input, Fault> {
    match (&input.prompt, &input.messages) {
        (Some(text), None) => {
            within("prompt (its length)", text.len(), 1, MOST_PROMPT_BYTES)?;
            Ok(generate::Input::Prompt { text: text.clone(), raw: false })
        }
        (None, Some(messages)) => {
            within("messages (their number)", messages.len(), 1, 1000)?;
            within("messages (their length)", messages.iter().map(|m| m.content.len()).sum(), 0, MOST_PROMPT_BYTES)?;
            Ok(generate::Input::Messages { messages: json!(messages), tools: Value::Null })
        }
        _ => Err(Fault::new("invalid_arguments", "neither or both of `prompt` and `messages` are given").hint("give one of them")),
    }
}

impl Tool for Generate {
    const NAME: &'static str = "generate_text";
    const TITLE: &'static str = "Generate text";
    const ABOUT: &'static str = "Let a model, or a run's result, answer a prompt or chat messages.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = GenerateIn;
    type Out = GenerateOut;

    fn call(input: GenerateIn, shared: &Shared, call: &Call) -> Result<GenerateOut, Fault> {
        let text = prompt(&input)?;
        let loaded = load::load(&model_named(&input.which(), shared)?)?;
        answer(&loaded, &input, text, call)
    }

    fn in_server(arguments: &Value, shared: &Shared, call: &Call) -> Option<Result<Value, Fault>> {
        shared.warm.answer(arguments, shared, call)
    }
}

impl GenerateIn {
    fn which(&self) -> Which {
        Which {
            model: self.model.clone(),
            adapter: self.adapter.clone(),
            project_path: self.project_path.clone(),
            run_id: self.run_id.clone(),
            stage: self.stage,
            checkpoint_step: self.checkpoint_step,
        }
    }
}

/// The model that some arguments name.
pub(in crate::mcp) fn model_named(which: &Which, shared: &Shared) -> Result<load::ModelRequest, Fault> {
    match (&which.model, &which.run_id, &which.project_path) {
        (Some(name), None, None) => {
            let adapter = which.adapter.as_ref().map(|a| shared.roots.allow(a)).transpose()?;
            Ok(load::ModelRequest { adapter, ..load::ModelRequest::named(&shared.roots.model(name)?) })
        }
        (None, Some(run), Some(project)) if which.adapter.is_none() => {
            Ok(weights(&shared.roots.run(project, run)?, which.stage, which.checkpoint_step)?.model)
        }
        _ => Err(Fault::new("invalid_arguments", "the model is not named, or named twice")
            .hint("give either `model` (with `adapter` where there is one), or `project_path` and `run_id`")),
    }
}

/// What a model that is loaded already answers to arguments of `generate_text`.
pub(in crate::mcp) fn answer_with(loaded: &load::LoadedModel, arguments: Value, call: &Call) -> Result<Value, Fault> {
    let input: GenerateIn = serde_json::from_value(arguments).map_err(|e| Fault::new("invalid_arguments", e.to_string()))?;
    let text = prompt(&input)?;
    Ok(json!(answer(loaded, &input, text, call)?))
}

fn answer(loaded: &load::LoadedModel, input: &GenerateIn, text: generate::Input, call: &Call) -> Result<GenerateOut, Fault> {
    let sampling = generate::Sampling {
        max_new_tokens: input.max_new_tokens.unwrap_or(256) as usize,
        temperature: input.temperature.unwrap_or(0.7),
        top_p: input.top_p.unwrap_or(0.9),
        seed: input.seed.unwrap_or(42),
    };
    let most = sampling.max_new_tokens as f64;
    let mut made = 0.0;
    let mut go_on = || {
        made += 1.0;
        call.tell(made, Some(most), "tokens".into());
        call.go_on()
    };
    let report = generate::generate_while(loaded, &text, &sampling, &mut |_| {}, &mut go_on)?;
    if report.stop_reason == "cancelled" {
        return Err(Fault::new("cancelled", "the call was cancelled"));
    }
    Ok(GenerateOut {
        text: report.text,
        prompt_tokens: report.prompt_tokens as u64,
        tokens: report.tokens as u64,
        tokens_per_second: report.tokens_per_second,
        stop_reason: report.stop_reason.into(),
    })
}
