//! Files that were made to do harm, read by commands: each ends in one clear error, and none takes
//! more than its share of the machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Desk, Said, drawn_seed, said};

/// Enough for every sound file of these tests, and soon reached by what grows.
const LIMIT: &str = "600MiB";

fn run(desk: &Desk, args: &[&str]) -> Said {
    said(&desk.command(args).env("TALLOW_MEMORY_LIMIT", LIMIT).output().unwrap())
}

/// The seed's template that writes a text over and over into itself.
fn doubling(rng: &mut fastrand::Rng) -> String {
    let (name, times) = (["s", "text", "acc"][rng.usize(..3)], 40 + rng.usize(..20));
    let twice = [format!("{name} ~ {name}"), format!("{name} + {name}"), format!("[{name}, {name}] | join('')"), format!("{name} * 2")];
    let twice = &twice[rng.usize(..twice.len())];
    let step = match rng.bool() {
        true => format!("{{% set {name} = {twice} %}}").repeat(times),
        false => {
            let held = twice.replace(name, "ns.x");
            format!("{{% set ns = namespace(x={name}) %}}{{% for i in range({times}) %}}{{% set ns.x = {held} %}}{{% endfor %}}")
        }
    };
    format!("{{% set {name} = 'ab' %}}{step}{{{{ {name} | length }}}}")
}

fn rows(desk: &Desk) {
    let row = json!({"messages": [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello"}]});
    desk.write("chat.jsonl", &format!("{row}\n").repeat(8));
}

/// Ends with a clear error: by the limit, or by what refused the file before.
fn is_refused(said: &Said, what: &str) {
    assert!([1, 3, 4].contains(&said.code), "{what}: exit {}\n{}\n{}", said.code, said.out, said.err);
    let bad_row = said.out.contains("template_refused") || said.out.contains("not_tokenised");
    assert!(said.err.contains("error: ") || bad_row, "{what}\n{}\n{}", said.out, said.err);
    assert!(!said.err.contains("overflowed its stack") && !said.err.contains("memory allocation of"), "{what}\n{}", said.err);
    if said.code == 4 {
        assert!(said.err.contains("(600 MiB)") && said.err.contains("hint: "), "{what}\n{}", said.err);
    }
}

#[test]
fn templates_that_double_a_text_end_at_the_limit() {
    let (desk, seed) = (Desk::new(), drawn_seed());
    let mut rng = fastrand::Rng::with_seed(seed);
    desk.project(2, "");
    rows(&desk);
    let mut ended = 0;
    for round in 0..8 {
        let template = doubling(&mut rng);
        desk.write("model/chat_template.jinja", &template);
        let chat = "dataset.train_path=chat.jsonl";
        let all: [&[&str]; 4] = [
            &["data", "check", "chat.jsonl", "--model", "model"],
            &["plan", "project", "--set", chat],
            &["train", "project", "--set", chat],
            &["generate", "--model", "model", "--prompt", "hello", "--max-new-tokens", "1"],
        ];
        let (args, begun) = (all[round % all.len()], Instant::now());
        let said = run(&desk, args);
        let what = format!("seed {seed}, {args:?}, {template:.200}");
        is_refused(&said, &what);
        ended += usize::from(said.code == 4);
        assert!(begun.elapsed() < Duration::from_secs(180), "{what}: {:?}", begun.elapsed());
    }
    assert!(ended > 0, "seed {seed}: nothing reached the limit");
}

#[test]
fn a_growing_normaliser_ends_at_the_limit_and_json_says_so() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    let path = desk.path().join("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let tenfold = json!({"type": "Replace", "pattern": {"String": "e"}, "content": "eeeeeeeeee"});
    tokenizer["normalizer"] = json!({"type": "Sequence", "normalizers": vec![tenfold; 9]});
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let check = ["data", "check", "chat.jsonl", "--model", "model"];
    is_refused(&run(&desk, &check), "a normaliser");
    let said = run(&desk, &[&check[..], &["--json"]].concat());
    let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}\n{}\n{}", said.out, said.err));
    assert_eq!((said.code, &answer["error"]["code"]), (4, &json!("out_of_memory")), "{answer}");
}

#[test]
fn a_limit_that_is_no_size_is_refused_and_a_sound_file_has_room() {
    let desk = Desk::new();
    desk.project(2, "");
    for bad in ["much", "-1GiB", "8"] {
        let said = said(&desk.command(&["plan", "project"]).env("TALLOW_MEMORY_LIMIT", bad).output().unwrap());
        assert!(said.code == 2 && said.err.contains("TALLOW_MEMORY_LIMIT"), "{bad}: {}", said.err);
    }
    let said = run(&desk, &["train", "project"]);
    assert_eq!(said.code, 0, "{}", said.err);
}
