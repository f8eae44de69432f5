//! What goes wrong around a run is named, and nothing is lost or made up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tallow::app::train::{self, TrainRequest};
use tallow::app::{eval, outcome};
use tallow::runs::RunFolder;
use tallow::train::{Evaluation, Event, Silent};

use crate::program::Desk;

fn manifest(run: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("run-manifest.json")).unwrap()).unwrap()
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(run.join("stage1/checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn when_no_checkpoint_can_be_read_the_run_does_not_begin_again() {
    let desk = Desk::new();
    desk.project(12, "");
    desk.ok(&["train", "project", "--stop-after", "9", "--quiet"]);
    let run = desk.only_run();
    let metrics = fs::read(run.join("metrics.jsonl")).unwrap();
    let all = checkpoints(&run);
    assert!(all.len() >= 2, "{all:?}");
    for folder in &all {
        fs::write(folder.join("optimizer.safetensors"), b"gone").unwrap();
    }
    let said = desk.run(&["train", "project", "--resume", "latest"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for folder in &all {
        assert!(said.err.contains(folder.file_name().unwrap().to_str().unwrap()), "{}", said.err);
    }
    assert!(said.err.contains("hint") && said.err.contains("start a new run"), "{}", said.err);
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), metrics);
    // And when they are all gone.
    all.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    let said = desk.run(&["train", "project", "--resume", "latest"]);
    assert!(said.code == 1 && said.err.contains("holds no checkpoint any more"), "{}", said.err);
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), metrics);
}

