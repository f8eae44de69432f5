//! `tallow search` as a user runs it: killed and gone on, its best settings trained again, poor
//! trials ended early.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tallow::data::Rng;

use crate::mcp_client::Client;
use crate::program::{Desk, drawn_seed};

/// A project over the embedded model that is evaluated every other step.
fn embedded(steps: usize) -> Desk {
    let desk = Desk::new();
    let row = |i: usize| format!("{{\"instruction\": \"add {i} and {}\", \"output\": \"{}\"}}\n", i % 7, i + i % 7);
    desk.write("project/data/train.jsonl", &(0..48).map(row).collect::<String>());
    desk.write("project/data/held.jsonl", &(48..56).map(row).collect::<String>());
    let config = format!(
        "base_model: {{model_id: embedded}}\n\
         training:\n  stage1: {{iterations: {steps}, learning_rate: 1.0e-5, batch_size: 1, warmup_steps: 1}}\n  \
         max_seq_length: 64\n  save_steps: 2\n  eval_steps: 2\n\
         lora: {{rank: 4, alpha: 8, dropout: 0.1, target_modules: all-linear}}\n\
         dataset: {{train_path: data/train.jsonl, validation_path: data/held.jsonl}}\n"
    );
    desk.write("project/config/fine_tuning_config.yaml", &config);
    desk
}

const SPACE: [&str; 4] = ["--space", "lr=log:1e-4..2e-2", "--space", "rank=2,4,8"];

fn record(desk: &Desk, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(desk.path().join("project/searches").join(name).join("search.json")).unwrap()).unwrap()
}

/// What may not depend on interruptions.
fn trials(record: &Value) -> Vec<Value> {
    let one = |t: &Value| {
        let mut t = t.clone();
        t.as_object_mut().unwrap().remove("run");
        t
    };
    record["trials"].as_array().unwrap().iter().map(one).collect()
}

/// The runs of a search by trial, each with the time at which it was made.
fn runs(desk: &Desk, name: &str) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(desk.path().join("project/runs")).unwrap().flatten() {
        let id = entry.file_name().into_string().unwrap();
        if let Some(rest) = id.strip_prefix(&format!("{name}-")) {
            found.entry(rest[..3].to_owned()).or_default().push(entry.path());
        }
    }
    found
}

