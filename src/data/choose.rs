//! Which chat template rows are rendered with, and served with afterwards.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::builtin;
use super::dataset::RecordSet;
use super::error::DataError;
use super::record::Content;
use super::tokenizer::TextTokenizer;

/// The template of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TemplateReport {
    /// `own` (the model's), `own+tools`, `none`, the name of one that comes with the program, a file, or `inline`.
    pub name: String,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Sets the template of a tokenizer as the settings say, or as the rows need it. What is set here is what is trained,
/// saved, served and exported.
///
/// - A name, a file or a text takes the place of the model's own template.
/// - Unset (or `auto`): the model's own. Where rows have tools and it writes no calls, the form of tool calls is put
///   before it. A model without a template that is to learn instructions gets `alpaca`.
///
/// # Errors
/// When the file cannot be read or the template is broken.
pub fn settle_template(
    tokenizer: &mut TextTokenizer,
    choice: Option<&str>,
    variables: &Map<String, Value>,
    sets: &[&RecordSet],
) -> Result<TemplateReport, DataError> {
    let report = match choice.filter(|c| *c != "auto") {
        Some(choice) => set(tokenizer, choice)?,
        None => automatic(tokenizer, sets)?,
    };
    tokenizer.set_template_variables(variables)?;
    Ok(report)
}

fn set(tokenizer: &mut TextTokenizer, choice: &str) -> Result<TemplateReport, DataError> {
    let named = |name: &str| TemplateReport { name: name.to_owned(), notes: Vec::new() };
    if builtin::text(choice).is_some() {
        tokenizer.set_chat_template(choice, &format!("`{choice}`"))?;
        return Ok(named(choice));
    }
    if is_inline(choice) {
        tokenizer.set_chat_template(choice, "dataset.chat_template")?;
        return Ok(named("inline"));
    }
    let text = std::fs::read_to_string(choice).map_err(|e| DataError::Template {
        path: choice.to_owned(),
        message: format!("no name of a template that comes with the program ({}), and no readable file: {e}", builtin::names().join(", ")),
    })?;
    tokenizer.set_chat_template(&text, &Path::new(choice).display().to_string())?;
    Ok(named(choice))
}

/// Whether a setting is the text of a template.
pub fn is_inline(choice: &str) -> bool {
    choice.contains("{%") || choice.contains("{{")
}

fn automatic(tokenizer: &mut TextTokenizer, sets: &[&RecordSet]) -> Result<TemplateReport, DataError> {
    let has = |test: fn(&Content) -> bool| sets.iter().any(|s| s.records.iter().any(|r| test(&r.content)));
    let named = |name: &str, notes: Vec<String>| Ok(TemplateReport { name: name.to_owned(), notes });
    if tokenizer.chat_template().is_none() {
        if !has(|c| matches!(c, Content::Pair { alpaca: true, .. })) {
            return named("none", Vec::new());
        }
        tokenizer.set_chat_template("alpaca", "`alpaca`")?;
        let note = "the model has no chat template: `alpaca` is used, and saved with the result (dataset.chat_template chooses another)";
        return named("alpaca", vec![note.into()]);
    }
    let with_tools = has(|c| match c {
        Content::Chat(chat) => chat.has_tools(),
        _ => false,
    });
    if !with_tools {
        return named("own", Vec::new());
    }
    match tokenizer.add_tool_form() {
        Ok(true) => {
            let note = "the model's template writes no tools and no calls: they are written in the Hermes form before it, \
                        and that template is saved with the result";
            named("own+tools", vec![note.into()])
        }
        // Rows whose calls are not written are refused one by one, with their place.
        Ok(false) | Err(_) => named("own", Vec::new()),
    }
}
