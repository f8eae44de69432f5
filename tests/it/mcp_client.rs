//! A small client of `tallow mcp` over stdio: lines of JSON-RPC, nothing else.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Desk;

/// How long an answer may take: debug builds, two processors, other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Client {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    waiting: VecDeque<Value>,
    next_id: u64,
    /// Notifications, in the order they came.
    pub notes: Vec<Value>,
    /// Lines that are no JSON: there may be none.
    pub garbage: Vec<String>,
}

impl Client {
    /// A server in the desk's folder, past its handshake.
    pub fn start(desk: &Desk, args: &[&str]) -> Self {
        Self::start_with(desk, args, &[])
    }

    /// The same with more of an environment.
    pub fn start_with(desk: &Desk, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_able(desk, args, variables, json!({}))
    }

    /// The same with capabilities of its own.
    pub fn start_able(desk: &Desk, args: &[&str], variables: &[(&str, &str)], capabilities: Value) -> Self {
        let mut client = Self::spawn(desk, args, variables);
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}});
        let answer = client.request("initialize", hello);
        assert_eq!(answer["result"]["serverInfo"]["name"], "tallow", "{answer}");
        client.send_line(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        client
    }

    /// A server that has not been greeted.
    pub fn bare(desk: &Desk, args: &[&str]) -> Self {
        Self::spawn(desk, args, &[])
    }

    fn spawn(desk: &Desk, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = desk.command(&[["mcp"].as_slice(), args].concat());
        command.env("TALLOW_CACHE", desk.path().join("cache")).env("TEST_API_KEY", "sk-very-secret-value");
        command.envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (out, stdin) = (child.stdout.take().unwrap(), child.stdin.take());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines, waiting: VecDeque::new(), next_id: 1, notes: Vec::new(), garbage: Vec::new() }
    }

    /// Writes raw bytes and a line's end; false when the server has gone.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        let Some(stdin) = &mut self.stdin else { return false };
        stdin.write_all(bytes).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush()).is_ok()
    }

    pub fn send_line(&mut self, line: &str) -> bool {
        self.send_bytes(line.as_bytes())
    }

    /// Sends a request without waiting; its id.
    pub fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send_line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    /// The next message; `None` when the server is gone or says nothing for so long.
    fn message(&mut self, patience: Duration) -> Option<Value> {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => match serde_json::from_str::<Value>(&line) {
                    Ok(value) if value["jsonrpc"] == "2.0" => return Some(value),
                    _ => self.garbage.push(line),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The answer to a request.
    pub fn answer(&mut self, id: u64) -> Option<Value> {
        if let Some(at) = self.waiting.iter().position(|m| m["id"] == id) {
            return self.waiting.remove(at);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let message = self.message(PATIENCE)?;
            match (message.get("method"), message["id"].as_u64()) {
                (Some(_), _) => self.notes.push(message),
                (None, Some(got)) if got == id => return Some(message),
                _ => self.waiting.push_back(message),
            }
        }
        None
    }

    /// The next request of the server.
    pub fn asked(&mut self) -> Option<Value> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let message = self.message(PATIENCE)?;
            match (message.get("method"), message.get("id")) {
                (Some(_), Some(_)) => return Some(message),
                (Some(_), None) => self.notes.push(message),
                (None, _) => self.waiting.push_back(message),
            }
        }
        None
    }

    /// Drops what was said and nobody asked for.
    pub fn forget(&mut self) {
        self.waiting.clear();
        self.notes.clear();
    }

    /// The next answer that is for no request.
    pub fn unasked(&mut self) -> Option<Value> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let message = self.message(PATIENCE)?;
            if message.get("method").is_some() {
                self.notes.push(message);
            } else {
                return Some(message);
            }
        }
        None
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id).unwrap_or_else(|| panic!("no answer to {method}"))
    }

    /// Calls a tool: its structured content, or its error.
    pub fn try_call(&mut self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments}));
        outcome(&answer)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.try_call(tool, arguments).unwrap_or_else(|e| panic!("{tool}: {e}"))
    }

    /// Asks until a run's status is one of these; its last progress.
    pub fn until(&mut self, run_id: &str, wanted: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let progress = self.call("monitor_training_progress", json!({"project_path": "project", "run_id": run_id}));
            if wanted.contains(&progress["status"].as_str().unwrap()) {
                return progress;
            }
            assert!(begun.elapsed() < PATIENCE, "{run_id} never came to {wanted:?}: {progress}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Closes the end that it writes to.
    pub fn stop_writing(&mut self) {
        self.stdin = None;
    }

    /// Closes the end that it reads from, once the next line has come.
    pub fn stop_reading(&mut self) {
        self.lines = channel().1;
    }

    /// The server's exit code, once it has ended by itself.
    pub fn ends(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Ends the connection as a client does; the server follows by itself.
    pub fn close(mut self) -> bool {
        self.stop_writing();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Structured content, or `{code, message, hint}`.
pub fn outcome(answer: &Value) -> Result<Value, Value> {
    if answer.get("error").is_some() {
        return Err(answer["error"].clone());
    }
    let result = &answer["result"];
    if result["isError"] == true {
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
        let error = serde_json::from_str::<Value>(text).unwrap()["error"].clone();
        assert_eq!(error, result["_meta"]["tallow/error"]);
        assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
        return Err(error);
    }
    Ok(result["structuredContent"].clone())
}