fn kill_at(desk: &Desk, args: &[&str], after: Duration) -> bool {
    let mut child = desk.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + after;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        if Instant::now() >= until {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_search_that_is_killed_goes_on_as_if_it_had_not_been() {
    let desk = embedded(6);
    let seed = drawn_seed() >> 1;
    let words = seed.to_string();
    let args = |name: &'static str| -> Vec<&str> {
        let all = ["search", "project", "--trials", "10", "--prune", "median", "--seed", &words, "--name", name];
        all.into_iter().chain(SPACE).collect()
    };
    let begun = Instant::now();
    let report = desk.json(&args("whole"));
    let took = begun.elapsed();
    let mut rng = Rng::for_parts(&[seed]);
    let mut kills = 0;
    for _ in 0..40 {
        let after = took.mul_f64(0.02 + 0.3 * rng.unit());
        if !kill_at(&desk, &args("cut"), after) {
            break;
        }
        kills += 1;
    }
    desk.ok(&["search", "project", "--name", "cut"]);
    assert!(kills > 0, "seed {seed}: nothing was killed");
    let (whole, cut) = (record(&desk, "whole"), record(&desk, "cut"));
    assert_eq!(trials(&whole), trials(&cut), "seed {seed}, {kills} kills");
    assert_eq!(trials(&whole).len(), 10, "seed {seed}");
    for (trial, folders) in runs(&desk, "cut") {
        assert_eq!(folders.len(), 1, "seed {seed}: trial {trial} has the runs {folders:?}");
    }
    assert_eq!(runs(&desk, "cut").len(), 10, "seed {seed}");

    // The configuration's own settings come first, and the best ones are better than those.
    let first = &whole["trials"][0];
    assert_eq!(first["settings"], json!({"training.stage1.learning_rate": 1e-5, "lora.rank": 4}));
    let (best, own) = (report["best"]["value"].as_f64().unwrap(), report["own_value"].as_f64().unwrap());
    assert_eq!(first["value"].as_f64(), Some(own));
    assert!(best < own, "seed {seed}: {best} against {own}");
    for file in ["best.yaml", "search.svg", "search.png"] {
        assert!(desk.path().join("project/searches/cut").join(file).is_file(), "{file}");
    }
    let svg = fs::read_to_string(report["picture"].as_str().unwrap()).unwrap();
    assert!(svg.contains("learning_rate") && svg.contains("importance"), "{}", &svg[..300]);

    // They give the same again.
    let again = desk.json(&["train", report["best"]["config"].as_str().unwrap(), "--name", "again"]);
    let run = Path::new(again["run"].as_str().unwrap());
    assert!(run.starts_with(desk.path().canonicalize().unwrap().join("project/runs")), "{}", run.display());
    let last = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = last.lines().filter_map(|l| serde_json::from_str::<Value>(l).unwrap()["eval_loss"].as_f64()).collect();
    assert_eq!(losses.last(), Some(&best), "seed {seed}: {losses:?}");

    // More trials go on behind the others; other settings are refused.
    let more = desk.json(&["search", "project", "--name", "whole", "--trials", "11"]);
    assert_eq!((more["ended"].as_u64(), trials(&record(&desk, "whole"))[..10].to_vec()), (Some(11), trials(&whole)));
    for (extra, word) in
        [(["--seed", "3"], "the seed"), (["--space", "rank=2,4"], "the space"), (["--set", "lora.alpha=3"], "configuration")]
    {
        let said = desk.run(&[&["search", "project", "--name", "whole"], &extra[..]].concat());
        assert!(said.code != 0 && said.err.contains(word) && said.err.contains("another name"), "{}", said.err);
    }
}

#[test]
fn poor_trials_end_early_and_the_others_do_not() {
    let desk = Desk::new();
    desk.project(8, "");
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("eval_steps: 6", "eval_steps: 2");
    fs::write(&config, text).unwrap();
    let seed = drawn_seed() >> 1;
    let good = ["2e-2", "1.5e-2", "8e-3", "6e-3"];
    let bad = ["1e-9", "2e-9", "3e-9", "4e-9"];
    let space = format!("lr={},{}", good.join(","), bad.join(","));
    let words = seed.to_string();
    let report = desk.json(&["search", "project", "--method", "grid", "--trials", "20", "--seed", &words, "--space", &space]);
    assert_eq!((&report["status"], &report["ended"], &report["exhausted"]), (&json!("finished"), &json!(9), &json!(true)), "seed {seed}");
    let trials = report["trials"].as_array().unwrap();
    let is_bad = |t: &Value| t["settings"]["training.stage1.learning_rate"].as_f64().unwrap() < 1e-8;
    for (i, trial) in trials.iter().enumerate() {
        let what = format!("seed {seed}: trial {} of {report}", i + 1);
        let run = desk.path().join("project/runs").join(trial["run_id"].as_str().unwrap());
        let manifest: Value = serde_json::from_str(&fs::read_to_string(run.join("run-manifest.json")).unwrap()).unwrap();
        let (state, status) = (trial["state"].as_str().unwrap(), manifest["status"].as_str().unwrap());
        assert!(
            matches!((state, status, trial["steps"].as_u64()), ("complete", "finished", Some(8)) | ("pruned", "stopped", Some(2..8))),
            "{what}"
        );
        let bad_before = trials[..i].iter().filter(|t| is_bad(t)).count();
        if is_bad(trial) && i >= 4 && 2 * bad_before < i {
            assert_eq!(state, "pruned", "{what}");
        }
        if i < 4 {
            assert_eq!(state, "complete", "{what}");
        }
        // Test rows are kept for whoever judges the result.
        assert!(fs::read_dir(run.join("stage1/evaluation")).unwrap().next().is_none(), "{what}");
    }
    assert!(!is_bad(&trials[report["best"]["trial"].as_u64().unwrap() as usize - 1]), "seed {seed}: {report}");
}

#[test]
fn what_cannot_be_searched_is_refused_before_anything_is_trained() {
    let desk = Desk::new();
    desk.project(2, "");
    for (args, code, word) in [
        (["--space", "rank=0..4"], 3, "lora.rank"),
        (["--space", "dropout=0.5,1.5"], 3, "lora.dropout"),
        (["--space", "zebra=1,2"], 1, "zebra"),
        (["--space", "seed=1,2"], 1, "cannot vary"),
        (["--space", "dataset.train_on=assistant,everything"], 1, "cannot vary"),
        (["--space-file", "none.yaml"], 1, "none.yaml"),
        (["--name", "new"], 1, "no space"),
        (["--name", "../x"], 1, "no name"),
    ] {
        let said = desk.run(&[&["search", "project"], &args[..]].concat());
        assert!(said.code == code && said.err.contains(word), "{args:?}: {} {}", said.code, said.err);
    }
    let said = desk.run(&["search", "project", "--space", "rank=2,4", "--set", "dataset.validation_path=null"]);
    assert!(said.code == 1 && said.err.contains("validation"), "{}", said.err);
    desk.write("space.yaml", "training:\n  stage1:\n    learning_rate: log:1e-4..1e-2\nlora.rank: [2]\n");
    let said = desk.run(&["search", "project", "--space-file", "space.yaml"]);
    assert!(said.code == 1 && said.err.contains("space.yaml") && said.err.contains("no choice"), "{}", said.err);
    assert!(!desk.path().join("project/runs").exists() && !desk.path().join("project/searches").exists());
}

#[test]
fn an_assistant_searches_asks_and_stops() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &["--toolsets", "core,data"]);
    let at = |more: Value| {
        let mut all = json!({"project_path": "project", "name": "by-mcp"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let tool = "search_hyperparameters";
    for (more, code) in [
        (json!({}), "bad_space"),
        (json!({"action": "status"}), "search_not_found"),
        (json!({"space": {"lora.rank": [0, 2]}}), "config_invalid"),
        (json!({"space": {"lora.rank": [2]}}), "bad_space"),
        (json!({"name": "../x", "action": "status"}), "bad_name"),
    ] {
        let fault = client.try_call(tool, at(more.clone())).unwrap_err();
        assert!(fault["code"] == code && !fault.to_string().contains("--"), "{more}: {fault}");
    }
    // A configuration whose rows lie elsewhere is refused by the process that would read them.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(desk.path().join("project/data/train.jsonl"), elsewhere.path().join("train.jsonl")).unwrap();
    let path = desk.path().join("project/config/fine_tuning_config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("data/train.jsonl", &elsewhere.path().join("train.jsonl").display().to_string())).unwrap();
    let fault = client.try_call(tool, at(json!({"space": {"lora.rank": [2, 4]}}))).unwrap_err();
    assert!(fault["message"].as_str().unwrap().contains("train.jsonl"), "{fault}");
    fs::write(&path, text).unwrap();

    let space = json!({"training": {"stage1": {"learning_rate": "log:1e-4..1e-1"}}, "lora.rank": [2, 4]});
    let begun = client.call(tool, at(json!({"space": space, "trials": 3, "seed": 5})));
    assert!(["running", "finished"].contains(&begun["status"].as_str().unwrap()), "{begun}");
    let until = Instant::now() + Duration::from_secs(120);
    let done = loop {
        let now = client.call(tool, at(json!({"action": "status"})));
        if now["status"] != "running" || Instant::now() > until {
            break now;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((&done["status"], &done["ended"]), (&json!("finished"), &json!(3)), "{done}");
    assert!(done["best"]["value"].as_f64() <= done["own_value"].as_f64(), "{done}");
    assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"].as_array().unwrap().len(), 3);
    // More trials are stopped, and stay as they are.
    client.call(tool, at(json!({"trials": 100_000})));
    let stopped = client.call(tool, at(json!({"action": "stop"})));
    assert_eq!(stopped["status"], "stopped", "{stopped}");
    assert!(stopped["ended"].as_u64().unwrap() < 1000, "{stopped}");
    assert!(client.close());
}

/// Trials at once, cut off and gone on with: each has one run, all settings differ, and there are as many as were wanted.
#[test]
fn trials_at_once_are_each_made_once() {
    let desk = embedded(6);
    let seed = drawn_seed() >> 1;
    let words = seed.to_string();
    for (method, name) in [("tpe", "dense"), ("grid", "points")] {
        let space = if method == "grid" { ["--space", "lr=1e-4,1e-3,1e-2", "--space", "rank=2,4"] } else { SPACE };
        let all = ["search", "project", "--trials", "6", "--parallel", "3", "--method", method, "--seed", &words, "--name", name, "--json"];
        let args: Vec<&str> = all.into_iter().chain(space).collect();
        // The queue must allow it, also on a machine of two threads; it is this test's own.
        let command = |args: &[&str]| {
            let mut command = desk.command(args);
            command.env("TALLOW_JOBS_AT_ONCE", "3").env("TALLOW_CACHE", desk.path().join("cache"));
            command
        };
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let busy = |record: &Value| record["trials"].as_array().unwrap().iter().filter(|t| t["state"] == "running").count();
        let (mut most, until) = (0, Instant::now() + Duration::from_secs(60));
        let path = desk.path().join("project/searches").join(name).join("search.json");
        while most < 2 && Instant::now() < until && child.try_wait().unwrap().is_none() {
            most = fs::read_to_string(&path).map_or(0, |text| busy(&serde_json::from_str(&text).unwrap())).max(most);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(most >= 2, "seed {seed}: never two at once");
        child.kill().unwrap();
        child.wait().unwrap();
        let out = command(&args).output().unwrap();
        assert!(out.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&out.stderr));
        let record = record(&desk, name);
        let trials = record["trials"].as_array().unwrap();
        assert_eq!((trials.len(), busy(&record)), (6, 0), "seed {seed}");
        let different: std::collections::BTreeSet<String> = trials.iter().map(|t| t["settings"].to_string()).collect();
        assert_eq!(different.len(), 6, "seed {seed}: {different:?}");
        let runs = runs(&desk, name);
        assert!(runs.len() == 6 && runs.values().all(|folders| folders.len() == 1), "seed {seed}: {runs:?}");
    }
}
