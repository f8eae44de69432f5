//! Each command on real files: one JSON document with `--json`, and figures that agree with each other.

use serde_json::Value;

use crate::program::Desk;

fn close(a: &Value, b: &Value) -> bool {
    (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4
}

#[test]
fn train_evaluate_merge_and_generate_agree() {
    let desk = Desk::new();
    desk.project(30, "");
    let report = desk.json(&["train", "project", "--name", "first try"]);
    assert_eq!(report["status"], "finished");
    assert!(report["run_id"].as_str().unwrap().starts_with("first-try-"), "{report}");
    let adapter = report["model"].as_str().unwrap();

    // What the run says of the test rows is what `eval` says.
    let args = ["eval", "--model", "model", "--adapter", adapter, "--data", "project/data/held.jsonl", "--max-seq-length", "64"];
    let eval = desk.json(&args);
    assert!(close(&eval["result"]["loss"], &report["tuned"]["loss"]), "{eval} {report}");
    assert!(close(&eval["base"]["loss"], &report["base"]["loss"]));
    assert!(eval["result"]["loss"].as_f64() < eval["base"]["loss"].as_f64(), "nothing was learned");
    let perplexity = eval["result"]["loss"].as_f64().unwrap().exp();
    assert!((eval["result"]["perplexity"].as_f64().unwrap() / perplexity - 1.0).abs() < 1e-9);

    // The merged model is the base with the adapter.
    let merged = desk.json(&["merge", "--model", "model", "--adapter", adapter, "--out", "merged", "--dtype", "f32"]);
    assert_eq!(merged["merged"], 14, "seven linears in each of two layers");
    let of_merged = desk.json(&["eval", "--model", "merged", "--data", "project/data/held.jsonl", "--max-seq-length", "64"]);
    assert!(close(&of_merged["result"]["loss"], &eval["result"]["loss"]), "{of_merged} {eval}");

    // Greedy text is the same from both, streamed or not; sampled text follows its seed.
    let greedy = ["--prompt", "add 3 and 3", "--temperature", "0", "--max-new-tokens", "12"];
    let from_adapter = desk.json(&[&["generate", "--model", "model", "--adapter", adapter], greedy.as_slice()].concat());
    let streamed = desk.ok(&[&["generate", "--model", "merged"], greedy.as_slice()].concat()).out;
    assert_eq!(from_adapter["text"].as_str().unwrap(), streamed.strip_suffix('\n').unwrap());
    let sampled = |seed: &str| {
        desk.ok(&[
            "generate",
            "--model",
            "model",
            "--prompt",
            "add",
            "--temperature",
            "1.5",
            "--top-p",
            "1",
            "--seed",
            seed,
            "--max-new-tokens",
            "16",
        ])
        .out
    };
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));

    let runs = desk.json(&["runs", "list", "project"]);
    assert_eq!(runs["runs"][0]["iterations_done"], 30);
    let manifest = desk.json(&["runs", "show", "latest", "--project", "project"]);
    assert_eq!(manifest["manifest_version"], "2.0");
    let memory = &manifest["stages"][0]["peak_memory"];
    assert!(memory["predicted_bytes"].as_u64().unwrap() > 0 && memory["measured_bytes"].as_u64().unwrap() > 0, "{memory}");
    assert_eq!(manifest["seeds"]["training"], manifest["config"]["training"]["seed"]);
}

#[test]
fn methods_all_train() {
    for (name, set) in [
        ("qlora", vec!["base_model.quantization=nf4"]),
        ("q8", vec!["base_model.quantization=q8", "training.optimizer=adamw8bit"]),
        ("rslora", vec!["lora.use_rslora=true", "training.gradient_checkpointing=true"]),
        ("full", vec!["training.method=full", "training.stage1.learning_rate=1e-3"]),
        ("bf16", vec!["training.dtype=bf16"]),
    ] {
        let desk = Desk::new();
        desk.project(12, "");
        let mut args = vec!["train", "project"];
        set.iter().for_each(|s| args.extend(["--set", *s]));
        let report = desk.json(&args);
        let (base, tuned) = (report["base"]["loss"].as_f64().unwrap(), report["tuned"]["loss"].as_f64().unwrap());
        assert!(tuned < base - 0.05, "{name}: {base} -> {tuned}");
        let model = report["model"].as_str().unwrap();
        // What was written can be used, and gives the figures that the run gave.
        let held = ["--data", "project/data/held.jsonl", "--max-seq-length", "64"];
        let again = match name {
            "full" => desk.json(&[&["eval", "--model", model], held.as_slice()].concat()),
            "qlora" => desk.json(&[&["eval", "--model", "model", "--adapter", model, "--quantization", "nf4"], held.as_slice()].concat()),
            "q8" => desk.json(&[&["eval", "--model", "model", "--adapter", model, "--quantization", "q8"], held.as_slice()].concat()),
            "bf16" => desk.json(&[&["eval", "--model", "model", "--adapter", model, "--dtype", "bf16"], held.as_slice()].concat()),
            _ => desk.json(&[&["eval", "--model", "model", "--adapter", model], held.as_slice()].concat()),
        };
        let loss = again["result"]["loss"].as_f64().unwrap();
        assert!((loss - tuned).abs() < 1e-4, "{name}: the run says {tuned}, the file gives {loss}");
    }
}

