//! The body of a request as a prompt and options. A word that would have no effect is refused by name.

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::fault::Refused;
use crate::app::serve::Served;

/// Most new tokens where a request does not say how many.
const NEW_TOKENS: usize = 2048;
/// As many texts may end an answer.
const MOST_STOPS: usize = 16;
const MOST_STOP_BYTES: usize = 1024;
const MOST_TOOLS: usize = 512;
const MOST_MESSAGES: usize = 2048;
/// Names for the operator of a service, which change no answer.
const LABELS: [&str; 4] = ["user", "metadata", "safety_identifier", "prompt_cache_key"];

/// What is to be continued.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// Messages for the chat template.
    Chat { messages: Vec<Value>, tools: Value, variables: Map<String, Value> },
    /// A text as it is.
    Text(String),
    /// Its tokens.
    Ids(Vec<u32>),
}

/// What an answer is held to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// JSON that this schema allows.
    Json(Value),
    /// Calls of these tools, one or several.
    Calls { tools: Vec<Value>, several: bool },
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The model's number.
    pub(super) model: usize,
    pub(super) input: Input,
    /// Most new tokens, and whether the request says so.
    pub(super) max_new_tokens: usize,
    pub(super) is_max_given: bool,
    pub(super) temperature: f64,
    pub(super) top_p: f64,
    /// Unset: drawn.
    pub(super) seed: Option<u64>,
    /// Texts that end the answer.
    pub(super) stops: Vec<String>,
    pub(super) stream: bool,
    /// A last chunk with the usage.
    pub(super) include_usage: bool,
    /// At most so many calls of tools; 0 where none is offered.
    pub(super) most_calls: usize,
    /// What the answer is held to.
    pub(super) hold: Option<Form>,
}

/// The members of an object that have not been read yet.
struct Fields(Map<String, Value>);

impl Fields {
    /// A member; `null` is none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|v| !v.is_null())
    }

    fn number(&mut self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().filter(|n| (least..=most).contains(n));
        number.map(Some).ok_or_else(|| Refused::field(name, format!("`{name}` must be a number from {least} to {most}")))
    }

    fn whole(&mut self, name: &str, least: u64) -> Result<Option<u64>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().filter(|n| *n >= least);
        number.map(Some).ok_or_else(|| Refused::field(name, format!("`{name}` must be a whole number of at least {least}")))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| Refused::field(name, format!("`{name}` must be true or false")))
    }

    /// A member of which only the values that change nothing are taken.
    fn neutral(&mut self, name: &str, plain: impl Fn(&Value) -> bool, why: &str) -> Result<(), Refused> {
        match self.take(name) {
            Some(value) if !plain(&value) => Err(Refused::unsupported(name, format!("`{name}`: {why}"))),
            _ => Ok(()),
        }
    }

    fn nothing_left(self) -> Result<(), Refused> {
        match self.0.keys().next() {
            Some(name) => Err(Refused::field(name, format!("`{name}` is not known here")).code("unknown_parameter")),
            None => Ok(()),
        }
    }
}

/// A request for a chat (`/v1/chat/completions`), or for a text (`/v1/completions`).
pub(super) fn read(body: &[u8], is_chat: bool, models: &[Served]) -> Result<Asked, Refused> {
    let bad = |m: String| Refused::new(StatusCode::BAD_REQUEST, "invalid_json", m);
    let value: Value = serde_json::from_slice(body).map_err(|e| bad(format!("the body is not JSON: {e}")))?;
    let Value::Object(map) = value else { return Err(bad("the body must be a JSON object".into())) };
    let mut fields = Fields(map);
    let model = model(&mut fields, models)?;
    let (mut most_calls, mut hold) = (0, None);
    let input = if is_chat { chat(&mut fields, &mut most_calls, &mut hold, &models[model])? } else { text(&mut fields)? };
    let newer = if is_chat { fields.whole("max_completion_tokens", 1)? } else { None };
    let older = fields.whole("max_tokens", u64::from(is_chat))?;
    if newer.is_some() && older.is_some() && newer != older {
        return Err(Refused::field("max_tokens", "`max_tokens` and `max_completion_tokens` say different numbers"));
    }
    let given = newer.or(older).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let temperature = fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0);
    let top_p = fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0);
    if top_p == 0.0 {
        return Err(Refused::field("top_p", "`top_p` must be above 0; a `temperature` of 0 takes the likeliest token"));
    }
    let seed = match fields.take("seed") {
        None => None,
        Some(v) => {
            Some(v.as_i64().map(|n| n as u64).or(v.as_u64()).ok_or_else(|| Refused::field("seed", "`seed` must be a whole number"))?)
        }
    };
    let stops = stops(&mut fields)?;
    let stream = fields.flag("stream")?.unwrap_or(false);
    let include_usage = stream_options(&mut fields, stream)?;
    without_effect(&mut fields, is_chat)?;
    fields.nothing_left()?;
    let (max_new_tokens, is_max_given) = (given.unwrap_or(NEW_TOKENS), given.is_some());
    Ok(Asked { model, input, max_new_tokens, is_max_given, temperature, top_p, seed, stops, stream, include_usage, most_calls, hold })
}

