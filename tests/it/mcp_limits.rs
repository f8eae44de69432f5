//! What one call may do to the others, and to what lies outside of the roots: nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::{Client, PATIENCE, outcome};
use crate::program::Desk;

/// A model folder whose chat template is this.
fn with_template(desk: &Desk, name: &str, template: &str) {
    let at = desk.path().join(name);
    std::fs::create_dir_all(&at).unwrap();
    for entry in std::fs::read_dir(desk.path().join("model")).unwrap().flatten() {
        if entry.file_name() != "chat_template.jinja" {
            std::fs::copy(entry.path(), at.join(entry.file_name())).unwrap();
        }
    }
    std::fs::write(at.join("chat_template.jinja"), template).unwrap();
}

const ENDLESS: &str = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}\
    {% endfor %}{% endfor %}{% endfor %}";

/// Processes of calls that a server has started and that still run.
fn children(server: u32) -> usize {
    let stats = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
    stats.filter(|s| s.rsplit(')').next().unwrap().split_whitespace().nth(1) == Some(&server.to_string())).count()
}

fn chat(desk: &Desk) {
    let message = |role: &str, text: &str| json!({"role": role, "content": text});
    let row = json!({"messages": [message("user", "hello"), message("assistant", "good day")]});
    desk.write("chat.jsonl", &format!("{row}\n").repeat(4));
}

