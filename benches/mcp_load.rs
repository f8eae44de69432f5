//! Fifty clients that poll a training run over HTTP: latency of their calls, and what they cost the training.
//!
//! `cargo bench --bench mcp_load [-- --seconds 60 --clients 50]`, on an otherwise idle machine; TALLOW_BIN names another
//! program to measure.
//!
//! `cargo bench --bench mcp_load -- --crowd 20 --seconds 120`: no training; 20 clients poll while others open sessions and
//! drop them, connections say nothing, and a hostile model folder is read without end. Latency, and the server's memory.
//!
//! ```text
//!   alone (half)  │  with clients (whole)  │  alone (half)      tokens a second of each, from the run's own rows
//! ```

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "../tests/it/mcp_http.rs"]
mod mcp_http;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mcp_http::{HttpClient, HttpServer};
use serde_json::{Value, json};

fn argument(name: &str, otherwise: u64) -> u64 {
    let all: Vec<String> = std::env::args().collect();
    all.iter().position(|a| a == name).map_or(otherwise, |i| all[i + 1].parse().expect("a number"))
}

fn call(client: &mut HttpClient, tool: &str, arguments: &Value) -> Result<Value, String> {
    let answer = client.request("tools/call", &json!({"name": tool, "arguments": arguments})).map_err(|e| e.to_string())?;
    let result = &answer["result"];
    if answer.get("error").is_some() || result["isError"] == true {
        Err(answer.to_string())
    } else {
        Ok(result["structuredContent"].clone())
    }
}

/// Tokens a second of the steps that end in a span of time.
fn rate(metrics: &Path, span: Duration) -> f64 {
    let rows = || -> Vec<Value> {
        let text = std::fs::read_to_string(metrics).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).filter(|r: &Value| r["tokens"].is_number()).collect()
    };
    let before = rows().len();
    std::thread::sleep(span);
    let all = rows();
    let elapsed = |r: &Value| r["elapsed_seconds"].as_f64().unwrap_or(0.0);
    let tokens: u64 = all[before..].iter().filter_map(|r| r["tokens"].as_u64()).sum();
    tokens as f64 / (elapsed(&all[all.len() - 1]) - elapsed(&all[before - 1]))
}

/// Processor seconds of a process.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    if fields.len() > 12 { (fields[11] + fields[12]) / 100.0 } else { 0.0 }
}

/// One client: a poll a second, and now and then something else. Seconds of each poll, and errors.
fn poll(address: &str, run: &Value, number: u64, until: Instant) -> (Vec<f64>, Vec<String>) {
    let (mut seconds, mut errors) = (Vec::new(), Vec::new());
    std::thread::sleep(Duration::from_millis(number * 997 % 1000));
    let mut client = match HttpClient::greeted(address) {
        Ok(client) => client,
        Err(e) => return (seconds, vec![e.to_string()]),
    };
    for turn in number.. {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        match call(&mut client, "monitor_training_progress", run) {
            Ok(_) => seconds.push(begun.elapsed().as_secs_f64()),
            Err(e) => errors.push(e),
        }
        if turn % 10 == 0 {
            let other = match turn / 10 % 3 {
                0 => call(&mut client, "list_runs", &json!({"project_path": run["project_path"]})).map(drop),
                1 => client.request("tools/list", &json!({})).map(drop).map_err(|e| e.to_string()),
                _ => client.request("resources/list", &json!({})).map(drop).map_err(|e| e.to_string()),
            };
            errors.extend(other.err());
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
    (seconds, errors)
}

/// Resident MiB of a process.
fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Calls that are answered in the server.
const CHEAP: [&str; 3] = ["list_projects", "check_installation", "list_supported_models"];

/// A client that makes cheap calls; the tool and the seconds of each.
fn steady(address: &str, until: Instant) -> Vec<(&'static str, f64)> {
    let mut client = HttpClient::greeted(address).expect("a session");
    let mut seconds = Vec::new();
    for tool in CHEAP.into_iter().cycle() {
        if Instant::now() >= until {
            return seconds;
        }
        let begun = Instant::now();
        call(&mut client, tool, &json!({})).unwrap_or_else(|e| panic!("{tool}: {e}"));
        seconds.push((tool, begun.elapsed().as_secs_f64()));
        std::thread::sleep(Duration::from_millis(200));
    }
    seconds
}

/// Opens sessions and drops them.
fn passing(address: &str, until: Instant) -> usize {
    let mut count = 0;
    while Instant::now() < until {
        count += usize::from(HttpClient::greeted(address).is_ok());
        std::thread::sleep(Duration::from_millis(20));
    }
    count
}

/// Asks for a model whose template never ends, over and over.
fn hostile(address: &str, until: Instant) {
    while Instant::now() < until {
        let Ok(mut client) = HttpClient::greeted(address) else { continue };
        let _ = call(&mut client, "validate_dataset", &json!({"dataset": "chat.jsonl", "model": "endless"}));
    }
}

fn crowd(clients: u64, seconds: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path();
    let program = std::env::var("TALLOW_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tallow").to_owned());
    let tallow = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root).args(args).env("NO_COLOR", "1").env("TALLOW_CACHE", root.join("cache"));
        command
    };
    let made = tallow(&["bench", "random-model", "tiny", "--out", "endless", "--tokenizer", "embedded"]).output().expect("tallow");
    assert!(made.status.success());
    let template = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
    std::fs::write(root.join("endless/chat_template.jinja"), template).expect("a template");
    let row = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    std::fs::write(root.join("chat.jsonl"), format!("{row}\n")).expect("rows");
    let server = HttpServer::start(&mut tallow(&["mcp", "--http", "127.0.0.1:0"]));
    let (address, until) = (server.address.as_str(), Instant::now() + Duration::from_secs(seconds));
    let (all, sessions, memory) = std::thread::scope(|scope| {
        let steady: Vec<_> = (0..clients).map(|_| scope.spawn(move || steady(address, until))).collect();
        let passing: Vec<_> = (0..4).map(|_| scope.spawn(move || passing(address, until))).collect();
        (0..2).for_each(|_| drop(scope.spawn(move || hostile(address, until))));
        let _silent: Vec<_> = (0..300).filter_map(|_| std::net::TcpStream::connect(address).ok()).collect();
        let mut memory = Vec::new();
        while Instant::now() < until {
            memory.push(resident(server.pid()));
            std::thread::sleep(Duration::from_secs(1));
        }
        let all: Vec<(&str, f64)> = steady.into_iter().flat_map(|h| h.join().expect("a client")).collect();
        (all, passing.into_iter().map(|h| h.join().expect("a client")).sum::<usize>(), memory)
    });
    println!("{clients} clients, {} cheap calls in {seconds} s beside 2 hostile clients and 300 silent connections", all.len());
    for tool in CHEAP {
        let mut own: Vec<f64> = all.iter().filter(|(t, _)| *t == tool).map(|(_, s)| *s).collect();
        if own.is_empty() {
            continue;
        }
        own.sort_by(f64::total_cmp);
        let at = |share: f64| 1e3 * own[((own.len() - 1) as f64 * share) as usize];
        let late = own.iter().filter(|s| **s > 0.1).count();
        println!("{tool}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, over 100 ms {late} of {}", at(0.5), at(0.99), at(1.0), own.len());
    }
    let tenths: Vec<String> = (1..=10).map(|n| format!("{:.1}", memory[(memory.len() * n / 10).saturating_sub(1)])).collect();
    println!("{sessions} sessions were opened and dropped; MiB of the server after each tenth of the time: {}", tenths.join(", "));
}

