//! The OpenAI-compatible server: answers equal those of `generate`, alone and together, whole and streamed; calls of tools;
//! bodies and clients of any kind.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Desk, drawn_seed};

/// How long something may take: debug builds, two processors, other tests.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "a-token-of-some-length";

struct Server {
    child: Child,
    address: String,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The chunks of a stream, which must end as the API says.
    fn chunks(&self) -> Vec<Value> {
        let events: Vec<&str> = self.body.split("\n\n").filter(|e| !e.is_empty() && !e.starts_with(':')).collect();
        let data: Vec<&str> = events.iter().map(|e| e.strip_prefix("data: ").unwrap_or_else(|| panic!("{e}"))).collect();
        let (last, chunks) = data.split_last().unwrap();
        assert_eq!(*last, "[DONE]", "{}", self.body);
        chunks.iter().map(|c| serde_json::from_str(c).unwrap()).collect()
    }
}

impl Server {
    fn start(desk: &Desk, args: &[&str], token: Option<&str>) -> Self {
        let mut command = desk.command(&[&["serve", "--http", "127.0.0.1:0"], args].concat());
        command.env_remove("TALLOW_SERVE_TOKEN").envs(token.map(|t| ("TALLOW_SERVE_TOKEN", t)));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().split(" on http://").nth(1).unwrap_or_else(|| panic!("{line}"));
        Self { child, address: address.strip_suffix("/v1").unwrap().to_owned() }
    }

    /// Sends a request and leaves the connection open.
    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let has = |name: &str| headers.iter().any(|(n, _)| *n == name);
        if !has("Content-Length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if !has("Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        if !has("Content-Type") {
            head += "Content-Type: application/json\r\n";
        }
        headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = Vec::new();
        self.open(method, path, headers, body).read_to_end(&mut all).unwrap();
        let text = String::from_utf8(all).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, String> =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let chunked = headers.get("transfer-encoding").is_some_and(|t| t == "chunked");
        Answer { status, body: if chunked { unchunked(body) } else { body.to_owned() }, headers }
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], &body.to_string())
    }

    /// What a request gives that must succeed.
    fn chat(&self, body: &Value) -> Value {
        let answer = self.post("/v1/chat/completions", body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()
    }

    /// The same streamed: content, calls, finish reason, usage.
    fn streamed(&self, body: &Value) -> (String, Vec<Value>, String, Value) {
        let mut body = body.clone();
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        let answer = self.post("/v1/chat/completions", &body);
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/event-stream"), "{}", answer.body);
        let mut chunks = answer.chunks();
        let usage = chunks.pop().unwrap();
        assert_eq!((&usage["choices"], chunks[0]["choices"][0]["delta"]["role"].as_str()), (&json!([]), Some("assistant")));
        let (mut text, mut calls, mut finish) = (String::new(), Vec::new(), String::new());
        for chunk in &chunks {
            assert_eq!((&chunk["id"], &chunk["object"]), (&usage["id"], &json!("chat.completion.chunk")), "{chunk}");
            let choice = &chunk["choices"][0];
            assert!(finish.is_empty(), "a chunk after the last: {chunk}");
            text += choice["delta"]["content"].as_str().unwrap_or_default();
            calls.extend(choice["delta"]["tool_calls"].as_array().cloned().unwrap_or_default());
            finish += choice["finish_reason"].as_str().unwrap_or_default();
        }
        (text, calls, finish, usage["usage"].clone())
    }

    fn health(&self) -> Value {
        self.ask("GET", "/health", &[], "").json()
    }

    fn until(&self, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let health = self.health();
            if enough(&health) {
                return health;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {health}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out += &rest[..size];
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    out
}

fn tool() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {"name": "weather", "parameters": parameters}})
}

