//! The Modelfile: what `ollama create` reads.

use std::fmt::Write;

use super::Translation;

/// What a Modelfile says.
#[derive(Debug, Clone, Default)]
pub struct Modelfile<'a> {
    /// The file of the model, beside the Modelfile.
    pub model: &'a str,
    /// A file with an adapter over it.
    pub adapter: Option<&'a str>,
    /// The chat template, where the model has one.
    pub chat: Option<&'a Translation>,
    /// Texts that end an answer.
    pub stops: &'a [String],
    /// Tokens of context.
    pub context: usize,
}

/// Ollama's memory grows with the context; more than this is for the user to ask.
const LONGEST_CONTEXT: usize = 8192;

/// Its text.
pub fn modelfile(m: &Modelfile) -> String {
    let mut out = format!("FROM ./{}\n", m.model);
    // Writing to a String cannot fail.
    if let Some(adapter) = m.adapter {
        let _ = writeln!(out, "ADAPTER ./{adapter}");
    }
    if let Some(chat) = m.chat {
        for note in &chat.notes {
            let _ = writeln!(out, "# {}", note.replace('\n', " "));
        }
        if let Some(template) = &chat.template {
            let _ = writeln!(out, "TEMPLATE \"\"\"{}\"\"\"", quoted(template));
        }
    }
    for stop in m.stops {
        let _ = writeln!(out, "PARAMETER stop \"{}\"", stop.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let _ = writeln!(out, "PARAMETER num_ctx {}", m.context.min(LONGEST_CONTEXT));
    out
}

/// Three quotation marks would end the template, and so would one before the last three.
fn quoted(template: &str) -> String {
    let inner = template.replace("\"\"\"", "\"{{ `\"` }}\"");
    if inner.ends_with('"') { inner + "{{ `` }}" } else { inner }
}
