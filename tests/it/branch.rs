//! A run that goes on from a checkpoint of another: the same to the bit where nothing is changed, and the other run stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tallow::base::hash::sha256_file;

use crate::mcp_client::Client;
use crate::program::{Desk, drawn_seed};

const STEPS: usize = 8;
const KEPT: &str = "  keep_checkpoints: 0\n";

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A finished run with a checkpoint every four steps.
fn finished(desk: &Desk, more: &str) -> PathBuf {
    desk.project(STEPS, &format!("{KEPT}{more}"));
    desk.ok(&["train", "project", "--name", "first"]);
    desk.only_run()
}

/// All files below a folder, by content; locks hold nothing.
fn content(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            all.extend(content(&entry));
        } else if entry.extension().is_none_or(|e| e != "lock") {
            all.insert(entry.clone(), sha256_file(&entry).unwrap());
        }
    }
    all
}

fn branched(desk: &Desk, run: &Path, more: &[&str]) -> PathBuf {
    let args: Vec<&str> = ["checkpoints", "branch", run.to_str().unwrap()].iter().chain(more).copied().collect();
    PathBuf::from(desk.json(&args)["run"].as_str().unwrap())
}

fn go_on(desk: &Desk, run: &Path) {
    desk.ok(&["train", "--resume", run.to_str().unwrap()]);
}

fn steps(run: &Path) -> Vec<(u64, u64, f64, f64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let figure = |row: &Value, name: &str| row[name].as_f64();
    rows.filter_map(|r| Some((r["stage"].as_u64()?, r["step"].as_u64()?, figure(&r, "loss")?, figure(&r, "learning_rate")?))).collect()
}

fn result(run: &Path) -> String {
    sha256_file(&run.join("final-model/adapter_model.safetensors")).unwrap()
}

#[test]
fn with_nothing_changed_it_ends_as_the_other_run_did() {
    let desk = Desk::new();
    let run = finished(&desk, "");
    let before = content(&run);
    let new = branched(&desk, &run, &["--step", "4", "--name", "again"]);
    let manifest = read(&new.join("run-manifest.json"));
    assert_eq!((&manifest["status"], &manifest["stages"][0]["iterations_done"]), (&json!("stopped"), &json!(4)));
    assert_eq!(manifest["lineage"]["parent"], run.file_name().unwrap().to_str().unwrap());
    go_on(&desk, &new);
    assert_eq!(result(&new), result(&run));
    assert_eq!(steps(&new), steps(&run));
    assert_eq!(content(&run), before, "the run that it comes from was changed");
}

#[test]
fn with_other_settings_only_what_comes_after_is_another() {
    let seed = drawn_seed();
    let patience = ["", "  early_stopping: {patience: 9}\n"][(seed % 2) as usize];
    let desk = Desk::new();
    let run = finished(&desk, patience);
    let before = content(&run);
    let set =
        ["--set", "training.stage1.learning_rate=1.0e-4", "--set", "training.stage1.iterations=10", "--set", "evaluation.enabled=false"];
    let new = branched(&desk, &run, &["--step", "4"].iter().chain(&set).copied().collect::<Vec<_>>());
    go_on(&desk, &new);
    let (old, now) = (steps(&run), steps(&new));
    assert_eq!((&now[..4], now.len()), (&old[..4], 10), "seed {seed}");
    let told = read(&new.join("run-manifest.json"));
    assert_eq!((&told["stages"][0]["iterations"], &told["stages"][0]["iterations_done"]), (&json!(10), &json!(10)), "seed {seed}");
    assert!(now[4..].iter().all(|s| s.3 < 1.1e-4 && s.3 > 0.0), "seed {seed}: {now:?}");
    assert!(result(&new) != result(&run), "seed {seed}");
    assert_eq!(content(&run), before, "seed {seed}");
    // A run made like this can be gone on from as well.
    let third = branched(&desk, &new, &["--step", "10", "--set", "training.stage1.iterations=11"]);
    go_on(&desk, &third);
    assert_eq!(steps(&third).len(), 11, "seed {seed}");
}

#[test]
fn of_full_fine_tuning_too() {
    let desk = Desk::new();
    desk.project(STEPS, &format!("{KEPT}  method: full\n"));
    desk.ok(&["train", "project"]);
    let run = desk.only_run();
    let listed = desk.json(&["checkpoints", "list", run.to_str().unwrap(), "--check"]);
    let steps: Vec<u64> = listed["checkpoints"].as_array().unwrap().iter().filter_map(|c| c["step"].as_u64()).collect();
    assert!(steps.contains(&4) && steps.contains(&8), "{listed}");
    let new = branched(&desk, &run, &["--step", "4"]);
    go_on(&desk, &new);
    let model = |run: &Path| sha256_file(&run.join("final-model/model.safetensors")).unwrap();
    assert_eq!(model(&new), model(&run));
    // It is what training goes on from, and no model.
    let said = desk.run(&["eval", "--run", run.to_str().unwrap(), "--checkpoint", "4", "--data", "project/data/held.jsonl"]);
    assert!(said.code != 0 && said.err.contains("is no model"), "{}", said.err);
    let gone = desk.json(&["checkpoints", "prune", run.to_str().unwrap(), "--keep", "1"]);
    assert!(gone["bytes"].as_u64() > Some(0), "{gone}");
}

