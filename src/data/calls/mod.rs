//! Calls of tools out of the text that a model wrote, in every form that chat templates teach.
//!
//! Text in, calls out; nothing here fails on broken text. What is meant as a call but cannot be read is
//! a [`Broken`] piece, so that a caller can tell "no call" from "a call with a fault in its form".
//!
//! | form | text |
//! |---|---|
//! | `hermes` | `<tool_call>{"name": .., "arguments": {..}}</tool_call>` (Hermes, Qwen 2.5 and 3) |
//! | `llama3` | `{"name": .., "parameters": {..}}`, after `<\|python_tag\|>` or alone, several by `;` |
//! | `mistral` | `[TOOL_CALLS][{"name": .., "arguments": {..}}]`, or `[TOOL_CALLS]name[ARGS]{..}` |
//! | `qwen_xml` | `<tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>` |
//! | `functionary` | `>>>NAME\n{..}` (v3.2) and `<function=NAME>{..}</function>` (v3.1, Llama 3.1) |
//! | `json` | an object or a list of objects with a name and arguments, alone or in a code fence |
//! | `mcp_xml` | `<use_mcp_tool>` with `server_name`, `tool_name` and JSON in `arguments` |
//! | `python` | `[f(a=1), g(b="x")]`, as the Berkeley leaderboard asks for |

mod json;
mod python;
mod tags;
mod template;
mod xml;

use serde::Serialize;
use serde_json::{Map, Value};

pub use python::parse_value as python_value;

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments by name.
    pub arguments: Map<String, Value>,
    /// The MCP server, where the form names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

impl ToolCall {
    /// A call that names no server.
    pub fn new(name: impl Into<String>, arguments: Map<String, Value>) -> Self {
        Self { name: name.into(), arguments, server: None }
    }
}

/// Text that begins as a call and cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The first characters of the piece.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// What a text holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Parsed {
    /// The calls in the order of the text.
    pub calls: Vec<ToolCall>,
    /// Pieces that begin as a call and are none.
    pub broken: Vec<Broken>,
    /// What stands around the calls, reasoning included, white space at its ends removed.
    pub text: String,
}

impl Parsed {
    /// Whether every call that was begun could be read.
    pub fn is_well_formed(&self) -> bool {
        self.broken.is_empty()
    }
}

/// A form of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallForm {
    /// JSON in `<tool_call>` tags.
    Hermes,
    /// JSON with `parameters`, alone or after `<|python_tag|>`.
    Llama3,
    /// After `[TOOL_CALLS]`.
    Mistral,
    /// `<function=..>` with `<parameter=..>` tags.
    QwenXml,
    /// `>>>name` or `<function=name>{..}</function>`.
    Functionary,
    /// Plain JSON.
    Json,
    /// `<use_mcp_tool>`.
    McpXml,
    /// Calls in Python's syntax.
    Python,
}

impl CallForm {
    /// All forms.
    pub const ALL: [Self; 8] =
        [Self::Hermes, Self::Llama3, Self::Mistral, Self::QwenXml, Self::Functionary, Self::Json, Self::McpXml, Self::Python];

    /// The form's name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Llama3 => "llama3",
            Self::Mistral => "mistral",
            Self::QwenXml => "qwen_xml",
            Self::Functionary => "functionary",
            Self::Json => "json",
            Self::McpXml => "mcp_xml",
            Self::Python => "python",
        }
    }

    /// The form that a chat template writes; `None` where it writes no calls that are known here.
    pub fn of_template(source: &str) -> Option<Self> {
        template::form_of(source)
    }
}

/// The longest text that is looked at: an answer is shorter, and a parser needs a bound.
const LONGEST_BYTES: usize = 1 << 20;

/// Calls in one form.
pub fn parse_as(form: CallForm, text: &str) -> Parsed {
    let text = cut(text);
    let mut parsed = match form {
        CallForm::Hermes => tags::hermes(text),
        CallForm::Llama3 => tags::llama3(text),
        CallForm::Mistral => tags::mistral(text),
        CallForm::QwenXml => xml::qwen(text),
        CallForm::Functionary => tags::functionary(text),
        CallForm::Json => json::plain(text),
        CallForm::McpXml => xml::mcp(text),
        CallForm::Python => python::calls(text),
    };
    parsed.text = parsed.text.trim().to_owned();
    parsed
}

/// Calls in whatever form the text is written: marks of a form decide, then plain JSON, then Python's
/// syntax where the whole text is calls.
pub fn parse(text: &str) -> Parsed {
    let text = cut(text);
    let has = |mark: &str| text.contains(mark);
    let form = if has("<use_mcp_tool") {
        CallForm::McpXml
    } else if has("[TOOL_CALLS]") {
        CallForm::Mistral
    } else if has("<parameter=") {
        CallForm::QwenXml
    } else if has("<tool_call>") {
        CallForm::Hermes
    } else if has("<function=") || has(">>>") {
        CallForm::Functionary
    } else if has("<|python_tag|>") {
        CallForm::Llama3
    } else {
        let parsed = parse_as(CallForm::Json, text);
        if !parsed.calls.is_empty() || !parsed.broken.is_empty() {
            return parsed;
        }
        CallForm::Python
    };
    parse_as(form, text)
}

/// The part of a text that is looked at.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A broken piece, with the beginning of its text.
fn broken(text: &str, why: impl Into<String>) -> Broken {
    Broken { text: text.chars().take(120).collect(), why: why.into() }
}
