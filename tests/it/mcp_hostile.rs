//! Clients that mean harm or know no better, over both transports: each gets a clean error, and the server lives on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::mcp_client::{Client, outcome};
use crate::mcp_http::{HttpClient, HttpServer, TOKEN};
use crate::program::Desk;

#[test]
fn http_checks_who_asks() {
    let desk = Desk::new();
    let mut server = HttpServer::start(&mut desk.command(&["mcp", "--http", "127.0.0.1:0"]));
    let ask = |path: &str, headers: &[(&str, &str)], body: &str| {
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("Connection", "close")]).collect();
        HttpClient::connect(&server.address).unwrap().post_to(path, &headers, body.as_bytes()).unwrap().status
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    .to_string();
    let own = format!("http://{}", server.address);
    for (headers, wanted) in [
        (vec![], 200),
        (vec![("Origin", own.as_str())], 200),
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Host", "evil.example")], 403),
        (vec![("Authorization", "Bearer a-token-of-some-lengtx")], 401),
        (vec![("Authorization", "")], 401),
    ] {
        assert_eq!(ask("/mcp", &headers, &hello), wanted, "{headers:?}");
    }
    assert_eq!(ask("/", &[], &hello), 404);
    assert_eq!(ask("/mcp", &[], &"x".repeat(5 << 20)), 413);
    assert_eq!(ask("/mcp", &[], &hello), 200);
    assert!(server.is_alive());
    // Without a token it stays on this machine.
    let said = desk.run(&["mcp", "--http", "0.0.0.0:0"]);
    assert_eq!(said.code, 2, "{}", said.err);
}

/// Texts that have broken parsers, paths and terminals.
fn nasty() -> Vec<Value> {
    let long = "x".repeat(200_000);
    let mut all: Vec<Value> = [
        "",
        ".",
        "..",
        "../..",
        "/",
        "/etc/passwd",
        "../../../../etc/passwd",
        "~",
        "$HOME",
        "${TEST_API_KEY}",
        "a\u{0}b",
        "con",
        "\u{202e}x",
        "'; DROP TABLE runs; --",
        "$(touch hacked)",
        "`touch hacked`",
        "| touch hacked",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "-rf",
        "--help",
        "project/../../x",
        "link",
        "link/x",
        "\n\r\t",
        "{{7*7}}",
        "%00",
        "project/runs",
        "nul\\..\\x",
    ]
    .iter()
    .map(|s| json!(s))
    .collect();
    all.extend([
        json!(long),
        json!(null),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(true),
        json!([]),
        json!({}),
    ]);
    all.push(json!({"a": {"b": {"c": vec!["x"; 50]}}}));
    all
}

