//! What goes wrong from outside ends in one clear error, with its exit code, and leaves nothing half-written.

use crate::program::{Desk, Said, said};

/// The exit code, and words that the error must hold.
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{}\n{}", said.out, said.err);
    assert!(said.err.starts_with("error: ") || said.err.contains("\nerror: "), "{}", said.err);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    for word in words {
        assert!(said.err.contains(word), "`{word}` is not in:\n{}", said.err);
    }
}

#[test]
fn configuration() {
    let desk = Desk::new();
    desk.project(4, "");
    let before = desk.files();
    refused(&desk.run(&["train", "project", "--set", "lora.rnak=3"]), 3, &["lora.rnak", "did you mean `lora.rank`"]);
    refused(&desk.run(&["train", "project", "--set", "lora.rank=many"]), 3, &["lora.rank", "many"]);
    refused(&desk.run(&["train", "project", "--set", "lora.target_modules=[q_prjo]"]), 3, &["q_prjo", "q_proj"]);
    refused(&desk.run(&["train", "nowhere"]), 3, &["nowhere"]);
    refused(&desk.run(&["train", "project", "--set", "base_model.local_path=gone"]), 1, &["gone"]);
    refused(&desk.run(&["train", "project", "--set", "device=cuda"]), 1, &["cuda", "cpu"]);
    refused(&desk.run(&["train", "project", "--resume", "run-1999"]), 1, &["run-1999"]);
    refused(&desk.run(&["plan", "project", "--memory", "1MiB"]), 4, &["needs", "1 MiB"]);
    refused(&desk.run(&["plan", "project", "--memory", "much"]), 2, &["much", "24GiB"]);
    assert_eq!(desk.run(&["train"]).code, 2);
    assert_eq!(desk.files(), before, "something was written");

    let yaml = desk.write("bad.yaml", "training:\n  stage1: {iterations: 4\nlora: [\n");
    refused(&desk.run(&["train", yaml.to_str().unwrap()]), 3, &["bad.yaml:"]);
    let yaml = desk.write("two.yaml", "trainig: {}\nlora:\n  rank: -1\n");
    refused(&desk.run(&["train", yaml.to_str().unwrap()]), 3, &["two.yaml:1", "did you mean `training`", "two.yaml:3", "lora.rank"]);
}

#[test]
fn data() {
    let desk = Desk::new();
    desk.project(4, "");
    let before = desk.files().len();
    let train = |file: &str| desk.run(&["train", "project", "--set", &format!("dataset.train_path={file}")]);
    desk.write("empty.jsonl", "");
    refused(&train("empty.jsonl"), 3, &["empty.jsonl"]);
    desk.write("fields.jsonl", "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"a\"}\n");
    refused(&train("fields.jsonl"), 3, &["fields.jsonl:2", "output"]);
    desk.write("broken.jsonl", "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \n");
    refused(&train("broken.jsonl"), 3, &["broken.jsonl:2"]);
    desk.write("strange.jsonl", "{\"alpha\": 1, \"beta\": 2}\n");
    refused(&train("strange.jsonl"), 3, &["strange.jsonl", "alpha"]);
    desk.write("rows.xyz", "x\n");
    refused(&train("rows.xyz"), 3, &["rows.xyz"]);
    refused(&train("missing.jsonl"), 3, &["missing.jsonl"]);
    assert_eq!(desk.files().len(), before + 5, "a refused run left something behind");
    assert!(!desk.path().join("project/runs").exists());

    let said = desk.run(&["data", "check", "fields.jsonl"]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains("fields.jsonl:2"), "{}", said.out);

    // A chat template that is none.
    let row = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n";
    desk.write("chat.jsonl", row);
    let named = ["train", "project", "--set", "dataset.train_path=chat.jsonl", "--set", "dataset.chat_template=no-such-form"];
    refused(&desk.run(&named), 3, &["no-such-form"]);
}

