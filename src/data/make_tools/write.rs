//! Rows as they stand in a file.

use serde::Serialize;
use serde_json::{Value, json};

use super::Kind;
use super::rows::Made;
use super::schema::Tool;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowForm {
    /// Chat messages with `tools` and `tool_calls`: the chat template of the model writes the calls.
    Chat,
    /// Calls as `<use_mcp_tool>` in the text, the tools described in the system turn.
    Xml,
}

pub(super) fn row(made: &Made, kind: Kind, tool: usize, tools: &[Tool], form: RowForm) -> Value {
    let mut names = json!({"kind": kind.name(), "tool": tools[tool].name});
    if let Some(server) = &tools[tool].server {
        names["server"] = json!(server);
    }
    let mut row = match form {
        RowForm::Chat => {
            let offered: Vec<Value> = made.offered.iter().map(|t| tools[*t].definition()).collect();
            json!({"messages": made.messages, "tools": offered})
        }
        RowForm::Xml => json!({"messages": xml_messages(made, tools)}),
    };
    if let (Some(row), Some(names)) = (row.as_object_mut(), names.as_object()) {
        row.extend(names.clone());
    }
    row
}

fn server_of(tools: &[Tool], offered: &[usize], name: &str) -> String {
    let tool = offered.iter().map(|t| &tools[*t]).find(|t| t.name == name);
    tool.and_then(|t| t.server.clone()).unwrap_or_else(|| "tools".to_owned())
}

fn xml_messages(made: &Made, tools: &[Tool]) -> Vec<Value> {
    let mut about = String::from(
        "You can use tools of MCP servers. To use one, answer with:\n<use_mcp_tool>\n<server_name>server</server_name>\n\
         <tool_name>tool</tool_name>\n<arguments>\n{\"name\": \"value\"}\n</arguments>\n</use_mcp_tool>\n\nTools:",
    );
    for tool in made.offered.iter().map(|t| &tools[*t]) {
        let server = tool.server.as_deref().unwrap_or("tools");
        about.push_str(&format!("\n- {} (server {server}): {}\n  Arguments: {}", tool.name, tool.description, tool.parameters));
    }
    let mut messages = Vec::new();
    for message in &made.messages {
        let content = message["content"].as_str().unwrap_or_default();
        match message["role"].as_str().unwrap_or_default() {
            "system" => about = format!("{content}\n\n{about}"),
            "tool" => {
                let text = format!("[result of {}]\n{content}", message["name"].as_str().unwrap_or_default());
                messages.push(json!({"role": "user", "content": text}));
            }
            role => {
                let mut parts: Vec<String> = Some(content.to_owned()).filter(|c| !c.is_empty()).into_iter().collect();
                parts.extend(message["tool_calls"].as_array().into_iter().flatten().map(|call| {
                    let function = &call["function"];
                    let name = function["name"].as_str().unwrap_or_default();
                    xml_call(&server_of(tools, &made.offered, name), name, &function["arguments"])
                }));
                let mut out = json!({"role": role, "content": parts.join("\n")});
                if let Some(reasoning) = message.get("reasoning_content") {
                    out["reasoning_content"] = reasoning.clone();
                }
                messages.push(out);
            }
        }
    }
    messages.insert(0, json!({"role": "system", "content": about}));
    messages
}

fn xml_call(server: &str, name: &str, arguments: &Value) -> String {
    format!(
        "<use_mcp_tool>\n<server_name>{server}</server_name>\n<tool_name>{name}</tool_name>\n<arguments>\n{arguments}\n</arguments>\n</use_mcp_tool>"
    )
}
