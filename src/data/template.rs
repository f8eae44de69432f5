//! Chat templates in the Hub's Jinja dialect.
//!
//! The dialect is Jinja2 as Hugging Face sets it up: blocks trimmed, `tojson` like Python's `json.dumps`,
//! `raise_exception`, `strftime_now`, loop controls, Python's string and dict methods, and
//! `{% generation %}` around what the assistant writes. The last is no tag of the engine: it becomes a pair of
//! variables that print private characters around the block, and these marks are taken out again. (A call block would
//! be a scope of its own, in which the template could not set its namespaces.)

use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::json;

use super::error::DataError;
use super::{builtin, guard, python};
use crate::base::panics;
use crate::base::time_limit::Library;

/// The special tokens a template may name.
#[derive(Debug, Clone, Default)]
pub struct TemplateTokens {
    /// Variable name (`bos_token`, ...) and the token's text.
    pub variables: Vec<(String, String)>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: TemplateTokens,
    source: String,
    marks_generation: bool,
}

/// What one rendering is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The messages as template values.
    pub messages: &'a [Value],
    /// The tools; `None` is passed when there are none, as the Hub does.
    pub tools: &'a [Value],
    /// End with the header of an assistant turn.
    pub add_generation_prompt: bool,
    /// Further variables.
    pub variables: &'a serde_json::Map<String, serde_json::Value>,
}

const CHAT: &str = "chat";

/// Time of a rendering grows with the number of messages more than with their length: a message counts as so many bytes.
const MESSAGE_BYTES: usize = 100;

/// Stands for an answer where only the text around it matters: no real text has it, no template changes it.
pub(crate) const PROBE: &str = "\u{F07FE}\u{F07FF}";

/// The day `strftime_now` says while data is prepared: a fixed one, so that the same data gives the same tokens tomorrow.
/// It is the default day in Llama 3's own templates.
const FIXED_DAY: (i16, i8, i8) = (2024, 7, 26);

