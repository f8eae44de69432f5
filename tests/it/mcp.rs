//! The MCP server over stdio: the flagship path, runs that survive either side, calls that are cancelled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::{Client, PATIENCE, outcome};
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

/// Whether a worker ends soon. A zombie counts as there while a server should have waited for it; one that has been
/// handed to the system's first process is the system's. The number may belong to another program by now.
fn gone(pid: u64, desk: &Desk) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&line).contains(&*desk.path().to_string_lossy());
        if !line.is_empty() && !ours {
            return true;
        }
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
        assert!(begun.elapsed() < PATIENCE, "{}", job(desk, run_id));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn tools_are_described_so_that_every_client_can_use_them() {
    let desk = Desk::new();
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
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
    assert!(names.len() == tools.len() && names.contains("delete_run"), "{names:?}");
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

/// What every client carries along in each of its requests.
#[test]
fn the_core_tools_cost_at_most_8000_tokens() {
    // Of this JSON, SmolLM2's tokenizer makes a token of 3.7 bytes; others are near it.
    const BYTES_PER_TOKEN: f64 = 3.6;
    let desk = Desk::new();
    let mut client = Client::start(&desk, &[]);
    let listed = client.request("tools/list", json!({}));
    let text = listed["result"]["tools"].to_string();
    let tokens = text.len() as f64 / BYTES_PER_TOKEN;
    assert!(tokens < 8000.0, "{tokens} tokens, {} bytes", text.len());
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
    // For a GPU that is not here.
    let gpu = client.call("plan_training", with(at(&run_id), json!({"gpu_memory": "2GiB"})));
    assert_eq!(gpu["memory"]["budget_bytes"].as_u64(), Some(2 << 30), "{gpu}");
    assert!(gpu["memory"]["parts"]["driver"].as_u64() > Some(0) && gpu["memory"]["host_bytes"] == 0, "{gpu}");
    let small = client.try_call("plan_training", with(at(&run_id), json!({"gpu_memory": "512MiB"}))).unwrap_err();
    assert_eq!(small["code"], "out_of_memory_plan", "{small}");
    let both = client.try_call("plan_training", with(at(&run_id), json!({"gpu_memory": "2GiB", "memory": "2GiB"}))).unwrap_err();
    assert_eq!(both["code"], "invalid_arguments", "{both}");

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
    for (form, more) in [("gguf", json!({"quantization": "q99"})), ("zip", json!({})), ("peft", json!({"merge_adapters": true}))] {
        let request = with(with(at(&run_id), json!({"export_format": form, "export_path": "none"})), more);
        assert_eq!(client.try_call("export_model", request).unwrap_err()["code"], "invalid_arguments", "{form}");
    }
    let again = client.call("generate_text", json!({"model": "out", "prompt": "add 3 and 3", "temperature": 0, "max_new_tokens": 8}));
    assert_eq!(text["text"], again["text"]);

    let runs = client.call("list_runs", json!({"project_path": "project", "filter": "completed"}));
    assert_eq!(runs["runs"][0]["run_id"], run_id);
    for part in ["", "/metrics", "/log"] {
        let uri = format!("tallow://runs/{}{part}", run_id.as_str().unwrap());
        let read = client.request("resources/read", json!({"uri": uri}));
        assert!(read["result"]["contents"][0]["text"].as_str().unwrap().len() > 20, "{read}");
    }
    let plot = client.request("resources/read", json!({"uri": format!("tallow://runs/{}/plot", run_id.as_str().unwrap())}));
    let picture = &plot["result"]["contents"][0];
    assert!(picture["mimeType"] == "image/png" && picture["blob"].as_str().unwrap().starts_with("iVBORw0KGgo"), "{plot}");
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
    let mut client = Client::start_with(&desk, &[], &[("TALLOW_JOBS_AT_ONCE", "1")]);
    let [first, second, third] = ["a", "b", "c"].map(|name| configure(&mut client, name, 100_000));
    let started = client.call("start_training", at(&first));
    assert!(started["training_started"] == true && started["estimated_duration_minutes"].as_f64() > Some(0.0), "{started}");
    let [b, c] = [&second, &third].map(|run| client.call("start_training", at(run)));
    assert_eq!((b["status"].as_str(), b["progress"]["queue_position"].as_u64()), (Some("queued"), Some(1)), "{b}");
    assert_eq!((c["status"].as_str(), c["progress"]["queue_position"].as_u64()), (Some("queued"), Some(2)), "{c}");
    let before = c["progress"]["queued_behind"].as_array().unwrap();
    assert!(before[0].as_str().unwrap().contains(first.as_str().unwrap()) && before.len() == 2, "{c}");
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
        assert!(gone(pid, &desk), "process {pid} is left over");
    }
    assert_eq!(std::fs::read_dir(desk.path().join("cache/queue/cpu")).unwrap().count(), 1, "only the gate is left in the queue");
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

/// Waits until the server's log has a line of this tool, and gives its outcome.
fn logged(desk: &Desk, tool: &str) -> String {
    let begun = Instant::now();
    loop {
        let log = std::fs::read_to_string(desk.path().join("mcp.log")).unwrap();
        let found =
            log.lines().find_map(|line| line.split_once(&format!(" {tool} ")).map(|(_, rest)| rest.split(' ').next().unwrap().to_owned()));
        if let Some(outcome) = found {
            return outcome;
        }
        assert!(begun.elapsed() < PATIENCE, "{tool} goes on: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cancelled_call_stops_its_work() {
    let desk = Desk::new();
    desk.project(3, "");
    desk.ok(&["bench", "random-model", "15m", "--out", "larger", "--tokenizer", "embedded"]);
    // Each would take a minute or more.
    let row = |i: usize| format!("{{\"instruction\": \"say {i}\", \"output\": \"{}\"}}\n", "one two three four five ".repeat(12));
    let rows: String = (0..200_000).map(row).collect();
    desk.write("many.jsonl", &rows);
    let mut client = Client::start(&desk, &["--log", "mcp.log", "--toolsets", "all"]);
    let project =
        json!({"base_model": {"local_path": "larger"}, "training": {"stage1": {"iterations": 1, "warmup_steps": 0}, "max_seq_length": 32}});
    let data = json!({"train_dataset": "project/data/train.jsonl"});
    let run = client.call(
        "configure_training_run",
        json!({"project_path": "project", "run_name": "a", "training_data": data, "override_params": project}),
    )["run_id"]
        .clone();
    let trained = client.call("start_training", with(at(&run), json!({"async_mode": false})));
    assert_eq!(trained["status"], "completed");
    for (tool, arguments) in [
        ("validate_dataset", json!({"dataset": "many.jsonl"})),
        ("dataset_stats", json!({"dataset": "many.jsonl"})),
        ("configure_training_run", json!({"project_path": "project", "run_name": "b", "training_data": {"train_dataset": "many.jsonl"}})),
        ("evaluate_model", with(at(&run), json!({"test_dataset": "many.jsonl"}))),
        (
            "compare_models",
            json!({"project_path": "project", "first": {"run_id": run, "base": true}, "second": {"run_id": run},
            "test_dataset": "many.jsonl", "max_rows": 10000}),
        ),
        ("generate_text", json!({"model": "larger", "prompt": "x ".repeat(200), "max_new_tokens": 8192, "temperature": 0})),
        ("export_model", with(at(&run), json!({"export_format": "gguf", "quantization": "q2_k", "export_path": "out.gguf"}))),
    ] {
        std::fs::write(desk.path().join("mcp.log"), "").unwrap();
        let id = client.send("tools/call", json!({"name": tool, "arguments": arguments}));
        std::thread::sleep(Duration::from_millis(100));
        client.send_line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}).to_string());
        assert_eq!(logged(&desk, tool), "cancelled", "{tool}");
    }
    let left: Vec<String> = desk.files().into_iter().filter(|f| f.contains("tallow-tmp") || f.starts_with("out.gguf")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"].as_array().unwrap().len(), 1);
    assert!(client.close());
}

#[test]
fn a_run_from_the_shell_waits_for_its_turn() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let run = configure(&mut client, "a", 100_000);
    client.call("start_training", at(&run));
    client.until(run.as_str().unwrap(), &["running"]);
    let mut command = desk.command(&["train", "project", "--name", "shell"]);
    command.env("TALLOW_CACHE", desk.path().join("cache")).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap())).map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting for the device: 1 before this run")));
    assert_eq!(client.call("stop_training", with(at(&run), json!({"mode": "cancel"})))["status"], "cancelled");
    assert!(lines.count() > 0);
    assert!(child.wait().unwrap().success());
    assert!(client.close());
}

#[test]
fn log_messages_come_from_the_level_that_was_set() {
    let desk = Desk::new();
    let mut client = Client::start(&desk, &[]);
    let said = |client: &mut Client| -> Vec<Value> {
        client.call("list_supported_models", json!({}));
        client.try_call("list_runs", json!({"project_path": "nowhere"})).unwrap_err();
        // Its answer comes after all that went before.
        client.request("ping", json!({}));
        let notes = std::mem::take(&mut client.notes).into_iter().filter(|n| n["method"] == "notifications/message");
        notes.map(|n| json!([n["params"]["level"], n["params"]["data"]["tool"]])).collect()
    };
    assert!(said(&mut client).is_empty());
    assert!(client.request("logging/setLevel", json!({"level": "info"})).get("result").is_some());
    assert_eq!(said(&mut client), [json!(["info", "list_supported_models"]), json!(["warning", "list_runs"])]);
    assert!(client.request("logging/setLevel", json!({"level": "warning"})).get("result").is_some());
    assert_eq!(said(&mut client), [json!(["warning", "list_runs"])]);
    assert!(client.request("logging/setLevel", json!({"level": "loud"})).get("error").is_some());
    assert!(client.close());
}
