//! `tallow data prepare`, run as a user runs it.

use serde_json::{Value, json};

use crate::mcp_client::Client;
use crate::program::{Desk, drawn_seed};

fn rows(desk: &Desk, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(desk.path().join(file)).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{file}: {e}: {l}"))).collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|r| format!("{r}\n")).collect()
}

/// What training would see of a file: the hash of all token ids and labels.
fn seen(desk: &Desk, file: &str) -> String {
    let report = desk.json(&["data", "check", file]);
    assert_eq!(report["bad_rows"], 0, "{file}: {report}");
    report["fingerprint"].as_str().unwrap().to_owned()
}

fn words(rng: &mut fastrand::Rng, n: usize) -> String {
    (0..n).map(|_| (0..rng.usize(2..9)).map(|_| rng.alphabetic()).collect::<String>()).collect::<Vec<_>>().join(" ")
}

const TOOLS: &str = r#"[{"name": "look", "description": "Look", "inputSchema": {"type": "object", "properties":
    {"place": {"type": "string"}, "far": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["place"]}},
  {"name": "go", "description": "Go", "inputSchema": {"type": "object", "properties": {"steps": {"type": "integer"}}, "required": ["steps"]}}]"#;

/// Whatever format and layout rows go through, training sees the same tokens.
#[test]
fn rows_stay_what_they_are_through_formats_and_layouts() {
    let desk = Desk::new();
    let seed = drawn_seed();
    desk.write("tools.json", TOOLS);
    let made = ["data", "make-tools", "tools.json", "--out", "made", "--rows", "60", "--seed", &seed.to_string(), "--validation", "0"];
    desk.ok(&[made.as_slice(), &["--test", "0"]].concat());
    let mut rng = fastrand::Rng::with_seed(seed);
    let pair = |rng: &mut fastrand::Rng, i: usize| {
        json!({"instruction": format!("{} \"{i}\",\n{}", words(rng, 5), words(rng, 3)), "input": if i.is_multiple_of(3) { words(rng, 4) } else { String::new() },
            "output": words(rng, 12), "system": if i.is_multiple_of(4) { "Be brief; é ß 漢" } else { "" }, "source": i})
    };
    let pairs: Vec<Value> = (0..40).map(|i| pair(&mut rng, i)).collect();
    desk.write("pairs.jsonl", &lines(&pairs));
    let mut chats = rows(&desk, "made/train.jsonl");
    chats.truncate(30);
    chats[3]["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": words(&mut rng, 4)}));
    // An answer that is not trained stays one.
    chats.push(json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "wrong", "weight": 0},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "right"}]}));
    chats.push(json!({"messages": [{"role": "user", "content": "plain"}, {"role": "assistant", "content": "words"}]}));
    desk.write("chats.jsonl", &lines(&chats));
    for (from, layouts) in [("pairs.jsonl", &["alpaca", "chat", "sharegpt", "completion"][..]), ("chats.jsonl", &["chat"])] {
        let wanted = seen(&desk, from);
        let mut n = 0;
        for to in layouts {
            for format in ["jsonl", "json", "csv", "parquet"] {
                n += 1;
                let out = format!("{from}-{n}.{format}");
                let report = desk.json(&["data", "prepare", from, "--to", to, "--out", &out, "--dedupe", "none"]);
                assert_eq!((&report["rows"], &report["layout"]), (&report["written"], &json!(to)), "seed {seed}, {out}: {report}");
                assert_eq!(seen(&desk, &out), wanted, "seed {seed}: {from} as {to} in {format}");
                // And back.
                let back = format!("back-{out}.jsonl");
                desk.ok(&["data", "prepare", &out, "--to", "chat", "--out", &back, "--dedupe", "none"]);
                assert_eq!(seen(&desk, &back), wanted, "seed {seed}: {from} as {to} in {format} and back");
            }
        }
    }
    // Columns that no layout reads are kept.
    let kept = rows(&desk, "back-pairs.jsonl-1.jsonl.jsonl");
    assert!(kept.iter().enumerate().all(|(i, r)| r["source"] == i), "{kept:?}");
    assert_eq!(rows(&desk, "back-chats.jsonl-1.jsonl.jsonl")[0]["kind"], chats[0]["kind"]);
    // What a layout cannot hold is left out by its line, and nothing else.
    let report = desk.json(&["data", "prepare", "chats.jsonl", "--to", "completion", "--out", "some.jsonl", "--dedupe", "none"]);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len() as u64, report["not_convertible"].as_u64().unwrap());
    assert_eq!(report["rows"].as_u64().unwrap(), report["written"].as_u64().unwrap() + problems.len() as u64, "seed {seed}");
    assert!(problems.iter().all(|p| p["code"] == "not_convertible"), "{problems:?}");
    assert_eq!(rows(&desk, "some.jsonl"), [json!({"prompt": "plain", "completion": "words"})]);
}