impl ChatTemplate {
    /// Compiles a template. `origin` names the file in errors.
    ///
    /// # Errors
    /// [`DataError::Template`] when the text is no template.
    pub fn new(source: &str, origin: &str, tokens: TemplateTokens) -> Result<Self, DataError> {
        let source = builtin::text(source).unwrap_or(source);
        guard::check_source(source).map_err(|message| DataError::Template { path: origin.to_string(), message })?;
        let mut environment = dialect().map_err(|e| broken(origin, &e))?;
        let (marked, marks) = rewrite_generation(source);
        let added = caught(source.len(), || environment.add_template_owned(CHAT, marked));
        added.map_err(|message| DataError::Template { path: origin.to_string(), message })?.map_err(|e| broken(origin, &e))?;
        Ok(Self { environment, tokens, source: source.to_string(), marks_generation: marks > 0 })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template itself marks what the assistant writes.
    pub fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    /// Whether the template writes calls of tools. One that refuses the probe, but speaks of tools, is believed to.
    pub(crate) fn writes_calls(&self) -> bool {
        match self.probe() {
            Ok(text) => text.contains("probe_call"),
            Err(_) => self.source.contains("tool_calls"),
        }
    }

    /// Renders a conversation with a tool, a call and its reply; whether all three stand in it.
    pub(crate) fn probe_tools(&self) -> Result<bool, String> {
        let text = self.probe()?;
        Ok(["probe_tool", "probe_call", "probe_reply"].iter().all(|part| text.contains(part)))
    }

    fn probe(&self) -> Result<String, String> {
        let tool = json!({"type": "function", "function": {"name": "probe_tool", "description": "d",
            "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}});
        let call = json!({"id": "call00001", "type": "function", "function": {"name": "probe_call", "arguments": {"x": "1"}}});
        let messages = [
            json!({"role": "user", "content": "q"}),
            json!({"role": "assistant", "content": "", "tool_calls": [call]}),
            json!({"role": "tool", "content": "probe_reply", "tool_call_id": "call00001", "name": "probe_call"}),
            json!({"role": "assistant", "content": "a"}),
        ];
        self.render(&messages, &[tool], false)
    }

    /// What the template writes after an answer's text.
    pub(crate) fn after_answer(&self) -> Option<String> {
        let messages = [json!({"role": "user", "content": "a"}), json!({"role": "assistant", "content": PROBE})];
        let text = self.render(&messages, &[], false).ok()?;
        text.rsplit_once(PROBE).map(|(_, after)| after.to_owned())
    }

    /// Renders messages (JSON objects with `role` and `content`) to the text a model is prompted with.
    ///
    /// # Errors
    /// The template's own complaint (`raise_exception`) or a failure in it, in words.
    pub fn render(
        &self,
        messages: &[serde_json::Value],
        tools: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        let messages: Vec<Value> = messages.iter().map(from_json).collect();
        let tools: Vec<Value> = tools.iter().map(from_json).collect();
        self.call(&Call { messages: &messages, tools: &tools, add_generation_prompt, variables: &serde_json::Map::new() })
    }

    /// The same with further variables, such as `enable_thinking`.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_with(
        &self,
        messages: &[serde_json::Value],
        tools: &[serde_json::Value],
        variables: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, String> {
        let messages: Vec<Value> = messages.iter().map(from_json).collect();
        let tools: Vec<Value> = tools.iter().map(from_json).collect();
        self.call(&Call { messages: &messages, tools: &tools, add_generation_prompt: true, variables })
    }

    pub(crate) fn call(&self, call: &Call) -> Result<String, String> {
        self.run(call, None)
    }

    /// The text and the byte ranges inside `{% generation %}`. `None` where a filter around the block changed the
    /// marks' surroundings, so that the ranges cannot be trusted.
    pub(crate) fn call_marked(&self, call: &Call, plain: &str) -> Result<Option<Vec<Range<usize>>>, String> {
        let Some((open, close)) = unused_characters(plain) else { return Ok(None) };
        let text = self.run(call, Some((open, close)))?;
        Ok(take_marks(&text, open, close).filter(|(without, _)| without == plain).map(|(_, spans)| spans))
    }

    fn run(&self, call: &Call, marks: Option<(char, char)>) -> Result<String, String> {
        let mut context: Vec<(String, Value)> = self.tokens.variables.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        context.extend(call.variables.iter().map(|(k, v)| (k.clone(), from_json(v))));
        let tools = if call.tools.is_empty() { Value::from(()) } else { Value::from(call.tools.to_vec()) };
        context.push(("messages".into(), Value::from(call.messages.to_vec())));
        context.push(("tools".into(), tools));
        context.push(("documents".into(), Value::from(())));
        context.push(("add_generation_prompt".into(), Value::from(call.add_generation_prompt)));
        let (open, close) = marks.map_or_else(Default::default, |(open, close)| (open.to_string(), close.to_string()));
        context.push(("__open".into(), Value::from(open)));
        context.push(("__close".into(), Value::from(close)));
        let template = self.environment.get_template(CHAT).map_err(|e| reason(&e))?;
        let mut out = guard::Limited::default();
        let rendered =
            caught(call.messages.len() * MESSAGE_BYTES, || template.render_captured_to(Value::from_pairs(context), &mut out).map(|_| ()))?;
        match rendered {
            Ok(_) => out.text(),
            Err(_) if out.is_full() => Err(guard::too_much_output()),
            Err(e) if e.kind() == ErrorKind::OutOfFuel => Err(guard::NO_END.into()),
            Err(e) => Err(reason(&e)),
        }
    }
}

/// What the engine gives, or that it failed inside: templates are foreign, and it has been seen to panic.
fn caught<T>(bytes: usize, work: impl FnOnce() -> T) -> Result<T, String> {
    panics::of_library(Library::Template, bytes, work).ok_or_else(|| "the template engine failed inside".to_owned())
}

/// A JSON value as the engine's own.
pub(crate) fn from_json(value: &impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(value))
}

fn broken(origin: &str, error: &Error) -> DataError {
    DataError::Template { path: origin.to_string(), message: reason(error) }
}

/// The engine's words without its own file name.
fn reason(error: &Error) -> String {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    match error.line() {
        Some(line) => format!("{text} (template line {line})"),
        None => text,
    }
}

fn dialect() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(guard::method);
    environment.set_formatter(|out, _, value| out.write_str(&python::text(value)).map_err(Error::from));
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: Value| python::text(&value));
    environment.add_test("iterable", |value: Value| value.kind() == ValueKind::String || value.try_iter().is_ok());
    environment.add_test("sequence", |value: Value| matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map));
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", strftime_fixed);
    guard::limit(&mut environment);
    Ok(environment)
}

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, as the Hub defines it.
fn tojson(value: Value, ensure_ascii: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let ascii = match ensure_ascii {
        Some(v) => v.is_true(),
        None => options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let indent = options.get::<Option<usize>>("indent")?;
    if indent.is_some_and(|width| width > 64) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: an indent of more than 64"));
    }
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let separators = match separators.as_deref() {
        Some([item, key]) => Some((item.clone(), key.clone())),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators needs two strings")),
        None => None,
    };
    python::json(&value, &python::JsonStyle::new(ascii, indent, separators, sort_keys))
}