/// Bodies of requests, by the number that each is asked with, and whether a tool refuses it (or the protocol does).
fn hostile_calls(tools: &[Value]) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    let mut call = |tool: &str, arguments: Value| calls.push(("tools/call".to_owned(), json!({"name": tool, "arguments": arguments})));
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        let properties: Vec<&String> = tool["inputSchema"]["properties"].as_object().unwrap().keys().collect();
        let needs_nothing = tool["inputSchema"]["required"].as_array().is_none_or(Vec::is_empty);
        for value in nasty() {
            // What is null is left out.
            if needs_nothing && value.is_null() {
                continue;
            }
            // Every argument the same nasty thing, and one that does not exist.
            let all: serde_json::Map<String, Value> = properties.iter().map(|p| ((*p).clone(), value.clone())).collect();
            if !properties.is_empty() {
                call(name, json!(all));
            }
            call(name, json!({"no_such_argument": value}));
        }
    }
    // Good arguments but for one path.
    let base = json!({"type": "custom", "model_id": "embedded"});
    let data = |path: &str| json!({"train_dataset": path});
    for path in ["/etc/passwd", "../outside", "link/passwd", "project/../../outside", "link"] {
        let train = data("project/data/train.jsonl");
        let at = |id: &str| json!({"project_path": "project", "run_id": id});
        call("validate_dataset", json!({"dataset": path}));
        call("dataset_stats", json!({"dataset": path}));
        call("generate_text", json!({"model": path, "prompt": "x"}));
        call("get_model_info", json!({"model_name": format!("./{path}")}));
        call("list_runs", json!({"project_path": path}));
        call("plan_training", json!({"project_path": path}));
        call("generate_fine_tuning_project", json!({"project_name": "p", "output_dir": path, "base_model": base}));
        call("generate_fine_tuning_project", json!({"project_name": path, "output_dir": ".", "base_model": base}));
        call("configure_training_run", json!({"project_path": "project", "run_name": "x", "training_data": data(path)}));
        for key in ["base_model.local_path", "dataset.test_path", "tensorboard.log_dir"] {
            call(
                "configure_training_run",
                json!({"project_path": "project", "run_name": "x", "training_data": train, "override_params": {key: path}}),
            );
        }
        for tool in ["monitor_training_progress", "start_training"] {
            call(tool, at(path));
        }
        let mut export = at(path);
        export["export_format"] = json!("gguf");
        export["export_path"] = json!("x");
        call("export_model", export);
    }
    for (method, params) in [
        ("tools/call", json!({"name": "no_such_tool", "arguments": {}})),
        ("tools/call", json!({"name": "list_runs", "arguments": [1]})),
        ("tools/call", json!({})),
        ("tools/call", json!([])),
        ("resources/read", json!({"uri": "file:///etc/passwd"})),
        ("resources/read", json!({"uri": "tallow://datasets/%2Fetc%2Fpasswd"})),
        ("resources/read", json!({"uri": "tallow://datasets/../../etc/passwd"})),
        ("resources/read", json!({"uri": "tallow://runs/..%2F..%2Fetc/log"})),
        ("resources/subscribe", json!({"uri": "tallow://runs/nothing"})),
        ("prompts/get", json!({"name": "debug_training", "arguments": {"run_id": "../../etc"}})),
        ("prompts/get", json!({"name": "nothing"})),
        ("completion/complete", json!({"ref": 1})),
        ("logging/setLevel", json!({"level": 7})),
        ("no/such/method", json!({})),
    ] {
        calls.push((method.to_owned(), params));
    }
    calls
}

/// Lines that are no messages, with the code of their answer.
fn no_messages() -> Vec<(Vec<u8>, i64)> {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let inside = |argument: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"list_runs\",\"arguments\":{{\"project_path\":{argument}}}}}}}"
        )
    };
    vec![
        (b"x".to_vec(), -32700),
        (b"{".to_vec(), -32700),
        (b"1e999".to_vec(), -32700),
        (deep.clone().into_bytes(), -32700),
        (inside(&deep).into_bytes(), -32700),
        (inside("NaN").into_bytes(), -32700),
        (inside("-Infinity").into_bytes(), -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}".to_vec(), -32700),
        (b"\x00\x01\x02".to_vec(), -32700),
        (b"[]".to_vec(), -32600),
        (b"null".to_vec(), -32600),
        (b"{\"jsonrpc\":\"2.0\"}".to_vec(), -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":1}".to_vec(), -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}".to_vec(), -32600),
        (vec![b'a'; 5 << 20], -32600),
    ]
}

/// A project, and a link out of the folder.
fn battlefield() -> (Desk, BTreeSet<String>) {
    let desk = Desk::new();
    desk.project(4, "");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc", desk.path().join("link")).unwrap();
    let before = desk.files().into_iter().collect();
    (desk, before)
}

fn nothing_was_left(desk: &Desk, before: &BTreeSet<String>) {
    let after: BTreeSet<String> = desk.files().into_iter().collect();
    let new: Vec<&String> = after.difference(before).filter(|f| !f.starts_with("cache/") && !f.starts_with("hf/")).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(!desk.path().parent().unwrap().join("outside").exists());
}

/// Refused, by the tool or by the protocol, without a secret and without a file's content.
fn is_clean(answer: &Value, what: &Value) {
    let error = outcome(answer).expect_err(&what.to_string()[..what.to_string().len().min(300)]);
    assert!(error["code"].is_string() || error["code"].is_i64(), "{error}");
    let text = error.to_string();
    assert!(!text.contains("sk-very-secret-value") && !text.contains("root:"), "{text}");
    assert!(text.len() < 300_000, "{}", text.len());
}