/// Rows of known faults, in a drawn order: each is left out for its own reason.
#[test]
fn poor_and_repeated_rows_are_left_out_and_counted() {
    let desk = Desk::new();
    let seed = drawn_seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let row = |prompt: &str, answer: &str| json!({"prompt": prompt, "completion": answer});
    let good: Vec<Value> = (0..50).map(|_| row(&words(&mut rng, 30), &words(&mut rng, 40))).collect();
    let mut all = good.clone();
    // Repeats stand behind their first, so that the first is kept.
    for one in good.iter().take(7) {
        all.push(row(&one["prompt"].as_str().unwrap().to_uppercase(), one["completion"].as_str().unwrap()));
    }
    for one in good.iter().skip(10).take(5) {
        all.push(row(one["prompt"].as_str().unwrap(), &format!("{} x", one["completion"].as_str().unwrap())));
    }
    let mut others = vec![row("short", "row")];
    others.extend((0..3).map(|_| row(&words(&mut rng, 300), &words(&mut rng, 300))));
    others.extend((0..4).map(|i| row(&words(&mut rng, 30), &format!("same words again {i} ").repeat(30))));
    others.push(row(&words(&mut rng, 40), "ok"));
    rng.shuffle(&mut others);
    all.extend(others);
    desk.write("raw.jsonl", &(lines(&all) + "{\"prompt\": 3}\n"));
    let asked = ["data", "prepare", "raw.jsonl", "--dedupe", "near", "--min-chars", "20", "--max-chars", "2000", "--min-answer-chars", "5"];
    let asked = [asked.as_slice(), &["--min-quality", "0.5"]].concat();
    let report = desk.json(&[asked.as_slice(), &["--out", "clean.jsonl"]].concat());
    for (name, wanted) in [
        ("rows", 50 + 7 + 5 + 1 + 3 + 4 + 1 + 1),
        ("bad", 1),
        ("too_short", 1),
        ("too_long", 3),
        ("short_answers", 1),
        ("low_quality", 4),
        ("duplicates", 7),
        ("near_duplicates", 5),
        ("over_cap", 0),
        ("written", 50),
    ] {
        assert_eq!(report[name], wanted, "seed {seed}: {name}: {report}");
    }
    assert_eq!(rows(&desk, "clean.jsonl"), good, "seed {seed}");
    // A cap takes so many, the same for the same seed, in the order of the file.
    let capped = |out: &str, seed: &str| {
        let args = ["--max-rows", "20", "--seed", seed, "--out", out];
        assert_eq!(desk.json(&[asked.as_slice(), &args].concat())["over_cap"], 30);
        rows(&desk, out)
    };
    let first = capped("a.jsonl", "1");
    assert_eq!(first, capped("b.jsonl", "1"), "seed {seed}");
    assert_ne!(first, capped("c.jsonl", "2"), "seed {seed}");
    let mut at = good.iter();
    assert!(first.len() == 20 && first.iter().all(|r| at.any(|g| g == r)), "seed {seed}");
}

