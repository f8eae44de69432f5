//! Forms in which special words or tags stand around JSON.

use serde_json::Value;

use super::json::{add, first, object_of};
use super::{Parsed, ToolCall, broken};

/// Pieces between `open` and `close`; a piece without its end reaches to the end of the text. Gives the
/// text around them and the pieces.
pub(super) fn pieces<'a>(text: &'a str, open: &str, close: &str) -> (String, Vec<(&'a str, bool)>) {
    let (mut around, mut found) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        around.push_str(&rest[..start]);
        let inner = &rest[start + open.len()..];
        match inner.find(close) {
            Some(end) => {
                found.push((&inner[..end], true));
                rest = &inner[end + close.len()..];
            }
            None => {
                found.push((inner, false));
                rest = "";
            }
        }
    }
    around.push_str(rest);
    (around, found)
}

/// `<tool_call>{..}</tool_call>`; the end tag may be missing after the last one, where generation
/// stopped at it.
pub(super) fn hermes(text: &str) -> Parsed {
    let (around, pieces) = pieces(text, "<tool_call>", "</tool_call>");
    let mut parsed = Parsed { text: around, ..Parsed::default() };
    for (piece, _) in pieces {
        match first(piece) {
            Ok((value, len)) if piece[len..].trim().is_empty() => add(&value, piece, &mut parsed),
            Ok((_, len)) => {
                let why = format!("`{}` stands after the JSON", piece[len..].trim().chars().take(20).collect::<String>());
                parsed.broken.push(broken(piece, why));
            }
            Err(why) => parsed.broken.push(broken(piece, why)),
        }
    }
    parsed
}

/// Llama 3: JSON with `parameters`, several separated by `;`, after `<|python_tag|>` or as the whole
/// answer; and `tool.call(query="..")`, the form of its built-in tools.
pub(super) fn llama3(text: &str) -> Parsed {
    let (before, body) = match text.split_once("<|python_tag|>") {
        Some((before, body)) => (before, body),
        None if text.trim_start().starts_with('{') => ("", text),
        None => return super::json::plain(text),
    };
    let mut body = body;
    for end in ["<|eom_id|>", "<|eot_id|>"] {
        body = body.split(end).next().unwrap_or(body);
    }
    let mut parsed = Parsed { text: before.to_owned(), ..Parsed::default() };
    if !body.trim_start().starts_with(['{', '[']) {
        let mut built_in = super::python::calls(body);
        for call in &mut built_in.calls {
            call.name = call.name.strip_suffix(".call").unwrap_or(&call.name).to_owned();
        }
        if built_in.calls.is_empty() && built_in.broken.is_empty() && !body.trim().is_empty() {
            parsed.broken.push(broken(body, "neither JSON nor a call stands after <|python_tag|>"));
        }
        parsed.calls = built_in.calls;
        parsed.broken.extend(built_in.broken);
        return parsed;
    }
    loop {
        body = body.trim_start().trim_start_matches([';', ',']).trim_start();
        if body.is_empty() {
            return parsed;
        }
        if !body.starts_with(['{', '[']) {
            parsed.text.push_str(body);
            return parsed;
        }
        match first(body) {
            Ok((value, len)) => {
                add(&value, &body[..len], &mut parsed);
                body = &body[len..];
            }
            Err(why) => {
                parsed.broken.push(broken(body, why));
                return parsed;
            }
        }
    }
}

/// Mistral: `[TOOL_CALLS]` with a JSON list, or (from Tekken on) a name, `[ARGS]` or nothing, and an object.
pub(super) fn mistral(text: &str) -> Parsed {
    let mut parts = text.split("[TOOL_CALLS]");
    let mut parsed = Parsed { text: parts.next().unwrap_or_default().to_owned(), ..Parsed::default() };
    for part in parts {
        let part = part.split("</s>").next().unwrap_or(part);
        let body = part.trim_start();
        if body.starts_with('[') && !body.starts_with("[ARGS]") || body.starts_with('{') {
            match first(body) {
                Ok((value, len)) => {
                    add(&value, &body[..len], &mut parsed);
                    parsed.text.push_str(&body[len..]);
                }
                Err(why) => parsed.broken.push(broken(body, why)),
            }
            continue;
        }
        let Some(brace) = body.find('{') else {
            parsed.broken.push(broken(body, "no arguments follow the name"));
            continue;
        };
        let name = body[..brace].split("[CALL_ID]").next().unwrap_or_default();
        let name = name.split("[ARGS]").next().unwrap_or_default().trim();
        named_object(name, &body[brace..], &mut parsed);
    }
    parsed
}

/// A call whose name stands before the object; what follows the object is text.
fn named_object(name: &str, body: &str, parsed: &mut Parsed) {
    if !is_name(name) {
        return parsed.broken.push(broken(name, "this is no name of a tool"));
    }
    match first(body) {
        Ok((value @ Value::Object(_), len)) => {
            let arguments = object_of(Some(&value)).unwrap_or_default();
            parsed.calls.push(ToolCall::new(name, arguments));
            parsed.text.push_str(&body[len..]);
        }
        Ok(_) => parsed.broken.push(broken(body, "the arguments are no object")),
        Err(why) => parsed.broken.push(broken(body, why)),
    }
}

/// Names of tools: letters, digits and what joins words; no white space.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    !name.is_empty() && name.chars().all(fits)
}

/// Functionary: `>>>name\n{..}` (`>>>all\n` is plain text) and `<function=name>{..}</function>`.
pub(super) fn functionary(text: &str) -> Parsed {
    if text.contains("<function=") {
        return function_tags(text);
    }
    let mut parts = text.split(">>>");
    let mut parsed = Parsed { text: parts.next().unwrap_or_default().to_owned(), ..Parsed::default() };
    for part in parts {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        match name.trim() {
            "all" => parsed.text.push_str(body),
            name => named_object(name, body, &mut parsed),
        }
    }
    parsed
}

fn function_tags(text: &str) -> Parsed {
    let (around, pieces) = pieces(text, "<function=", "</function>");
    let mut parsed = Parsed { text: around, ..Parsed::default() };
    for (piece, _) in pieces {
        match piece.split_once('>') {
            Some((name, body)) if body.trim().is_empty() && is_name(name) => parsed.calls.push(ToolCall::new(name, Default::default())),
            Some((name, body)) => named_object(name.trim(), body, &mut parsed),
            None => parsed.broken.push(broken(piece, "the tag <function=..> does not end")),
        }
    }
    parsed
}
