//! The tools of an MCP server at an address (streamable HTTP): the greeting and `tools/list`, no more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::in_words;
use super::server::MOST_TOOLS;
use crate::base::error::Fault;
use crate::data::make_tools::Tool;

/// Largest answer that is read.
const MOST_BYTES: u64 = 64 << 20;
const PROTOCOL: &str = "2025-06-18";

/// The server's name and its tools. A bearer token is taken from `TALLOW_TOOLS_TOKEN`.
///
/// # Errors
/// A server that cannot be reached or does not answer in time, or tools that are none.
pub(super) fn tools_of(url: &str, patience: Duration) -> Result<(String, Vec<Tool>), Fault> {
    let fault = |m: String| {
        Fault::new("tool_server", format!("{url}: {m}")).hint("check the address (it usually ends in /mcp) and TALLOW_TOOLS_TOKEN")
    };
    let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).max_redirects_will_error(false);
    let agent = config.user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION"))).build().new_agent();
    let token = std::env::var("TALLOW_TOOLS_TOKEN").ok().filter(|t| !t.is_empty());
    let mut talk = Talk { agent, url, token, session: None, until: Instant::now() + patience, next_id: 1 };
    let client = json!({"name": "tallow", "version": env!("CARGO_PKG_VERSION")});
    let greeting = talk.request("initialize", json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}));
    let greeting = greeting.map_err(fault)?;
    talk.notify("notifications/initialized").map_err(fault)?;
    let (mut list, mut cursor) = (Vec::new(), None::<Value>);
    loop {
        let params = cursor.take().map_or(json!({}), |c| json!({"cursor": c}));
        let page = talk.request("tools/list", params).map_err(fault)?;
        let tools = page["tools"].as_array().cloned().unwrap_or_default();
        let (is_empty, next) = (tools.is_empty(), page["nextCursor"].clone());
        list.extend(tools);
        if list.len() > MOST_TOOLS {
            return Err(fault(format!("it lists more than {MOST_TOOLS} tools")));
        }
        if is_empty || next.is_null() {
            break;
        }
        cursor = Some(next);
    }
    let name = greeting["serverInfo"]["name"].as_str().unwrap_or("server").to_owned();
    Ok((name, in_words(url, &Value::Array(list).to_string())?))
}

struct Talk<'a> {
    agent: Agent,
    url: &'a str,
    token: Option<String>,
    session: Option<String>,
    until: Instant,
    next_id: u64,
}

impl Talk<'_> {
    fn post(&mut self, body: &Value) -> Result<(u16, String), String> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".into());
        }
        let mut request = self.agent.post(self.url).config().timeout_global(Some(left)).build();
        request = request.header("content-type", "application/json").header("accept", "application/json, text/event-stream");
        request = request.header("mcp-protocol-version", PROTOCOL);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let mut response = request.send(body.to_string()).map_err(|e| e.to_string())?;
        if let Some(session) = response.headers().get("mcp-session-id").and_then(|h| h.to_str().ok()) {
            self.session = Some(session.to_owned());
        }
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string().map_err(|e| e.to_string())?;
        Ok((status, text))
    }

    fn notify(&mut self, method: &str) -> Result<(), String> {
        let (status, _) = self.post(&json!({"jsonrpc": "2.0", "method": method}))?;
        if (200..300).contains(&status) { Ok(()) } else { Err(format!("{method}: status {status}")) }
    }

    fn request(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        let (status, text) = self.post(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        if !(200..300).contains(&status) {
            let text: String = text.trim().chars().take(200).collect();
            return Err(format!("{method}: status {status} {text}"));
        }
        let answer = messages(&text).into_iter().find(|m| m["id"].as_u64() == Some(id));
        let mut answer = answer.ok_or_else(|| format!("{method}: the answer is no message of the protocol"))?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {}", error["message"].as_str().unwrap_or("an error"))),
            None => Ok(answer["result"].take()),
        }
    }
}

/// The messages of an answer: JSON, or events with JSON in their `data` lines.
fn messages(text: &str) -> Vec<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return vec![value];
    }
    let event = |event: &str| {
        let data: Vec<&str> = event.lines().filter_map(|l| l.strip_prefix("data:")).map(str::trim_start).collect();
        serde_json::from_str(&data.join("\n")).ok()
    };
    text.replace("\r\n", "\n").split("\n\n").filter_map(event).collect()
}
