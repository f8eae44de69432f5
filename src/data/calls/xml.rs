//! Forms in tags: Qwen3-Coder's and `use_mcp_tool`.

use serde_json::{Map, Value};

use super::json::{first, object_of};
use super::tags::{is_name, pieces};
use super::{Parsed, ToolCall, broken};

/// Qwen3-Coder: `<function=NAME>` with one `<parameter=KEY>` for each argument, in `<tool_call>` tags or
/// alone. Values are bare text: what reads as JSON is JSON, the rest is a string. (A schema decides
/// better: see [`super::ToolCall`]'s users, which turn text into the declared type.)
pub(super) fn qwen(text: &str) -> Parsed {
    let (around, found) = pieces(text, "<function=", "</function>");
    let text = around.replace("<tool_call>", "").replace("</tool_call>", "");
    let mut parsed = Parsed { text, ..Parsed::default() };
    for (piece, ended) in found {
        let Some((name, body)) = piece.split_once('>') else {
            parsed.broken.push(broken(piece, "the tag <function=..> does not end"));
            continue;
        };
        if !is_name(name.trim()) {
            parsed.broken.push(broken(piece, "this is no name of a tool"));
            continue;
        }
        match parameters(body, ended) {
            Ok(arguments) => parsed.calls.push(ToolCall::new(name.trim(), arguments)),
            Err(why) => parsed.broken.push(broken(piece, why)),
        }
    }
    parsed
}

fn parameters(body: &str, ended: bool) -> Result<Map<String, Value>, String> {
    let (around, found) = pieces(body, "<parameter=", "</parameter>");
    if !around.replace("</tool_call>", "").trim().is_empty() {
        return Err("text stands between the parameters".into());
    }
    let mut arguments = Map::new();
    for (piece, closed) in found {
        if !closed && !ended {
            return Err("a parameter does not end".into());
        }
        let (key, value) = piece.split_once('>').ok_or("the tag <parameter=..> does not end")?;
        if arguments.insert(key.trim().to_owned(), bare(value)).is_some() {
            return Err(format!("parameter `{}` stands twice", key.trim()));
        }
    }
    Ok(arguments)
}

/// A value written without quotes: one line break at each end belongs to the tags.
fn bare(text: &str) -> Value {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    serde_json::from_str(text.trim()).unwrap_or_else(|_| match text.trim() {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "None" => Value::Null,
        _ => Value::String(text.to_owned()),
    })
}

/// `<use_mcp_tool>` with `server_name`, `tool_name` and `arguments` as JSON.
pub(super) fn mcp(text: &str) -> Parsed {
    let (around, found) = pieces(text, "<use_mcp_tool>", "</use_mcp_tool>");
    let mut parsed = Parsed { text: around, ..Parsed::default() };
    for (piece, _) in found {
        match mcp_call(piece) {
            Ok(call) => parsed.calls.push(call),
            Err(why) => parsed.broken.push(broken(piece, why)),
        }
    }
    parsed
}

fn mcp_call(piece: &str) -> Result<ToolCall, String> {
    let part = |tag: &str| {
        let (_, rest) = piece.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.trim())
    };
    let name = part("tool_name").filter(|n| is_name(n)).ok_or("no <tool_name> with a name")?;
    let arguments = match part("arguments") {
        None if piece.contains("<arguments>") => return Err("<arguments> does not end".into()),
        None | Some("") => Map::new(),
        Some(text) => {
            let (value, len) = first(text)?;
            if !text[len..].trim().is_empty() {
                return Err("text stands after the JSON of <arguments>".into());
            }
            object_of(Some(&value))?
        }
    };
    let server = part("server_name").filter(|s| !s.is_empty()).map(str::to_owned);
    Ok(ToolCall { name: name.to_owned(), arguments, server })
}
