//! A new project folder, ready to run.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::project::{ProjectRequest, files};
use crate::base::atomic::{AtomicDir, write_file};
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
    let key = if is_folder(&request.model) { "base_model.local_path" } else { "base_model.model_id" };
    let settings = vec![(key.to_owned(), serde_json::json!(located(&request.model)))];
    let described = ProjectRequest { name: request.name.clone(), dir: request.dir.clone(), settings };
    for (_, path, text) in files(&described, config(request)) {
        write_file(&folder.path().join(path), text.as_bytes())?;
    }
    for dir in ["data/processed", "data/quality_reports", "logs", "runs"] {
        let path = folder.path().join(dir);
        std::fs::create_dir_all(&path).map_err(|e| Fault::io("make the folder", &path, &e))?;
    }
    folder.commit()?;
    let at = project.display();
    let next = vec![
        format!("put rows such as {{\"instruction\": \"...\", \"output\": \"...\"}} into {at}/data/raw/train.jsonl"),
        format!("tallow data check {at} --show 1"),
        format!("tallow plan {at}"),
        format!("tallow train {at}"),
    ];
    Ok(InitReport { project, next })
}

fn is_folder(model: &str) -> bool {
    model != super::models::EMBEDDED && Path::new(model).exists()
}

/// The folder of a model from anywhere; a name as it is.
fn located(model: &str) -> String {
    if !is_folder(model) {
        return model.to_owned();
    }
    Path::new(model).canonicalize().unwrap_or_else(|_| PathBuf::from(model)).display().to_string()
}

fn config(request: &InitRequest) -> String {
    let key = if is_folder(&request.model) { "local_path" } else { "model_id" };
    let model = format!("{key}: {}", serde_json::json!(located(&request.model)));
    format!(
        "project: {{name: {}}}\n\
         base_model:\n  {model}\n  quantization: none          # nf4 or q8 to hold a large base in less memory\n\
         training:\n  method: lora\n  stage1: {{iterations: 100, learning_rate: 2.0e-4, batch_size: 4}}   # or num_epochs: 3\n  \
         max_seq_length: 512\n  save_steps: 50\n  eval_steps: 25\n\
         lora: {{rank: 16, alpha: 32, dropout: 0.05, target_modules: all-linear}}\n\
         dataset:\n  path: data/raw/train.jsonl   # split 80/10/10\n",
        request.name
    )
}
