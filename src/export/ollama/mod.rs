//! Ollama: the Modelfile, and its TEMPLATE translated from the model's own chat template.
//!
//! Jinja and Go's templates share no constructs to translate one into the other word by word. The
//! chat template is observed instead: conversations with marks for contents show what it writes
//! before, between and after messages, and on what that depends. From this a template is written
//! that asks only what Ollama's templates can ask. It is then run on other conversations beside the
//! chat template; where a prompt differs there is no translation, or one without tools, and the
//! export says so.

mod go;
mod modelfile;
mod observe;
pub mod serve;
mod talks;
mod write;

use serde_json::{Map, Value};

pub use go::GoTemplate;
pub use modelfile::{Modelfile, modelfile};

use crate::data::ChatTemplate;
use observe::{Scope, observe};
use talks::Talk;

/// A chat template in Ollama's language.
#[derive(Debug, Clone, Default)]
pub struct Translation {
    /// Its source; `None` where it cannot be translated.
    pub template: Option<String>,
    /// Conversations on which both gave the same prompt.
    pub compared: usize,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Translates a chat template. `added` is what the reading program puts before every prompt itself.
pub fn translate(chat: &ChatTemplate, added: Option<&str>) -> Translation {
    let render = |talk: &Talk| jinja(chat, talk);
    let shows = |talk: &Talk, mark: &str| render(talk).is_some_and(|t| t.contains(mark));
    let tool = talks::definition("seenTool", "argument");
    let tools = shows(&Talk::new(vec![talks::user("a")]).with_tools(std::slice::from_ref(&tool)), "seenTool");
    let called = talks::calls("", &[("seenCall".into(), serde_json::json!({"a": "b"}))]);
    let calls = shows(&Talk::new(vec![talks::user("a"), called, talks::tool("b")]).with_tools(&[tool]), "seenCall");
    let mut why = String::new();
    let systems = [(true, false), (false, false), (false, true)];
    let mut scopes: Vec<Scope> = [(tools, calls), (tools, false), (false, false)]
        .into_iter()
        .flat_map(|(tools, calls)| systems.map(|(later_system, system_moves)| Scope { later_system, system_moves, tools, calls }))
        .collect();
    scopes.dedup();
    for scope in scopes {
        match attempt(&render, scope, added) {
            Ok((template, compared)) => {
                let mut notes = Vec::new();
                if (tools, calls) != (scope.tools, scope.calls) {
                    let what = if tools && !scope.tools { "tools are" } else { "calls of tools are" };
                    notes.push(format!("{what} not in the Modelfile's TEMPLATE: {why}"));
                } else if tools {
                    notes.push(
                        "tools and calls are written as JSON without spaces and in Ollama's order of keys; the values are the same".into(),
                    );
                }
                notes.extend(trims(&render));
                notes.extend(unwanted_start(&render, added));
                return Translation { template: Some(template), compared, notes };
            }
            // The fullest attempt says best what stands in the way.
            Err(reason) if why.is_empty() => why = reason,
            Err(_) => {}
        }
    }
    let text = "the chat template cannot be written in Ollama's template language";
    let advice = "the Modelfile has no TEMPLATE, so Ollama would send prompts in another form than the model was trained with";
    Translation { template: None, compared: 0, notes: vec![format!("{text} ({why}): {advice}")] }
}

/// Prompts of the conversations that the chat template takes.
pub(crate) fn sample_prompts(chat: &ChatTemplate) -> Vec<String> {
    talks::compared().0.iter().filter_map(|talk| jinja(chat, talk)).collect()
}

fn attempt(render: &dyn Fn(&Talk) -> Option<String>, scope: Scope, added: Option<&str>) -> Result<(String, usize), String> {
    let mut seen = observe(render, scope)?;
    if let Some(start) = added {
        write::drop_start(&mut seen, start);
    }
    let source = write::write(seen, scope)?;
    let go = GoTemplate::parse(&source).map_err(|e| format!("the translation does not parse: {e}"))?;
    let compared = compare(render, &go, scope, added)?;
    Ok((source, compared))
}

/// Prompts of both on conversations that the translation was not made from; how many were compared.
fn compare(render: &dyn Fn(&Talk) -> Option<String>, go: &GoTemplate, scope: Scope, added: Option<&str>) -> Result<usize, String> {
    let (talks, plain) = talks::compared();
    let uses_calls = |t: &Talk| t.messages.iter().any(|m| m["role"] == "tool" || m.get("tool_calls").is_some());
    let chosen = talks.iter().enumerate().filter(|(i, t)| *i < plain || (scope.tools && (scope.calls || !uses_calls(t))));
    let mut compared = 0;
    for (i, talk) in chosen {
        for thinking in [None, Some(false), Some(true)] {
            let talk = Talk { thinking, ..talk.clone() };
            // What the template refuses has no right prompt.
            let Some(want) = render(&talk) else { continue };
            let want = added.and_then(|a| want.strip_prefix(a)).unwrap_or(&want);
            let got = go.render(&talk.values())?;
            if canonical(want) != canonical(&got) {
                return Err(format!("its prompt of conversation {} comes out otherwise", i + 1));
            }
            compared += usize::from(thinking.is_none());
        }
    }
    if compared == 0 { Err("it refuses every conversation".into()) } else { Ok(compared) }
}

/// Says that white space around messages is kept where the chat template takes it off.
fn trims(render: &dyn Fn(&Talk) -> Option<String>) -> Option<String> {
    let text = render(&Talk::new(vec![talks::user("\n zq0qz \n")]))?;
    let kept = text.contains("\n zq0qz \n");
    (!kept).then(|| "the chat template takes white space off both ends of a message, Ollama's templates cannot".into())
}

/// Says that Ollama puts a token before every prompt that the chat template does not write.
fn unwanted_start(render: &dyn Fn(&Talk) -> Option<String>, added: Option<&str>) -> Option<String> {
    let start = added?;
    let text = render(&Talk::new(vec![talks::user("a")]))?;
    (!text.starts_with(start)).then(|| format!("Ollama puts {start} before every prompt; the chat template does not write it"))
}

fn jinja(chat: &ChatTemplate, talk: &Talk) -> Option<String> {
    let mut variables = Map::new();
    if let Some(on) = talk.thinking {
        variables.insert("enable_thinking".into(), Value::Bool(on));
    }
    chat.render_with(&talk.messages, &talk.tools, &variables).ok()
}

/// A text whose JSON is written in one way: compact, keys sorted.
fn canonical(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        out.push_str(&rest[..at]);
        let mut stream = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Value>();
        let end = match stream.next() {
            Some(Ok(value)) => {
                out.push_str(&sorted(&value));
                at + stream.byte_offset()
            }
            _ => {
                out.push_str(&rest[at..=at]);
                at + 1
            }
        };
        rest = &rest[end..];
    }
    out + rest
}

fn sorted(v: &Value) -> String {
    match v {
        Value::Array(a) => format!("[{}]", a.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Object(o) => {
            let mut fields: Vec<(&String, &Value)> = o.iter().collect();
            fields.sort_by_key(|(k, _)| *k);
            format!("{{{}}}", fields.into_iter().map(|(k, v)| format!("{k:?}:{}", sorted(v))).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