#[test]
fn models_and_adapters() {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project"]);
    let run = desk.only_run();
    let adapter = run.join("final-model");
    let adapter = adapter.to_str().unwrap();
    let eval = |model: &str, more: &[&str]| {
        let args = [&["eval", "--model", model, "--data", "project/data/held.jsonl"], more].concat();
        desk.run(&args)
    };
    assert_eq!(eval("model", &["--adapter", adapter]).code, 0);
    // The embedded model has other sizes.
    refused(&eval("embedded", &["--adapter", adapter]), 1, &["adapter"]);
    refused(&eval("nowhere", &[]), 1, &["nowhere", "embedded"]);
    refused(&eval("model", &["--adapter", "nowhere"]), 1, &["nowhere"]);
    std::fs::write(desk.path().join("model/model.safetensors"), b"not weights").unwrap();
    refused(&eval("model", &[]), 1, &["model.safetensors"]);
    std::fs::remove_file(desk.path().join("model/model.safetensors")).unwrap();
    refused(&eval("model", &[]), 1, &["safetensors"]);
    desk.write("model/config.json", "{\"architectures\": [\"MambaForCausalLM\"], \"model_type\": \"mamba\"}");
    refused(&eval("model", &[]), 1, &["MambaForCausalLM", "is not known", "Llama", "--custom"]);
}

#[test]
fn outputs_are_never_overwritten() {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project"]);
    let adapter = desk.only_run().join("final-model");
    let adapter = adapter.to_str().unwrap();
    desk.write("taken/notes.txt", "mine");
    refused(&desk.run(&["merge", "--model", "model", "--adapter", adapter, "--out", "taken"]), 1, &["taken", "exists"]);
    refused(&desk.run(&["bench", "random-model", "tiny", "--out", "taken"]), 1, &["taken", "exists"]);
    refused(&desk.run(&["init", "taken"]), 1, &["taken", "exists"]);
    refused(&desk.run(&["recipe", "--out", "taken", "--steps", "1"]), 1, &["taken", "exists"]);
    assert_eq!(std::fs::read_to_string(desk.path().join("taken/notes.txt")).unwrap(), "mine");
}

/// Runs a shell script with mounts of its own; `None` where the system does not let us.
#[cfg(target_os = "linux")]
pub fn with_mounts(desk: &Desk, script: &str) -> Option<Said> {
    let probe = std::process::Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !probe.is_ok_and(|o| o.status.success()) {
        return None;
    }
    let tallow = env!("CARGO_BIN_EXE_tallow");
    let mut command = std::process::Command::new("unshare");
    command.current_dir(desk.path()).args(["-rm", "sh", "-c", &format!("set -e; T={tallow}; {script}")]);
    Some(said(&command.env("NO_COLOR", "1").env("TALLOW_CACHE", env!("CARGO_TARGET_TMPDIR")).output().unwrap()))
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_a_read_only_folder() {
    let desk = Desk::new();
    desk.project(8, "");
    let small = "mkdir disk; mount -t tmpfs -o size=600k none disk; cp -r project disk/; cp -r model disk/ 2>/dev/null || true; \
                 set +e; $T train disk/project --set base_model.local_path=model; code=$?; \
                 find disk/project/runs -name '.*tmp*' | sed 's/^/left /'; find disk/project/runs -name final-model | sed 's/^/left /'; exit $code";
    let Some(said) = with_mounts(&desk, small) else {
        return; // No mounts of our own here: the same errors are unit-tested in `base`.
    };
    refused(&said, 1, &["No space left", "free some space"]);
    assert!(!said.out.contains("left "), "{}", said.out);

    let read_only = "mount --bind project project; mount -o remount,ro,bind project; $T train project";
    refused(&with_mounts(&desk, read_only).unwrap(), 1, &["project/runs", "Read-only"]);
    let out = "mkdir ro; mount -t tmpfs -o ro none ro; $T bench random-model tiny --out ro/model";
    refused(&with_mounts(&desk, out).unwrap(), 1, &["ro", "Read-only"]);
}
