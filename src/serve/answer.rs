//! Tokens as an answer: one JSON document, or server-sent events.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel};

use super::calls::Calls;
use super::engine::Event;
use super::fault::{Refused, json_answer};
use super::stops::Stops;
use crate::app::serve::Served;
use crate::app::text_stream::TextStream;
use crate::data::calls::ToolCall;
use crate::mcp::door::{self, Answer};

/// After so long without a token a comment is sent, so that a connection stays open.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A value that nobody has had before: the standard library's hash maps get their keys from the
/// system's random numbers.
pub(super) fn drawn() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}

/// What an answer is about.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) is_chat: bool,
    pub(super) prompt_tokens: usize,
    pub(super) include_usage: bool,
    pub(super) most_calls: usize,
}

/// A part of an answer.
enum Part {
    Text(String),
    Calls(Vec<ToolCall>),
}

/// Makes text, and calls, of tokens.
struct Speaker<'m> {
    served: &'m Served,
    stream: TextStream,
    stops: Stops,
    calls: Option<Calls>,
    most_calls: usize,
    tokens: usize,
}

impl<'m> Speaker<'m> {
    fn new(served: &'m Served, stops: Vec<String>, most_calls: usize) -> Self {
        let offered = most_calls > 0;
        let stream = if offered { TextStream::with_special() } else { TextStream::default() };
        Self { served, stream, stops: Stops::new(stops), calls: offered.then(Calls::default), most_calls, tokens: 0 }
    }

    /// A token: text that is certain now, and whether a stop text ends the answer.
    fn push(&mut self, token: u32) -> (Option<String>, bool) {
        self.tokens += 1;
        let Some(piece) = self.stream.push(&self.served.tokenizer, token) else { return (None, false) };
        let (text, stop) = self.stops.push(&piece);
        (self.content(&text), stop)
    }

    fn content(&mut self, text: &str) -> Option<String> {
        let text = match &mut self.calls {
            Some(calls) => calls.push(text),
            None => text.to_owned(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The rest, and why the answer ends.
    fn end(mut self, reason: &str, by_stop_text: bool) -> (Vec<Part>, &'static str) {
        let mut parts = Vec::new();
        let mut finish = if reason == "stop_token" || by_stop_text { "stop" } else { "length" };
        if !by_stop_text {
            let rest = self.stream.rest(&self.served.tokenizer).unwrap_or_default();
            let (text, stop) = self.stops.push(&rest);
            let text = if stop { text } else { text + &self.stops.rest() };
            finish = if stop { "stop" } else { finish };
            parts.extend(self.content(&text).map(Part::Text));
        }
        if let Some(calls) = self.calls.take() {
            let (rest, mut found) = calls.end();
            found.truncate(self.most_calls);
            if !rest.is_empty() {
                parts.push(Part::Text(rest));
            }
            if !found.is_empty() {
                finish = if finish == "stop" { "tool_calls" } else { finish };
                parts.push(Part::Calls(found));
            }
        }
        (parts, finish)
    }
}

impl Head {
    fn usage(&self, tokens: usize) -> Value {
        json!({"prompt_tokens": self.prompt_tokens, "completion_tokens": tokens, "total_tokens": self.prompt_tokens + tokens})
    }

    fn document(&self, object: &str, choices: &Value) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices})
    }

    /// A chunk of a stream.
    fn chunk(&self, delta: &Value, finish: Option<&str>) -> Value {
        let object = if self.is_chat { "chat.completion.chunk" } else { "text_completion" };
        let choice = match self.is_chat {
            true => json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}),
            false => json!({"index": 0, "text": delta, "logprobs": null, "finish_reason": finish}),
        };
        let mut chunk = self.document(object, &json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn text_chunk(&self, text: &str) -> Value {
        if self.is_chat { self.chunk(&json!({"content": text}), None) } else { self.chunk(&json!(text), None) }
    }
}

/// Calls as the API writes them.
fn calls_json(calls: &[ToolCall], with_index: bool) -> Value {
    let one = |(i, call): (usize, &ToolCall)| {
        let arguments = Value::Object(call.arguments.clone()).to_string();
        let mut one = json!({"id": format!("call_{:016x}{i:04x}", drawn()), "type": "function",
            "function": {"name": call.name, "arguments": arguments}});
        if with_index {
            one["index"] = json!(i);
        }
        one
    };
    calls.iter().enumerate().map(one).collect()
}

