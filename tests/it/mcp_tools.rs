//! Tools beside the main path: what is there, one run whole, settings, checkpoints, versions, and errors of arguments.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::Client;
use crate::program::Desk;

fn configure(client: &mut Client, name: &str, overrides: Value) -> Value {
    let data = json!({"train_dataset": "project/data/train.jsonl", "validation_dataset": "project/data/held.jsonl",
        "test_dataset": "project/data/held.jsonl"});
    let request = json!({"project_path": "project", "run_name": name, "training_data": data, "override_params": overrides});
    client.call("configure_training_run", request)["run_id"].clone()
}

fn with(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn one_run_whole_and_what_becomes_of_it() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &["--toolsets", "core,data"]);
    let run =
        configure(&mut client, "Läufer 1", json!({"training.stage1.iterations": 30, "training.save_steps": 10, "training.eval_steps": 10}));
    assert!(run.as_str().unwrap().starts_with("Läufer-1-"), "{run}");
    let at = json!({"project_path": "project", "run_id": run});
    let refused = |client: &mut Client, tool: &str, more: Value, code: &str, hint: &str| {
        let fault = client.try_call(tool, with(&at, more)).unwrap_err();
        assert!(fault["code"] == code && fault["hint"].as_str().unwrap_or_default().contains(hint), "{tool}: {fault}");
    };
    refused(&mut client, "generate_text", json!({"prompt": "x"}), "no_result", "start_training starts it");
    client.call("start_training", at.clone());
    let waited = client.call("wait", with(&at, json!({"seconds": 100})));
    assert_eq!((waited["ended"].as_bool(), waited["progress"]["status"].as_str()), (Some(true), Some("completed")), "{waited}");

    let whole = client.call("get_run", with(&at, json!({"points": 11, "log_lines": 3})));
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let curve = &whole["curve"];
    assert_eq!(numbers(&curve["step"]), (1..=10).map(|i| f64::from(3 * i)).collect::<Vec<_>>(), "{curve}");
    let rows = std::fs::read_to_string(desk.path().join("project/runs").join(run.as_str().unwrap()).join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = rows.lines().filter_map(|l| serde_json::from_str::<Value>(l).unwrap()["loss"].as_f64()).collect();
    let means: Vec<f64> = losses.chunks(3).map(|c| c.iter().sum::<f64>() / 3.0).collect();
    assert!(losses.len() == 30 && numbers(&curve["loss"]).iter().zip(&means).all(|(a, b)| (a - b).abs() < 1e-4), "{curve} {means:?}");
    assert_eq!(numbers(&whole["evaluations"]["step"]), [10.0, 20.0, 30.0]);
    assert_eq!(whole["log"].as_array().unwrap().len(), 3);
    let steps: Vec<u64> = whole["checkpoints"].as_array().unwrap().iter().map(|c| c["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [10, 20, 30], "{}", whole["checkpoints"]);

    // A checkpoint answers, is evaluated and is exported like the result.
    let prompt = json!({"prompt": "add 3 and 3", "temperature": 0, "max_new_tokens": 4});
    for step in [10, 30] {
        client.call("generate_text", with(&at, with(&prompt, json!({"checkpoint_step": step}))));
    }
    let losses: Vec<f64> = [10, 20]
        .map(|step| {
            let evaluated =
                client.call("evaluate_model", with(&at, json!({"test_dataset": "project/data/held.jsonl", "checkpoint_step": step})));
            evaluated["evaluation_results"]["custom_metrics"]["loss"].as_f64().unwrap()
        })
        .into();
    assert!(losses[0] != losses[1], "{losses:?}");
    let export = json!({"export_format": "peft", "export_path": "at-10", "checkpoint_step": 10});
    assert_eq!(client.call("export_model", with(&at, export))["success"], true);
    refused(&mut client, "generate_text", with(&prompt, json!({"checkpoint_step": 11})), "no_checkpoint", "step 10 of stage 1");
    refused(&mut client, "generate_text", with(&prompt, json!({"stage": 2})), "no_such_stage", "one stage");
    let upload = json!({"export_format": "peft", "export_path": "no", "upload_to_huggingface": true});
    refused(&mut client, "export_model", upload.clone(), "invalid_arguments", "owner/name");
    refused(&mut client, "export_model", with(&upload, json!({"hf_repo_id": "a/b"})), "hub_upload", "HF_TOKEN");
    assert!(!desk.path().join("no").exists());
    assert_eq!(client.call("get_run", at.clone())["exports"].as_array().unwrap().len(), 1);

    // What counts stays; what does not can go.
    let versions = client.call("list_model_versions", json!({"project_path": "project"}));
    assert!(versions["versions"].as_array().unwrap().len() >= 2 && versions["promoted"].is_null(), "{versions}");
    let promoted = client.call("promote_model", json!({"project_path": "project", "version": run}));
    assert_eq!(promoted["run_id"], run);
    refused(&mut client, "delete_run", json!({}), "run_promoted", "promote_model");
    let other = configure(&mut client, "other", json!({}));
    let start = &other.as_str().unwrap()[..5];
    assert_eq!(client.try_call("delete_run", json!({"project_path": "project", "run_id": start})).unwrap_err()["code"], "run_not_found");
    assert!(client.call("delete_run", json!({"project_path": "project", "run_id": other}))["freed_bytes"].as_u64() > Some(0));
    let left = client.call("list_runs", json!({"project_path": "project"}));
    assert_eq!((left["runs"].as_array().unwrap().len(), &left["runs"][0]["run_id"]), (1, &run));
    assert!(client.close());
}

#[test]
fn two_stages_make_one_curve_and_a_wait_ends_in_time() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let two = json!({"training": {"num_stages": 2, "stage1": {"iterations": 8}, "stage2": {"iterations": 4, "batch_size": 2}},
        "dataset.stage2_path": "project/data/train.jsonl"});
    let run = configure(&mut client, "two", two);
    let at = json!({"project_path": "project", "run_id": run});
    client.call("start_training", at.clone());
    client.call("wait", at.clone());
    let curve = client.call("get_run", with(&at, json!({"points": 4})))["curve"].clone();
    assert_eq!((&curve["stage"], &curve["step"]), (&json!([1, 1, 2]), &json!([4, 8, 4])), "{curve}");
    // A run that goes on is waited for as long as was said.
    let long = configure(&mut client, "long", json!({"training.stage1.iterations": 100_000}));
    let at = json!({"project_path": "project", "run_id": long});
    client.call("start_training", at.clone());
    let begun = Instant::now();
    let waited = client.call("wait", with(&at, json!({"seconds": 0.5})));
    assert_eq!(waited["ended"], false);
    assert!((Duration::from_millis(450)..Duration::from_secs(20)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let busy = client.try_call("export_model", with(&at, json!({"export_format": "peft", "export_path": "x"}))).unwrap_err();
    assert!(busy["code"] == "no_result" && busy["hint"].as_str().unwrap().contains("under way"), "{busy}");
    client.call("stop_training", with(&at, json!({"mode": "cancel"})));
    let gone = client.try_call("generate_text", with(&at, json!({"prompt": "x"}))).unwrap_err();
    assert!(gone["hint"].as_str().unwrap().contains("cancelled and cannot go on"), "{gone}");
    assert!(client.close());
}

#[test]
fn projects_datasets_and_settings() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
    let projects = client.call("list_projects", json!({}));
    let path = projects["projects"][0]["project_path"].as_str().unwrap();
    assert!(path.ends_with("/project") && projects["projects"].as_array().unwrap().len() == 1, "{projects}");
    let found = client.call("list_datasets", json!({"search_query": "HELD"}));
    assert!(found["datasets"][0]["path"].as_str().unwrap().ends_with("data/held.jsonl") && found["more"] == 0, "{found}");
    assert_eq!(client.call("list_datasets", json!({"limit": 1}))["more"], 1);
    let rows = client.call("preview_dataset", json!({"path": "project/data/train.jsonl", "rows": 2}));
    assert_eq!((&rows["total_rows"], &rows["rows"][1]), (&json!(48), &json!({"instruction": "add 1 and 1", "output": "2"})), "{rows}");
    let masked = client.call("preview_dataset", json!({"path": "project/data/train.jsonl", "rows": 1, "masked": true, "model": "model"}));
    let trained: Vec<bool> =
        masked["examples"][0]["segments"].as_array().unwrap().iter().map(|s| s["trained"].as_bool().unwrap()).collect();
    assert!(trained.contains(&true) && trained.contains(&false), "{masked}");

    let key =
        |client: &mut Client, key: &str| client.call("describe_config", json!({"key": key, "project_path": "project"}))["keys"][0].clone();
    let rank = key(&mut client, "lora.rank");
    assert!(
        rank["now"] == 4 && rank["default"].is_u64() && rank["said_at"].as_str().unwrap().contains("fine_tuning_config.yaml"),
        "{rank}"
    );
    assert!(key(&mut client, "training.seed")["said_at"].is_null());
    let wrong = client.try_call("describe_config", json!({"key": "lora.rang"})).unwrap_err();
    assert!(wrong["hint"].as_str().unwrap().contains("lora.rank"), "{wrong}");
    assert!(client.call("describe_config", json!({}))["names"].as_array().unwrap().len() > 50);

    let file = desk.path().join("project/config/fine_tuning_config.yaml");
    let commented = format!("# my notes\n{}", std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, &commented).unwrap();
    let set = |client: &mut Client, values: Value| client.try_call("set_config", json!({"project_path": "project", "values": values}));
    let changed = set(&mut client, json!({"lora.rank": 8, "training": {"seed": 7, "stage1": {"iterations": 5}}})).unwrap();
    assert_eq!(changed["changed"][0], json!({"key": "lora.rank", "before": 4, "now": 8}), "{changed}");
    assert_eq!((key(&mut client, "lora.rank")["now"].as_u64(), key(&mut client, "training.seed")["now"].as_u64()), (Some(8), Some(7)));
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("# my notes\n"));
    // All or none, every problem at once, paths below the roots.
    let before = std::fs::read_to_string(&file).unwrap();
    let fault = set(&mut client, json!({"lora.rank": 0, "training.sed": 1, "lora.alpha": 2})).unwrap_err();
    let message = fault["message"].as_str().unwrap();
    assert!(message.contains("lora.rank") && message.contains("did you mean `training.seed`") && !message.contains("--"), "{fault}");
    assert_eq!(set(&mut client, json!({"dataset.train_path": "/etc/passwd"})).unwrap_err()["code"], "path_outside_roots");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    set(&mut client, json!({"training.seed": null})).unwrap();
    assert!(key(&mut client, "training.seed")["said_at"].is_null());
    assert!(client.close());
}

#[test]
fn wrong_arguments_are_told_all_at_once_in_the_tools_own_words() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let bad =
        json!({"project_name": 1, "base_model": {"type": "gpt", "quantisation": "q4"}, "training": {"num_stages": 3, "batch_size": -1}});
    let fault = client.try_call("generate_fine_tuning_project", bad).unwrap_err();
    for part in [
        "`project_name`: must be text, not 1",
        "`output_dir`: is missing",
        "`base_model.type`: \"gpt\" is not one of olmo",
        "`base_model.model_id`: is missing",
        "did you mean `base_model.quantization`",
        "`training.num_stages`: 3 is more than 2",
        "`training.batch_size`: -1 is less than",
    ] {
        assert!(fault["message"].as_str().unwrap().contains(part), "{part}: {fault}");
    }
    // No words of the implementation, no endless numbers, whatever is wrong.
    let listed = client.request("tools/list", json!({}));
    for tool in listed["result"]["tools"].as_array().unwrap() {
        let properties = tool["inputSchema"]["properties"].as_object().unwrap();
        for value in [json!(-1), json!(1e300), json!(0.5), json!(""), json!([{}]), json!({"a": [1]}), json!(true)] {
            let all: serde_json::Map<String, Value> = properties.keys().map(|p| (p.clone(), value.clone())).collect();
            let Err(fault) = client.try_call(tool["name"].as_str().unwrap(), json!(all)) else { continue };
            let text = fault.to_string();
            for word in ["u64", "f64", "usize", "struct ", "variant", "expected a sequence", "invalid type", "0000000000", " --"] {
                assert!(!text.contains(word), "{} with {value}: {text}", tool["name"]);
            }
        }
    }
    let size = client.try_call("plan_training", json!({"project_path": "project", "gpu_memory": "24"})).unwrap_err();
    assert!(size["hint"].as_str().unwrap().contains("24GiB"), "{size}");
    let unknown = client.try_call("delete_run", json!({})).unwrap_err();
    assert!(unknown["code"] == "tool_not_served" && unknown["message"].as_str().unwrap().contains("`data`"), "{unknown}");
    let run = client.try_call("get_run", json!({"project_path": "project", "run_id": "none"})).unwrap_err();
    assert!(run["code"] == "run_not_found" && run["hint"].as_str().unwrap().contains("list_runs"), "{run}");
    assert!(client.close());
    let mut reader = Client::start(&desk, &["--read-only"]);
    assert_eq!(reader.try_call("start_training", json!({})).unwrap_err()["code"], "read_only");
    reader.call("plan_training", json!({"project_path": "project"}));
    assert!(reader.close());
}

#[test]
fn small_runs_share_the_processor() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start_with(&desk, &[], &[("TALLOW_JOBS_AT_ONCE", "2")]);
    let runs: Vec<Value> =
        (0..3).map(|i| configure(&mut client, &format!("r{i}"), json!({"training.stage1.iterations": 100_000}))).collect();
    let at = |run: &Value| json!({"project_path": "project", "run_id": run});
    let states: Vec<String> = runs.iter().map(|r| client.call("start_training", at(r))["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["running", "running", "queued"]);
    client.call("stop_training", with(&at(&runs[0]), json!({"mode": "cancel"})));
    client.until(runs[2].as_str().unwrap(), &["running"]);
    runs[1..].iter().for_each(|r| drop(client.call("stop_training", with(&at(r), json!({"mode": "cancel"})))));
    assert!(client.close());
}
