//! Files that were made to do harm, read by commands: each ends in one clear error, and none takes
//! more than its share of the machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::Client;
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

/// The model's tokenizer.json, changed.
fn edit_tokenizer(desk: &Desk, edit: impl FnOnce(&mut Value)) {
    let path = desk.path().join("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut tokenizer);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
}

/// Each normaliser moves the whole text: time grows with the square of their number, memory does not.
fn prepends(count: usize) -> Value {
    let one = json!({"type": "Prepend", "prepend": "x".repeat(4000)});
    json!({"type": "Sequence", "normalizers": vec![one; count]})
}

fn run_with(desk: &Desk, args: &[&str], seconds: &str) -> (Said, Duration) {
    let begun = Instant::now();
    let said = said(&desk.command(args).env("TALLOW_TIME_LIMIT", seconds).output().unwrap());
    (said, begun.elapsed())
}

#[test]
fn an_endless_tokenizer_ends_at_the_time_limit_everywhere() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    edit_tokenizer(&desk, |t| t["normalizer"] = prepends(4000));
    let chat = "dataset.train_path=chat.jsonl";
    let all: [&[&str]; 4] = [
        &["data", "check", "chat.jsonl", "--model", "model"],
        &["plan", "project", "--set", chat],
        &["train", "project", "--set", chat],
        &["generate", "--model", "model", "--prompt", "hello", "--max-new-tokens", "1"],
    ];
    for args in all {
        let (said, took) = run_with(&desk, args, "2");
        assert_eq!(said.code, 1, "{args:?}\n{}\n{}", said.out, said.err);
        assert!(said.err.contains("error: the tokenizer was not done after") && said.err.contains("hint: "), "{args:?}\n{}", said.err);
        assert!(took < Duration::from_secs(90), "{args:?}: {took:?}");
    }
    let (said, _) = run_with(&desk, &["data", "check", "chat.jsonl", "--model", "model", "--json"], "2");
    let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}\n{}\n{}", said.out, said.err));
    assert_eq!(answer["error"]["code"], "time_limit", "{answer}");
    // The call of a server ends alone.
    let mut client = Client::start_with(&desk, &[], &[("TALLOW_TIME_LIMIT", "2")]);
    let fault = client.try_call("validate_dataset", json!({"dataset": "chat.jsonl", "model": "model"})).unwrap_err();
    assert_eq!(fault["code"], "time_limit", "{fault}");
    client.call("list_supported_models", json!({}));
    assert!(client.close());
}

#[test]
fn many_slow_texts_and_slow_templates_end_together() {
    let desk = Desk::new();
    desk.project(2, "");
    let row = |i: usize| json!({"messages": [{"role": "user", "content": format!("Hi {i}")}, {"role": "assistant", "content": "Hello"}]});
    desk.write("chat.jsonl", &(0..3000).map(|i| format!("{}\n", row(i))).collect::<String>());
    let check: &[&str] = &["data", "check", "chat.jsonl", "--model", "model"];
    let template = desk.path().join("model/chat_template.jinja");
    let sound = std::fs::read(&template).ok();
    std::fs::write(&template, "{% for i in range(1000) %}{% set x = ('a' * 1000000) | replace('b', 'c') %}{% endfor %}x").unwrap();
    let (said, took) = run_with(&desk, check, "3");
    assert!(said.code == 1 && said.err.contains("the chat template was not done"), "{}\n{}", said.out, said.err);
    assert!(took < Duration::from_secs(120), "{took:?}");
    match sound {
        Some(bytes) => std::fs::write(&template, bytes).unwrap(),
        None => std::fs::remove_file(&template).unwrap(),
    }
    edit_tokenizer(&desk, |t| t["normalizer"] = prepends(400));
    let (said, took) = run_with(&desk, check, "3");
    assert!(said.code == 1 && said.err.contains("the tokenizer was not done"), "{}\n{}", said.out, said.err);
    assert!(took < Duration::from_secs(120), "{took:?}");
    for bad in ["0", "-1", "soon", "1.5"] {
        let (said, _) = run_with(&desk, check, bad);
        assert!(said.code == 2 && said.err.contains("TALLOW_TIME_LIMIT"), "{bad}: {}", said.err);
    }
}

/// Pipes without a writer and devices without an end, in the place of each file of a model or an adapter.
#[cfg(unix)]
#[test]
fn pipes_and_devices_in_a_model_folder_are_refused() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    desk.ok(&["train", "project", "--quiet"]);
    let adapter = desk.only_run().join("final-model");
    let adapter = adapter.strip_prefix(desk.path()).unwrap().to_str().unwrap();
    let mut files: Vec<String> = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
    ]
    .map(|name| format!("model/{name}"))
    .into();
    files.extend(["adapter_config.json", "adapter_model.safetensors"].map(|name| format!("{adapter}/{name}")));
    let generate = ["generate", "--model", "model", "--adapter", adapter, "--prompt", "hello", "--max-new-tokens", "1"];
    let device = |path: &std::path::Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let pipe = |path: &std::path::Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    for file in files {
        let path = desk.path().join(&file);
        let before = std::fs::read(&path).ok();
        for make in [&device as &dyn Fn(&std::path::Path), &pipe] {
            let _ = std::fs::remove_file(&path);
            make(&path);
            let mut child =
                desk.command(&generate).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if begun.elapsed() > Duration::from_secs(60) {
                    child.kill().unwrap();
                    panic!("{file}: waits for ever");
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            let name = file.rsplit('/').next().unwrap();
            // What the work does not need may be passed over.
            assert!(status.success() || (said.contains("error: ") && said.contains(name)), "{file}: {said}");
            let needed = ["config.json", "tokenizer.json", "model.safetensors", "adapter_config.json", "adapter_model.safetensors"];
            assert!(!(status.success() && needed.contains(&name)), "{file} is not needed");
        }
        std::fs::remove_file(&path).unwrap();
        if let Some(bytes) = before {
            std::fs::write(&path, bytes).unwrap();
        }
    }
    desk.ok(&generate);
}