#[test]
fn secrets_and_addresses_go_from_every_text_of_a_row() {
    let desk = Desk::new();
    let key = format!("ghp_{}", "aB3dE6gH9k".repeat(4));
    let call = json!({"type": "function", "function": {"name": "mail", "arguments": {"to": ["ann@example.org"], "key": key}}});
    let chat = json!({"messages": [{"role": "system", "content": format!("key {key}")}, {"role": "user", "content": "write to bob@example.org"},
        {"role": "assistant", "content": "", "reasoning_content": format!("I use {key}"), "tool_calls": [call]}], "note": "cc: eve@example.org"});
    desk.write("raw.jsonl", &lines(&[chat]));
    let report = desk.json(&["data", "prepare", "raw.jsonl", "--redact", "secrets,emails", "--out", "clean.jsonl"]);
    assert_eq!(report["redacted"], json!({"secrets": 3, "emails": 3}), "{report}");
    let text = std::fs::read_to_string(desk.path().join("clean.jsonl")).unwrap();
    assert!(!text.contains("ghp_") && !text.contains('@'), "{text}");
    desk.ok(&["data", "prepare", "raw.jsonl", "--redact", "emails", "--out", "mails.jsonl"]);
    let text = std::fs::read_to_string(desk.path().join("mails.jsonl")).unwrap();
    assert!(text.contains("ghp_") && !text.contains('@'), "{text}");
}

#[test]
fn parts_share_no_row_and_bad_requests_say_what_to_do() {
    let desk = Desk::new();
    let row = |i: usize| json!({"prompt": format!("q{}", i % 90), "completion": format!("a{}", i % 90)});
    desk.write("raw.jsonl", &lines(&(0..100).map(row).collect::<Vec<_>>()));
    let report = desk.json(&["data", "prepare", "raw.jsonl", "--dedupe", "none", "--out", "parts", "--split", "70/20/10"]);
    let part = |name: &str| rows(&desk, &format!("parts/{name}.jsonl"));
    let parts = ["train", "validation", "test"].map(part);
    for ((rows, wanted), file) in parts.iter().zip([70, 20, 10]).zip(report["files"].as_array().unwrap()) {
        assert!(rows.len().abs_diff(wanted) <= 1 && file["rows"] == rows.len(), "{} of {wanted}: {report}", rows.len());
    }
    let texts = |rows: &[Value]| rows.iter().map(Value::to_string).collect::<std::collections::HashSet<_>>();
    let [train, validation, test] = parts.each_ref().map(|p| texts(p));
    assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
    for (args, says) in [
        (vec!["--out", "parts"], "exists already"),
        (vec!["--out", "x.jsonl", "--split", "80/10/10"], "one file"),
        (vec!["--out", "x.csv", "--format", "parquet"], "to hold parquet"),
        (vec!["--out", "x", "--split", "80/20"], "three shares"),
        (vec!["--out", "x", "--dedupe", "near", "--near", "0"], "above 0"),
        (vec!["--out", "x", "--near", "0.9"], "near rows are kept"),
        (vec!["--out", "x", "--min-chars", "9999"], "no row is left"),
        (vec!["--out", "x", "--to", "text"], "no row is left"),
        (vec!["--out", "x", "--min-quality", "2"], "between 0 and 1"),
        (vec!["--out", "x", "--max-seq-length", "9"], "--max-chars"),
    ] {
        let done = desk.run(&[&["data", "prepare", "raw.jsonl"], args.as_slice()].concat());
        assert!(done.code != 0 && done.err.contains(says), "{args:?}: {}", done.err);
    }
    assert!(!desk.path().join("x").exists() && !desk.path().join("x.jsonl").exists());
}