/// The whole answer as one document. When the client goes away this is dropped, and the engine hears of it.
pub(super) async fn whole(served: &Served, head: &Head, stops: Vec<String>, mut events: UnboundedReceiver<Event>) -> Answer {
    let mut speaker = Speaker::new(served, stops, head.most_calls);
    let mut text = String::new();
    let (reason, by_stop_text) = loop {
        match events.recv().await {
            Some(Event::Token(token)) => {
                let (piece, stop) = speaker.push(token);
                text.extend(piece);
                if stop {
                    break ("", true);
                }
            }
            Some(Event::Ended(reason)) => break (reason, false),
            Some(Event::Failed(fault)) => return Refused::of(&fault).answer(),
            None => return stopping().answer(),
        }
    };
    drop(events);
    let tokens = speaker.tokens;
    let (parts, finish) = speaker.end(reason, by_stop_text);
    let mut calls = Value::Null;
    for part in parts {
        match part {
            Part::Text(more) => text += &more,
            Part::Calls(found) => calls = calls_json(&found, false),
        }
    }
    let choice = if head.is_chat {
        let content = if calls.is_null() || !text.is_empty() { json!(text) } else { Value::Null };
        let mut message = json!({"role": "assistant", "content": content});
        if !calls.is_null() {
            message["tool_calls"] = calls;
        }
        json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish})
    } else {
        json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish})
    };
    let mut document = head.document(if head.is_chat { "chat.completion" } else { "text_completion" }, &json!([choice]));
    document["usage"] = head.usage(tokens);
    json_answer(StatusCode::OK, &document)
}

fn stopping() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping")
}

/// The answer as it comes.
pub(super) fn streamed(
    models: std::sync::Arc<Vec<Served>>,
    model: usize,
    head: Head,
    stops: Vec<String>,
    events: UnboundedReceiver<Event>,
) -> Answer {
    let (sender, receiver) = channel(16);
    tokio::spawn(async move {
        // A client that has gone is no fault.
        let _ = send(&models[model], &head, stops, events, &sender).await;
    });
    door::events(receiver)
}

/// The client has gone.
struct Gone;

async fn give(to: &Sender<Bytes>, text: String) -> Result<(), Gone> {
    to.send(text.into()).await.map_err(|_| Gone)
}

async fn chunk(to: &Sender<Bytes>, value: &Value) -> Result<(), Gone> {
    give(to, format!("data: {value}\n\n")).await
}

async fn send(
    served: &Served,
    head: &Head,
    stops: Vec<String>,
    mut events: UnboundedReceiver<Event>,
    to: &Sender<Bytes>,
) -> Result<(), Gone> {
    let mut speaker = Speaker::new(served, stops, head.most_calls);
    if head.is_chat {
        chunk(to, &head.chunk(&json!({"role": "assistant", "content": ""}), None)).await?;
    }
    let (reason, by_stop_text) = loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = tokio::time::sleep(SIGN_OF_LIFE) => {
                give(to, ": still here\n\n".into()).await?;
                continue;
            }
            () = to.closed() => return Err(Gone),
        };
        match event {
            Some(Event::Token(token)) => {
                let (piece, stop) = speaker.push(token);
                if let Some(text) = piece {
                    chunk(to, &head.text_chunk(&text)).await?;
                }
                if stop {
                    break ("", true);
                }
            }
            Some(Event::Ended(reason)) => break (reason, false),
            Some(Event::Failed(fault)) => return chunk(to, &Refused::of(&fault).json()).await,
            None => return chunk(to, &stopping().json()).await,
        }
    };
    // The engine frees the place of an answer that a stop text ended.
    drop(events);
    let tokens = speaker.tokens;
    let (parts, finish) = speaker.end(reason, by_stop_text);
    for part in parts {
        match part {
            Part::Text(text) => chunk(to, &head.text_chunk(&text)).await?,
            Part::Calls(calls) => chunk(to, &head.chunk(&json!({"tool_calls": calls_json(&calls, true)}), None)).await?,
        }
    }
    let last = if head.is_chat { json!({}) } else { json!("") };
    chunk(to, &head.chunk(&last, Some(finish))).await?;
    if head.include_usage {
        let mut document = head.document(if head.is_chat { "chat.completion.chunk" } else { "text_completion" }, &json!([]));
        document["usage"] = head.usage(tokens);
        chunk(to, &document).await?;
    }
    give(to, "data: [DONE]\n\n".into()).await
}