fn model(fields: &mut Fields, models: &[Served]) -> Result<usize, Refused> {
    let names = || models.iter().map(|m| format!("`{}`", m.name)).collect::<Vec<_>>().join(", ");
    match fields.take("model") {
        Some(Value::String(name)) => models.iter().position(|m| m.name == name).ok_or_else(|| {
            let message = format!("there is no model `{}` here; there is {}", name.chars().take(100).collect::<String>(), names());
            Refused::field("model", message).status(StatusCode::NOT_FOUND).code("model_not_found")
        }),
        Some(_) => Err(Refused::field("model", "`model` must be a text")),
        None => Err(Refused::field("model", format!("`model` is missing; there is {}", names()))),
    }
}

fn chat(fields: &mut Fields, most_calls: &mut usize, hold: &mut Option<Form>, model: &Served) -> Result<Input, Refused> {
    let messages = match fields.take("messages") {
        Some(Value::Array(list)) if !list.is_empty() && list.len() <= MOST_MESSAGES => list,
        Some(_) => return Err(Refused::field("messages", format!("`messages` must be a list of 1 to {MOST_MESSAGES} messages"))),
        None => return Err(Refused::field("messages", "`messages` is missing")),
    };
    if model.tokenizer.chat_template().is_none() {
        let message = "this model has no chat template: use /v1/completions";
        return Err(Refused::field("messages", message).code("no_chat_template"));
    }
    let tools = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= MOST_TOOLS && list.iter().all(is_tool) => list,
        Some(_) => {
            let message = format!(
                "`tools` must be a list of at most {MOST_TOOLS} objects {{\"type\": \"function\", \"function\": {{\"name\": ...}}}}"
            );
            return Err(Refused::field("tools", message));
        }
    };
    let choice = fields.take("tool_choice");
    let mut several = fields.flag("parallel_tool_calls")?.unwrap_or(true);
    let offered = match choice.as_ref().map(|c| c.as_str()) {
        None | Some(Some("auto")) => !tools.is_empty(),
        Some(Some("none")) => false,
        Some(word) => {
            let forced = forced(word, choice.as_ref(), &tools)?;
            several &= word.is_some();
            *hold = Some(Form::Calls { tools: forced, several });
            true
        }
    };
    if let Some(schema) = response_format(fields)? {
        if offered {
            let message = "`response_format` cannot hold an answer that may be a call: leave it or `tools` out, or say `tool_choice: none`";
            return Err(Refused::unsupported("response_format", message));
        }
        *hold = Some(Form::Json(schema));
    }
    if let Some(why) = model.no_tools.as_ref().filter(|_| offered) {
        return Err(Refused::unsupported("tools", format!("this model cannot be offered tools: {why}")));
    }
    *most_calls = match (offered, several) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => usize::MAX,
    };
    let variables = match fields.take("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(Refused::field("chat_template_kwargs", "`chat_template_kwargs` must be an object")),
    };
    let tools = if offered { Value::Array(tools) } else { Value::Null };
    Ok(Input::Chat { messages, tools, variables })
}

/// The tools of which one has to be called: `required`, or a function by its name.
fn forced(word: Option<&str>, choice: Option<&Value>, tools: &[Value]) -> Result<Vec<Value>, Refused> {
    let wrong = |m: String| Err(Refused::field("tool_choice", m));
    let name = choice.and_then(|c| c["function"]["name"].as_str());
    match (word, name) {
        _ if tools.is_empty() => wrong("`tool_choice` forces a call, and `tools` offers none".into()),
        (Some("required"), _) => Ok(tools.to_vec()),
        (None, Some(name)) => {
            let found: Vec<Value> = tools.iter().filter(|t| t["function"]["name"] == name).cloned().collect();
            if found.is_empty() { wrong(format!("`tool_choice` names `{name}`, which is not among `tools`")) } else { Ok(found) }
        }
        _ => wrong("`tool_choice` may be `auto`, `none`, `required` or {\"type\": \"function\", \"function\": {\"name\": ...}}".into()),
    }
}