fn strftime_fixed(format: String) -> Result<String, Error> {
    let (year, month, day) = FIXED_DAY;
    jiff::fmt::strtime::format(&format, jiff::civil::date(year, month, day).at(12, 0, 0, 0))
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
}

/// Two characters of a private-use plane that the text does not have.
fn unused_characters(text: &str) -> Option<(char, char)> {
    let mut free = ('\u{F0000}'..'\u{F0400}').filter(|c| !text.contains(*c));
    Some((free.next()?, free.next()?))
}

/// Takes the marks out; the spans are byte ranges of the text without them. `None` for marks that do not pair up.
fn take_marks(text: &str, open: char, close: char) -> Option<(String, Vec<Range<usize>>)> {
    let mut without = String::with_capacity(text.len());
    let mut spans = Vec::new();
    let mut start = None;
    for c in text.chars() {
        if c == open && start.is_none() {
            start = Some(without.len());
        } else if c == close {
            spans.push(start.take()?..without.len());
        } else if c == open {
            return None;
        } else {
            without.push(c);
        }
    }
    start.is_none().then_some((without, spans))
}

/// Replaces `{% generation %}` and `{% endgeneration %}` by variables that print the marks, white-space control and the
/// trimming of blocks kept: the marks stand between two blocks that do nothing. Also gives the number of blocks opened.
fn rewrite_generation(source: &str) -> (String, usize) {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut opened = 0;
    while let Some(at) = rest.find("{%") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // Looked for behind the two signs: in `{%}` they share the `%`.
        let Some(end) = rest[2..].find("%}").map(|at| at + 2) else { break };
        let tag = &rest[2..end];
        let left = &tag[..usize::from(tag.starts_with(['-', '+']))];
        let inner = &tag[left.len()..];
        let right = &inner[inner.len() - usize::from(inner.ends_with(['-', '+']))..];
        match inner[..inner.len() - right.len()].trim() {
            "generation" => {
                opened += 1;
                out.push_str(&format!("{{%{left} if true %}}{{{{ __open }}}}{{% if true {right}%}}"));
            }
            "endgeneration" => out.push_str(&format!("{{%{left} endif %}}{{{{ __close }}}}{{% endif {right}%}}")),
            _ => {
                out.push_str("{%");
                rest = &rest[2..];
                continue;
            }
        }
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    (out, opened)
}