fn cancel(client: &mut Client, id: u64) {
    client.send_line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}).to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn cheap_calls_do_not_wait_for_calls_that_never_end() {
    let desk = Desk::new();
    desk.project(4, "");
    chat(&desk);
    with_template(&desk, "endless", ENDLESS);
    let mut client = Client::start(&desk, &["--toolsets", "all"]);
    let call =
        |arguments: &Value, token: &str| json!({"name": "validate_dataset", "arguments": arguments, "_meta": {"progressToken": token}});
    let endless = json!({"dataset": "chat.jsonl", "model": "endless"});
    let stuck: Vec<u64> = (0..2).map(|i| client.send("tools/call", call(&endless, &format!("stuck{i}")))).collect();
    let begun = Instant::now();
    while children(client.child.id()) < 2 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    // A third one waits, and says for what.
    let waiting = client.send("tools/call", call(&json!({"dataset": "chat.jsonl", "model": "model"}), "third"));
    for (tool, arguments) in [
        ("list_runs", json!({"project_path": "project"})),
        ("list_projects", json!({})),
        ("list_supported_models", json!({})),
        ("check_installation", json!({})),
        ("plan_training", json!({"project_path": "project"})),
        ("get_model_info", json!({"model_name": "model"})),
        ("describe_config", json!({"key": "lora"})),
    ] {
        let asked = Instant::now();
        client.call(tool, arguments);
        assert!(asked.elapsed() < Duration::from_secs(20), "{tool} took {:?}", asked.elapsed());
    }
    let said = |client: &Client| {
        let of_third = client.notes.iter().filter(|n| n["params"]["progressToken"] == "third");
        of_third.filter_map(|n| n["params"]["message"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(said(&client).iter().any(|m| m.contains("waiting for validate_dataset") && m.contains("at most 2")), "{:?}", client.notes);
    // A call that waits can be cancelled, and so can one that works; then the next one has its turn.
    stuck.iter().for_each(|id| cancel(&mut client, *id));
    let answer = client.answer(waiting).expect("the third call has its turn");
    assert_eq!(outcome(&answer).unwrap()["rows"], 4, "{answer}");
    assert!(answer["result"]["_meta"]["tallow/waited"]["seconds"].as_f64() > Some(0.0), "{answer}");
    let begun = Instant::now();
    while children(client.child.id()) > 0 {
        assert!(begun.elapsed() < PATIENCE, "a cancelled call goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(client.close());
}

#[test]
fn hostile_model_folders_end_their_own_call_only() {
    let desk = Desk::new();
    desk.project(4, "");
    chat(&desk);
    let doubling = "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let itself = "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}";
    let templates = [
        ("deep", format!("{{{{ {} messages }}}}", "not ".repeat(100_000))),
        ("brackets", format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000))),
        ("wide", "{{ '{:>1000000000000}'.format(1) }}".to_owned()),
        ("indent", "{{ 'x'|indent(100000000000) }}".to_owned()),
        ("doubling", doubling.to_owned()),
        ("itself", itself.to_owned()),
    ];
    let mut client = Client::start(&desk, &["--call-memory", "2GiB"]);
    for (name, template) in &templates {
        with_template(&desk, name, template);
        let answer = client.try_call("validate_dataset", json!({"dataset": "chat.jsonl", "model": name}));
        // Refused as a whole, or row by row.
        let refused = answer.as_ref().map_or(true, |report| report["valid"] == false);
        assert!(refused, "{name}: {answer:?}");
        assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"], json!([]), "after {name}");
    }
    // Models of odd sizes, and a tokenizer that is broken inside.
    let config: Value = serde_json::from_slice(&std::fs::read(desk.path().join("model/config.json")).unwrap()).unwrap();
    let tokenizer: Value = serde_json::from_slice(&std::fs::read(desk.path().join("model/tokenizer.json")).unwrap()).unwrap();
    for (name, key, value) in [
        ("layers", "num_hidden_layers", json!(1u64 << 40)),
        ("vocabulary", "vocab_size", json!(1u64 << 60)),
        ("heads", "num_attention_heads", json!(0)),
        ("charsmap", "normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAAAAAAAAAAAA"})),
        ("decoder", "decoder", json!({"type": "Fuse", "x": [[[[1]]]]})),
    ] {
        with_template(&desk, name, "{% for m in messages %}{{ m.content }}{% endfor %}");
        let (file, base) = if config.get(key).is_some() { ("config.json", &config) } else { ("tokenizer.json", &tokenizer) };
        let mut changed = base.clone();
        changed[key] = value;
        std::fs::write(desk.path().join(name).join(file), changed.to_string()).unwrap();
        for (tool, arguments) in
            [("get_model_info", json!({"model_name": name})), ("generate_text", json!({"model": name, "prompt": "x", "max_new_tokens": 2}))]
        {
            // Some of it is harmless to one of the two; what counts is that there is an answer.
            let _ = client.try_call(tool, arguments);
        }
        assert_eq!(client.call("list_runs", json!({"project_path": "project"}))["runs"], json!([]), "after {name}");
    }
    // A configuration that is nested without end.
    desk.write("nested/config/fine_tuning_config.yaml", &"- ".repeat(100_000));
    assert!(client.try_call("plan_training", json!({"project_path": "nested"})).is_err());
    assert!(client.try_call("describe_config", json!({"project_path": "nested"})).is_err());
    client.call("get_model_info", json!({"model_name": "model"}));
    assert!(client.garbage.is_empty(), "{:?}", client.garbage);
    assert!(client.close());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_before_they_are_opened() {
    let desk = Desk::new();
    desk.project(4, "");
    let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&desk.path().join("rows.jsonl"));
    std::os::unix::fs::symlink("rows.jsonl", desk.path().join("link.jsonl")).unwrap();
    with_template(&desk, "piped", "x");
    std::fs::remove_file(desk.path().join("piped/config.json")).unwrap();
    pipe(&desk.path().join("piped/config.json"));
    let mut client = Client::start(&desk, &[]);
    let data = json!({"train_dataset": "project/data/train.jsonl"});
    let run = client.call("configure_training_run", json!({"project_path": "project", "run_name": "a", "training_data": data}));
    pipe(&desk.path().join("project/runs").join(run["run_id"].as_str().unwrap()).join("job.json"));
    let at = json!({"project_path": "project", "run_id": run["run_id"]});
    for (tool, arguments) in [
        ("validate_dataset", json!({"dataset": "rows.jsonl"})),
        ("validate_dataset", json!({"dataset": "link.jsonl"})),
        ("preview_dataset", json!({"path": "rows.jsonl"})),
        ("get_model_info", json!({"model_name": "piped"})),
        ("generate_text", json!({"model": "piped", "prompt": "x"})),
        ("monitor_training_progress", at.clone()),
        ("get_run", at),
    ] {
        let asked = Instant::now();
        assert_eq!(client.try_call(tool, arguments.clone()).unwrap_err()["code"], "not_a_file", "{tool} {arguments}");
        assert!(asked.elapsed() < Duration::from_secs(20), "{tool} {arguments}");
    }
    assert!(client.close());
}

