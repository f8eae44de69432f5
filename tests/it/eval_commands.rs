//! `tallow eval` with metrics and `tallow compare`, on files.

use serde_json::{Value, json};

use crate::program::Desk;

const METRICS: [&str; 6] = ["perplexity", "accuracy", "exact_match", "chrf", "rouge_l", "regex"];

fn figure(report: &Value, side: usize, name: &str) -> f64 {
    let metrics = report["sides"][side]["metrics"].as_array().unwrap();
    metrics.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))["value"].as_f64().unwrap()
}

#[test]
fn base_and_tuned_are_judged_by_what_is_asked_for() {
    let desk = Desk::new();
    desk.project(60, "");
    let adapter = desk.json(&["train", "project"])["model"].as_str().unwrap().to_owned();
    let common = ["--data", "project/data/held.jsonl", "--max-seq-length", "64"];
    let tuned = [&["eval", "--model", "model", "--adapter", adapter.as_str()], common.as_slice()].concat();
    let losses = desk.json(&tuned);
    let asked = ["--metric", "perplexity,accuracy,exact_match,chrf,rouge_l", "--metric", "regex:[0-9]{1,3}", "--max-new-tokens", "12"];
    let report = desk.json(&[&tuned, asked.as_slice(), &["--report", "judged", "--by", "output"]].concat());
    let names: Vec<&str> = report["sides"][1]["metrics"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, METRICS);
    // Row by row or packed, the losses are the same.
    for (side, name) in [(0, "base"), (1, "result")] {
        for metric in ["perplexity", "accuracy"] {
            let (got, wanted) = (figure(&report, side, metric), losses[name][metric].as_f64().unwrap());
            assert!((got / wanted - 1.0).abs() < 1e-4, "{name} {metric}: {got}, {wanted}");
        }
    }
    assert_eq!(report["differences"].as_array().unwrap().len(), METRICS.len());
    for m in report["sides"][1]["metrics"].as_array().unwrap() {
        let f = |k: &str| m[k].as_f64().unwrap();
        assert!(f("low") <= f("value") && f("value") <= f("high"), "{m}");
    }
    // The groups hold every row once, and their figures make the whole.
    let groups = report["sides"][1]["groups"].as_array().unwrap();
    let rows = report["rows"].as_u64().unwrap();
    assert_eq!(groups.iter().map(|g| g["rows"].as_u64().unwrap()).sum::<u64>(), rows);
    let exact: f64 = groups.iter().map(|g| g["rows"].as_f64().unwrap() * g["figures"][2]["value"].as_f64().unwrap()).sum();
    assert!((exact / rows as f64 - figure(&report, 1, "exact_match")).abs() < 1e-9);
    // The files say the same, and every answer is there.
    let file = |name: &str| std::fs::read_to_string(desk.path().join(format!("judged/{name}"))).unwrap();
    let written: Value = serde_json::from_str(&file("report.json")).unwrap();
    assert_eq!(written["sides"], report["sides"]);
    let answers: Vec<Value> = file("answers.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.len() as u64, rows);
    let right = answers.iter().filter(|a| a["answers"]["tuned"].as_str().unwrap().trim() == a["wanted"].as_str().unwrap().trim()).count();
    assert!((right as f64 / rows as f64 - figure(&report, 1, "exact_match")).abs() < 1e-9);
    // An answer of the batch is what `generate` says.
    for a in answers.iter().take(3) {
        let prompt = a["prompt"].as_str().unwrap();
        let args = ["generate", "--model", "model", "--adapter", &adapter, "--prompt", prompt, "--raw", "--temperature", "0"];
        let alone = desk.json(&[args.as_slice(), &["--max-new-tokens", "12"]].concat());
        assert_eq!(alone["text"], a["answers"]["tuned"], "{a}");
    }
    let (html, markdown) = (file("report.html"), file("report.md"));
    assert!(html.contains("<svg") && !html.contains("<script") && html.ends_with("</html>\n"));
    assert!(markdown.contains("| exact_match |") && markdown.contains("## Worst rows"));
    // Two models by name give the same figures as base and tuned.
    let compared = desk.json(&[&["compare", "model", "model", "--second-adapter", &adapter], common.as_slice(), asked.as_slice()].concat());
    for name in METRICS {
        let (a, b) = (figure(&compared, 1, name), figure(&report, 1, name));
        assert!((a - b).abs() < 1e-9, "{name}: {a}, {b}");
    }
}

#[test]
fn thresholds_decide_the_exit_code() {
    let desk = Desk::new();
    desk.project(4, "");
    let base = ["eval", "--model", "model", "--data", "project/data/held.jsonl", "--max-new-tokens", "4", "--metric", "length,exact_match"];
    let with = |limits: &[&str]| {
        let mut args = vec!["--json"];
        args.extend(base);
        limits.iter().for_each(|l| args.extend(["--threshold", *l]));
        desk.run(&args)
    };
    for (limits, code, passed) in [
        (vec![], 0, Value::Null),
        (vec!["length>=0"], 0, json!(true)),
        (vec!["length>=0", "exact_match>=2"], 6, json!(false)),
        (vec!["length<=-1"], 6, json!(false)),
    ] {
        let done = with(&limits);
        let report: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((done.code, &report["passed"]), (code, &passed), "{limits:?}: {}", done.out);
    }
    for (limit, says) in [("length", "bad_threshold"), ("bleu>=1", "bad_threshold")] {
        let done = with(&[limit]);
        assert!(done.code == 1 && done.out.contains(says), "{limit}: {}", done.out);
    }
    for bad in [["--metric", "blue"], ["--by", "nowhere"], ["--rubric", "none.yaml"], ["--levels", "q3"]] {
        let done = desk.run(&[base.as_slice(), &bad].concat());
        assert_ne!(done.code, 0, "{bad:?}");
    }
}

#[test]
fn levels_of_quantisation_stand_side_by_side_with_a_rubric() {
    let desk = Desk::new();
    desk.project(4, "");
    std::fs::write(desk.path().join("rubric.yaml"), "criteria:\n  a: {metric: length, weight: 1}\n  b: {metric: chrf, weight: 3}\n")
        .unwrap();
    let args = ["eval", "--model", "model", "--data", "project/data/held.jsonl", "--metric", "length,chrf", "--levels", "none,q8,nf4"];
    let report = desk.json(&[args.as_slice(), &["--rubric", "rubric.yaml", "--max-new-tokens", "4", "--max-rows", "5"]].concat());
    let sides = report["sides"].as_array().unwrap();
    let labels: Vec<&str> = sides.iter().map(|s| s["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["model at none", "model at q8", "model at nf4"]);
    let bytes: Vec<u64> = sides.iter().map(|s| s["cost"]["weight_bytes"].as_u64().unwrap()).collect();
    assert!(bytes[0] > bytes[1] && bytes[1] > bytes[2], "{bytes:?}");
    for (i, side) in sides.iter().enumerate() {
        let wanted = (figure(&report, i, "length") + 3.0 * figure(&report, i, "chrf") / 100.0) / 4.0;
        assert!((side["rubric"]["value"].as_f64().unwrap() - wanted).abs() < 1e-9, "{side}");
        assert!(side["cost"]["cache_bytes"].as_u64().unwrap() > 0 && side["cost"]["new_tokens"].as_u64().unwrap() > 0, "{side}");
    }
}
