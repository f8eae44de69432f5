//! The MCP server over stdio: the flagship path, runs that survive either side, hostile clients.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::{Client, outcome};
use crate::program::Desk;

fn at(run_id: &Value) -> Value {
    json!({"project_path": "project", "run_id": run_id})
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// A run of the desk's project that is ready to start.
fn configure(client: &mut Client, name: &str, steps: u64) -> Value {
    let data = json!({"train_dataset": "project/data/train.jsonl", "validation_dataset": "project/data/held.jsonl",
        "test_dataset": "project/data/held.jsonl"});
    let overrides = json!({"training": {"stage1": {"iterations": steps}}});
    let request = json!({"project_path": "project", "run_name": name, "training_data": data, "override_params": overrides});
    client.call("configure_training_run", request)["run_id"].clone()
}

/// Whether a process ends soon. A zombie counts as there while a server should have waited for it; one that has been
/// handed to the system's first process is the system's.
fn gone(pid: u64) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let parent = std::fs::read_to_string(format!("/proc/{}/comm", fields[1])).unwrap_or_default();
        if fields[0] == "Z" && parent.trim() != "tallow" {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn job(desk: &Desk, run_id: &Value) -> Value {
    let path = desk.path().join("project/runs").join(run_id.as_str().unwrap()).join("job.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn kill_9(pid: u64) {
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// The worker's process, once it has come up.
fn worker(desk: &Desk, run_id: &Value) -> u64 {
    let begun = Instant::now();
    loop {
        if let Some(pid) = job(desk, run_id)["pid"].as_u64() {
            return pid;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", job(desk, run_id));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn tools_are_described_so_that_every_client_can_use_them() {
    let desk = Desk::new();
    let mut client = Client::start(&desk, &[]);
    let listed = client.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: BTreeSet<&str> = tools.iter().map(|t| t["name"].as_str().unwrap()).collect();
    for name in [
        "generate_fine_tuning_project",
        "configure_training_run",
        "start_training",
        "monitor_training_progress",
        "stop_training",
        "list_runs",
        "evaluate_model",
        "compare_models",
        "export_model",
        "generate_text",
        "check_installation",
        "list_supported_models",
        "get_model_info",
        "plan_training",
        "validate_dataset",
        "dataset_stats",
    ] {
        assert!(names.contains(name), "{name}");
    }
    for tool in tools {
        for key in ["inputSchema", "outputSchema"] {
            let schema = &tool[key];
            let text = schema.to_string();
            assert_eq!(schema["type"], "object", "{tool}");
            for bad in ["\"$ref\"", "\"format\":\"", "\"anyOf\"", "\"oneOf\"", "\"allOf\"", "\"null\"", "null,", "null]"] {
                assert!(!text.contains(bad), "{} {key} has {bad}: {text}", tool["name"]);
            }
        }
        assert!(tool["description"].as_str().unwrap().len() < 2048);
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
    }
    assert!(client.garbage.is_empty());
    assert!(client.close());
}

#[test]
fn from_a_project_to_an_exported_model() {
    let desk = Desk::new();
    // A model and rows; the project itself is made by the tool.
    desk.project(4, "");
    std::fs::rename(desk.path().join("project"), desk.path().join("old")).unwrap();
    let mut client = Client::start(&desk, &["--log", "mcp.log"]);
    let check = client.call("check_installation", json!({}));
    assert_eq!(check["devices"][0]["name"], "cpu");
    let info = client.call("get_model_info", json!({"model_name": "model"}));
    assert_eq!(info["layers"], 2);
    let project = json!({"project_name": "project", "output_dir": ".", "base_model": {"type": "llama", "model_id": "x/y", "local_path": "model"},
        "training": {"stage1_iterations": 12, "learning_rate": 0.01, "batch_size": 2}, "lora": {"rank": 4, "target_modules": ["all-linear"]}});
    let made = client.call("generate_fine_tuning_project", project.clone());
    assert!(desk.path().join("project/.mcp.json").is_file() && made["success"] == true, "{made}");
    assert_eq!(client.try_call("generate_fine_tuning_project", project).unwrap_err()["code"], "already_exists");
    std::fs::create_dir_all(desk.path().join("project/data")).unwrap();
    for name in ["train", "held"] {
        std::fs::copy(desk.path().join(format!("old/data/{name}.jsonl")), desk.path().join(format!("project/data/{name}.jsonl"))).unwrap();
    }
    let valid = client.call("validate_dataset", json!({"dataset": "project/data/train.jsonl", "model": "model", "show": 1}));
    assert_eq!((valid["valid"].as_bool(), valid["rows"].as_u64()), (Some(true), Some(48)));
    let run_id = configure(&mut client, "first try", 12);
    assert_eq!(client.until(run_id.as_str().unwrap(), &["not_started"])["progress_percentage"], 0.0);
    let plan = client.call("plan_training", at(&run_id));
    assert!(plan["memory"]["peak_bytes"].as_u64() > Some(0), "{plan}");

    // Waiting, with progress that only goes up.
    let meta =
        json!({"name": "start_training", "arguments": with(at(&run_id), json!({"async_mode": false})), "_meta": {"progressToken": "p"}});
    let started = outcome(&client.request("tools/call", meta)).unwrap();
    assert_eq!((started["status"].as_str(), started["progress"]["current_iteration"].as_u64()), (Some("completed"), Some(12)), "{started}");
    let told: Vec<f64> = client
        .notes
        .iter()
        .filter(|n| n["method"] == "notifications/progress")
        .map(|n| {
            assert_eq!(n["params"]["progressToken"], "p");
            n["params"]["progress"].as_f64().unwrap()
        })
        .collect();
    assert!(told.windows(2).all(|w| w[0] < w[1]) && told.last() == Some(&12.0), "{told:?}");
    assert_eq!(client.try_call("start_training", at(&run_id)).unwrap_err()["code"], "run_finished");

    let evaluated = client.call("evaluate_model", with(at(&run_id), json!({"test_dataset": "project/data/held.jsonl"})));
    let metrics = &evaluated["evaluation_results"]["custom_metrics"];
    assert!(metrics["loss"].as_f64() < metrics["base_loss"].as_f64(), "{metrics}");
    let sides = json!({"project_path": "project", "first": {"run_id": run_id, "base": true}, "second": {"run_id": run_id},
        "test_dataset": "project/data/held.jsonl", "samples": 1});
    let compared = client.call("compare_models", sides);
    let loss = &compared["metrics"][0];
    assert!((loss["second"]["value"].as_f64().unwrap() - metrics["loss"].as_f64().unwrap()).abs() < 1e-4, "{loss} {metrics}");
    assert!(loss["difference"]["high"].as_f64() < Some(0.0) && loss["significant"] == true, "{loss}");

    let text = client.call("generate_text", with(at(&run_id), json!({"prompt": "add 3 and 3", "temperature": 0, "max_new_tokens": 8})));
    for (form, more, kind) in [
        ("huggingface", json!({"quantization": "f32", "export_path": "out"}), "f32"),
        ("gguf", json!({"quantization": "f16", "export_path": "out.gguf"}), "f16"),
        ("ollama", json!({"quantization": "f32", "export_path": "ollama"}), "f32"),
        ("mlx", json!({"export_path": "mlx"}), "as the base"),
        ("safetensors", json!({"export_path": "adapter", "merge_adapters": false}), "f32"),
    ] {
        let request = with(with(at(&run_id), json!({"export_format": form})), more);
        let exported = client.call("export_model", request.clone());
        assert_eq!(
            (exported["merged"].as_bool(), exported["quantization"].as_str()),
            (Some(request["merge_adapters"].is_null()), Some(kind))
        );
        let check = &exported["logit_check"];
        assert!(check["kl"].as_f64() <= check["kl_allowed"].as_f64() && check["positions"].as_u64() > Some(100), "{form}: {check}");
        assert_eq!(client.try_call("export_model", request).unwrap_err()["code"], "already_exists");
    }
    assert!(desk.path().join("adapter/adapter_config.json").is_file() && desk.path().join("ollama/Modelfile").is_file());
    for (form, more) in [
        ("gguf", json!({"quantization": "q99"})),
        ("zip", json!({})),
        ("peft", json!({"merge_adapters": true})),
        ("ollama", json!({"merge_adapters": false})),
    ] {
        let request = with(with(at(&run_id), json!({"export_format": form, "export_path": "none"})), more);
        assert_eq!(client.try_call("export_model", request).unwrap_err()["code"], "invalid_arguments", "{form}");
    }
    let again = client.call("generate_text", json!({"model": "out", "prompt": "add 3 and 3", "temperature": 0, "max_new_tokens": 8}));
    assert_eq!(text["text"], again["text"]);

    let runs = client.call("list_runs", json!({"project_path": "project", "filter": "completed"}));
    assert_eq!(runs["runs"][0]["run_id"], run_id);
    for part in ["", "/metrics", "/log", "/plot"] {
        let uri = format!("tallow://runs/{}{part}", run_id.as_str().unwrap());
        let read = client.request("resources/read", json!({"uri": uri}));
        assert!(read["result"]["contents"][0]["text"].as_str().unwrap().len() > 20, "{read}");
    }
    let prompt = client.request("prompts/get", json!({"name": "debug_training", "arguments": {"run_id": "latest"}}));
    assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("Signs"), "{prompt}");
    let reference = json!({"ref": {"type": "ref/prompt", "name": "debug_training"}, "argument": {"name": "run_id", "value": "first"}});
    assert_eq!(client.request("completion/complete", reference)["result"]["completion"]["values"], json!([run_id]));
    assert!(client.garbage.is_empty(), "{:?}", client.garbage);
    assert!(client.close());
    assert!(std::fs::read_to_string(desk.path().join("mcp.log")).unwrap().contains("start_training ok"));
}

#[test]
fn pause_continue_cancel_and_the_queue() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let [first, second, third] = ["a", "b", "c"].map(|name| configure(&mut client, name, 100_000));
    let started = client.call("start_training", at(&first));
    assert!(started["training_started"] == true && started["estimated_duration_minutes"].as_f64() > Some(0.0), "{started}");
    let [b, c] = [&second, &third].map(|run| client.call("start_training", at(run)));
    assert_eq!((b["status"].as_str(), b["progress"]["queue_position"].as_u64()), (Some("queued"), Some(1)), "{b}");
    assert_eq!((c["status"].as_str(), c["progress"]["queue_position"].as_u64()), (Some("queued"), Some(2)), "{c}");
    assert_eq!(client.try_call("start_training", at(&first)).unwrap_err()["code"], "run_busy");

    // Paused: the next one in order has its turn.
    let stop = |mode: &str| json!({"mode": mode});
    let paused = client.call("stop_training", with(at(&first), stop("pause")));
    assert_eq!(paused["status"], "paused");
    assert!(paused["last_checkpoint"].is_string(), "{paused}");
    client.until(second.as_str().unwrap(), &["running"]);
    assert_eq!(client.call("stop_training", with(at(&third), stop("cancel")))["status"], "cancelled");
    let done = client.until(second.as_str().unwrap(), &["running"]);
    assert_eq!(done["status"], "running");
    assert_eq!(client.call("stop_training", with(at(&second), stop("cancel")))["status"], "cancelled");
    assert_eq!(client.try_call("start_training", at(&second)).unwrap_err()["code"], "run_cancelled");

    // Continued where it was.
    let before = client.until(first.as_str().unwrap(), &["paused"])["current_iteration"].as_u64().unwrap();
    assert!(before > 0);
    let again = client.call("start_training", at(&first));
    assert!(again["progress"]["current_iteration"].as_u64().unwrap() > before, "{again}");
    client.call("stop_training", with(at(&first), stop("cancel")));
    let states: Vec<String> =
        job(&desk, &first)["history"].as_array().unwrap().iter().map(|t| t["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["queued", "running", "paused", "queued", "running", "cancelled"]);
    assert!(client.close());
}

#[test]
fn a_cancelled_call_pauses_the_run_it_waits_for() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let run = configure(&mut client, "a", 100_000);
    let id = client.send("tools/call", json!({"name": "start_training", "arguments": with(at(&run), json!({"async_mode": false}))}));
    client.until(run.as_str().unwrap(), &["running"]);
    client.send_line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}).to_string());
    client.until(run.as_str().unwrap(), &["paused"]);
    assert!(client.close());
}

#[cfg(target_os = "linux")]
#[test]
fn either_side_may_be_killed_at_any_moment() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let run = configure(&mut client, "a", 100_000);
    let mut random = 12345_u64;
    let mut workers = Vec::new();
    // More of them by hand: TALLOW_KILLS=200.
    let kills: u32 = std::env::var("TALLOW_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    for round in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let status = client.call("monitor_training_progress", at(&run))["status"].as_str().unwrap().to_owned();
        if ["not_started", "failed", "paused"].contains(&status.as_str()) {
            client.send("tools/call", json!({"name": "start_training", "arguments": at(&run)}));
            // The worker may be anywhere between its birth and its tenth step.
            client.until(run.as_str().unwrap(), &["queued", "running"]);
        }
        std::thread::sleep(Duration::from_millis(random >> 33 & 511));
        if round % 2 == 0 {
            client.kill();
            client = Client::start(&desk, &[]);
            // The worker goes on, and the new server says so.
            let seen = client.call("monitor_training_progress", at(&run));
            assert!(["running", "queued"].contains(&seen["status"].as_str().unwrap()), "round {round}: {seen}");
        } else {
            let pid = worker(&desk, &run);
            workers.push(pid);
            kill_9(pid);
            let seen = client.until(run.as_str().unwrap(), &["failed"]);
            assert_eq!(seen["reason"]["code"], "worker_gone", "{seen}");
        }
    }
    // It goes on from what was saved, and ends in order.
    if client.call("monitor_training_progress", at(&run))["status"] == "failed" {
        client.call("start_training", at(&run));
    }
    client.until(run.as_str().unwrap(), &["running"]);
    let last = worker(&desk, &run);
    workers.push(last);
    assert_eq!(client.call("stop_training", with(at(&run), json!({"mode": "cancel"})))["status"], "cancelled");
    workers.dedup();
    assert!(workers.len() > 5, "{workers:?}");
    for pid in workers {
        assert!(gone(pid), "process {pid} is left over");
    }
    assert_eq!(std::fs::read_dir(desk.path().join("cache/queue/cpu")).unwrap().count(), 1, "only the gate is left in the queue");
    assert!(client.close());
}

#[test]
fn http_checks_who_asks() {
    use std::io::{BufRead, BufReader, Read, Write};
    let desk = Desk::new();
    let mut command = desk.command(&["mcp", "--http", "127.0.0.1:0"]);
    command.env("TALLOW_MCP_TOKEN", "a-token-of-some-length").stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("serving on http://").unwrap().strip_suffix("/mcp").unwrap().to_owned();
    let ask = |path: &str, headers: &[(&str, &str)], body: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let mut request = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n");
        request += "Accept: application/json, text/event-stream\r\n";
        for (name, value) in [("Host", address.as_str()), ("Authorization", "Bearer a-token-of-some-length")] {
            if !headers.iter().any(|(n, _)| *n == name) {
                request += &format!("{name}: {value}\r\n");
            }
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        // A server that has seen enough may close before all is written.
        let _ = stream.write_all(request.as_bytes());
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    .to_string();
    let own = format!("http://{address}");
    for (headers, wanted) in [
        (vec![], "200"),
        (vec![("Origin", own.as_str())], "200"),
        (vec![("Origin", "http://evil.example")], "403"),
        (vec![("Host", "evil.example")], "403"),
        (vec![("Authorization", "Bearer a-token-of-some-lengtx")], "401"),
        (vec![("Authorization", "")], "401"),
    ] {
        assert_eq!(ask("/mcp", &headers, &hello), wanted, "{headers:?}");
    }
    assert_eq!(ask("/", &[], &hello), "404");
    assert_eq!(ask("/mcp", &[], &"x".repeat(5 << 20)), "413");
    assert_eq!(ask("/mcp", &[], &hello), "200");
    server.kill().unwrap();
    server.wait().unwrap();
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

#[test]
fn hostile_calls_get_clean_errors() {
    let desk = Desk::new();
    desk.project(4, "");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc", desk.path().join("link")).unwrap();
    let mut client = Client::start(&desk, &["--root", "."]);
    let listed = client.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap().clone();
    let before: BTreeSet<String> = desk.files().into_iter().collect();
    let mut calls = 0;
    for tool in &tools {
        let name = tool["name"].as_str().unwrap();
        let properties: Vec<&String> = tool["inputSchema"]["properties"].as_object().unwrap().keys().collect();
        let mut ids = Vec::new();
        for value in nasty() {
            // Every argument the same nasty thing, and one that does not exist.
            let all: serde_json::Map<String, Value> = properties.iter().map(|p| ((*p).clone(), value.clone())).collect();
            if !properties.is_empty() {
                ids.push(client.send("tools/call", json!({"name": name, "arguments": all})));
            }
            ids.push(client.send("tools/call", json!({"name": name, "arguments": {"no_such_argument": value}})));
        }
        for id in ids {
            let answer = client.answer(id).unwrap_or_else(|| panic!("{name}: no answer, the server is gone"));
            let error = outcome(&answer).expect_err(name);
            assert!(!error.to_string().contains("sk-very-secret-value"), "{name}: {error}");
            calls += 1;
        }
    }
    // Good arguments but for one path.
    let escapes = ["/etc/passwd", "../outside", "link/passwd", "project/../../outside", "link"];
    for path in escapes {
        for (tool, arguments) in [
            ("validate_dataset", json!({"dataset": path})),
            ("generate_text", json!({"model": path, "prompt": "x"})),
            ("get_model_info", json!({"model_name": format!("./{path}")})),
            ("list_runs", json!({"project_path": path})),
            (
                "generate_fine_tuning_project",
                json!({"project_name": "p", "output_dir": path, "base_model": {"type": "custom", "model_id": "embedded"}}),
            ),
            (
                "generate_fine_tuning_project",
                json!({"project_name": path, "output_dir": ".", "base_model": {"type": "custom", "model_id": "embedded"}}),
            ),
            ("configure_training_run", json!({"project_path": "project", "run_name": "x", "training_data": {"train_dataset": path}})),
            (
                "configure_training_run",
                json!({"project_path": "project", "run_name": "x", "training_data": {"train_dataset": "project/data/train.jsonl"},
                    "override_params": {"base_model.local_path": path}}),
            ),
            ("monitor_training_progress", json!({"project_path": "project", "run_id": path})),
        ] {
            let error = client.try_call(tool, arguments).expect_err(tool);
            assert!(!error.to_string().contains("root:"), "{error}");
            calls += 1;
        }
    }
    // Lines that are no calls. What is no JSON cannot be answered; the server reads on.
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let deep_call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":9000001,\"method\":\"tools/call\",\"params\":{{\"name\":\"list_runs\",\"arguments\":{{\"project_path\":{deep}}}}}}}"
    );
    for line in [
        "",
        "x",
        "{",
        "[]",
        "null",
        "1e999",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":9000002,\"method\":1}",
        &deep,
        &deep_call,
    ] {
        assert!(client.send_line(line));
    }
    assert!(client.send_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}"));
    assert!(client.send_bytes(&vec![b'a'; 5 << 20]));
    for (method, params) in [
        ("tools/call", json!({"name": "no_such_tool", "arguments": {}})),
        ("tools/call", json!({"name": "list_runs", "arguments": [1]})),
        ("tools/call", json!({})),
        ("resources/read", json!({"uri": "file:///etc/passwd"})),
        ("resources/read", json!({"uri": "tallow://datasets/%2Fetc%2Fpasswd"})),
        ("resources/read", json!({"uri": "tallow://datasets/../../etc/passwd"})),
        ("resources/read", json!({"uri": "tallow://runs/..%2F..%2Fetc/log"})),
        ("prompts/get", json!({"name": "debug_training", "arguments": {"run_id": "../../etc"}})),
        ("prompts/get", json!({"name": "nothing"})),
        ("no/such/method", json!({})),
    ] {
        let answer = client.send(method, params.clone());
        // A request that is no request of the protocol is answered without its id.
        if method != "tools/call" || params["arguments"].is_object() {
            let answer = client.answer(answer).unwrap_or_else(|| panic!("{method} {params}"));
            assert!(answer.get("error").is_some(), "{method} {params}: {answer}");
        }
        calls += 1;
    }
    assert!(calls > 600, "{calls}");
    assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"], json!([]));
    let after: BTreeSet<String> = desk.files().into_iter().collect();
    let new: Vec<&String> = after.difference(&before).filter(|f| !f.starts_with("cache/") && !f.starts_with("hf/")).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(!desk.path().parent().unwrap().join("outside").exists());
    assert!(client.garbage.is_empty(), "{:?}", client.garbage);
    assert!(client.close());
}

#[test]
fn a_client_that_goes_away_at_once_is_no_trouble() {
    let desk = Desk::new();
    assert!(Client::bare(&desk, &[]).close());
    let mut half = Client::bare(&desk, &[]);
    half.send_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    assert!(half.close());
}