/// A link that leads in and out in turn, while a tool reads it: what lies outside never comes back.
#[cfg(target_os = "linux")]
#[test]
fn a_link_that_is_swapped_leads_nowhere() {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if strict.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_err() {
        #[allow(clippy::print_stderr)] // said where the test cannot run
        return eprintln!("this kernel ({}) has no Landlock: not tested", kernel.trim());
    }
    let (desk, outside) = (Desk::new(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(desk.path().join("inside")).unwrap();
    let row = |text: &str| format!("{{\"instruction\": \"x\", \"output\": \"{text}\"}}\n");
    std::fs::write(outside.path().join("rows.jsonl"), row("a-secret-of-others")).unwrap();
    desk.write("inside/rows.jsonl", &row("own"));
    let targets = [desk.path().join("inside"), outside.path().to_path_buf()];
    let (link, done) = (desk.path().join("folder"), AtomicBool::new(false));
    symlink(&targets[0], &link).unwrap();
    let mut client = Client::start(&desk, &[]);
    let (mut own, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = desk.path().join("next");
            for turn in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                symlink(&targets[turn % 2], &next).unwrap();
                std::fs::rename(&next, &link).unwrap();
            }
        });
        for _ in 0..60 {
            let answer = client.request("tools/call", json!({"name": "preview_dataset", "arguments": {"path": "folder/rows.jsonl"}}));
            let text = answer.to_string();
            assert!(!text.contains("a-secret-of-others"), "{text}");
            match outcome(&answer) {
                Ok(_) => own += 1,
                Err(_) => refused += 1,
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(own > 0 && refused > 0, "{own} {refused}: the link was not swapped in time");
    assert!(client.close());
}

#[cfg(unix)]
#[test]
fn files_of_a_run_that_lead_outside_are_not_shown() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let data = json!({"train_dataset": "project/data/train.jsonl"});
    let run = client.call("configure_training_run", json!({"project_path": "project", "run_name": "a", "training_data": data}));
    let (id, folder) = (run["run_id"].as_str().unwrap(), Path::new(run["run_directory"].as_str().unwrap()));
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x"), "a-secret-of-others\n").unwrap();
    for name in ["training.log", "worker.log", "metrics.jsonl"] {
        let _ = std::fs::remove_file(folder.join(name));
        std::os::unix::fs::symlink(outside.path().join("x"), folder.join(name)).unwrap();
    }
    for part in ["/log", "/metrics", "/plot"] {
        let read = client.request("resources/read", json!({"uri": format!("tallow://runs/{id}{part}")}));
        assert!(!read.to_string().contains("a-secret-of-others"), "{read}");
    }
    let prompt = client.request("prompts/get", json!({"name": "debug_training", "arguments": {"run_id": id}}));
    assert!(!prompt.to_string().contains("a-secret-of-others"), "{prompt}");
    let whole = client.request("tools/call", json!({"name": "get_run", "arguments": {"project_path": "project", "run_id": id}}));
    assert!(!whole.to_string().contains("a-secret-of-others"), "{whole}");
    assert!(client.close());
}

#[test]
fn prompts_and_lengths_beyond_the_context() {
    let desk = Desk::new();
    desk.project(4, "");
    let mut client = Client::start(&desk, &[]);
    let info = client.call("get_model_info", json!({"model_name": "model"}));
    let context = info["context_length"].as_u64().unwrap();
    // Long enough for a block of its own in the allocator, too.
    for times in [context as usize, 50_000] {
        let long = "one two three four ".repeat(times);
        let fault = client.try_call("generate_text", json!({"model": "model", "prompt": long})).unwrap_err();
        assert_eq!(fault["code"], "prompt_too_long", "{times}: {fault}");
        assert!(fault["message"].as_str().unwrap().contains(&context.to_string()), "{times}: {fault}");
    }
    // The answer ends where the context does.
    let half = json!({"model": "model", "prompt": "one two three four", "max_new_tokens": 8192, "temperature": 1.0});
    if context <= 4096 {
        let text = client.call("generate_text", half);
        let total = text["prompt_tokens"].as_u64().unwrap() + text["tokens"].as_u64().unwrap();
        assert!(total <= context && (text["stop_reason"] != "context_full" || total == context), "{text}");
    }
    let valid =
        client.call("validate_dataset", json!({"dataset": "project/data/train.jsonl", "model": "model", "max_seq_length": context + 1}));
    assert!(valid["warnings"][0].as_str().unwrap().contains("context"), "{valid}");
    let data = json!({"train_dataset": "project/data/train.jsonl"});
    let run = json!({"project_path": "project", "run_name": "a", "training_data": data, "override_params": {"training.max_seq_length": context + 1}});
    let run = client.call("configure_training_run", run);
    assert!(run["warnings"].to_string().contains("context"), "{run}");
    assert!(client.close());
}
