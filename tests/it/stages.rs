//! Two stages: each is judged by its own rows, and the mix is what was asked for. And the rows of a
//! single one: what cannot be trained is refused for its true reason.

use std::fs;

use serde_json::Value;

use crate::program::{Desk, drawn_seed};

fn json(path: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn stage_two_is_watched_and_judged_by_its_own_rows() {
    let desk = Desk::new();
    desk.project(4, "");
    let row = |i: usize| format!("{{\"instruction\": \"name the day after {i}\", \"output\": \"it is day {}\"}}\n", i + 1);
    desk.write("project/data/second.jsonl", &(0..20).map(row).collect::<String>());
    let config = fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    let config = config.replace("  max_seq", "  num_stages: 2\n  stage2: {iterations: 4, batch_size: 2, replay_ratio: 0.25}\n  max_seq");
    let config = config.replace("test_path: data/held.jsonl", "test_path: data/held.jsonl, stage2_path: data/second.jsonl");
    desk.write("project/config/fine_tuning_config.yaml", &config);
    let said = desk.ok(&["train", "project"]);
    assert!(said.err.contains("stage 2") && said.err.contains("replayed of stage 1"), "{}", said.err);
    let table = |text: &str, name: &str| text.lines().find(|l| l.trim_start().starts_with(name)).map(str::to_owned);
    let run = desk.only_run();
    let shown = desk.ok(&["runs", "show", run.to_str().unwrap()]).out;
    let last = json(&run.join("stage2/evaluation/test.json"));
    for (name, figures) in [("after stage 1", &last["stage1_rows"]["after_stage1"]), ("after stage 2", &last["stage1_rows"]["tuned"])] {
        let loss = format!("{:.4}", figures["loss"].as_f64().unwrap());
        for text in [&said.out, &shown] {
            assert!(text.contains("stage 1's test rows") && table(text, name).is_some_and(|l| l.contains(&loss)), "{name} {loss}: {text}");
        }
    }
    let dataset = &json(&run.join("run-manifest.json"))["dataset"];
    let second = &dataset["stage2"];
    assert_eq!([&second["train"]["rows"], &second["validation"]["rows"], &second["test"]["rows"]], [16, 2, 2]);
    // 16 own rows and a quarter of the mix: 5 of 21 is the nearest.
    assert_eq!(second["replayed"], 5);
    assert_eq!(second["replayed_share"].as_f64(), Some(5.0 / 21.0));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = metrics.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let evaluated: Vec<(u64, u64)> = rows.filter_map(|r| Some((r["stage"].as_u64()?, r["eval_tokens"].as_u64()?))).collect();
    let tokens = |part: &Value| part["trained_tokens"].as_u64().unwrap();
    assert!(!evaluated.is_empty());
    for (stage, seen) in evaluated {
        let wanted = if stage == 1 { tokens(&dataset["validation"]) } else { tokens(&second["validation"]) };
        assert_eq!(seen, wanted, "stage {stage}");
    }
    let (first, last) = (json(&run.join("stage1/evaluation/test.json")), json(&run.join("stage2/evaluation/test.json")));
    assert_eq!(first["tuned"]["tokens"].as_u64(), Some(tokens(&dataset["test"])));
    for figures in [&last["base"], &last["tuned"]] {
        assert_eq!(figures["tokens"].as_u64(), Some(tokens(&second["test"])), "{last}");
    }
    assert_eq!(last["stage1_rows"]["after_stage1"], first["tuned"], "{last}");
    assert_eq!(last["stage1_rows"]["tuned"]["tokens"].as_u64(), Some(tokens(&dataset["test"])));
}

/// A project of two short stages with these scores.
fn two_stages(scores: &str) -> Desk {
    let desk = Desk::new();
    desk.project(2, "");
    let row = |i: usize| format!("{{\"instruction\": \"name the day after {i}\", \"output\": \"it is day {}\"}}\n", i + 1);
    desk.write("project/data/second.jsonl", &(0..20).map(row).collect::<String>());
    let config = fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    let config = config.replace("  max_seq", "  num_stages: 2\n  stage2: {iterations: 2, batch_size: 2}\n  max_seq");
    let config = config.replace("test_path: data/held.jsonl", "test_path: data/held.jsonl, stage2_path: data/second.jsonl");
    desk.write("project/config/fine_tuning_config.yaml", &format!("{config}\nevaluation: {{{scores}}}\n"));
    desk
}

#[test]
fn a_first_stage_that_misses_its_score_is_not_followed_by_a_second() {
    let desk = two_stages("stage1_threshold: 1.0");
    let said = desk.run(&["train", "project"]);
    assert_eq!(said.code, 6, "{}", said.err);
    assert!(said.err.contains("stage 2 was not begun") && said.err.contains("evaluation.stage1_threshold"), "{}", said.err);
    let run = desk.only_run();
    let manifest = json(&run.join("run-manifest.json"));
    assert_eq!((&manifest["status"], &manifest["error"]["code"]), (&"failed".into(), &"threshold_missed".into()));
    let verdict = &manifest["verdicts"][0];
    let measured = &json(&run.join("stage1/evaluation/test.json"))["tuned"]["accuracy"];
    assert!(verdict["passed"] == false && &verdict["accuracy"] == measured, "{verdict}");
    let begun = || fs::read_dir(run.join("stage2/checkpoints")).unwrap().count() > 0;
    assert!(run.join("stage1/adapters/adapter_config.json").is_file() && !begun());
    // Going on does not lead around it.
    let again = desk.run(&["train", "project", "--resume", "latest"]);
    assert_eq!(again.code, 6, "{}", again.err);
    assert!(!begun() && !run.join("final-model").exists());
}

#[test]
fn a_run_that_misses_a_last_score_is_finished_and_does_not_pass() {
    for (scores, code) in [
        ("stage1_threshold: 0.0, stage2_threshold: 0.0, sequential_threshold: 1.0", 6),
        ("stage2_threshold: 1.0", 6),
        ("stage1_threshold: 0.0, stage2_threshold: 0.0, sequential_threshold: 0.0", 0),
    ] {
        let desk = two_stages(scores);
        let said = desk.run(&["train", "project"]);
        assert_eq!(said.code, code, "{scores}: {}", said.err);
        let run = desk.only_run();
        let manifest = json(&run.join("run-manifest.json"));
        assert_eq!(manifest["status"], "finished", "{scores}");
        let verdicts = manifest["verdicts"].as_array().unwrap();
        assert_eq!(verdicts.len(), scores.split(',').count(), "{scores}");
        assert_eq!(verdicts.iter().all(|v| v["passed"] == true), code == 0, "{scores}");
        assert!(run.join("final-model/adapter_config.json").is_file());
        let shown = desk.ok(&["runs", "show", run.to_str().unwrap()]).out;
        assert_eq!((shown.contains("missed"), shown.contains("reached")), (code == 6, scores.contains("0.0")), "{shown}");
    }
}

#[test]
fn a_score_that_nothing_can_judge_is_refused_before_training() {
    for (scores, words) in [
        ("stage1_threshold: 0.5, enabled: false", "only an evaluation can give"),
        ("stage2_threshold: 0.5", "there is one stage"),
        ("stage1_threshold: 0.5", "there are none"),
    ] {
        let desk = Desk::new();
        desk.project(1, "");
        let path = "project/config/fine_tuning_config.yaml";
        let config = fs::read_to_string(desk.path().join(path)).unwrap().replace(", test_path: data/held.jsonl", "");
        desk.write(path, &format!("{config}\nevaluation: {{{scores}}}\n"));
        let said = desk.run(&["train", "project"]);
        assert!(said.code == 3 && said.err.contains(words), "{scores}: {} {}", said.code, said.err);
        assert!(!desk.path().join("project/runs").exists(), "{scores}");
    }
}

#[test]
fn rows_cut_and_left_out_in_stage_two_are_told() {
    let desk = Desk::new();
    desk.project(2, "");
    let long = "word ".repeat(200);
    let second: String = (0..10).map(|i| format!("{{\"instruction\": \"say {i}\", \"output\": \"{long}{i}\"}}\n")).collect();
    desk.write("project/data/second.jsonl", &second);
    let config = fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    let config = config.replace("  max_seq", "  num_stages: 2\n  stage2: {iterations: 1, batch_size: 1}\n  max_seq");
    let config = config.replace("test_path: data/held.jsonl", "test_path: data/held.jsonl, stage2_path: data/second.jsonl");
    desk.write("project/config/fine_tuning_config.yaml", &config);
    let said = desk.ok(&["train", "project"]);
    assert!(said.err.contains("stage 2: 8 of 8 sequences are longer than max_seq_length"), "{}", said.err);
}

fn one_step(desk: &Desk, rows: &str) -> crate::program::Said {
    desk.write("rows.jsonl", rows);
    desk.write(
        "c.yaml",
        "base_model: {local_path: model}\ndataset: {path: rows.jsonl}\n\
         training: {max_seq_length: 128, save_steps: 0, eval_steps: 0, stage1: {iterations: 1, batch_size: 4, warmup_steps: 0}}\n",
    );
    desk.run(&["train", "c.yaml"])
}

#[test]
fn few_different_rows_are_trained_and_not_lost_in_the_split() {
    let desk = Desk::new();
    desk.project(1, "");
    let row = |i: u64| format!("{{\"instruction\": \"add {i}\", \"output\": \"{i}\"}}\n");
    let seed = drawn_seed();
    let mut rng = tallow::data::Rng::for_parts(&[seed]);
    for _ in 0..6 {
        let (different, times) = (1 + rng.below(4), 1 + rng.below(30) as usize);
        let text: String = (0..different).map(|i| row(i + 10 * rng.below(100)).repeat(times)).collect();
        let said = one_step(&desk, &text);
        assert_eq!(said.code, 0, "seed {seed}: {different} different rows, {times} times each: {}", said.err);
    }
}

#[test]
fn prompts_that_fill_the_whole_length_are_said_to_do_so() {
    let desk = Desk::new();
    desk.project(1, "");
    let long = "word ".repeat(300);
    let said = one_step(&desk, &(0..12).map(|i| format!("{{\"instruction\": \"{long}{i}\", \"output\": \"{i}\"}}\n")).collect::<String>());
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("the prompt alone fills max_seq_length 128"), "{}", said.err);
}
