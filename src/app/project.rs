//! A project folder from a full description, as a form or an assistant gives it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::atomic::{self, AtomicDir};
use crate::base::error::Fault;
use crate::config::{Sources, resolve};
use crate::runs::is_name_letter;

/// A description of a project: a name, where it goes, and settings by dotted key.
#[derive(Debug, Clone)]
pub struct ProjectRequest {
    /// Its name; a folder of this name is made.
    pub name: String,
    /// Where the folder goes.
    pub dir: PathBuf,
    /// Settings by dotted key; what is not said keeps its default.
    pub settings: Vec<(String, Value)>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectReport {
    /// The folder.
    pub project: PathBuf,
    /// Its files and folders, relative, by what they are.
    pub structure: Vec<(&'static str, String)>,
    /// What to do next.
    pub next: Vec<String>,
    /// The arguments that name a run's result in this folder, `RUN` standing for the run.
    pub result: String,
    /// Settings that have no effect in this version.
    pub warnings: Vec<String>,
}

const DATA: &str = "data/raw/train.jsonl";

/// Makes the folder: whole, or not at all. The configuration that it writes has been resolved before.
///
/// # Errors
/// When the name is none, a setting is wrong, or the folder exists or cannot be written.
pub fn run(request: &ProjectRequest) -> Result<ProjectReport, Fault> {
    let name = &request.name;
    let usable = !name.is_empty() && name.len() <= 100 && !name.starts_with(['.', '-']) && name.chars().all(is_name_letter);
    if !usable {
        let shown: String = name.chars().take(100).collect();
        return Err(Fault::new("bad_name", format!("`{}` is no name for a folder", shown.escape_debug()))
            .hint("use letters, digits, - and _, at most 100 bytes"));
    }
    let project = request.dir.join(name);
    let config = config_text(request);
    let file = Some((project.join("config/fine_tuning_config.yaml"), config.clone()));
    let resolved = resolve(&Sources { file, root: project.clone(), working_dir: project.clone(), ..Sources::default() })?;
    let folder = AtomicDir::new(&project)?;
    let structure: Vec<(&'static str, String, String)> = files(request, config);
    for (_, path, text) in &structure {
        atomic::write_file(&folder.path().join(path), text.as_bytes())?;
    }
    for dir in ["data/processed", "data/quality_reports", "logs", "runs"] {
        atomic::create_dir_all(&folder.path().join(dir))?;
    }
    folder.commit()?;
    let at = project.display();
    let next = vec![
        format!("put rows such as {{\"instruction\": \"...\", \"output\": \"...\"}} into {at}/{DATA}, or name another file"),
        "validate_dataset shows every bad row".into(),
        "configure_training_run predicts memory and makes the run; start_training starts it".into(),
    ];
    let structure = structure.into_iter().map(|(what, path, _)| (what, path)).collect();
    Ok(ProjectReport { project, structure, next, result: result_of(request, "RUN"), warnings: resolved.warnings })
}

/// The settings as YAML, one section a block: JSON values are YAML values.
fn config_text(request: &ProjectRequest) -> String {
    let mut tree = Map::new();
    let named = [("project.name".to_owned(), json!(request.name))];
    let has_data = request.settings.iter().any(|(k, _)| k == "dataset.path" || k == "dataset.train_path");
    let data = (!has_data).then(|| ("dataset.path".to_owned(), json!(DATA)));
    for (key, value) in named.into_iter().chain(request.settings.iter().cloned()).chain(data) {
        let mut at = &mut tree;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let child = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if !child.is_object() {
                *child = Value::Object(Map::new());
            }
            let Value::Object(map) = child else { unreachable!("made an object above") };
            at = map;
        }
        at.insert(last.to_owned(), value);
    }
    let mut text = String::from("# Every key: docs/configuration.md. `tallow plan .` predicts memory.\n");
    block(&tree, 0, &mut text);
    text
}

fn block(tree: &Map<String, Value>, depth: usize, out: &mut String) {
    for (key, value) in tree {
        out.push_str(&"  ".repeat(depth));
        match value {
            Value::Object(inner) => {
                out.push_str(&format!("{key}:\n"));
                block(inner, depth + 1, out);
            }
            other => out.push_str(&format!("{key}: {other}\n")),
        }
    }
}

/// Every file of a project, by what it is: path and text.
pub(super) fn files(request: &ProjectRequest, config: String) -> Vec<(&'static str, String, String)> {
    let model = |key: &str| request.settings.iter().find(|(k, _)| k == key).map_or(Value::Null, |(_, v)| v.clone());
    let model_config = json!({
        "model_id": model("base_model.model_id"), "local_path": model("base_model.local_path"), "type": model("base_model.type"),
        "quantization": model("base_model.quantization"),
    });
    let mcp = json!({"mcpServers": {"tallow": {"command": "tallow", "args": ["mcp", "--root", "${TALLOW_ROOT:-.}"]}}});
    let all: [(&'static str, &str, String); 8] = [
        ("config_file", "config/fine_tuning_config.yaml", config),
        ("model_config", "config/model_config.json", format!("{model_config:#}\n")),
        (
            "env_example",
            ".env.example",
            "# Copy to .env and load it in your shell (set -a; . ./.env; set +a); never commit it.\n\
             # Token for private or gated models of the Hugging Face Hub.\nHF_TOKEN=\n\
             # Where downloaded models lie; ~/.cache/huggingface unless set.\n# HF_HOME=\n\
             # Any setting can be given here, for example:\n# TALLOW_TRAINING__SEED=7\n"
                .to_owned(),
        ),
        ("readme", "README.md", readme(request)),
        ("justfile", "justfile", justfile(request)),
        ("mcp_config", ".mcp.json", format!("{mcp:#}\n")),
        ("gitignore", ".gitignore", ".env\nruns/\nlogs/\nemissions/\n".to_owned()),
        ("data", "data/raw/.gitkeep", String::new()),
    ];
    all.into_iter().map(|(what, path, text)| (what, path.to_owned(), text)).collect()
}

/// The base model as a command line names it.
fn base(request: &ProjectRequest) -> String {
    let said = |key: &str| request.settings.iter().find(|(k, _)| k == key).and_then(|(_, v)| v.as_str());
    let name = said("base_model.local_path").or(said("base_model.model_id")).unwrap_or("embedded");
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// Whether the result is an adapter, or a whole model.
fn result_of(request: &ProjectRequest, run: &str) -> String {
    let full = request.settings.iter().any(|(k, v)| k == "training.method" && v == "full");
    let folder = format!("runs/{run}/final-model");
    if full { format!("--model {folder}") } else { format!("--model {} --adapter {folder}", base(request)) }
}

fn readme(request: &ProjectRequest) -> String {
    let (name, result) = (&request.name, result_of(request, "RUN"));
    format!(
        "# {name}\n\nPut the rows into `{DATA}`, for example `{{\"instruction\": \"...\", \"output\": \"...\"}}` on each line, then:\n\n\
         ```sh\ntallow data check . --show 1                 # every bad row, and what is trained of a good one\n\
         tallow plan .                                # memory and how it will be used\n\
         tallow train .                               # Ctrl-C stops after the step; --resume RUN goes on\n\
         tallow runs list .\n```\n\n\
         The result is in `runs/RUN/final-model/`, where RUN is the name that `tallow runs list .` shows:\n\n\
         ```sh\ntallow eval {result} --data {DATA}\n\
         tallow generate {result} --prompt \"...\"\n\
         tallow export {result} --format gguf --out model.gguf\n```\n\n\
         `just` lists the same commands, where [just](https://just.systems) is installed. From an assistant: `.mcp.json` starts `tallow mcp` \
         for this folder. Settings: `config/fine_tuning_config.yaml`; secrets: `.env.example`.\n"
    )
}

fn justfile(request: &ProjectRequest) -> String {
    let result = result_of(request, "{{RUN}}");
    format!(
        "# What can be done here.\ndefault:\n    @just --list\n\n\
         # Every bad row, and what is trained of a good one.\ncheck:\n    tallow data check . --show 1\n\n\
         # Memory and how it will be used.\nplan:\n    tallow plan .\n\n\
         # Train; `just train --resume RUN` goes on with a run.\ntrain *ARGS:\n    tallow train . {{{{ARGS}}}}\n\n\
         # The runs.\nruns:\n    tallow runs list .\n\n\
         # Loss, perplexity and accuracy of a run's result.\nevaluate RUN DATA=\"{DATA}\":\n    tallow eval {result} --data {{{{DATA}}}}\n\n\
         # Let a run's result answer.\ngenerate RUN PROMPT:\n    tallow generate {result} --prompt {{{{quote(PROMPT)}}}}\n\n\
         # A run's result for another program.\nexport RUN FORMAT=\"gguf\" OUT=\"model.gguf\":\n    tallow export {result} --format {{{{FORMAT}}}} --out {{{{OUT}}}}\n"
    )
}

/// Where the configuration of a project lies.
pub fn config_path(project: &Path) -> PathBuf {
    project.join("config/fine_tuning_config.yaml")
}
