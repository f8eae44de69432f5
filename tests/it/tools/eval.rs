//! `tallow eval` on rows with tools and on the leaderboard's files.

use serde_json::{Value, json};

use crate::program::{Desk, drawn_seed};

const TOOLS: &str = r#"[
  {"name": "get_weather", "description": "Get the weather", "inputSchema": {"type": "object",
    "properties": {"city": {"type": "string"}}, "required": ["city"]}},
  {"name": "set_timer", "description": "Set a timer", "inputSchema": {"type": "object",
    "properties": {"minutes": {"type": "integer", "minimum": 1, "maximum": 90}}, "required": ["minutes"]}}
]"#;

fn metric<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["sides"][0]["metrics"].as_array().unwrap();
    all.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A model that has learnt nothing calls nothing: the figures follow from the rows alone.
#[test]
fn a_model_that_calls_nothing_is_right_where_no_call_is_due() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    desk.write("tools.json", TOOLS);
    let seed = drawn_seed().to_string();
    let make = ["data", "make-tools", "tools.json", "--out", "made", "--rows", "60", "--validation", "0", "--test", "0.5"];
    desk.ok(&[make.as_slice(), &["--seed", &seed]].concat());
    let test = rows(&std::fs::read_to_string(desk.path().join("made/test.jsonl")).unwrap());
    let asked = ["eval", "--model", "model", "--data", "made/test.jsonl", "--metric", "tools,exact_match", "--max-new-tokens", "3"];
    let report = desk.json(&[asked.as_slice(), &["--report", "judged", "--worst", "2"]].concat());
    let turns = |row: &Value| -> Vec<bool> {
        let all = row["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "assistant");
        all.map(|m| m["tool_calls"].is_array()).collect()
    };
    let all: Vec<bool> = test.iter().flat_map(turns).collect();
    let silent = all.iter().filter(|c| !**c).count() as f64;
    let whole = test.iter().filter(|r| turns(r).iter().all(|c| !c)).count() as f64;
    for (name, wanted) in [
        ("tool_correct", silent / all.len() as f64),
        ("tool_task", whole / test.len() as f64),
        ("tool_call", 0.0),
        ("tool_format", 0.0),
        ("tool_selection", 0.0),
        ("tool_abstention", 1.0),
        ("tool_order", 0.0),
    ] {
        let got = metric(&report, name)["value"].as_f64();
        assert!(got.is_some_and(|g| (g - wanted).abs() < 1e-9), "seed {seed}: {name} is {got:?}, not {wanted}");
    }
    // No tool was called, so there are no arguments to judge.
    assert_eq!(metric(&report, "tool_arguments")["value"], Value::Null, "seed {seed}");
    assert!(metric(&report, "tool_missing")["lower_is_better"].as_bool().unwrap());
    // Groups by kind and tool come by themselves, and hold every row once.
    let groups = report["sides"][0]["groups"].as_array().unwrap();
    for field in ["kind", "tool"] {
        let of: Vec<&Value> = groups.iter().filter(|g| g["field"] == field).collect();
        assert_eq!(of.iter().map(|g| g["rows"].as_u64().unwrap()).sum::<u64>() as usize, test.len(), "seed {seed}: {of:?}");
        for g in of {
            let rows = test.iter().filter(|r| r[field] == g["label"]).count();
            assert_eq!(g["rows"].as_u64().unwrap() as usize, rows, "seed {seed}: {g}");
        }
    }
    assert!(groups.iter().all(|g| g["field"] != "server"), "no row has a server");
    let file = |name: &str| std::fs::read_to_string(desk.path().join("judged").join(name)).unwrap();
    let answers = rows(&file("answers.jsonl"));
    assert_eq!(answers.len(), test.len());
    for (answer, row) in answers.iter().zip(&test) {
        let calls: Vec<&Value> = row["messages"].as_array().unwrap().iter().filter_map(|m| m.get("tool_calls")).collect();
        let wanted = answer["wanted"].as_str().unwrap();
        for name in calls.iter().flat_map(|c| c.as_array().unwrap()).map(|c| c["function"]["name"].as_str().unwrap()) {
            assert!(wanted.contains(name), "{answer}");
        }
    }
    assert!(file("report.md").contains("### tool_correct") && file("report.html").contains("tool_abstention"));
    let text = desk.ok(&asked);
    assert!(text.out.contains("multi_step") && text.out.contains("tool_order"), "{}", text.out);
}