fn main() {
    if std::env::args().any(|a| a == "--crowd") {
        return crowd(argument("--crowd", 20), argument("--seconds", 120));
    }
    let (seconds, clients) = (argument("--seconds", 60), argument("--clients", 50));
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path();
    let program = std::env::var("TALLOW_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tallow").to_owned());
    let tallow = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root).args(args).env("NO_COLOR", "1").env("TALLOW_CACHE", root.join("cache"));
        command
    };
    assert!(
        tallow(&["bench", "random-model", "15m", "--out", "model", "--tokenizer", "embedded"]).output().expect("tallow").status.success()
    );
    let row = |i: usize| format!("{{\"instruction\": \"say {i}\", \"output\": \"{}\"}}\n", "one two three four five ".repeat(40));
    std::fs::write(root.join("rows.jsonl"), (0..400).map(row).collect::<String>()).expect("rows");
    let mut server = HttpServer::start(&mut tallow(&["mcp", "--http", "127.0.0.1:0"]));
    let mut first = HttpClient::greeted(&server.address).expect("a server");
    let mut must = |tool: &str, arguments: Value| call(&mut first, tool, &arguments).unwrap_or_else(|e| panic!("{tool}: {e}"));
    must(
        "generate_fine_tuning_project",
        json!({"project_name": "p", "output_dir": ".", "base_model": {"type": "custom", "model_id": "x/y", "local_path": "model"},
            "training": {"stage1_iterations": 1_000_000, "batch_size": 4}}),
    );
    let made = must(
        "configure_training_run",
        json!({"project_path": "p", "run_name": "load", "training_data": {"train_dataset": "rows.jsonl"},
            "override_params": {"training.max_seq_length": 256, "training.save_steps": 0, "training.eval_steps": 0, "evaluation.enabled": false}}),
    );
    let run = json!({"project_path": "p", "run_id": made["run_id"]});
    must("start_training", run.clone());
    let metrics = Path::new(made["run_directory"].as_str().expect("a folder")).join("metrics.jsonl");
    std::thread::sleep(Duration::from_secs(5));
    let half = Duration::from_secs(seconds / 2);
    let before = rate(&metrics, half);
    let cpu = [server.pid(), std::process::id()].map(cpu_seconds);
    let until = Instant::now() + Duration::from_secs(seconds);
    let (loaded, results) = std::thread::scope(|scope| {
        let (address, run) = (&server.address, &run);
        let all: Vec<_> = (0..clients).map(|n| scope.spawn(move || poll(address, run, n, until))).collect();
        let loaded = rate(&metrics, Duration::from_secs(seconds));
        (loaded, all.into_iter().map(|c| c.join().expect("a client")).collect::<Vec<_>>())
    });
    let used = [server.pid(), std::process::id()].map(cpu_seconds);
    let after = rate(&metrics, half);
    must("stop_training", json!({"project_path": "p", "run_id": made["run_id"], "mode": "cancel"}));
    assert!(server.is_alive());
    let errors: Vec<&String> = results.iter().flat_map(|(_, errors)| errors).collect();
    let mut polls: Vec<f64> = results.iter().flat_map(|(polls, _)| polls.iter().copied()).collect();
    polls.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * polls[((polls.len() - 1) as f64 * share) as usize];
    let alone = (before + after) / 2.0;
    println!("clients {clients}, {} polls in {seconds} s, errors {} {:?}", polls.len(), errors.len(), errors.first());
    println!("monitor_training_progress: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(0.5), at(0.99), at(1.0));
    println!("processor seconds: server {:.2}, clients {:.2}", used[0] - cpu[0], used[1] - cpu[1]);
    println!(
        "training: {before:.0} tokens/s alone, {loaded:.0} with clients, {after:.0} alone again: {:.1} % slower",
        100.0 * (1.0 - loaded / alone)
    );
}