#[test]
fn a_resume_on_changed_ground_is_refused_by_name() {
    let desk = Desk::new();
    desk.project(6, "");
    let rows = |n: usize| format!("{{\"instruction\": \"other {n}\", \"output\": \"row\"}}\n");
    desk.write("project/data/test.jsonl", &(0..5).map(rows).collect::<String>());
    let config = fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    let config = config.replace("test_path: data/held.jsonl", "test_path: data/test.jsonl");
    desk.write("project/config/fine_tuning_config.yaml", &config);
    desk.ok(&["train", "project", "--stop-after", "3", "--quiet"]);
    let edit = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |text: String| {
            assert!(text.contains(&from), "{text}");
            text.replacen(&from, &to, 1)
        }
    };
    let chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    type Edit = Box<dyn Fn(String) -> String>;
    let cases: Vec<(&str, &str, Edit)> = vec![
        ("model/config.json", "config.json has changed", Box::new(edit("rms_norm_eps\": 0.00001", "rms_norm_eps\": 0.00002"))),
        ("model/generation_config.json", "generation_config.json is new", Box::new(|_| "{\"eos_token_id\": 3}".into())),
        ("model/tokenizer_config.json", "tokenizer_config.json has changed", Box::new(|t| t + "\n")),
        ("model/tokenizer.json", "tokenizer.json has changed", Box::new(|t| t + "\n")),
        ("model/chat_template.jinja", "chat_template.jinja ", Box::new(|_| chatml.into())),
        ("model/special_tokens_map.json", "special_tokens_map.json ", Box::new(|_| "{}".into())),
        ("project/data/test.jsonl", "the test rows", Box::new(edit("other 3", "another 3"))),
        ("project/data/held.jsonl", "the validation rows", Box::new(edit("add 50", "add 51"))),
        ("project/data/train.jsonl", "the training rows", Box::new(edit("add 7 ", "add 8 "))),
    ];
    for (file, named, edit) in cases {
        let path = desk.path().join(file);
        let before = fs::read_to_string(&path).ok();
        desk.write(file, &edit(before.clone().unwrap_or_default()));
        let said = desk.run(&["train", "project", "--resume", "latest"]);
        assert!(said.code == 1 && said.err.contains(named) && said.err.contains("hint"), "{file}: {}", said.err);
        match before {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    let weights = desk.path().join("model/model.safetensors");
    let before = fs::read(&weights).unwrap();
    let mut bytes = before.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let said = desk.run(&["train", "project", "--resume", "latest"]);
    assert!(said.code == 1 && said.err.contains("the weights of the base model"), "{}", said.err);
    fs::write(&weights, before).unwrap();
    desk.ok(&["train", "project", "--resume", "latest", "--quiet"]);
}

#[test]
fn an_evaluation_that_is_not_a_number_is_a_fault() {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project", "--quiet"]);
    let adapter = desk.only_run().join("final-model");
    let adapter = adapter.to_str().unwrap();
    let args = ["eval", "--model", "model", "--adapter", adapter, "--data", "project/data/held.jsonl"];
    desk.ok(&args);
    let file = Path::new(adapter).join("adapter_model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    for value in [f32::NAN, f32::INFINITY] {
        bytes[end - 4..].copy_from_slice(&value.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        let said = desk.run(&args);
        assert!(said.code != 0 && said.out.is_empty(), "{value}: {}", said.out);
        assert!(said.err.contains("finite"), "{value}: {}", said.err);
    }
}

#[test]
fn runs_that_begin_at_once_get_folders_of_their_own() {
    let desk = Desk::new();
    desk.project(2, "");
    let start = |_| desk.command(&["train", "project", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..6).map(start).collect();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let runs = fs::read_dir(desk.path().join("project/runs")).unwrap().flatten();
    assert_eq!(runs.filter(|e| e.path().join("final-model").is_dir()).count(), 6);
}

#[test]
fn a_panic_ends_the_run_as_a_fault_and_the_next_call_works() {
    let desk = Desk::new();
    desk.project(4, "");
    let request = TrainRequest { has_turn: true, ..TrainRequest::new(Some(desk.path().join("project"))) };
    let mut on = |event: &Event| {
        if matches!(event, Event::Step { step: 2, .. }) {
            panic!("a bug of step two");
        }
    };
    let fault = train::run(&request, &mut on).unwrap_err();
    assert_eq!(fault.code, "panic");
    assert!(fault.message.contains("a bug of step two") && fault.hint.is_some(), "{fault}");
    let told = manifest(&desk.only_run());
    assert_eq!((told["status"].as_str(), told["error"]["code"].as_str()), (Some("failed"), Some("panic")));
    let again = TrainRequest { resume: Some("latest".into()), ..request };
    assert!(train::run(&again, &mut Silent).unwrap().model.is_some());
}

#[test]
fn a_stop_before_the_first_step_is_heard_at_once() {
    let desk = Desk::new();
    desk.project(4, "");
    let request = TrainRequest { has_turn: true, ..TrainRequest::new(Some(desk.path().join("project"))) };
    request.stop.request();
    assert_eq!(train::run(&request, &mut Silent).unwrap_err().code, "cancelled");
    assert!(!desk.path().join("project/runs").exists());
    // After the data is read, there is a run, and it can go on.
    let request = TrainRequest { has_turn: true, ..TrainRequest::new(Some(desk.path().join("project"))) };
    let stop = request.stop.clone();
    let mut observer = |event: &Event| {
        if matches!(event, Event::Run { .. }) {
            stop.request();
        }
    };
    let report = train::run(&request, &mut observer).unwrap();
    assert!(report.model.is_none() && report.resume_command.is_some());
    desk.ok(&["train", "project", "--resume", "latest", "--quiet"]);
}

#[test]
fn figures_on_files_of_one_name_do_not_overwrite_each_other() {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project", "--quiet"]);
    let run = RunFolder::open(&desk.only_run()).unwrap();
    let report = |data: &str, loss: f64| eval::EvalReport {
        model: "m".into(),
        adapter: None,
        data: data.into(),
        rows: 1,
        base: None,
        result: Evaluation { loss, perplexity: 1.0, accuracy: 0.5, tokens: 3 },
        remarks: Vec::new(),
    };
    let write = |data: &str, loss: f64| outcome::write_evaluation(&run, 1, &report(data, loss)).unwrap();
    let (a, b, c) = (write("/one/rows.jsonl", 1.0), write("/two/rows.jsonl", 2.0), write("/three/rows.csv", 3.0));
    assert_eq!(write("/two/rows.jsonl", 4.0), b);
    let loss = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["result"]["loss"].as_f64();
    assert_eq!([loss(&a), loss(&b), loss(&c)], [Some(1.0), Some(4.0), Some(3.0)]);
}

#[test]
fn an_export_has_figures_of_its_own_and_never_lies_in_the_result() {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project", "--quiet"]);
    let run = desk.only_run();
    let id = run.file_name().unwrap().to_str().unwrap().to_owned();
    let export = |out: &Path| {
        desk.run(&["export", "--run", &id, "--project", "project", "--format", "gguf", "--type", "f16", "--out", out.to_str().unwrap()])
    };
    for inside in ["final-model/model.gguf", "stage1/adapters/new/model.gguf", "final-model/../final-model/x.gguf"] {
        let said = export(&run.join(inside));
        assert!(said.code != 0 && said.err.contains("lies inside"), "{inside}: {}", said.err);
    }
    let said = export(&desk.path().join("project/exports/model.gguf"));
    assert_eq!(said.code, 0, "{}", said.err);
    let list = desk.json(&["models", "list", "project"]);
    let versions = list["versions"].as_array().unwrap();
    let of = |kind: &str| versions.iter().find(|v| v["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {list}"));
    assert!(of("adapter")["test_loss"].is_number() && of("adapter")["kl"].is_null(), "{list}");
    assert!(of("export")["test_loss"].is_null() && of("export")["best_loss"].is_null(), "{list}");
    assert!(of("export")["kl"].is_number() && of("export")["same_top"].is_number(), "{list}");
}
