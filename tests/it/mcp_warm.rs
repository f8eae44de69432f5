//! Models that stay loaded between calls, and a model tuned in one call.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::Client;
use crate::program::Desk;

fn with(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// The processes of a server that hold a model.
fn holders(client: &Client) -> Vec<u32> {
    let children = std::fs::read_dir(format!("/proc/{}/task", client.child.id())).into_iter().flatten().flatten();
    let listed = children.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<u32> = listed.flat_map(|text| text.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>()).collect();
    let command = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    all.into_iter().filter(|pid| command(pid).contains("mcp-hold")).collect()
}

fn loaded(client: &mut Client) -> Vec<Value> {
    client.call("list_loaded_models", json!({}))["models"].as_array().unwrap().clone()
}

#[test]
fn a_loaded_model_answers_as_a_cold_one_does() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &["--toolsets", "core,data"]);
    let ask = json!({"model": "model", "prompt": "add 1 and 2", "max_new_tokens": 12});
    let drawn = crate::program::drawn_seed() % 1000;
    let asks: Vec<Value> = (0..6).map(|i| with(&ask, json!({"seed": drawn + i, "temperature": 0.3 * i as f64}))).collect();
    let cold: Vec<Value> = asks.iter().map(|a| client.call("generate_text", a.clone())).collect();
    assert!(cold.iter().all(|c| c.get("warm").is_none()) && loaded(&mut client).is_empty());
    let load = client.call("load_model", json!({"model": "./model"}));
    assert_eq!((&load["was_loaded"], &load["dropped"]), (&json!(false), &json!([])), "{load}");
    assert_eq!(client.call("load_model", json!({"model": "model"}))["was_loaded"], true, "by another name of the same folder");
    let holding = holders(&client);
    assert_eq!(holding.len(), 1);
    for (a, cold) in asks.iter().zip(&cold) {
        let warm = client.call("generate_text", a.clone());
        assert_eq!((&warm["text"], &warm["tokens"], &warm["warm"]), (&cold["text"], &cold["tokens"], &json!(true)), "{a}");
    }
    let list = loaded(&mut client);
    assert!(list.len() == 1 && list[0]["answers"] == 6 && list[0]["memory_bytes"].as_u64() > Some(100_000), "{list:?}");
    // Faults of a call are that call's own.
    let long = client.try_call("generate_text", with(&ask, json!({"prompt": "x ".repeat(5000)}))).unwrap_err();
    assert_eq!(long["code"], "prompt_too_long");
    // Another adapter is another model.
    assert!(client.try_call("generate_text", with(&ask, json!({"adapter": "none"}))).is_err());
    assert_eq!(holders(&client), holding);
    assert_eq!(client.try_call("unload_model", json!({"number": 99})).unwrap_err()["code"], "not_loaded");
    assert_eq!(client.call("unload_model", json!({}))["unloaded"].as_array().unwrap().len(), 1);
    assert!(holders(&client).is_empty() && client.call("generate_text", ask).get("warm").is_none());
    assert_eq!(client.try_call("load_model", json!({})).unwrap_err()["code"], "invalid_arguments");
    assert!(client.try_call("load_model", json!({"model": "nothing"})).unwrap_err()["hint"].is_string());
    assert!(client.try_call("load_model", json!({"model": "/etc"})).unwrap_err().to_string().contains("outside"));
    assert!(holders(&client).is_empty(), "what cannot be loaded leaves no process");
    assert!(client.close());
}

#[test]
fn changed_files_too_many_models_and_dead_processes() {
    let desk = Desk::new();
    desk.project(4, "");
    let copy = |name: &str| {
        std::fs::create_dir(desk.path().join(name)).unwrap();
        for file in std::fs::read_dir(desk.path().join("model")).unwrap().flatten() {
            std::fs::copy(file.path(), desk.path().join(name).join(file.file_name())).unwrap();
        }
    };
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
    let ask = |client: &mut Client, name: &str| {
        client.call("generate_text", json!({"model": name, "prompt": "x", "max_new_tokens": 2, "temperature": 0}))["warm"] == true
    };
    let names = ["m0", "m1", "m2", "m3", "m4"];
    names.iter().for_each(|n| copy(n));
    names[..4].iter().for_each(|n| drop(client.call("load_model", json!({"model": n}))));
    // The least used one goes, not the oldest.
    assert!(ask(&mut client, "m0"));
    let fifth = client.call("load_model", json!({"model": "m4"}));
    assert!(fifth["dropped"].as_array().unwrap().len() == 1 && fifth["dropped"][0].as_str().unwrap().ends_with("m1"), "{fifth}");
    assert!(ask(&mut client, "m0") && !ask(&mut client, "m1") && holders(&client).len() == 4);
    // A file changes.
    let config = desk.path().join("m2/tokenizer_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text} ")).unwrap();
    assert!(!ask(&mut client, "m2") && ask(&mut client, "m3"));
    assert_eq!(loaded(&mut client).len(), 3);
    // A process is killed.
    let before = holders(&client);
    assert_eq!(before.len(), 3);
    before.iter().for_each(|pid| drop(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()));
    let gone = client.try_call("generate_text", json!({"model": "m0", "prompt": "x", "max_new_tokens": 2})).unwrap_err();
    assert!(gone["code"] == "model_gone" && gone["hint"].as_str().unwrap().contains("load_model"), "{gone}");
    assert!(!ask(&mut client, "m0"));
    assert_eq!(client.call("load_model", json!({"model": "m0"}))["was_loaded"], false);
    // The server's end is that of its processes.
    let holding = holders(&client);
    assert!(!holding.is_empty() && client.close());
    let begun = Instant::now();
    while holding.iter().any(|pid| Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok()) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{holding:?} are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cancelled_answer_leaves_the_model_loaded() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "15m", "--out", "larger", "--tokenizer", "embedded"]);
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
    client.call("load_model", json!({"model": "larger"}));
    let long = json!({"model": "larger", "prompt": "x ".repeat(200), "max_new_tokens": 8192, "temperature": 0});
    let holding = holders(&client);
    for _ in 0..3 {
        let id = client.send("tools/call", json!({"name": "generate_text", "arguments": long}));
        std::thread::sleep(Duration::from_millis(150));
        client.send_line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}).to_string());
        let begun = Instant::now();
        let short = client.call("generate_text", with(&long, json!({"prompt": "x", "max_new_tokens": 1})));
        assert_eq!(short["warm"], true);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    assert_eq!(holders(&client), holding);
    assert_eq!(loaded(&mut client)[0]["answers"], 3);
    assert!(client.close());
}

