//! Tools out of a file, in whatever form they are written.

use serde_json::{Map, Value, json};

/// One tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The MCP server that has it, where that is known.
    pub server: Option<String>,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
    /// JSON Schema of its result, where it has one.
    pub output: Option<Value>,
}

impl Tool {
    /// As chat templates and OpenAI's API have it.
    pub fn definition(&self) -> Value {
        json!({"type": "function", "function": {
            "name": self.name, "description": self.description, "parameters": self.parameters,
        }})
    }

    /// Names and schemas of the arguments, in order.
    pub fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.parameters.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    /// Whether an argument must be given.
    pub fn requires(&self, name: &str) -> bool {
        self.parameters.get("required").and_then(Value::as_array).is_some_and(|r| r.iter().any(|r| r.as_str() == Some(name)))
    }
}

/// The form that a tool was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolForm {
    /// `{type: "function", function: {name, parameters}}`.
    OpenAi,
    /// `{name, inputSchema}`.
    Mcp,
    /// `{name, input_schema}`.
    Anthropic,
    /// `{name, parameters}` with the Berkeley leaderboard's types (`dict`, `float`, ..).
    Bfcl,
    /// `{name, parameters}` with JSON Schema's types.
    Plain,
}

/// The tools in a text: a JSON document, or one on each line. Lists, `{tools: [..]}`, `{functions: [..]}`,
/// an answer to `tools/list`, and rows with a member `function` are opened.
///
/// # Errors
/// In words, with the place: text that is no JSON, something that is no tool, a schema that is none, or
/// two tools of one name.
pub fn read_tools(text: &str) -> Result<Vec<(Tool, ToolForm)>, String> {
    let documents = match serde_json::from_str::<Value>(text) {
        Ok(value) => vec![("".to_owned(), value)],
        Err(whole) => {
            let line = |(i, line): (usize, &str)| match serde_json::from_str(line) {
                Ok(value) => Ok((format!("line {}: ", i + 1), value)),
                // A file of one document is told where that document breaks.
                Err(_) if i == 0 => Err(format!("no JSON: {whole}")),
                Err(e) => Err(format!("line {}: no JSON: {e}", i + 1)),
            };
            text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect::<Result<_, _>>()?
        }
    };
    let mut tools: Vec<(Tool, ToolForm)> = Vec::new();
    for (place, document) in &documents {
        let several = documents.len() > 1;
        for (tool, form) in open(document, place)? {
            match tools.iter().find(|(t, _)| t.name == tool.name) {
                // Rows of a leaderboard's file name the same function again and again.
                Some(_) if several => {}
                Some(_) => return Err(format!("{place}two tools are called `{}`", tool.name)),
                None => tools.push((tool, form)),
            }
        }
    }
    if tools.is_empty() { Err("there is no tool in it".into()) } else { Ok(tools) }
}

fn open(value: &Value, place: &str) -> Result<Vec<(Tool, ToolForm)>, String> {
    let inner = ["tools", "functions", "result"].iter().find_map(|key| value.get(*key));
    match (value, inner) {
        (Value::Array(list), _) => {
            let each = list.iter().enumerate().map(|(i, v)| open(v, &format!("{place}[{i}] ")));
            each.collect::<Result<Vec<_>, _>>().map(|v| v.into_iter().flatten().collect())
        }
        (Value::Object(_), Some(inner @ (Value::Array(_) | Value::Object(_)))) => open(inner, place),
        (Value::Object(map), _) => match map.get("function") {
            Some(list @ Value::Array(_)) => open(list, place),
            _ => one(map).map(|tool| vec![tool]).map_err(|why| format!("{place}{why}")),
        },
        _ => Err(format!("{place}a tool is a JSON object")),
    }
}

fn one(map: &Map<String, Value>) -> Result<(Tool, ToolForm), String> {
    let (inner, mut form) = match map.get("function").and_then(Value::as_object) {
        Some(inner) => (inner, ToolForm::OpenAi),
        None => (map, ToolForm::Plain),
    };
    let name = inner.get("name").and_then(Value::as_str).filter(|n| !n.trim().is_empty()).ok_or("the tool has no `name`")?;
    let mut parameters = json!({"type": "object", "properties": {}});
    for (key, of) in [("inputSchema", ToolForm::Mcp), ("input_schema", ToolForm::Anthropic), ("parameters", form)] {
        if let Some(schema) = inner.get(key).filter(|s| !s.is_null()) {
            (parameters, form) = (schema.clone(), of);
            break;
        }
    }
    if to_json_schema(&mut parameters) && form == ToolForm::Plain {
        form = ToolForm::Bfcl;
    }
    let fits = parameters.get("type").is_none_or(|t| t == "object") && parameters.is_object();
    if !fits {
        return Err(format!("the arguments of `{name}` are described by no schema of an object"));
    }
    if let Some(map) = parameters.as_object_mut() {
        map.entry("type").or_insert_with(|| json!("object"));
        map.entry("properties").or_insert_with(|| json!({}));
        map.shift_remove("$schema");
    }
    jsonschema::validator_for(&parameters).map_err(|e| format!("the schema of `{name}`: {e}"))?;
    let text = |key: &str| inner.get(key).and_then(Value::as_str).map(|t| t.trim().to_owned());
    let description = text("description").or_else(|| text("title")).unwrap_or_default();
    let output = inner.get("outputSchema").or(inner.get("response")).filter(|o| o.is_object()).cloned().map(|mut o| {
        to_json_schema(&mut o);
        o
    });
    Ok((Tool { server: text("server"), name: name.trim().to_owned(), description, parameters, output }, form))
}

/// JSON Schema's word for one of the leaderboard's types; `None` for JSON Schema's own.
fn json_type(name: &str) -> Option<&'static str> {
    Some(match name {
        "byte" | "short" | "long" | "Bigint" => "integer",
        "float" | "double" => "number",
        "bool" | "Boolean" => "boolean",
        "list" | "tuple" | "ArrayList" | "Array" | "Queue" | "Stack" => "array",
        "dict" | "HashMap" | "Hashtable" => "object",
        "any" | "Any" | "String" | "char" | "" => "string",
        _ => return None,
    })
}

/// Turns the leaderboard's words for types into JSON Schema's, in place; whether there were any.
pub(crate) fn to_json_schema(schema: &mut Value) -> bool {
    let Some(map) = schema.as_object_mut() else { return false };
    let mut changed = false;
    if let Some(name) = map.get("type").and_then(Value::as_str).and_then(json_type) {
        map.insert("type".into(), json!(name));
        changed = true;
    }
    if changed {
        map.retain(|key, value| key != "optional" && (key != "required" || value.is_array()));
    }
    for key in ["properties", "$defs", "definitions"] {
        for inner in map.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(|p| p.values_mut()) {
            changed |= to_json_schema(inner);
            if let Some(inner) = inner.as_object_mut() {
                inner.retain(|key, value| key != "optional" && (key != "required" || value.is_array()));
            }
        }
    }
    if let Some(items) = map.get_mut("items") {
        changed |= to_json_schema(items);
    }
    changed
}
