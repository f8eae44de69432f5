//! Rows that someone else wrote, the client's model above all: taken where they fit the tools.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::schema::Tool;
use super::{key, validator};

/// What became of rows that were offered.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Appended {
    /// The rows that were taken, as they came.
    #[serde(skip)]
    pub rows: Vec<Value>,
    /// How many were taken.
    pub taken: usize,
    /// Rows that ask what an earlier row asks.
    pub duplicates: usize,
    /// Rows that were refused: their index and why.
    pub refused: Vec<(usize, String)>,
    /// Taken calls by tool; a tool with none has no example yet.
    pub calls: BTreeMap<String, usize>,
}

/// Checks rows against the tools: chat messages with a user's and an assistant's turn, calls of tools that
/// exist, arguments that fit. `known` are the requests of the rows that are there already.
///
/// # Errors
/// In words, when a tool's own schema is broken.
pub fn append(rows: &[Value], tools: &[Tool], known: &[Value]) -> Result<Appended, String> {
    let checks = tools.iter().map(validator).collect::<Result<Vec<_>, _>>()?;
    let mut seen: HashSet<String> = known.iter().filter_map(request_of).collect();
    let mut out = Appended { calls: tools.iter().map(|t| (t.name.clone(), 0)).collect(), ..Appended::default() };
    for (i, row) in rows.iter().enumerate() {
        let calls = match calls_of(row, tools, &checks) {
            Ok(calls) => calls,
            Err(why) => {
                out.refused.push((i, why));
                continue;
            }
        };
        let request = request_of(row).unwrap_or_default();
        if !seen.insert(request) {
            out.duplicates += 1;
            continue;
        }
        calls.into_iter().for_each(|name| *out.calls.entry(name).or_default() += 1);
        out.rows.push(with_tools(row, tools));
        out.taken += 1;
    }
    Ok(out)
}

/// What a row's user asks first.
fn request_of(row: &Value) -> Option<String> {
    let messages = row["messages"].as_array()?;
    messages.iter().find(|m| m["role"] == "user")?["content"].as_str().map(key)
}

/// A row that offers no tools offers all.
fn with_tools(row: &Value, tools: &[Tool]) -> Value {
    let mut row = row.clone();
    if row["tools"].as_array().is_none_or(Vec::is_empty) {
        row["tools"] = tools.iter().map(Tool::definition).collect();
    }
    row
}

fn calls_of(row: &Value, tools: &[Tool], checks: &[jsonschema::Validator]) -> Result<Vec<String>, String> {
    let messages = row["messages"].as_array().filter(|m| !m.is_empty()).ok_or("`messages` is no list of messages")?;
    request_of(row).filter(|r| !r.is_empty()).ok_or("there is no user's message with text")?;
    let last = messages.last().filter(|m| m["role"] == "assistant");
    let last = last.ok_or("the last message is not the assistant's")?;
    if last["content"].as_str().is_none_or(|t| t.trim().is_empty()) && last["tool_calls"].as_array().is_none_or(Vec::is_empty) {
        return Err("the last message says nothing and calls nothing".into());
    }
    let mut names = Vec::new();
    for (m, message) in messages.iter().enumerate() {
        for (c, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let at = format!("messages[{m}].tool_calls[{c}]");
            let function = call.get("function").unwrap_or(call);
            let name = function["name"].as_str().ok_or(format!("{at} has no name"))?;
            let place = tools.iter().position(|t| t.name == name).ok_or(format!("{at}: there is no tool `{name}`"))?;
            let arguments = match &function["arguments"] {
                Value::String(text) => serde_json::from_str(text).map_err(|e| format!("{at}.arguments: {e}"))?,
                Value::Null => Value::Object(Default::default()),
                other => other.clone(),
            };
            if let Err(e) = checks[place].validate(&arguments) {
                return Err(format!("{at}: `{name}` does not take these arguments: {e}"));
            }
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