/// Trains an adapter on the embedded model that answers with a call; gives its folder.
fn adapter(desk: &Desk) -> String {
    let row = |i: usize| {
        let call = json!({"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}});
        let asks = if i.is_multiple_of(2) { "weather?" } else { "is it cold?" };
        let messages = json!([{"role": "user", "content": asks}, {"role": "assistant", "content": null, "tool_calls": [call]}]);
        format!("{}\n", json!({"messages": messages, "tools": [tool()]}))
    };
    desk.write("calls.jsonl", &(0..40).map(row).collect::<String>());
    let args = ["train", "--model", "embedded", "--data", "calls.jsonl", "--epochs", "12", "--set", "training.stage1.learning_rate=5e-3"];
    let more = ["--set", "training.max_seq_length=400", "--set", "training.save_steps=0"];
    let report = desk.json(&[&args[..], &more].concat());
    format!("{}/final-model", report["run"].as_str().unwrap())
}

/// A random model whose answers are long, and slow enough to be met under way.
fn endless(desk: &Desk) {
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let path = desk.path().join("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(60_000);
    config["eos_token_id"] = Value::Null;
    std::fs::write(&path, config.to_string()).unwrap();
}

const LONG: u64 = 50_000;

#[test]
fn answers_are_those_of_generate_whole_streamed_and_together() {
    let (desk, seed) = (Desk::new(), drawn_seed());
    let adapter = adapter(&desk);
    let server = Server::start(&desk, &["--model", "embedded", "--adapter", &format!("tuned={adapter}"), "--batch", "6"], None);
    let ids: Vec<Value> =
        server.ask("GET", "/v1/models", &[], "").json()["data"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, [json!("embedded"), json!("tuned")]);
    let texts =
        ["tell me a story about a lake", "add 4 and 9", "Who is Ruth?", "name a colour", "2 + 2", "weather?", "éà 日本", "the garden"];
    let mut wanted = Vec::new();
    for i in 0..6u64 {
        let text = format!("{} {}", texts[(seed.wrapping_add(i * 3) % 8) as usize], seed >> (i * 4) & 31);
        let model = if i % 2 == 0 { "embedded" } else { "tuned" };
        let most = (5 + (seed >> (i * 5)) % 40).to_string();
        let mut args = vec!["generate", "--model", "embedded", "--prompt", &text, "--temperature", "0", "--max-new-tokens", &most];
        if model == "tuned" {
            args.extend(["--adapter", &adapter]);
        }
        let said = desk.json(&args);
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": most.parse::<u64>().unwrap()});
        let finish = if said["stop_reason"] == "stop_token" { "stop" } else { "length" };
        wanted.push((body, said["text"].as_str().unwrap().to_owned(), said["prompt_tokens"].clone(), said["tokens"].clone(), finish));
        if i == 0 {
            let raw = desk.json(&[&args[..], &["--raw"]].concat());
            let answer = server.post(
                "/v1/completions",
                &json!({"model": model, "prompt": text, "temperature": 0, "max_tokens": most.parse::<u64>().unwrap()}),
            );
            assert_eq!(answer.json()["choices"][0]["text"], raw["text"], "seed {seed}: {}", answer.body);
        }
    }
    let check = |(body, text, prompt, tokens, finish): &(Value, String, Value, Value, &str)| {
        let whole = server.chat(body);
        let choice = &whole["choices"][0];
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(text), &json!(finish)), "seed {seed}: {body}");
        let sum = prompt.as_u64().unwrap() + tokens.as_u64().unwrap();
        assert_eq!(
            whole["usage"],
            json!({"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": sum}),
            "seed {seed}: {body}"
        );
        let (streamed, calls, reason, usage) = server.streamed(body);
        assert_eq!((&streamed, reason.as_str(), &usage), (text, *finish, &whole["usage"]), "seed {seed}: {body}");
        assert!(calls.is_empty());
        // A text that ends the answer is not part of it.
        if let Some((at, _)) = text.char_indices().nth(2).filter(|(at, _)| text[*at..].chars().count() > 1) {
            let stop: String = text[at..].chars().take(2).collect();
            let mut body = body.clone();
            body["stop"] = json!([stop, "never this"]);
            let ended = &text[..text.find(&stop).unwrap()];
            let whole = server.chat(&body);
            assert_eq!(
                (&whole["choices"][0]["message"]["content"], &whole["choices"][0]["finish_reason"]),
                (&json!(ended), &json!("stop")),
                "seed {seed}: {body}"
            );
            assert_eq!(server.streamed(&body).0, ended, "seed {seed}: {body}");
        }
    };
    wanted.iter().for_each(check);
    std::thread::scope(|s| wanted.iter().for_each(|w| drop(s.spawn(|| check(w)))));
    calls_are_read(&server);
    server.until("all places are free", |h| h["active"] == 0 && h["waiting"] == 0);
}

/// Calls in the answers of a model that was trained to make them.
fn calls_are_read(server: &Server) {
    let messages = json!([{"role": "user", "content": "weather?"}]);
    let body = json!({"model": "tuned", "messages": messages, "tools": [tool()], "temperature": 0, "max_completion_tokens": 60});
    let whole = server.chat(&body);
    let choice = &whole["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null), "{whole}");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("weather")), "{whole}");
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Oslo"}));
    let (text, calls, finish, usage) = server.streamed(&body);
    assert_eq!((text.as_str(), calls.len(), finish.as_str(), &usage), ("", 1, "tool_calls", &whole["usage"]));
    assert_eq!((&calls[0]["index"], &calls[0]["function"]), (&json!(0), &call["function"]));
    // The answer of the tool goes on from there; tools that may not be called are not read.
    let reply = json!([messages[0], choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "-3"}]);
    let mut on = body.clone();
    on["messages"] = reply;
    assert!(server.chat(&on)["usage"]["prompt_tokens"].as_u64() > whole["usage"]["prompt_tokens"].as_u64());
    let mut none = body.clone();
    none["tool_choice"] = json!("none");
    let none = server.chat(&none);
    assert!(none["choices"][0]["message"].get("tool_calls").is_none(), "{none}");
    assert!(none["usage"]["prompt_tokens"].as_u64() < whole["usage"]["prompt_tokens"].as_u64());
}

#[test]
fn answers_are_held_to_schemas_and_calls_are_forced() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--model", "embedded"], None);
    let seed = drawn_seed() % 100_000;
    let ask = |more: Value| {
        let mut body =
            json!({"model": "embedded", "messages": [{"role": "user", "content": "say a"}], "max_tokens": 600, "temperature": 1.5});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let schema = json!({"type": "object", "properties": {"on": {"type": "boolean"}, "n": {"type": "integer", "minimum": 0, "maximum": 99},
        "unit": {"enum": ["c", "f"]}, "tag": {"type": "string", "maxLength": 5}}, "required": ["on", "n", "unit"], "additionalProperties": false});
    for i in 0..8 {
        let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
        let body = ask(json!({"response_format": format, "seed": seed + i}));
        let whole = server.chat(&body);
        let choice = &whole["choices"][0];
        assert_eq!(choice["finish_reason"], "stop", "seed {}: {whole}", seed + i);
        let text = choice["message"]["content"].as_str().unwrap();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("seed {}: {e}: {text}", seed + i));
        assert!(jsonschema::is_valid(&schema, &value), "seed {}: {value}", seed + i);
        assert_eq!(server.streamed(&body).0, text, "streamed it is the same");
    }
    // Any object: where it comes to its end, it is one.
    for i in 0..4 {
        let whole = server.chat(&ask(json!({"response_format": {"type": "json_object"}, "seed": seed + i, "temperature": 0.5})));
        let (choice, text) = (&whole["choices"][0], whole["choices"][0]["message"]["content"].as_str().unwrap());
        assert!(text.starts_with('{'), "seed {}: {text}", seed + i);
        if choice["finish_reason"] == "stop" {
            assert!(serde_json::from_str::<Value>(text).unwrap().is_object(), "seed {}: {text}", seed + i);
        }
    }
    // Two tools, and the answer, have to find room in a short context.
    let schema = json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": schema}});
    let tools = json!([tool("first"), tool("second")]);
    let named = json!({"type": "function", "function": {"name": "second"}});
    for (i, choice) in [json!("required"), named.clone(), json!("required"), named].iter().enumerate() {
        let whole = server.chat(&ask(
            json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": false, "seed": seed + i as u64, "temperature": 0.5}),
        ));
        let (answer, calls) = (&whole["choices"][0], &whole["choices"][0]["message"]["tool_calls"]);
        assert_eq!(
            (&answer["finish_reason"], calls.as_array().unwrap().len()),
            (&json!("tool_calls"), 1),
            "seed {}: {whole}",
            seed + i as u64
        );
        let function = &calls[0]["function"];
        assert!(function["name"] == "second" || (choice == "required" && function["name"] == "first"), "{whole}");
        let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
        assert!(jsonschema::is_valid(&schema, &arguments), "{arguments}");
    }
    // What is not held stays as it was, beside what is.
    let free = ask(json!({"seed": seed, "temperature": 0, "max_tokens": 8}));
    assert_eq!(server.chat(&free)["choices"], server.chat(&free)["choices"]);
    for (more, param) in [
        (json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "third"}}}), "tool_choice"),
        (json!({"tools": tools, "response_format": {"type": "json_object"}}), "response_format"),
    ] {
        let refused = server.ask("POST", "/v1/chat/completions", &[], &ask(more).to_string());
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(param)), "{}", refused.body);
    }
}