#[test]
fn calls_in_the_text_of_a_row_are_expected_too_and_broken_ones_are_named() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let row = |answer: &str| json!({"prompt": "weather?", "completion": answer}).to_string() + "\n";
    let call =
        "<use_mcp_tool>\n<server_name>sky</server_name>\n<tool_name>look</tool_name>\n<arguments>\n{}\n</arguments>\n</use_mcp_tool>";
    desk.write("rows.jsonl", &(row(call) + &row("It rains.")));
    let asked = ["eval", "--model", "model", "--data", "rows.jsonl", "--metric", "tool_correct,tool_format", "--max-new-tokens", "2"];
    let report = desk.json(&asked);
    assert_eq!((&metric(&report, "tool_correct")["value"], &metric(&report, "tool_format")["value"]), (&json!(0.5), &json!(0.0)));
    let groups = report["sides"][0]["groups"].as_array().unwrap();
    for (field, label) in [("tool", "look"), ("server", "sky"), ("server", "(none)")] {
        assert!(groups.iter().any(|g| g["field"] == field && g["label"] == label && g["rows"] == 1), "{field} {label}: {groups:?}");
    }
    desk.write("rows.jsonl", &(row("Hm.") + &row("<tool_call>{\"name\": \"look\"")));
    let done = desk.run(&asked);
    assert!(done.code != 0 && done.err.contains("rows.jsonl:2"), "{}", done.err);
}

fn question(id: &str) -> String {
    let function = json!({"name": "math.add", "description": "Adds.", "parameters": {"type": "dict",
        "properties": {"a": {"type": "integer", "description": "One."}}, "required": ["a"]}});
    json!({"id": id, "question": [[{"role": "user", "content": "add 1"}]], "function": [function]}).to_string() + "\n"
}