#[test]
fn an_assistant_prepares_data_too() {
    let desk = Desk::new();
    let row = |i: usize| json!({"question": format!("ask {i} of a@b.io"), "answer": format!("answer number {i}")});
    desk.write("raw.jsonl", &lines(&(0..20).chain(0..5).map(row).collect::<Vec<_>>()));
    let mut client = Client::start(&desk, &["--toolsets", "core,data"]);
    let request = json!({"dataset": "raw.jsonl", "output_path": "ready", "layout": "chat", "instruction_field": "question", "output_field": "answer",
        "format": "parquet", "redact": ["emails"], "max_samples": 15});
    let made = client.call("prepare_dataset", request.clone());
    assert_eq!((&made["rows"], &made["written"], &made["redacted_emails"]), (&json!(25), &json!(15), &json!(25)), "{made}");
    assert_eq!(made["left_out"], json!(["5 repeated", "5 beyond the cap"]), "{made}");
    let file = made["files"].as_object().unwrap().keys().find(|f| f.ends_with("train.parquet")).unwrap().clone();
    let looked = client.call("validate_dataset", json!({"dataset": file, "show": 1}));
    assert_eq!((&looked["valid"], &looked["layout"]), (&json!(true), &json!("chat")), "{looked}");
    let again = client.try_call("prepare_dataset", request).unwrap_err();
    assert_eq!(again["code"], "already_exists", "{again}");
}

#[test]
fn a_dataset_is_described_in_files_with_pictures() {
    let desk = Desk::new();
    desk.write("tools.json", TOOLS);
    desk.ok(&[
        "data",
        "make-tools",
        "tools.json",
        "--out",
        "made",
        "--rows",
        "80",
        "--validation",
        "0",
        "--test",
        "0",
        "--kinds",
        "single,no_tool",
    ]);
    let mut all = rows(&desk, "made/train.jsonl");
    let hostile = "<script>alert(1)</script> | `x`";
    let idle = json!({"type": "function", "function": {"name": hostile, "description": "d", "parameters": {"type": "object"}}});
    all[0]["tools"].as_array_mut().unwrap().push(idle);
    let mut again = all[1].clone();
    let user = again["messages"].as_array_mut().unwrap().iter_mut().find(|m| m["role"] == "user").unwrap();
    user["content"] = json!(user["content"].as_str().unwrap().to_uppercase() + " !!");
    all.push(again);
    desk.write("data.jsonl", &lines(&all));
    let report = desk.json(&["data", "stats", "data.jsonl", "--report"]);
    let profile = &report["profile"];
    let called = |name: &str| {
        let calls = all.iter().flat_map(|r| r["messages"].as_array().unwrap()).filter_map(|m| m["tool_calls"].as_array()).flatten();
        calls.filter(|c| c["function"]["name"] == name).count()
    };
    let tools = profile["tools"].as_array().unwrap();
    for name in ["look", "go"] {
        let tool = tools.iter().find(|t| t["name"] == name).unwrap();
        let offered = all.iter().filter(|r| r["tools"].as_array().unwrap().iter().any(|t| t["function"]["name"] == name)).count();
        assert_eq!((&tool["calls"], &tool["offered"]), (&json!(called(name)), &json!(offered)), "{tool}");
    }
    assert_eq!(profile["never_called"], json!([hostile]));
    assert!(profile["near_duplicates"].as_u64().unwrap() >= 1, "{profile}");
    for bins in ["chars", "answers", "calls", "quality", "tokens"] {
        let rows: u64 = profile[bins].as_array().unwrap().iter().map(|b| b["rows"].as_u64().unwrap()).sum();
        assert_eq!(rows, 81, "{bins}: {profile}");
    }
    let file = |ending: &str| std::fs::read_to_string(desk.path().join(format!("data/quality_reports/data.{ending}"))).unwrap();
    let (html, markdown) = (file("html"), file("md"));
    assert!(html.contains("<svg") && !html.contains("<script") && html.contains("&lt;script"), "{html}");
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    for table in markdown.split("\n\n").filter(|t| t.starts_with("| ")) {
        let columns = |l: &str| l.replace("\\|", "").matches('|').count();
        assert!(table.lines().all(|l| columns(l) == columns(table.lines().next().unwrap())), "{table}");
    }
    let written: Value = serde_json::from_str(&file("json")).unwrap();
    assert_eq!(written["profile"], *profile);
    let text = desk.ok(&["data", "stats", "data.jsonl", "--report", "elsewhere"]).out;
    assert!(
        text.contains("never called") && text.contains("elsewhere/data.html") && desk.path().join("elsewhere/data.md").exists(),
        "{text}"
    );
    // `check` does none of this.
    assert!(desk.json(&["data", "check", "data.jsonl"])["profile"].is_null());
}
