//! The built program, run as a user runs it, and small projects to run it on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A scratch folder with the program's cache in it.
pub struct Desk {
    dir: tempfile::TempDir,
}

/// Another seed in every run of the tests; who draws one prints it when something fails.
pub fn drawn_seed() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}

/// What the program said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command of the program in this folder. Its cache is the build's own, shared by all tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallow"));
        command.current_dir(self.path()).args(args).env("NO_COLOR", "1").env("TALLOW_CACHE", env!("CARGO_TARGET_TMPDIR"));
        command.env("HF_HOME", self.path().join("hf")).env_remove("RUST_BACKTRACE");
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        said(&self.command(args).output().unwrap())
    }

    /// Runs what must succeed.
    pub fn ok(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// Runs what must succeed, with its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&args).out).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A project over a very small random model: `project/` with data and configuration of so many steps.
    pub fn project(&self, steps: usize, more: &str) {
        self.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
        let row = |i: usize| format!("{{\"instruction\": \"add {i} and {}\", \"output\": \"{}\"}}\n", i % 7, i + i % 7);
        self.write("project/data/train.jsonl", &(0..48).map(row).collect::<String>());
        self.write("project/data/held.jsonl", &(48..56).map(row).collect::<String>());
        let config = format!(
            "base_model: {{local_path: ../model}}\n\
             training:\n  stage1: {{iterations: {steps}, learning_rate: 1.0e-2, batch_size: 2, warmup_steps: 1}}\n  \
             max_seq_length: 64\n  save_steps: 4\n  eval_steps: 6\n{more}\
             lora: {{rank: 4, alpha: 8, dropout: 0.1, target_modules: all-linear}}\n\
             dataset: {{train_path: data/train.jsonl, validation_path: data/held.jsonl, test_path: data/held.jsonl}}\n"
        );
        self.write("project/config/fine_tuning_config.yaml", &config);
    }

    /// The only run of the project.
    pub fn only_run(&self) -> PathBuf {
        let runs: Vec<_> = std::fs::read_dir(self.path().join("project/runs")).unwrap().map(|e| e.unwrap().path()).collect();
        let [run] = runs.as_slice() else { panic!("{runs:?}") };
        run.clone()
    }

    /// Every file below, to see that nothing was left behind.
    pub fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut open = vec![self.path().to_path_buf()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).unwrap().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                } else {
                    all.push(entry.path().strip_prefix(self.path()).unwrap().display().to_string());
                }
            }
        }
        all.sort();
        all
    }
}

pub fn said(out: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { code: out.status.code().unwrap_or(-1), out: text(&out.stdout), err: text(&out.stderr) }
}