/// Weights that are not numbers: no command answers with figures or files made of them.
#[test]
fn weights_that_are_not_finite_are_a_fault_everywhere() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    desk.ok(&["train", "project", "--quiet"]);
    let adapter = desk.only_run().join("final-model");
    let adapter = adapter.to_str().unwrap();
    let weights = desk.path().join("model/model.safetensors");
    let sound = std::fs::read(&weights).unwrap();
    let header = 8 + u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = sound[..header].to_vec();
        // Of bf16 and f32 alike, the upper half says it.
        bytes.extend(value.to_le_bytes()[2..].iter().cycle().take(sound.len() - header));
        std::fs::write(&weights, &bytes).unwrap();
        let all: [&[&str]; 6] = [
            &["eval", "--model", "model", "--data", "project/data/held.jsonl"],
            &["merge", "--model", "model", "--adapter", adapter, "--out", "merged"],
            &["export", "--model", "model", "--format", "gguf", "--type", "q8_0", "--out", "a.gguf"],
            &["export", "--model", "model", "--adapter", adapter, "--format", "safetensors", "--out", "exported"],
            &["train", "project"],
            &["generate", "--model", "model", "--prompt", "hello", "--max-new-tokens", "1"],
        ];
        for args in all {
            let said = desk.run(args);
            assert!(said.code != 0 && said.err.contains("error: "), "{value} {args:?}: exit {}\n{}\n{}", said.code, said.out, said.err);
            assert!(["finite", "NaN", "holds inf", "holds -inf"].iter().any(|w| said.err.contains(w)), "{args:?}: {}", said.err);
            let left: Vec<String> =
                desk.files().into_iter().filter(|f| ["merged", "a.gguf", "exported"].iter().any(|n| f.starts_with(n))).collect();
            assert!(left.is_empty(), "{value} {args:?}: {left:?}");
        }
    }
}

/// A text that is too long to be tokenised is one bad row, with its place, in every layout and format.
#[test]
fn a_text_without_an_end_is_one_bad_row() {
    let desk = Desk::new();
    let long = "word ".repeat(2 << 20);
    let chat = |text: &str| json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]});
    let rows = [
        ("text.jsonl", json!({"text": "a"}), json!({"text": long})),
        ("chat.jsonl", chat("a"), chat(&long)),
        ("pairs.jsonl", json!({"prompt": "q", "completion": "a"}), json!({"prompt": long, "completion": "a"})),
    ];
    for (name, good, bad) in rows {
        desk.write(name, &format!("{good}\n{bad}\n{good}\n"));
        let said = run(&desk, &["data", "check", name]);
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains(&format!("{name}:2")) && all.contains("cut it into several"), "{name}: {all:.2000}");
    }
    desk.write("table.csv", &format!("text\na\n{long}\na\n"));
    let said = run(&desk, &["data", "check", "table.csv"]);
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("table.csv:3") && all.contains("cut it into several"), "{all:.2000}");
}

/// Values within values, without an end or beyond any stack: what walks them by recursion ends in words.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn a_stack_that_overflows_is_an_error() {
    let desk = Desk::new();
    desk.project(2, "");
    rows(&desk);
    let deep = "{% set n = namespace(a=1, b=1) %}{% for i in range(90000) %}{% set n.a = [n.a] %}{% set n.b = [n.b] %}{% endfor %}";
    let mut overflowed = 0;
    for template in [
        "{% set n = namespace() %}{% set n.a = n %}{% set m = namespace() %}{% set m.a = m %}{{ n == m }}".to_owned(),
        format!("{deep}{{{{ n.a == n.b }}}}"),
        format!("{deep}{{{{ n.a | tojson }}}}"),
        format!("{deep}{{{{ [n.a, n.b] | sort | length }}}}"),
        format!("{deep}{{{{ n.a }}}}"),
    ] {
        desk.write("model/chat_template.jinja", &template);
        let check: &[&str] = &["data", "check", "chat.jsonl", "--model", "model"];
        for args in [check, &["generate", "--model", "model", "--prompt", "hello", "--max-new-tokens", "1"]] {
            let said = run(&desk, args);
            is_refused(&said, &format!("{args:?}, {template:.200}"));
            overflowed += usize::from(said.err.contains("nests its parts"));
        }
        let said = run(&desk, &[check, &["--json"]].concat());
        let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}\n{}\n{}", said.out, said.err));
        assert!(said.code != 0 && answer.is_object(), "{answer}");
    }
    assert!(overflowed > 0, "no stack was too small");
}