#[test]
fn over_stdio_hostile_calls_get_clean_errors() {
    let (desk, before) = battlefield();
    let mut client = Client::start(&desk, &["--root", "."]);
    let listed = client.request("tools/list", json!({}));
    let mut calls = 0;
    for some in hostile_calls(listed["result"]["tools"].as_array().unwrap()).chunks(50) {
        let ids: Vec<u64> = some.iter().map(|(method, params)| client.send(method, params.clone())).collect();
        for ((method, params), id) in some.iter().zip(ids) {
            let answer = client.answer(id).unwrap_or_else(|| panic!("{method}: no answer, the server is gone"));
            is_clean(&answer, params);
            calls += 1;
        }
    }
    for (line, code) in no_messages() {
        assert!(client.send_bytes(&line));
        let answer = client.unasked().unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(&line[..line.len().min(80)])));
        assert_eq!(answer["error"]["code"], code, "{answer} to {}", String::from_utf8_lossy(&line[..line.len().min(80)]));
        calls += 1;
    }
    for silent in ["", " ", "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\"}", "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":1}"] {
        assert!(client.send_line(silent));
    }
    assert!(calls > 1000, "{calls}");
    assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"], json!([]));
    assert!(client.garbage.is_empty(), "{:?}", client.garbage);
    assert!(client.close());
    nothing_was_left(&desk, &before);
}

#[test]
fn over_http_hostile_calls_get_clean_errors() {
    let (desk, before) = battlefield();
    let mut command = desk.command(&["mcp", "--http", "127.0.0.1:0", "--root", "."]);
    command.env("TALLOW_CACHE", desk.path().join("cache")).env("TEST_API_KEY", "sk-very-secret-value");
    let mut server = HttpServer::start(&mut command);
    let mut client = HttpClient::greeted(&server.address).unwrap();
    let listed = client.request("tools/list", &json!({})).unwrap();
    let mut calls = 0;
    for (method, params) in hostile_calls(listed["result"]["tools"].as_array().unwrap()) {
        is_clean(&client.request(&method, &params).unwrap(), &params);
        calls += 1;
    }
    for (line, code) in no_messages() {
        // A body that is too long ends the connection.
        let mut own = HttpClient::greeted(&server.address).unwrap();
        let answer = own.post(&[], &line).unwrap();
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        assert_eq!(answer.message().unwrap()["error"]["code"], code, "{shown}");
        calls += 1;
    }
    for headers in [[("Mcp-Session-Id", "nothing")], [("Content-Type", "text/plain")], [("Accept", "image/png")]] {
        let mut own = HttpClient::connect(&server.address).unwrap();
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        assert!((400..500).contains(&own.post(&headers, ping.as_bytes()).unwrap().status), "{headers:?}");
        calls += 1;
    }
    // Connections that break off anywhere.
    let whole = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n\r\n{{\"jsonrpc\"",
        server.address
    );
    for end in (0..whole.len()).step_by(7) {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        stream.write_all(&whole.as_bytes()[..end]).unwrap();
        if end % 2 == 0 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        calls += 1;
    }
    assert!(calls > 1000, "{calls}");
    let runs = client.request("tools/call", &json!({"name": "list_runs", "arguments": {"project_path": "project"}})).unwrap();
    assert_eq!(outcome(&runs).unwrap()["runs"], json!([]));
    assert!(server.is_alive());
    nothing_was_left(&desk, &before);
}

#[test]
fn half_closed_pipes_are_no_trouble() {
    let (desk, _) = battlefield();
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).to_string();
    // Nobody reads the answers any more: the server ends, and without a panic.
    let mut deaf = Client::start(&desk, &[]);
    deaf.stop_reading();
    let begun = std::time::Instant::now();
    while deaf.send_line(&list) && begun.elapsed() < Duration::from_secs(60) {}
    assert!(deaf.ends().is_some(), "the server goes on for nobody");
    // What was asked before the client closed its end is still answered.
    let mut last = Client::start(&desk, &[]);
    let id = last.send("tools/call", json!({"name": "list_runs", "arguments": {"project_path": "project"}}));
    last.stop_writing();
    assert_eq!(outcome(&last.answer(id).unwrap()).unwrap()["runs"], json!([]));
    assert_eq!(last.ends(), Some(0));
    // A greeting that is none.
    let mut rude = Client::bare(&desk, &[]);
    rude.send_line("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    rude.send_line("not a message");
    assert_eq!(rude.unasked().unwrap()["error"]["code"], -32700);
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    assert_eq!(rude.request("initialize", hello)["result"]["serverInfo"]["name"], "tallow");
    assert!(rude.close());
}
