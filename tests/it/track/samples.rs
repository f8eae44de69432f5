//! Answers to sample prompts while a model is trained: in the journal, in trackers, over MCP.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::read;
use crate::mcp_client::Client;
use crate::program::{Desk, drawn_seed};
use tallow::data::Rng;

const PROMPTS: [&str; 2] = ["add 3 and 4, please", "say: \"x\"\nor y"];

/// The project with sample prompts and all files of trackers.
fn project(desk: &Desk, steps: usize, every: u64) {
    desk.project(steps, "");
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let prompts = json!(PROMPTS);
    let more = format!(
        "evaluation: {{sample_prompts: {prompts}, sample_every: {every}, sample_tokens: 9}}\n\
         wandb: {{enabled: true}}\ntensorboard: {{enabled: true}}\n"
    );
    let text = std::fs::read_to_string(&config).unwrap().replace("eval_steps: 6", "eval_steps: 2") + &more;
    std::fs::write(&config, text).unwrap();
}

/// Step, prompt and answer of each sample.
fn samples(run: &Path) -> Vec<(u64, String, String)> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|row| row["samples"].is_array());
    let of = |row: Value| {
        let step = row["step"].as_u64().unwrap();
        let one = move |s: &Value| (step, s["prompt"].as_str().unwrap().to_owned(), s["text"].as_str().unwrap().to_owned());
        row["samples"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    rows.flat_map(of).collect()
}

fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("final-model/adapter_model.safetensors")).unwrap()
}

fn run_of(said: &Value) -> PathBuf {
    said["run"].as_str().unwrap().into()
}

#[test]
fn samples_come_when_they_are_due_and_change_nothing_else() {
    let desk = Desk::new();
    let seed = drawn_seed();
    let mut rng = Rng::for_parts(&[seed]);
    let (steps, every) = (5 + rng.below(6), 1 + rng.below(3));
    project(&desk, steps as usize, every);
    let what = format!("seed {seed}: {steps} steps, every {every}");
    let whole = run_of(&desk.json(&["train", "project"]));
    let got = samples(&whole);
    let due: Vec<u64> = (1..=steps).filter(|s| *s == steps || (s % 2 == 0 && (s / 2) % every == 0)).collect();
    let wanted: Vec<(u64, &str)> = due.iter().flat_map(|step| PROMPTS.map(|p| (*step, p))).collect();
    assert_eq!(got.iter().map(|(step, prompt, _)| (*step, prompt.as_str())).collect::<Vec<_>>(), wanted, "{what}");
    // The last ones are what the finished run answers.
    for (prompt, (_, _, text)) in PROMPTS.iter().zip(&got[got.len() - 2..]) {
        let run = whole.to_str().unwrap();
        let args = ["generate", "--run", run, "--prompt", prompt, "--temperature", "0", "--max-new-tokens", "9"];
        assert_eq!(desk.json(&args)["text"], *text, "{what}");
    }
    // Trained without them, it is the same to the last bit.
    let plain = run_of(&desk.json(&["train", "project", "--set", "evaluation.sample_prompts=[]"]));
    assert!(samples(&plain).is_empty() && adapter(&plain) == adapter(&whole), "{what}");
    // Stopped and gone on, no sample is missing and none comes twice.
    let stop = (1 + rng.below(steps - 1)).to_string();
    let broken = run_of(&desk.json(&["train", "project", "--stop-after", &stop]));
    desk.ok(&["train", "project", "--resume", broken.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(samples(&broken), got, "{what}, stopped after {stop}");

    for run in [&whole, &broken] {
        let folder = run.join("tensorboard").join(run.file_name().unwrap());
        assert_eq!(read::tensorboard(&folder, 1), read::rounded(&read::journal(run)), "{what}");
        let texts = read::tensorboard_texts(&folder, 1);
        assert_eq!(texts.len(), got.len(), "{what}");
        for ((tag, step, words), (i, sample)) in texts.iter().zip(got.iter().enumerate()) {
            assert_eq!((tag.as_str(), *step), (["samples/1", "samples/2"][i % 2], sample.0), "{what}");
            let shown: Vec<&str> = sample.1.lines().chain(sample.2.lines()).collect();
            assert!(shown.iter().all(|line| words.contains(line)), "{what}: {words}");
        }
        assert_eq!(read::wandb(run).0, read::journal(run), "{what}");
        let bytes = std::fs::read(read::only(&read::only(&run.join("wandb"), "offline-run"), ".wandb")).unwrap();
        let has = |words: &str| bytes.windows(words.len()).any(|w| w == words.as_bytes());
        assert!(has("stage1/samples/1") && has("add 3 and 4, please"), "{what}");
    }
}

#[test]
fn an_assistant_sees_samples_and_bad_prompts_are_refused() {
    let desk = Desk::new();
    project(&desk, 4, 1);
    let run = run_of(&desk.json(&["train", "project"]));
    let mut client = Client::start(&desk, &[]);
    let shown = client.call("get_run", json!({"project_path": "project", "run_id": run.file_name().unwrap().to_str().unwrap()}));
    let wanted: Vec<Value> =
        samples(&run).into_iter().map(|(step, prompt, text)| json!({"stage": 1, "step": step, "prompt": prompt, "text": text})).collect();
    assert_eq!((shown["samples"].as_array().unwrap(), wanted.len()), (&wanted, 4), "{shown}");
    assert!(client.close());
    let runs = || std::fs::read_dir(desk.path().join("project/runs")).unwrap().count();
    let before = runs();
    let long = format!("evaluation.sample_prompts=[\"{}\"]", "word ".repeat(5000));
    for (set, word) in
        [(long.as_str(), "context"), ("evaluation.sample_prompts=[1]", "texts"), ("evaluation.sample_every=0", "sample_every")]
    {
        let said = desk.run(&["train", "project", "--set", set]);
        assert!(said.code != 0 && said.err.contains(word), "{}", said.err);
    }
    assert_eq!(runs(), before);
}