#[test]
fn hostile_requests_are_refused_in_the_form_of_the_api() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--model", "embedded"], Some(TOKEN));
    let bearer = format!("Bearer {TOKEN}");
    let chat =
        |more: &str| format!("{{\"model\":\"embedded\",\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}}],\"max_tokens\":2{more}}}");
    let refused = |headers: &[(&str, &str)], method: &str, path: &str, body: &str, status: u16, code: &str| {
        let answer = server.ask(method, path, headers, body);
        let error = answer.json()["error"].clone();
        let shown: String = body.chars().take(80).collect();
        assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{method} {path} {shown}: {error}");
        assert!(error["message"].is_string() && error["type"].is_string() && error.get("param").is_some(), "{error}");
        error
    };
    let with: &[(&str, &str)] = &[("Authorization", &bearer)];
    let chats = "/v1/chat/completions";
    refused(&[], "POST", chats, &chat(""), 401, "invalid_api_key");
    refused(&[("Authorization", "Bearer another")], "GET", "/v1/models", "", 401, "invalid_api_key");
    refused(&[("Host", "evil.example")], "POST", chats, &chat(""), 403, "unknown_host");
    refused(&[with[0], ("Origin", "http://evil.example")], "POST", chats, &chat(""), 403, "foreign_origin");
    refused(&[with[0], ("Content-Type", "text/plain")], "POST", chats, &chat(""), 415, "no_json");
    refused(with, "GET", chats, "", 405, "wrong_method");
    refused(with, "POST", "/v1/embeddings", "{}", 404, "unknown_url");
    refused(with, "GET", "/v1/models/none", "", 404, "model_not_found");
    // One byte too many, of a body that says that it goes on.
    refused(&[with[0], ("Content-Length", "9000000")], "POST", chats, &"x".repeat((4 << 20) + 1), 413, "bad_body");
    for body in ["", "{", "[]", "null", "\"a\"", "{\"model\":1}x", &"[".repeat(100_000), &"{\"a\":".repeat(10_000)] {
        refused(with, "POST", chats, body, 400, "invalid_json");
    }
    let none = chat("").replace("embedded", "none");
    assert_eq!(refused(with, "POST", chats, &none, 404, "model_not_found")["param"], "model");
    for (more, param, code) in [
        (",\"temperature\":3", "temperature", "invalid_value"),
        (",\"temperature\":\"hot\"", "temperature", "invalid_value"),
        (",\"top_p\":0", "top_p", "invalid_value"),
        (",\"top_p\":1.5", "top_p", "invalid_value"),
        (",\"max_completion_tokens\":3", "max_tokens", "invalid_value"),
        (",\"max_completion_tokens\":-1", "max_completion_tokens", "invalid_value"),
        (",\"n\":2", "n", "unsupported_parameter"),
        (",\"logprobs\":true", "logprobs", "unsupported_parameter"),
        (",\"frequency_penalty\":0.5", "frequency_penalty", "unsupported_parameter"),
        (",\"response_format\":{\"type\":\"xml\"}", "response_format", "invalid_value"),
        (",\"response_format\":{\"type\":\"json_schema\"}", "response_format", "invalid_value"),
        (
            ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"not\":{}}}}",
            "response_format",
            "unsupported_parameter",
        ),
        (",\"tool_choice\":{\"type\":\"function\"}", "tool_choice", "invalid_value"),
        (",\"tools\":{}", "tools", "invalid_value"),
        (",\"tools\":[{\"type\":\"function\"}]", "tools", "invalid_value"),
        (",\"tool_choice\":\"required\"", "tool_choice", "invalid_value"),
        (",\"stop\":[1]", "stop", "invalid_value"),
        (",\"stop\":\"\"", "stop", "invalid_value"),
        (",\"stream\":\"yes\"", "stream", "invalid_value"),
        (",\"stream_options\":{\"include_usage\":true}", "stream_options", "invalid_value"),
        (",\"seed\":1.5", "seed", "invalid_value"),
        (",\"whatever\":1", "whatever", "unknown_parameter"),
    ] {
        assert_eq!(refused(with, "POST", chats, &chat(more), 400, code)["param"], param, "{more}");
    }
    let messages = |m: &str| format!("{{\"model\":\"embedded\",\"messages\":{m}}}");
    for m in ["[]", "1", "[1]", "[{\"role\":\"user\"}]", "[{\"role\":\"king\",\"content\":\"a\"}]", "[{\"content\":\"a\"}]"] {
        assert_eq!(refused(with, "POST", chats, &messages(m), 400, "invalid_value")["param"], "messages", "{m}");
    }
    let long = messages(&format!("[{{\"role\":\"user\",\"content\":\"{}\"}}]", "word ".repeat(600)));
    refused(with, "POST", chats, &long, 400, "context_length_exceeded");
    for (prompt, code) in
        [("[]", "invalid_value"), ("\"\"", "invalid_value"), ("[99999]", "invalid_value"), ("[\"a\",\"b\"]", "invalid_value")]
    {
        let body = format!("{{\"model\":\"embedded\",\"prompt\":{prompt}}}");
        assert_eq!(refused(with, "POST", "/v1/completions", &body, 400, code)["param"], "prompt", "{prompt}");
    }
    // After all of this it still answers, and no place is taken.
    let labels = chat(",\"user\":\"me\",\"n\":1,\"logprobs\":false,\"frequency_penalty\":0,\"stop\":null");
    assert_eq!(server.ask("POST", chats, with, &labels).status, 200);
    let health = server.ask("GET", "/health", with, "").json();
    assert_eq!((&health["active"], &health["waiting"]), (&json!(0), &json!(0)), "{health}");
    let outside = desk.command(&["serve", "--model", "embedded", "--http", "0.0.0.0:0"]).env_remove("TALLOW_SERVE_TOKEN").output().unwrap();
    let said = String::from_utf8(outside.stderr).unwrap();
    assert!(outside.status.code() == Some(2) && said.contains("TALLOW_SERVE_TOKEN"), "{said}");
}

