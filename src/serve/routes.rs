//! What an address does.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Head};
use super::fault::{Refused, json_answer};
use super::request::{self, Asked, Form, Input};
use super::{Shared, engine};
use crate::app::serve::Served;
use crate::base::error::Fault;
use crate::base::panics;
use crate::data::prompt_of;
use crate::mcp::door::{self, Answer, Door, Visitor};
use crate::model::generate::{Hold, SamplingOptions};

/// Longest body of a request, in bytes.
const MOST_BODY_BYTES: usize = 4 << 20;

/// Answers a request.
pub(super) async fn answer(shared: Arc<Shared>, door: &Door, visitor: &Visitor, request: Request<Incoming>) -> Answer {
    if let Err(refused) = shared.guard.check(&request) {
        return refused.answer();
    }
    if door.admit(visitor).is_some() {
        return Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_clients", "too many clients are connected").answer();
    }
    let path = request.uri().path().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/health") => json_answer(StatusCode::OK, &shared.engine.health()),
        (Method::GET, "/v1/models") => {
            let all: Vec<Value> = shared.models.iter().map(|m| model_json(&shared, m)).collect();
            json_answer(StatusCode::OK, &json!({"object": "list", "data": all}))
        }
        (Method::GET, path) if path.starts_with("/v1/models/") => {
            let name = path.trim_start_matches("/v1/models/").replace("%2F", "/").replace("%2f", "/");
            match shared.models.iter().find(|m| m.name == name) {
                Some(model) => json_answer(StatusCode::OK, &model_json(&shared, model)),
                None => Refused::new(StatusCode::NOT_FOUND, "model_not_found", "there is no such model here").answer(),
            }
        }
        (Method::POST, "/v1/chat/completions") => complete(shared, request, true).await,
        (Method::POST, "/v1/completions") => complete(shared, request, false).await,
        (_, "/health" | "/v1/models" | "/v1/chat/completions" | "/v1/completions") => {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this address takes another method").answer()
        }
        _ => {
            let words = "there is nothing here; see /v1/models, /v1/chat/completions, /v1/completions, /health";
            Refused::new(StatusCode::NOT_FOUND, "unknown_url", words).answer()
        }
    }
}

fn model_json(shared: &Shared, model: &Served) -> Value {
    json!({"id": model.name, "object": "model", "created": shared.created, "owned_by": "tallow"})
}

async fn complete(shared: Arc<Shared>, request: Request<Incoming>, is_chat: bool) -> Answer {
    match ready(&shared, request, is_chat).await {
        Ok((asked, prompt_tokens, events)) => {
            let head = Head {
                id: format!("{}-{:016x}", if is_chat { "chatcmpl" } else { "cmpl" }, answer::drawn()),
                created: answer::now(),
                model: shared.models[asked.model].name.clone(),
                is_chat,
                prompt_tokens,
                include_usage: asked.include_usage,
                most_calls: asked.most_calls,
            };
            if asked.stream {
                return answer::streamed(shared.models.clone(), asked.model, head, asked.stops, events);
            }
            answer::whole(&shared.models[asked.model], &head, asked.stops, events).await
        }
        Err(refused) => refused.answer(),
    }
}

type Events = tokio::sync::mpsc::UnboundedReceiver<engine::Event>;

/// Reads a request and hands it to the engine. A full queue is said before the prompt is made.
async fn ready(shared: &Arc<Shared>, request: Request<Incoming>, is_chat: bool) -> Result<(Asked, usize, Events), Refused> {
    if shared.stop.is_requested() {
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping"));
    }
    let body = door::whole(request.into_body(), MOST_BODY_BYTES).await;
    let body = body.map_err(|(status, words)| Refused::new(status, "bad_body", words.trim_end()))?;
    let place = shared.engine.place()?;
    let Ok(_turn) = shared.preparing.acquire().await else { return Err(internal("the server is stopping")) };
    let inner = shared.clone();
    // Templates and tokenizers work on what clients wrote: on a thread that may block.
    let done = tokio::task::spawn_blocking(move || {
        panics::caught(|| Ok(prepare(&inner, &body, is_chat, place))).unwrap_or_else(|fault| Err(Refused::of(&fault)))
    });
    done.await.unwrap_or_else(|e| Err(internal(&format!("the request broke down: {e}"))))
}

fn internal(words: &str) -> Refused {
    Refused::of(&Fault::new("internal", words))
}

fn prepare(shared: &Shared, body: &[u8], is_chat: bool, place: OwnedSemaphorePermit) -> Result<(Asked, usize, Events), Refused> {
    let asked = request::read(body, is_chat, &shared.models)?;
    let served = &shared.models[asked.model];
    let prompt = prompt(served, &asked.input)?;
    let (tokens, context) = (prompt.len(), served.decoder.spec().max_positions);
    if tokens >= context {
        let message = format!("the prompt has {tokens} tokens, and the model's context holds {context} with the answer");
        return Err(Refused::field(if is_chat { "messages" } else { "prompt" }, message).code("context_length_exceeded"));
    }
    let max_new_tokens = match asked.is_max_given {
        true => asked.max_new_tokens,
        false => shared.engine.room(asked.model, tokens, asked.max_new_tokens).max(1),
    };
    let options = SamplingOptions {
        max_new_tokens,
        temperature: asked.temperature,
        top_p: asked.top_p,
        seed: asked.seed.unwrap_or_else(answer::drawn),
        stop: served.stop.clone(),
    };
    let events = shared.engine.submit(place, asked.model, prompt, options, hold(served, asked.hold.as_ref())?)?;
    Ok((asked, tokens, events))
}

/// What the answer is held to; what cannot be held to is refused with its reason.
fn hold(served: &Served, form: Option<&Form>) -> Result<Option<Box<dyn Hold>>, Refused> {
    let (field, held) = match form {
        None => return Ok(None),
        Some(Form::Json(schema)) => ("response_format", served.hold_to_json(schema)),
        Some(Form::Calls { tools, several }) => ("tool_choice", served.hold_to_calls(tools, *several)),
    };
    held.map(Some).map_err(|why| Refused::unsupported(field, format!("`{field}`: an answer cannot be held to this: {why}")))
}

fn prompt(served: &Served, input: &Input) -> Result<Vec<u32>, Refused> {
    match input {
        Input::Chat { messages, tools, variables } => {
            let refused = |m: String| Refused::field("messages", format!("the messages cannot be made a prompt: {m}"));
            Ok(prompt_of(&served.tokenizer, messages, tools, variables).map_err(refused)?.ids)
        }
        Input::Text(text) => {
            let ids = served.tokenizer.encode(text, true).map_err(|e| Refused::field("prompt", e.to_string()))?;
            if ids.is_empty() { Err(Refused::field("prompt", "the prompt is empty")) } else { Ok(ids) }
        }
        Input::Ids(ids) => {
            let rows = served.decoder.spec().vocab_size;
            if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
                return Err(Refused::field("prompt", format!("there is no token {id}; the model has {rows}")));
            }
            if ids.is_empty() { Err(Refused::field("prompt", "the prompt is empty")) } else { Ok(ids.clone()) }
        }
    }
}