#[test]
fn one_call_tunes_a_model_and_its_result_can_be_kept() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
    let ask = json!({"model_name": "model", "dataset": "project/data/train.jsonl", "output_dir": "tuned/one", "max_steps": 3,
        "max_seq_length": 64, "lora_rank": 4, "lora_alpha": 8, "batch_size": 1, "gradient_accumulation_steps": 2, "learning_rate": 0.01});
    let started = client.call("finetune_model", ask.clone());
    assert_eq!(started["success"], true, "{started}");
    let (project, run) = (started["project_path"].clone(), started["run_id"].clone());
    assert_eq!(project, json!(desk.path().canonicalize().unwrap().join("tuned/one")));
    let at = json!({"project_path": project, "run_id": run});
    let waited = client.call("wait", with(&at, json!({"seconds": 100})));
    assert_eq!(waited["progress"]["status"], "completed", "{waited}");
    assert_eq!(waited["progress"]["total_iterations"], 3);
    // Every word had its effect, and those left out their defaults.
    let shown = |run: &Value, project: &Value| {
        desk.json(&["runs", "show", run.as_str().unwrap(), "--project", project.as_str().unwrap()])["config"].clone()
    };
    let said = |c: &Value| {
        let (t, l) = (&c["training"], &c["lora"]);
        json!([
            t["max_seq_length"],
            l["rank"],
            l["alpha"],
            t["stage1"]["batch_size"],
            t["gradient_accumulation"],
            t["stage1"]["learning_rate"],
            t["stage1"]["iterations"],
            c["base_model"]["quantization"]
        ])
    };
    assert_eq!(said(&shown(&run, &project)), json!([64, 4, 8.0, 1, 2, 0.01, 3, "nf4"]));
    let plain = json!({"model_name": "model", "dataset": "project/data/train.jsonl", "output_dir": "tuned/two", "load_in_4bit": false});
    let second = client.call("finetune_model", plain);
    let defaults = said(&shown(&second["run_id"], &second["project_path"]));
    // The context of this model is shorter than 2048.
    assert_eq!(defaults.as_array().unwrap()[1..], json!([512, 16, 16.0, 2, 4, 0.0002, 100, "none"]).as_array().unwrap()[1..], "{defaults}");
    client.call("stop_training", json!({"project_path": second["project_path"], "run_id": second["run_id"], "mode": "cancel"}));
    let again = client.try_call("finetune_model", ask.clone()).unwrap_err();
    assert!(again["code"] == "already_exists" && again["hint"].as_str().unwrap().contains("configure_training_run"), "{again}");
    desk.write("bad.jsonl", "{\"instruction\": \"a\"\n");
    for (key, value) in [("dataset", "bad.jsonl"), ("dataset", "none.jsonl"), ("model_name", "none"), ("output_dir", "/tmp/elsewhere/x")] {
        let fault = client.try_call("finetune_model", with(&with(&ask, json!({"output_dir": "tuned/three"})), json!({key: value})));
        assert!(fault.is_err(), "{key} {value}");
        assert!(!desk.path().join("tuned/three").exists(), "{key} {value}: half a project is left");
    }
    // Its result stays loaded, and goes when the run's folder says something else.
    let prompt = with(&at, json!({"prompt": "add 1 and 2", "max_new_tokens": 4, "temperature": 0}));
    let cold = client.call("generate_text", prompt.clone());
    client.call("load_model", at.clone());
    let warm = client.call("generate_text", prompt.clone());
    assert_eq!((&warm["text"], &warm["warm"]), (&cold["text"], &json!(true)));
    assert!(client.call("generate_text", with(&prompt, json!({"stage": 1}))).get("warm").is_none(), "it is named another way");
    assert!(client.close());
}