#[test]
fn the_leaderboards_folder_is_judged_by_category() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let questions = |name: &str, n: usize| (0..n).map(|i| question(&format!("{name}_{i}"))).collect::<String>();
    for (name, n) in [("simple_python", 4), ("live_parallel", 2), ("irrelevance", 3), ("live_relevance", 1)] {
        desk.write(&format!("bfcl/BFCL_v4_{name}.json"), &questions(name, n));
        let truth = |i| json!({"id": format!("{name}_{i}"), "ground_truth": [{"math.add": {"a": [1]}}]}).to_string() + "\n";
        desk.write(&format!("bfcl/possible_answer/BFCL_v4_{name}.json"), &(0..n).map(truth).collect::<String>());
    }
    desk.write("bfcl/BFCL_v4_multi_turn_base.json", "{}\n");
    desk.write("bfcl/notes.json", "{}\n");
    let asked = ["eval", "--model", "model", "--data", "bfcl", "--metric", "bfcl", "--max-new-tokens", "2"];
    let report = desk.json(&asked);
    assert_eq!((&report["rows"], &metric(&report, "bfcl")["value"]), (&json!(10), &json!(0.3)));
    let groups = report["sides"][0]["groups"].as_array().unwrap();
    for (label, rows, right) in [("simple_python", 4, 0.0), ("live_parallel", 2, 0.0), ("irrelevance", 3, 1.0), ("live_relevance", 1, 0.0)]
    {
        let g = groups.iter().find(|g| g["label"] == label).unwrap_or_else(|| panic!("{label}: {groups:?}"));
        let f = &g["figures"][0];
        assert_eq!((&g["field"], &g["rows"], f["value"].as_f64()), (&json!("category"), &json!(rows), Some(right)), "{g}");
        assert!(f["low"].as_f64() <= Some(right) && f["high"].as_f64() >= Some(right), "{g}");
    }
    let faults = report["sides"][0]["faults"].as_array().unwrap();
    assert_eq!(faults[0], json!({"name": "ast_decoder:decoder_failed", "rows": 6}), "{faults:?}");
    // At most so many of each category; one file alone; limits.
    let one = ["eval", "--model", "model", "--data", "bfcl/BFCL_v4_irrelevance.json", "--metric", "bfcl", "--max-new-tokens", "2"];
    assert_eq!(desk.json(&[asked.as_slice(), &["--max-rows", "2"]].concat())["rows"], 7);
    assert_eq!(desk.json(&[one.as_slice(), &["--threshold", "bfcl>=1"]].concat())["passed"], true);
    assert_eq!(desk.run(&[asked.as_slice(), &["--threshold", "bfcl>=1"]].concat()).code, 6);
    for (bad, says) in
        [(vec!["--metric", "bleu"], "stands alone"), (vec!["--by", "id"], "stands alone"), (vec!["--layout", "chat"], "own files")]
    {
        let done = desk.run(&[asked.as_slice(), &bad].concat());
        assert!(done.code != 0 && done.err.contains(says), "{bad:?}: {}", done.err);
    }
    desk.write("bfcl/possible_answer/BFCL_v4_simple_python.json", "{\"id\": 3}\n");
    let done = desk.run(&asked);
    assert!(done.code != 0 && done.err.contains("possible_answer/BFCL_v4_simple_python.json:1"), "{}", done.err);
}

/// A model that has learnt its answers by heart is judged by them, and by what other rows want.
#[test]
fn what_a_model_has_learnt_to_call_counts() {
    let desk = Desk::new();
    desk.project(1, "");
    let call =
        |n: u64| json!({"prompt": "weather?", "completion": json!({"name": "look", "arguments": {"n": n}}).to_string()}).to_string() + "\n";
    let talk = json!({"prompt": "hello", "completion": "Hi."}).to_string() + "\n";
    desk.write("project/data/train.jsonl", &(call(1) + &talk).repeat(8));
    desk.write("project/data/held.jsonl", &(call(1) + &talk));
    let set = ["training.stage1.iterations=80", "lora.rank=8", "lora.alpha=16", "lora.dropout=0"];
    let set: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).collect();
    let adapter = desk.json(&[&["train", "project"], set.as_slice()].concat())["model"].as_str().unwrap().to_owned();
    desk.write("rows.jsonl", &(call(1) + &call(2) + &talk));
    let asked = ["eval", "--model", "model", "--adapter", &adapter, "--data", "rows.jsonl", "--metric", "tools", "--max-new-tokens", "64"];
    let report = desk.json(&asked);
    let figure = |side: usize, name: &str| {
        let all = report["sides"][side]["metrics"].as_array().unwrap();
        all.iter().find(|m| m["name"] == name).unwrap()["value"].clone()
    };
    let third = |n: f64| json!(n / 3.0);
    for (name, base, tuned) in [
        ("tool_correct", third(1.0), third(2.0)),
        ("tool_call", json!(0.0), json!(0.5)),
        ("tool_format", json!(0.0), json!(1.0)),
        ("tool_selection", json!(0.0), json!(1.0)),
        ("tool_wrong_value", Value::Null, json!(0.5)),
        ("tool_missing", Value::Null, json!(0.0)),
        ("tool_abstention", json!(1.0), json!(1.0)),
    ] {
        assert_eq!((figure(0, name), figure(1, name)), (base, tuned), "{name}: {report}");
    }
    assert_eq!(desk.run(&[asked.as_slice(), &["--threshold", "tool_wrong_value<=0.4"]].concat()).code, 6);
}