/// The schema that an answer is held to, where one is.
fn response_format(fields: &mut Fields) -> Result<Option<Value>, Refused> {
    let wrong = |m: &str| Err(Refused::field("response_format", format!("`response_format`: {m}")));
    let Some(format) = fields.take("response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(serde_json::json!({"type": "object"}))),
        Some("json_schema") => match &format["json_schema"]["schema"] {
            schema @ Value::Object(_) => Ok(Some(schema.clone())),
            _ => wrong("`json_schema.schema` must be an object"),
        },
        _ => wrong("`type` must be text, json_object or json_schema"),
    }
}

fn is_tool(tool: &Value) -> bool {
    tool["type"] == "function" && tool["function"]["name"].as_str().is_some_and(|n| !n.is_empty())
}

fn text(fields: &mut Fields) -> Result<Input, Refused> {
    let ids = |list: &[Value]| -> Option<Vec<u32>> { list.iter().map(|v| v.as_u64().and_then(|n| u32::try_from(n).ok())).collect() };
    let wrong = || Refused::field("prompt", "`prompt` must be one text, or a list of token ids");
    match fields.take("prompt") {
        Some(Value::String(text)) => Ok(Input::Text(text)),
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(text)] => Ok(Input::Text(text.clone())),
            [Value::Array(inner)] => ids(inner).map(Input::Ids).ok_or_else(wrong),
            [] => Err(wrong()),
            list => ids(list).map(Input::Ids).ok_or_else(wrong),
        },
        Some(_) => Err(wrong()),
        None => Err(Refused::field("prompt", "`prompt` is missing")),
    }
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, Refused> {
    let list = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let fits = |v: &Value| v.as_str().filter(|s| !s.is_empty() && s.len() <= MOST_STOP_BYTES).map(str::to_owned);
    let all: Option<Vec<String>> = list.iter().map(fits).collect();
    let message = || format!("`stop` must be a text or up to {MOST_STOPS} texts, each of 1 to {MOST_STOP_BYTES} bytes");
    all.filter(|a| a.len() <= MOST_STOPS).ok_or_else(|| Refused::field("stop", message()))
}

/// Whether a last chunk with the usage is wanted.
fn stream_options(fields: &mut Fields, stream: bool) -> Result<bool, Refused> {
    let Some(options) = fields.take("stream_options") else { return Ok(false) };
    let Value::Object(map) = options else { return Err(Refused::field("stream_options", "`stream_options` must be an object")) };
    if !stream {
        return Err(Refused::field("stream_options", "`stream_options` is for `stream: true`"));
    }
    let mut inner = Fields(map);
    let usage = inner.flag("include_usage")?.unwrap_or(false);
    inner.neutral("include_obfuscation", |v| v == false, "chunks are not padded")?;
    inner.nothing_left()?;
    Ok(usage)
}

/// Fields of the API that this server does not do: only values that change nothing pass.
fn without_effect(fields: &mut Fields, is_chat: bool) -> Result<(), Refused> {
    let zero = |v: &Value| v.as_f64() == Some(0.0);
    let one = |v: &Value| v.as_u64() == Some(1);
    let no = |v: &Value| v == false;
    let empty = |v: &Value| v.as_object().is_some_and(Map::is_empty);
    fields.neutral("n", one, "one answer is made for a request")?;
    fields.neutral("frequency_penalty", zero, "penalties are not applied here")?;
    fields.neutral("presence_penalty", zero, "penalties are not applied here")?;
    fields.neutral("logit_bias", empty, "biases are not applied here")?;
    if is_chat {
        fields.neutral("logprobs", no, "log probabilities are not given out here")?;
        fields.neutral("top_logprobs", zero, "log probabilities are not given out here")?;
        fields.neutral("modalities", |v| v == &serde_json::json!(["text"]), "answers are text")?;
        fields.neutral("store", no, "nothing is stored here")?;
        fields.neutral("service_tier", |v| v == "auto" || v == "default", "there is one tier here")?;
    } else {
        fields.neutral("logprobs", |_| false, "log probabilities are not given out here")?;
        fields.neutral("best_of", one, "one answer is made for a request")?;
        fields.neutral("echo", no, "the prompt is not repeated here")?;
        fields.neutral("suffix", |v| v == "", "text is continued at its end alone")?;
    }
    LABELS.iter().for_each(|name| drop(fields.take(name)));
    Ok(())
}
