//! Conversations: as a chat template takes them, and as Ollama hands them to its template.

use serde_json::{Value, json};

/// Messages and tools of the OpenAI form.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    pub(super) messages: Vec<Value>,
    pub(super) tools: Vec<Value>,
    /// What `enable_thinking` is set to.
    pub(super) thinking: Option<bool>,
}

impl Talk {
    pub(super) fn new(messages: Vec<Value>) -> Self {
        Self { messages, tools: Vec::new(), thinking: None }
    }

    pub(super) fn with_tools(mut self, tools: &[Value]) -> Self {
        self.tools = tools.to_vec();
        self
    }

    /// What Ollama's template sees: system messages also by themselves, and neighbours of the same
    /// role, tools aside, joined.
    pub(super) fn values(&self) -> Value {
        let text = |m: &Value, key: &str| m[key].as_str().unwrap_or_default().to_owned();
        let mut system: Vec<String> = Vec::new();
        let mut messages: Vec<Value> = Vec::new();
        for m in &self.messages {
            let (role, content) = (text(m, "role"), text(m, "content"));
            if role == "system" {
                system.push(content.clone());
            }
            let before = messages.last_mut().filter(|b| b["Role"] == role.as_str() && role != "tool");
            if let Some(before) = before {
                before["Content"] = format!("{}\n\n{content}", text(before, "Content")).into();
                continue;
            }
            let calls: Vec<Value> = m["tool_calls"].as_array().into_iter().flatten().map(ollama_call).collect();
            messages.push(json!({
                "Role": role, "Content": content, "Thinking": text(m, "reasoning_content"), "ToolCalls": calls,
                "ToolName": text(m, "name"),
            }));
        }
        json!({
            "System": system.join("\n\n"), "Messages": messages, "Tools": self.tools, "Response": "",
            "Think": self.thinking.unwrap_or(false), "IsThinkSet": self.thinking.is_some(),
        })
    }
}

fn ollama_call(call: &Value) -> Value {
    json!({"Function": {"Name": call["function"]["name"], "Arguments": call["function"]["arguments"]}})
}

pub(super) fn system(text: &str) -> Value {
    json!({"role": "system", "content": text})
}

pub(super) fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

pub(super) fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

pub(super) fn tool(text: &str) -> Value {
    json!({"role": "tool", "name": "answered", "tool_call_id": "call00001", "content": text})
}

/// An assistant's message with calls: names and arguments.
pub(super) fn calls(content: &str, calls: &[(String, Value)]) -> Value {
    let one = |(i, (name, arguments)): (usize, &(String, Value))| json!({"id": format!("call0000{i}"), "type": "function", "function": {"name": name, "arguments": arguments}});
    let list: Vec<Value> = calls.iter().enumerate().map(one).collect();
    json!({"role": "assistant", "content": content, "tool_calls": list})
}

/// A tool with one parameter.
pub(super) fn definition(name: &str, parameter: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": format!("Does {name}."), "parameters": {
        "type": "object", "properties": {parameter: {"type": "string", "description": "What it is done to."}}, "required": [parameter]}}})
}

/// The conversations on which a translation is compared with the chat template. Those with tools or
/// calls come last; the number says how many come before them.
pub(super) fn compared() -> (Vec<Talk>, usize) {
    let tools = [definition("weather", "city"), definition("clock", "zone"), definition("search", "words")];
    let call = |name: &str, key: &str, value: &str| (name.to_owned(), json!({key: value}));
    let plain = [
        vec![user("How far is the moon?")],
        vec![system("Answer in one word."), user("Is water wet?")],
        vec![user("Name a colour."), assistant("Blue."), user("Another one?")],
        vec![system("You are a poet."), user("Write a line."), assistant("The sea is wide,"), user("And one more.")],
        vec![user("1"), assistant("2"), user("3"), assistant("4"), user("5")],
        vec![system("Count on."), user("1"), assistant("2"), user("3"), assistant("4"), user("5")],
        vec![user("Braces {{ .Content }} and \"quotes\"\nover two lines, é日本 and <b>tags</b>")],
        vec![system("Two\n\nparagraphs."), user("def f(x):\n    return {\"a\": x}"), assistant("`f` makes a dict."), user("Good?")],
    ];
    let plain: Vec<Talk> = plain.into_iter().map(Talk::new).collect();
    let many = [call("weather", "city", "Oslo"), call("clock", "zone", "Europe/Oslo")];
    let with = [
        (vec![user("Weather in Oslo?")], 1),
        (vec![system("Use tools."), user("Weather in Oslo?")], 3),
        (vec![user("Weather?"), calls("", &many[..1]), tool("rain")], 2),
        (vec![system("Use tools."), user("Weather?"), calls("", &many[..1]), tool("rain"), assistant("It rains."), user("And now?")], 1),
        (vec![user("Weather and time?"), calls("", &many), tool("rain"), tool("noon")], 3),
        (vec![user("Hello."), assistant("Hello!"), user("Weather?")], 2),
    ];
    let count = plain.len();
    let with = with.into_iter().map(|(messages, n)| Talk::new(messages).with_tools(&tools[..n]));
    (plain.into_iter().chain(with).collect(), count)
}
