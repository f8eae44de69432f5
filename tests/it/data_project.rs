//! A project's data: checked as it is trained, served as it was trained.

use serde_json::{Value, json};

use super::program::Desk;

/// Rows of several kinds: short and long, empty answers.
fn rows(desk: &Desk) {
    let row = |i: usize| match i % 6 {
        0 => json!({"instruction": format!("long {i}"), "output": "word ".repeat(20 + i), "source": "x"}),
        1 => json!({"instruction": format!("empty {i}"), "output": ""}),
        2 => json!({"instruction": format!("filled {i} {}", "prompt ".repeat(200)), "output": "never reached"}),
        _ => json!({"instruction": format!("add {i}"), "output": format!("{}", i * 2)}),
    };
    let text: String = (0..120).map(|i| format!("{}\n", row(i))).collect();
    desk.write("project/data/train.jsonl", &text);
}

#[test]
fn the_check_of_a_project_counts_what_training_counts() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let (head, _) = text.split_once("dataset:").unwrap();
    desk.write("project/config/fine_tuning_config.yaml", &format!("{head}dataset: {{path: data/train.jsonl}}\n"));
    let check = desk.json(&["data", "check", "project"]);
    let parts = check["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|p| p["name"].as_str().unwrap()).collect::<Vec<_>>(), ["train", "validation", "test"]);
    let number = |v: &Value, key: &str| v[key].as_u64().unwrap_or_else(|| panic!("{key} of {v}"));
    for part in parts {
        assert_eq!(number(part, "rows"), number(part, "used_rows") + number(part, "left_out"), "{part}");
        assert_eq!(number(part, "sequences"), number(part, "used_rows") + number(part, "extra"), "{part}");
    }
    assert_eq!(parts.iter().map(|p| number(p, "rows")).sum::<u64>(), 120);
    assert_eq!(number(&check, "usable_rows"), parts.iter().map(|p| number(p, "used_rows")).sum::<u64>());
    assert_eq!(number(&check, "rows"), number(&check, "usable_rows") + number(&check, "skipped_rows") + number(&check, "bad_rows"));
    assert!(number(&check, "skipped_rows") >= 40 && number(&parts[0], "cut") > 0, "{check}");
    assert_eq!(check["unread"], json!([{"name": "source", "rows": 20}]));
    let said = desk.ok(&["train", "project"]);
    let (left, all) = (number(&parts[0], "used_rows"), number(&parts[0], "rows"));
    assert!(said.err.contains(&format!("train {left} of {all} rows")), "{}", said.err);
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(desk.only_run().join("run-manifest.json")).unwrap()).unwrap();
    for part in parts {
        let record = &manifest["dataset"][part["name"].as_str().unwrap()];
        for key in ["rows", "used_rows", "left_out", "sequences", "cut", "tokens", "trained_tokens"] {
            assert_eq!(record[key], part[key], "{key} of {}", part["name"]);
        }
    }
}

#[test]
fn a_chosen_template_is_trained_saved_and_served() {
    let desk = Desk::new();
    desk.project(2, "");
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("dataset: {", "dataset: {chat_template: ../own.jinja, template_variables: [mood=calm], ");
    desk.write("project/config/fine_tuning_config.yaml", &text);
    let own = "{%- for m in messages %}{{ '<|im_start|>' + m.role + ' (' + mood + ')\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}\
               {%- if add_generation_prompt %}{{ '<|im_start|>assistant (' + mood + ')\\n' }}{%- endif %}";
    desk.write("own.jinja", own);
    desk.ok(&["train", "project"]);
    let run = desk.only_run();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(run.join("run-manifest.json")).unwrap()).unwrap();
    assert!(manifest["chat_template"]["name"].as_str().unwrap().ends_with("own.jinja"), "{}", manifest["chat_template"]);
    let saved = run.join("final-model");
    let template = std::fs::read_to_string(saved.join("chat_template.jinja")).unwrap();
    assert!(template.contains("set mood = \"calm\"") && template.ends_with(own), "{template}");
    let tokenizer: Value = serde_json::from_str(&std::fs::read_to_string(saved.join("tokenizer_config.json")).unwrap()).unwrap();
    assert_eq!(tokenizer["chat_template"].as_str(), Some(template.as_str()));
    let tokens = |more: &[&str]| {
        let args = ["generate", "--model", "model", "--prompt", "add 1", "--max-new-tokens", "1", "--temperature", "0"];
        desk.json(&[&args[..], more].concat())["prompt_tokens"].as_u64().unwrap()
    };
    let served = tokens(&["--adapter", saved.to_str().unwrap()]);
    assert!(served > tokens(&[]), "the template of the run is longer than the model's");
    // A checkpoint of the same run is served the same.
    let checkpoint = std::fs::read_dir(run.join("stage1/checkpoints")).unwrap().flatten().map(|e| e.path().join("adapters"));
    if let Some(checkpoint) = checkpoint.into_iter().find(|p| p.join("adapter_config.json").is_file()) {
        assert_eq!(tokens(&["--adapter", checkpoint.to_str().unwrap()]), served);
    }
}

#[test]
fn a_new_project_is_checked_by_the_command_that_init_prints() {
    let desk = Desk::new();
    let said = desk.ok(&["init", "mine"]);
    let command = said.out.lines().chain(said.err.lines()).find(|l| l.contains("tallow data check")).unwrap().to_owned();
    let words: Vec<&str> = command[command.find("tallow data check").unwrap()..].split_whitespace().skip(1).collect();
    desk.write(
        "mine/data/raw/train.jsonl",
        &(0..20).map(|i| format!("{}\n", json!({"instruction": format!("q{i}"), "output": "a"}))).collect::<String>(),
    );
    let said = desk.ok(&words);
    assert!(said.out.contains("ready to train") && said.out.contains("validation"), "{}", said.out);
    // A typing error in a field's name is told, not ignored.
    let typo = desk.run(&["data", "check", "mine", "--set", "dataset.quality_field=scor"]);
    assert!(typo.code != 0 && typo.err.contains("no row has the quality field `scor`"), "{}", typo.err);
}
