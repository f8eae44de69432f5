//! A new project folder, ready to run.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::atomic::AtomicDir;
use crate::base::error::Fault;

/// A request for a project.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// Its name; a folder of this name is made.
    pub name: String,
    /// Where.
    pub dir: PathBuf,
    /// Base model: a folder, a Hub id, or `embedded`.
    pub model: String,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct InitReport {
    /// The folder.
    pub project: PathBuf,
    /// What to do next.
    pub next: Vec<String>,
}

/// Makes the folder: whole, or not at all.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn run(request: &InitRequest) -> Result<InitReport, Fault> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if request.name.is_empty() || request.name.starts_with('.') || !request.name.chars().all(safe) {
        return Err(Fault::new("bad_name", format!("`{}` is no name for a folder", request.name)).hint("use letters, digits, - and _"));
    }
    let project = request.dir.join(&request.name);
    let folder = AtomicDir::new(&project)?;
    for (name, text) in files(request) {
        write(&folder.path().join(name), &text)?;
    }
    for dir in ["data/raw", "data/processed", "data/quality_reports", "logs", "runs"] {
        let path = folder.path().join(dir);
        std::fs::create_dir_all(&path).map_err(|e| Fault::io("make the folder", &path, &e))?;
    }
    folder.commit()?;
    let at = project.display();
    let next = vec![
        format!("put rows such as {{\"instruction\": \"...\", \"output\": \"...\"}} into {at}/data/raw/train.jsonl"),
        format!("tallow data check {at}/data/raw/train.jsonl --show 1"),
        format!("tallow plan {at}"),
        format!("tallow train {at}"),
    ];
    Ok(InitReport { project, next })
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    crate::base::atomic::write_file(path, text.as_bytes())
}

fn files(request: &InitRequest) -> Vec<(&'static str, String)> {
    let name = &request.name;
    vec![
        ("config/fine_tuning_config.yaml", config(request)),
        ("config/model_config.json", format!("{:#}\n", serde_json::json!({"base_model": request.model}))),
        (".env.example", "# Copied to .env and read by your shell; never committed.\nHF_TOKEN=\n".to_owned()),
        ("README.md", format!("# {name}\n\nPut the rows into `data/raw/train.jsonl`, then:\n\n```sh\ntallow data check data/raw/train.jsonl --show 1\ntallow plan .\ntallow train .\ntallow runs list .\n```\n")),
        ("justfile", "check:\n    tallow data check data/raw/train.jsonl --show 1\n\nplan:\n    tallow plan .\n\ntrain *ARGS:\n    tallow train . {{ARGS}}\n\nruns:\n    tallow runs list .\n".to_owned()),
        ("data/raw/.gitkeep", String::new()),
        (".gitignore", ".env\nruns/\nlogs/\n".to_owned()),
    ]
}

fn config(request: &InitRequest) -> String {
    let as_path = request.model != "embedded" && Path::new(&request.model).exists();
    let model = if as_path {
        let path = Path::new(&request.model).canonicalize().unwrap_or_else(|_| PathBuf::from(&request.model));
        format!("local_path: {}", path.display())
    } else {
        format!("model_id: {}", request.model)
    };
    format!(
        "project: {{name: {}}}\n\
         base_model:\n  {model}\n  quantization: none          # nf4 or q8 to hold a large base in less memory\n\
         training:\n  method: lora\n  stage1: {{iterations: 100, learning_rate: 2.0e-4, batch_size: 4, warmup_steps: 10}}\n  \
         max_seq_length: 512\n  save_steps: 50\n  eval_steps: 25\n\
         lora: {{rank: 16, alpha: 32, dropout: 0.05, target_modules: all-linear}}\n\
         dataset:\n  path: data/raw/train.jsonl   # split 80/10/10\n",
        request.name
    )
}
