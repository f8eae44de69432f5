//! What a newcomer meets in the first hour: a run without a file, epochs, batches that fit, a plan that is what happens,
//! a conversation, completions.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::mcp_client::Client;
use crate::program::{Desk, said};

/// Rows in a file of this name, drawn from `seed`.
fn rows(desk: &Desk, name: &str, count: usize, seed: u64) {
    let row = |i: usize| {
        let (a, b) = ((i as u64 * 7 + seed) % 90, (i as u64 * 13 + seed / 3) % 90);
        format!("{{\"instruction\": \"add {a} and {b} for row {i}\", \"output\": \"{}\"}}\n", a + b)
    };
    desk.write(name, &(0..count).map(row).collect::<String>());
}

fn drawn() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
}

const SMALL: [&str; 6] = ["--set", "training.max_seq_length=64", "--set", "training.packing=false", "--set", "training.save_steps=0"];

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(run.join("run-manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_run_needs_no_file_and_is_used_by_its_name() {
    let (desk, seed) = (Desk::new(), drawn());
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    rows(&desk, "rows.jsonl", 40, seed);
    let refused = desk.run(&["train"]);
    assert!(refused.code == 2 && refused.err.contains("--model and --data"), "{}", refused.err);

    let train: Vec<&str> = ["train", "--model", "model", "--data", "rows.jsonl", "--epochs", "2"].into_iter().chain(SMALL).collect();
    let report = desk.json(&train);
    let run = PathBuf::from(report["run"].as_str().unwrap());
    assert!(run.starts_with(desk.path().canonicalize().unwrap().join("runs")), "{}", run.display());
    // 80 % of 40 rows in batches of 4, twice.
    let m = manifest(&run);
    let batches = m["dataset"]["train"]["sequences"].as_u64().unwrap().div_ceil(4);
    assert_eq!(m["config"]["training"]["stage1"]["iterations"].as_u64(), Some(2 * batches), "seed {seed}: {m}");
    assert_eq!((&m["config"]["lora"]["rank"], &m["config"]["lora"]["target_modules"]), (&json!(16), &json!(["all-linear"])));
    for name in ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"] {
        assert!(run.join("final-model").join(name).is_file(), "{name}");
    }
    one_copy(&run.join("stage1/adapters"), &run.join("final-model"));

    let answer = desk.json(&["generate", "--run", "latest", "--prompt", "add 1 and 2", "--temperature", "0", "--max-new-tokens", "4"]);
    let adapter = run.join("final-model").display().to_string();
    let by_hand =
        ["generate", "--model", "model", "--adapter", &adapter, "--prompt", "add 1 and 2", "--temperature", "0", "--max-new-tokens", "4"];
    assert_eq!(answer["text"], desk.json(&by_hand)["text"]);
    let measured = desk.json(&["eval", "--run", "latest", "--data", "rows.jsonl"]);
    assert!(measured["base"]["loss"].is_number() && measured["adapter"].is_string(), "{measured}");
    desk.ok(&["merge", "--run", "latest", "--out", "merged"]);
    assert!(desk.path().join("merged/config.json").is_file());
    let both = desk.run(&["generate", "--run", "latest", "--model", "model", "--prompt", "x"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{}", both.err);

    // Stopped and resumed without a file, and in a folder of its own.
    let stopped: Vec<&str> = train.iter().copied().chain(["--stop-after", "2", "--output-dir", "elsewhere"]).collect();
    let report = desk.json(&stopped);
    let command = report["resume_command"].as_str().unwrap().to_owned();
    assert!(report["run"].as_str().unwrap().contains("/elsewhere/"), "{report}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    assert_eq!(desk.json(&words)["status"], "finished", "{command}");
}

/// Two folders with the same files take their space once.
#[cfg(unix)]
fn one_copy(a: &Path, b: &Path) {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(a).unwrap().flatten() {
        let inode = |p: &Path| std::fs::metadata(p).unwrap().ino();
        assert_eq!(inode(&entry.path()), inode(&b.join(entry.file_name())), "{:?}", entry.file_name());
    }
}

#[cfg(not(unix))]
fn one_copy(_: &Path, _: &Path) {}

#[test]
fn the_plan_is_what_training_does() {
    let (desk, seed) = (Desk::new(), drawn());
    desk.project(6, "");
    rows(&desk, "project/data/train.jsonl", 30 + (seed % 40) as usize, seed);
    let plan = desk.json(&["plan", "project"]);
    let report = desk.json(&["train", "project"]);
    let stage = &report["stages"][0];
    let (planned, predicted) = (plan["peak_bytes"].as_f64().unwrap(), stage["peak_memory"]["predicted_bytes"].as_f64().unwrap());
    assert!((planned / predicted - 1.0).abs() < 0.05, "seed {seed}: planned {planned}, at training {predicted}");
    assert_eq!(plan["stages"][0]["steps"], stage["iterations"]);
    assert!(plan["stages"][0]["epochs"].as_f64() > Some(0.0) && plan["largest_batch"].as_u64() > Some(0), "{plan}");
    assert_eq!(plan["time"]["measured"], false, "{plan}");
    // The next plan knows how fast it went, and what it takes on disk was said.
    let again = desk.json(&["plan", "project"]);
    assert_eq!(again["time"]["measured"], true, "{again}");
    let run = desk.only_run();
    let written: u64 = walk(&run.join("stage1/checkpoints")) + walk(&run.join("stage1/adapters"));
    assert!(plan["disk_bytes"].as_u64().unwrap() > written / 2, "{} and {written}", plan["disk_bytes"]);
    // Rows that are not there are named; the plan takes them to be long.
    let missing = desk.json(&["plan", "project", "--set", "dataset.train_path=nowhere.jsonl"]);
    assert!(missing["absent"].to_string().contains("nowhere.jsonl") && missing["data"].is_null(), "{missing}");
    std::fs::rename(desk.path().join("model/model.safetensors"), desk.path().join("weights")).unwrap();
    let missing = desk.json(&["plan", "project"]);
    assert!(missing["absent"].to_string().contains("weights") && missing["data"].is_object(), "{missing}");
    std::fs::rename(desk.path().join("weights"), desk.path().join("model/model.safetensors")).unwrap();
    let shown = desk.ok(&["plan", "project"]);
    for word in ["stage 1", "epochs", "time", "disk", "one pass"] {
        assert!(shown.out.contains(word), "{word}: {}", shown.out);
    }
}

fn walk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).map(|e| e.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().map(|e| if e.path().is_dir() { walk(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

#[test]
fn a_batch_that_fits_keeps_the_global_batch() {
    let desk = Desk::new();
    desk.project(4, "");
    let auto = |memory: &str, global: usize| {
        let global = format!("training.global_batch_size={global}");
        let args = ["plan", "project", "--memory", memory, "--set", "training.stage1.batch_size=auto", "--set", &global];
        desk.json(&args)
    };
    let mut seen = Vec::new();
    for global in [1, 6, 12, 48, 96] {
        for memory in ["1GiB", "156MiB", "126MiB"] {
            let plan = auto(memory, global);
            let stage = &plan["stages"][0];
            let (rows, batches) = (stage["batch_size"].as_u64().unwrap(), stage["gradient_accumulation"].as_u64().unwrap());
            assert_eq!(rows * batches, global as u64, "{memory}, {global}: {plan}");
            assert!(rows <= plan["largest_batch"].as_u64().unwrap().max(1), "{memory}, {global}: {plan}");
            seen.push((global, rows));
        }
    }
    assert!(seen.iter().any(|(global, rows)| *rows < *global as u64), "memory never mattered: {seen:?}");
    assert!(seen.iter().any(|(global, rows)| *global > 1 && *rows == *global as u64), "nothing fits at once: {seen:?}");
    let both = desk.run(&["plan", "project", "--set", "training.stage1.batch_size=auto", "--set", "training.gradient_accumulation=4"]);
    assert!(both.code == 3 && both.err.contains("global_batch_size"), "{}", both.err);
}

#[test]
fn epochs_and_steps_contradict_within_a_layer_only() {
    let desk = Desk::new();
    desk.project(4, "");
    let steps = |args: &[&str]| {
        let args: Vec<&str> = ["plan", "project"].into_iter().chain(args.iter().copied()).collect();
        desk.json(&args)["stages"][0].clone()
    };
    assert_eq!(steps(&[])["steps"], 4);
    let two = steps(&["--epochs", "2"]);
    assert!((two["epochs"].as_f64().unwrap() - 2.0).abs() < 0.35 && two["steps"] != 4, "{two}");
    assert_eq!(steps(&["--set", "training.stage1.num_epochs=9", "--epochs", "2"]), two);
    let both = desk.run(&["plan", "project", "--set", "training.stage1.num_epochs=2", "--set", "training.stage1.iterations=3"]);
    assert!(both.code == 3 && both.err.contains("only one of them"), "{}", both.err);
}

#[test]
fn a_conversation_remembers() {
    let desk = Desk::new();
    let chat = |lines: &str| {
        let mut child = desk
            .command(&["chat", "--model", "embedded", "--temperature", "0", "--max-new-tokens", "12", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let said = said(&child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{}", said.err);
        let answers: Vec<Value> = serde_json::Deserializer::from_str(&said.out).into_iter().map(Result::unwrap).collect();
        answers
    };
    let all = chat("hello\n\nwhat is your name?\n/new\nhello\n/bye\nnever read\n");
    assert_eq!(all.len(), 3, "{all:?}");
    let prompt = |i: usize| all[i]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt(1) > prompt(0), "the second message stands on the first: {all:?}");
    assert_eq!((prompt(2), &all[2]["text"]), (prompt(0), &all[0]["text"]), "/new forgets");
}

#[test]
fn shells_complete_and_the_manual_has_every_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = desk.ok(&["completions", shell]).out;
        assert!(script.contains("tallow") && script.contains("output-dir") && script.contains("rollback"), "{shell}");
    }
    assert!(desk.ok(&["man"]).out.contains(".TH"));
    desk.ok(&["man", "--out", "pages"]);
    for page in ["tallow.1", "tallow-train.1", "tallow-models-promote.1"] {
        assert!(desk.path().join("pages").join(page).is_file(), "{page}: {:?}", desk.files());
    }
}

/// Outside of the loop there is nothing to finish: the first signal ends the program, at once.
#[cfg(unix)]
#[test]
fn a_signal_while_preparing_ends_at_once() {
    let desk = Desk::new();
    desk.project(4, "");
    rows(&desk, "project/data/train.jsonl", 60_000, drawn());
    let mut child = desk.command(&["train", "project"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reading = lines.by_ref().map_while(Result::ok).any(|l| l.contains("reading and tokenising"));
    assert!(reading);
    let begun = std::time::Instant::now();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status:?}");
    assert!(begun.elapsed().as_secs_f64() < 1.0, "{:?}", begun.elapsed());
}

#[test]
fn full_fine_tuning_keeps_the_type_of_the_base() {
    let (desk, seed) = (Desk::new(), drawn());
    desk.project(2, "");
    desk.ok(&["merge", "--model", "model", "--adapter", &first_adapter(&desk), "--out", "half", "--dtype", "bf16"]);
    let report = desk.json(&["train", "project", "--set", "base_model.local_path=half", "--set", "training.method=full"]);
    let file = PathBuf::from(report["model"].as_str().unwrap()).join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    for (name, info) in header.tensors() {
        assert_eq!(info.dtype, safetensors::Dtype::BF16, "{name}, seed {seed}");
    }
    one_copy(&PathBuf::from(report["run"].as_str().unwrap()).join("stage1/adapters"), file.parent().unwrap());
}

/// The adapter of a short run.
fn first_adapter(desk: &Desk) -> String {
    desk.json(&["train", "project"])["model"].as_str().unwrap().to_owned()
}

#[test]
fn a_gguf_base_is_made_ready_everywhere() {
    let desk = Desk::new();
    desk.project(4, "");
    desk.ok(&["export", "--model", "model", "--format", "gguf", "--type", "f32", "--out", "base.gguf"]);
    let base = ["--set", "base_model.local_path=base.gguf"];
    let plan = desk.json(&[&["plan", "project"], &base[..]].concat());
    assert!(plan["absent"].as_array().unwrap().is_empty() && plan["data"].is_object(), "{plan}");
    let full = desk.run(&[&["train", "project", "--set", "training.method=full"], &base[..]].concat());
    assert!(full.code == 3 && full.err.contains("GGUF"), "{}", full.err);
    let mut client = Client::start(&desk, &[]);
    let info = client.call("get_model_info", json!({"model_name": "base.gguf"}));
    assert_eq!(info["layers"], 2, "{info}");
    let made = client.call(
        "configure_training_run",
        json!({"project_path": "project", "run_name": "over gguf",
            "training_data": {"train_dataset": "project/data/train.jsonl"},
            "override_params": {"base_model.local_path": "base.gguf", "mlx": {"memory_efficient": true}, "training.max_seq_length": 4096}}),
    );
    let warnings = made["warnings"].to_string();
    assert!(warnings.contains("mlx.memory_efficient") && warnings.contains("has no effect"), "{warnings}");
    assert!(warnings.contains("context"), "{warnings}");
    assert_eq!(made["configuration_summary"]["max_seq_length"], 2048, "{made}");
}

/// A plan takes what it needs from the Hub, which is everything but the weights.
#[test]
fn a_plan_downloads_no_weights() {
    let desk = Desk::new();
    desk.project(4, "");
    let hub = Hub::of(&desk.path().join("model"));
    let plan = |data: &str| {
        let args = ["plan", "--model", "org/model", "--data", data, "--json"];
        said(&desk.command(&args).env("HF_ENDPOINT", &hub.address).output().unwrap())
    };
    let planned = plan("project/data/train.jsonl");
    assert_eq!(planned.code, 0, "{}", planned.err);
    let seen = hub.seen();
    assert!(seen.iter().any(|p| p.ends_with("config.json")), "{seen:?}");
    assert!(!seen.iter().any(|p| p.ends_with(".safetensors")), "{seen:?}");
}

/// A Hub that serves the files of one folder as `org/model`.
struct Hub {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (seen, folder) = (Arc::new(Mutex::new(Vec::new())), folder.to_path_buf());
        let theirs = seen.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                let _ = reader.read_line(&mut first);
                let mut line = String::from("-");
                while !line.trim().is_empty() {
                    line.clear();
                    let _ = reader.read_line(&mut line);
                }
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                theirs.lock().unwrap().push(path.clone());
                let body = if path.contains("/api/models/") {
                    let names = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
                    let files: Vec<Value> = names.map(|n| json!({"rfilename": n})).collect();
                    json!({"id": "org/model", "sha": "c0ffee", "siblings": files}).to_string().into_bytes()
                } else {
                    std::fs::read(folder.join(path.rsplit('/').next().unwrap_or_default())).unwrap_or_default()
                };
                let end = body.len().saturating_sub(1);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-range: bytes 0-{end}/{}\r\netag: \"of-{}\"\r\nx-repo-commit: c0ffee\r\nconnection: close\r\n\r\n",
                    body.len(),
                    body.len(),
                    path.rsplit('/').next().unwrap_or_default()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}