#[test]
fn divergence_stops_the_run_with_a_diagnosis() {
    let desk = Desk::new();
    desk.project(12, "");
    let args = [
        "train",
        "project",
        "--set",
        "training.method=full",
        "--set",
        "training.stage1.learning_rate=1.0",
        "--set",
        "training.max_grad_norm=0",
    ];
    let wild = |more: &[&str]| desk.run(&[args.as_slice(), more].concat());
    let weights = desk.path().join("model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    // One weight becomes infinite: the loss of the first step is not finite.
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    // The base cannot be evaluated; without test rows the first step says so.
    let said = wild(&[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("NaN"), "{}", said.err);
    std::fs::remove_dir_all(desk.path().join("project/runs")).unwrap();
    let said = wild(&["--set", "dataset.test_path=null"]);
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(said.err.contains("error: ") && said.err.contains("hint: "), "{}", said.err);
    let run = desk.only_run();
    let manifest = desk.json(&["runs", "show", run.to_str().unwrap()]);
    assert_eq!(manifest["status"], "diverged");
    assert!(!run.join("final-model").exists());
}

#[test]
fn the_rest_answers_in_json() {
    let desk = Desk::new();
    desk.project(4, "");
    let plan = desk.json(&["plan", "project"]);
    let parts: u64 = plan["parts"].as_array().unwrap().iter().map(|p| p["bytes"].as_u64().unwrap()).sum();
    assert_eq!(Some(parts), plan["peak_bytes"].as_u64());
    let gpu = desk.json(&["plan", "project", "--gpu-memory", "2GiB"]);
    assert_eq!(gpu["budget"].as_u64(), Some(2 << 30));
    assert!(gpu["parts"].as_array().unwrap().iter().any(|p| p["name"] == "driver"), "{gpu}");
    assert!(desk.json(&["bench", "gpu"])["rows"].is_array());
    assert_eq!(desk.json(&["doctor"])["findings"][3]["state"], "ok");
    let check = desk.json(&["data", "check", "project/data/train.jsonl", "--show", "2"]);
    assert_eq!((check["rows"].as_u64(), check["shown"].as_array().unwrap().len()), (Some(48), 2));
    assert!(desk.json(&["data", "stats", "project/data/train.jsonl"])["counts"]["trained_tokens"].as_u64() > Some(48));
    let bench = desk.json(&["bench", "train", "--model", "model", "--batch", "2", "--seq", "16", "--steps", "2", "--dtype", "nf4"]);
    assert!(bench["tokens_per_second"].as_f64() > Some(0.0) && bench["peak_rss_bytes"].as_u64() > Some(0), "{bench}");
    let wrong = desk.run(&["eval", "--model", "nowhere", "--data", "x", "--json"]);
    let error: Value = serde_json::from_str(&wrong.out).unwrap();
    assert!(error["error"]["code"].is_string() && error["error"]["message"].as_str().unwrap().contains("nowhere"), "{error}");
    assert!(desk.ok(&["--help"]).out.contains("Exit codes"));
}

#[test]
fn a_new_project_trains_as_it_stands() {
    let desk = Desk::new();
    desk.ok(&["init", "mine"]);
    let row = |i: usize| format!("{{\"instruction\": \"say {i}\", \"output\": \"{i}\"}}\n");
    desk.write("mine/data/raw/train.jsonl", &(0..40).map(row).collect::<String>());
    let report = desk.json(&["train", "mine", "--set", "training.stage1.iterations=3", "--set", "training.stage1.warmup_steps=1"]);
    assert_eq!(report["status"], "finished");
}

#[test]
fn the_demo_teaches_the_embedded_model() {
    let desk = Desk::new();
    let report = desk.json(&["demo", "--out", "demo"]);
    assert_eq!((report["answered"].as_u64(), report["base_right"].as_u64()), (Some(40), Some(0)));
    assert!(report["tuned_right"].as_u64() >= Some(35), "{}", report["tuned_right"]);
    let adapter = report["train"]["model"].as_str().unwrap();
    let args = ["generate", "--model", "embedded", "--adapter", adapter, "--temperature", "0", "--prompt", "Turn on the office light."];
    let said = desk.json(&args);
    assert_eq!(said["text"], r#"{"tool":"light","room":"office","state":"on"}"#);
}
