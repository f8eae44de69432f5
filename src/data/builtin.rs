//! Chat templates that come with the program, and the form of tool calls for templates that have
//! none. All are Jinja as the Hub's readers take it: what is trained with them is saved as it stands
//! and renders the same in other programs.

use super::tokenizer::TextTokenizer;

/// Name and text.
const TEMPLATES: [(&str, &str); 8] = [
    ("chatml", include_str!("templates/chatml.jinja")),
    ("hermes", include_str!("templates/hermes.jinja")),
    ("llama3", include_str!("templates/llama3.jinja")),
    ("mistral", include_str!("templates/mistral.jinja")),
    ("gemma", include_str!("templates/gemma.jinja")),
    ("phi", include_str!("templates/phi.jinja")),
    ("zephyr", include_str!("templates/zephyr.jinja")),
    ("alpaca", include_str!("templates/alpaca.jinja")),
];

/// Other names of the same.
const ALIASES: [(&str, &str); 2] = [("qwen", "hermes"), ("llama", "llama3")];

const TOOL_FORM: &str = include_str!("templates/tool_form.jinja");

/// The names that can be set.
pub fn names() -> Vec<&'static str> {
    TEMPLATES.iter().map(|(name, _)| *name).chain(ALIASES.iter().map(|(name, _)| *name)).collect()
}

/// The text of a template that comes with the program.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    TEMPLATES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// The text for one tokenizer: it begins as the tokenizer itself begins a text.
pub(super) fn source_for(name: &str, tokenizer: &TextTokenizer) -> Option<String> {
    let text = text(name)?;
    let mut source = String::new();
    if tokenizer.special("eos_token").is_none() {
        source.push_str("{%- set eos_token = '' -%}\n");
    }
    if tokenizer.adds_bos() {
        source.push_str("{{- bos_token -}}\n");
    }
    source.push_str(text.trim_end());
    Some(source)
}

/// Where the tools are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolPlace {
    /// In the system turn.
    System,
    /// In the first user turn, where the template takes no system turn.
    User,
}

/// A template without tools, with the form of tool calls before it.
pub(super) fn with_tool_form(source: &str, place: ToolPlace) -> String {
    let place = if place == ToolPlace::System { "system" } else { "user" };
    format!("{}\n{source}", TOOL_FORM.trim_end().replace("PLACE", place))
}

/// Variables that a template is given unless whoever renders it gives others.
pub(super) fn with_variables(source: &str, variables: &serde_json::Map<String, serde_json::Value>) -> String {
    let set = |(name, value): (&String, &serde_json::Value)| {
        let value = literal(value);
        format!("{{%- if {name} is not defined -%}}{{%- set {name} = {value} -%}}{{%- endif -%}}\n")
    };
    variables.iter().map(set).chain([source.to_owned()]).collect()
}

/// A JSON value as Jinja writes it.
fn literal(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "none".into(),
        other => other.to_string(),
    }
}