#[test]
fn thirty_two_clients_get_what_each_would_get_alone() {
    let (desk, seed) = (Desk::new(), drawn_seed());
    let server = Server::start(&desk, &["--model", "embedded", "--batch", "8", "--queue", "32"], None);
    let ask = |i: u64| {
        let text = format!("client {i} asks about {}", ["lakes", "tea", "Monday", "a fox"][(seed >> i & 3) as usize]);
        let body = json!({"model": "embedded", "messages": [{"role": "user", "content": text}], "seed": i, "temperature": 0.9,
            "top_p": 0.95, "max_tokens": 4 + seed.rotate_left(i as u32) % 24});
        let whole = server.chat(&body);
        (whole["choices"][0].clone(), whole["usage"].clone())
    };
    let together: Vec<_> = std::thread::scope(|s| {
        let all: Vec<_> = (0..32).map(|i| s.spawn(move || ask(i))).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (i, one) in together.iter().enumerate() {
        assert_eq!(one, &ask(i as u64), "seed {seed}, client {i}");
    }
    assert_eq!(server.health()["done"], 64);
}

#[test]
fn a_full_queue_says_when_and_a_client_that_goes_frees_its_place() {
    let desk = Desk::new();
    endless(&desk);
    let server = Server::start(&desk, &["--model", "model", "--batch", "1", "--queue", "1", "--cache", "4GiB"], None);
    let body = json!({"model": "model", "prompt": "a", "max_tokens": LONG, "temperature": 0, "stream": true});
    let whole = json!({"model": "model", "prompt": "a", "max_tokens": LONG, "temperature": 0});
    let post = |body: &Value| server.open("POST", "/v1/completions", &[], &body.to_string());
    let (first, waits) = (post(&body), post(&whole));
    server.until("one answers, one waits", |h| h["active"] == 1 && h["waiting"] == 1);
    let full = server.post("/v1/completions", &whole);
    assert_eq!((full.status, &full.json()["error"]["type"]), (429, &json!("rate_limit_error")), "{}", full.body);
    assert!((1..=60).contains(&full.headers["retry-after"].parse::<u64>().unwrap()));
    // The one that waits goes, then the one that is answered, in the middle of its stream.
    drop(waits);
    server.until("the place in the queue is free", |h| h["waiting"] == 0 && h["gone"] == 1);
    let mut lines = BufReader::new(first).lines();
    assert!(lines.any(|l| l.unwrap().starts_with("data: {")));
    drop(lines);
    server.until("the first place is free", |h| h["active"] == 0 && h["gone"] == 2);
    // One that reads its answer as a whole, too.
    let one = post(&whole);
    server.until("it is answered", |h| h["active"] == 1);
    drop(one);
    let health = server.until("its place is free", |h| h["active"] == 0 && h["gone"] == 3);
    assert!(health["done"] == 0 && health["new_tokens"].as_u64() < Some(LONG), "{health}");
    let short = server.post("/v1/completions", &json!({"model": "model", "prompt": "a", "max_tokens": 3}));
    assert_eq!((short.status, &short.json()["usage"]["completion_tokens"]), (200, &json!(3)));
}

#[cfg(unix)]
#[test]
fn a_signal_lets_answers_end() {
    let desk = Desk::new();
    endless(&desk);
    let mut server = Server::start(&desk, &["--model", "model"], None);
    let body = json!({"model": "model", "prompt": "a", "max_tokens": 300, "temperature": 0, "stream": true});
    let stream = server.open("POST", "/v1/completions", &[], &body.to_string());
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|l| l.starts_with("data: {")));
    Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap();
    assert!(lines.any(|l| l == "data: [DONE]"), "the answer was broken off");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "the server goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}