#[test]
fn of_a_second_stage_too() {
    let desk = Desk::new();
    desk.project(4, KEPT);
    let row = |i: usize| format!("{{\"instruction\": \"name the day after {i}\", \"output\": \"it is day {}\"}}\n", i + 1);
    desk.write("project/data/second.jsonl", &(0..20).map(row).collect::<String>());
    let path = desk.path().join("project/config/fine_tuning_config.yaml");
    let config = fs::read_to_string(&path).unwrap();
    let config = config.replace("  max_seq", "  num_stages: 2\n  stage2: {iterations: 8, batch_size: 2}\n  max_seq");
    fs::write(&path, config.replace("test_path: data/held.jsonl", "test_path: data/held.jsonl, stage2_path: data/second.jsonl")).unwrap();
    desk.ok(&["train", "project"]);
    let run = desk.only_run();
    let before = content(&run);
    // Step 4 is in both stages: the last one is meant, unless one is named.
    for (more, wanted) in [(vec!["--step", "4"], 4 + 4), (vec!["--step", "4", "--stage", "1"], 4)] {
        let new = branched(&desk, &run, &more);
        assert_eq!(steps(&new).len(), wanted, "{more:?}");
        go_on(&desk, &new);
        assert_eq!((result(&new), steps(&new)), (result(&run), steps(&run)), "{more:?}");
        let figures = |run: &Path| read(&run.join("stage2/evaluation/test.json"));
        assert_eq!(figures(&new), figures(&run), "{more:?}");
    }
    assert_eq!(content(&run), before);
}

#[test]
fn what_cannot_be_gone_on_from_is_refused_and_leaves_nothing() {
    let desk = Desk::new();
    let run = finished(&desk, "");
    let runs = || fs::read_dir(desk.path().join("project/runs")).unwrap().count();
    let refused = |more: &[&str], words: &str| {
        let args: Vec<&str> = ["checkpoints", "branch", run.to_str().unwrap()].iter().chain(more).copied().collect();
        let said = desk.run(&args);
        assert!(said.code != 0 && said.err.contains(words), "{more:?}: {}", said.err);
        assert_eq!(runs(), 1, "{more:?}");
    };
    refused(&["--step", "5"], "there is no checkpoint of step 5");
    refused(&["--step", "8"], "nothing is left to train");
    for (set, words) in [
        ("lora.rank=8", "lora.rank cannot be another one"),
        ("training.seed=7", "training.seed cannot be another one"),
        ("training.stage1.batch_size=4", "training.stage1.batch_size cannot"),
        ("training.stage1.num_epochs=3", "num_epochs cannot be set"),
        ("training.stage1.iterations=2", "nothing is left to train"),
        ("training.stage1.learning_rat=1", "learning_rat"),
        ("training.stage1.learning_rate=-1", "learning_rate"),
    ] {
        refused(&["--step", "4", "--set", set], words);
    }
    let weights = run.join("stage1/checkpoints/step-000004/adapter_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    refused(&["--step", "4"], "adapter_model.safetensors");
}

#[test]
fn an_assistant_goes_on_from_a_checkpoint() {
    let desk = Desk::new();
    let run = finished(&desk, "");
    let mut client = Client::start(&desk, &["--toolsets", "core,data"]);
    let id = run.file_name().unwrap().to_str().unwrap();
    let of = |more: Value| {
        let mut all = json!({"project_path": "project", "run_id": id});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let listed = client.call("list_checkpoints", of(json!({"check": true})));
    let found: Vec<(u64, bool)> =
        listed["checkpoints"].as_array().unwrap().iter().map(|c| (c["step"].as_u64().unwrap(), c["problem"].is_null())).collect();
    assert!(found.contains(&(4, true)) && found.contains(&(8, true)), "{listed}");
    let made =
        client.call("branch_run", of(json!({"checkpoint_step": 4, "override_params": {"training": {"stage1": {"learning_rate": 1e-4}}}})));
    assert_eq!(made["changed"], json!(["training.stage1.learning_rate"]));
    let new = made["run_id"].as_str().unwrap().to_owned();
    assert_eq!(client.call("monitor_training_progress", json!({"project_path": "project", "run_id": new}))["status"], "paused");
    client.call("start_training", json!({"project_path": "project", "run_id": new}));
    client.until(&new, &["completed"]);
    let wrong = client.try_call("branch_run", of(json!({"checkpoint_step": 4, "override_params": {"lora.rank": 2}}))).unwrap_err();
    assert!(wrong["code"] == "usage" && wrong["message"].as_str().unwrap().contains("lora.rank"), "{wrong}");
    let gone = client.call("prune_checkpoints", of(json!({"keep": 1})));
    assert!(gone["freed_bytes"].as_u64() > Some(0), "{gone}");
    assert!(client.close());
}
