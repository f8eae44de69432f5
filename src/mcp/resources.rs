//! Resources: runs, devices, models and datasets by address, and what their names complete to.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

use super::tool::Shared;
use super::{icon, rented};
use crate::app::plot::{Curves, Look, Picture};
use crate::app::{doctor, info, jobs, models};
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// Longest text of a resource, in bytes: its end is what matters.
const MOST_TEXT_BYTES: usize = 64 << 10;

const JSON: &str = "application/json";
const PNG: &str = "image/png";
/// Most of metrics.jsonl that a picture shows: some hundred thousand steps.
const MOST_ROWS_BYTES: u64 = 128 << 20;
const DATASETS: &str = "tallow://datasets/{path}";

/// The projects at or directly below the roots.
pub(super) fn projects(shared: &Shared) -> Vec<PathBuf> {
    shared.roots.projects()
}

/// The folders of all runs: only their names are read.
pub(super) fn run_names(shared: &Shared) -> Vec<String> {
    let folders = projects(shared).into_iter().map(|p| p.join("runs"));
    let mut all: Vec<String> = folders
        .flat_map(|f| std::fs::read_dir(f).into_iter().flatten().flatten())
        .filter(|e| e.path().join("run-manifest.json").is_file())
        .map(|e| e.path().display().to_string())
        .collect();
    all.sort();
    all
}

/// Every run with its state.
pub(super) fn run_marks(shared: &Shared) -> Vec<String> {
    runs(shared).into_iter().map(|(_, p)| format!("{} {} {}", p.run_id, p.state.name(), p.done)).collect()
}

fn runs(shared: &Shared) -> Vec<(PathBuf, jobs::Progress)> {
    let of = |project: PathBuf| {
        let found = jobs::list(&project).map(|(runs, _)| runs).unwrap_or_default();
        found.into_iter().map(move |run| (project.clone(), run))
    };
    projects(shared).into_iter().flat_map(of).collect()
}

/// A run anywhere below the roots by its name; `latest` is the newest of all.
pub(super) fn find_run(shared: &Shared, id: &str) -> Result<RunFolder, Fault> {
    let mut all = runs(shared);
    all.sort_by(|a, b| b.1.created_at.cmp(&a.1.created_at));
    let found = all.into_iter().find(|(_, run)| id == "latest" || run.run_id == id);
    let (_, run) =
        found.ok_or_else(|| Fault::new("run_not_found", format!("no run `{id}` below the roots")).hint("tallow://runs lists them"))?;
    RunFolder::open(&shared.roots.allow(run.path)?)
}

pub(super) fn list(shared: &Shared) -> Vec<Resource> {
    let fixed = [
        ("tallow://devices", "devices", "Devices", "Devices that can train, with memory", icon::device()),
        ("gpus://available", "gpus", "GPUs", "GPUs that can train; with a key those that can be rented", icon::device()),
        ("tallow://models", "models", "Models", "Model families and ids to begin with", icon::model()),
        ("tallow://runs", "runs", "All runs", "Every run below the roots", icon::run()),
    ];
    let fixed = fixed.map(|(uri, name, title, about, icon)| {
        Resource::new(uri, name).with_title(title).with_description(about).with_mime_type(JSON).with_icons(vec![icon])
    });
    let run = |(_, p): (PathBuf, jobs::Progress)| {
        Resource::new(format!("tallow://runs/{}", p.run_id), p.run_id.clone())
            .with_title(format!("Run {} ({})", p.run_id, p.state.name()))
            .with_description(format!("run, {}", p.state.name()))
            .with_mime_type(JSON)
            .with_icons(vec![icon::run()])
    };
    let rented = rented::RESOURCES.iter().filter(|_| rented::is_on(shared)).map(|(uri, name, about)| {
        Resource::new(*uri, *name).with_title(*about).with_description(*about).with_mime_type(JSON).with_icons(vec![icon::device()])
    });
    fixed.into_iter().chain(rented).chain(runs(shared).into_iter().map(run)).collect()
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    let all = [
        ("tallow://runs/{run_id}", "run", "How a run stands", JSON),
        ("tallow://runs/{run_id}/metrics", "run metrics", "The newest rows of metrics.jsonl", "application/jsonl"),
        ("tallow://runs/{run_id}/log", "run log", "The end of training.log and worker.log", "text/plain"),
        ("tallow://runs/{run_id}/plot", "run plot", "Curves of the whole run, as a picture", PNG),
        (DATASETS, "dataset", "Rows, tokens and problems of a dataset file", JSON),
    ];
    let template = |(uri, name, about, mime): (&str, &str, &str, &str)| {
        let icon = if uri == DATASETS { icon::dataset() } else { icon::run() };
        ResourceTemplate::new(uri, name).with_title(about).with_description(about).with_mime_type(mime).with_icons(vec![icon])
    };
    all.map(template).into()
}

/// The file that an address of a dataset names; `None` for every other address.
pub(super) fn dataset_path(uri: &str) -> Option<String> {
    unescape(uri.strip_prefix("tallow://datasets/")?)
}

/// An answer of a tool as a resource.
pub(super) fn of_json(shared: &Shared, uri: &str, value: &Value) -> ReadResourceResult {
    let text = shared.secrets.hide(&pretty(value));
    ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(JSON)])
}

pub(super) fn read(shared: &Shared, uri: &str) -> Result<ReadResourceResult, Fault> {
    let unknown =
        || Fault::new("unknown_resource", "there is no such resource").hint("resources/list and resources/templates/list show them");
    if let Some(id) = uri.strip_prefix("tallow://runs/").and_then(|rest| rest.strip_suffix("/plot")) {
        let run = find_run(shared, &unescape(id).unwrap_or_default())?;
        let picture = base64::engine::general_purpose::STANDARD.encode(plot(shared, &run)?);
        return Ok(ReadResourceResult::new(vec![ResourceContents::blob(picture, uri).with_mime_type(PNG)]));
    }
    if let Some(rented) = rented::read(shared, uri) {
        return Ok(of_json(shared, uri, &rented?));
    }
    let (text, mime) = match uri {
        "tallow://devices" => (pretty(&json!({ "devices": devices() })), JSON),
        "gpus://available" => {
            let mut gpus = json!({ "gpus": crate::app::device::available().unwrap_or_default() });
            if let Some(catalogue) = rented::catalogue(shared) {
                gpus["rentable"] = catalogue;
            }
            (pretty(&gpus), JSON)
        }
        "tallow://models" => (pretty(&json!({ "families": info::FAMILIES, "embedded": models::EMBEDDED })), JSON),
        "tallow://runs" => {
            let all: Vec<Value> = runs(shared).iter().map(|(project, run)| json!({ "project_path": project, "run": run })).collect();
            (pretty(&json!({ "runs": all })), JSON)
        }
        _ => of_run(shared, uri.strip_prefix("tallow://runs/").ok_or_else(unknown)?)?.ok_or_else(unknown)?,
    };
    let text = shared.secrets.hide(&text);
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(mime)]))
}

fn of_run(shared: &Shared, rest: &str) -> Result<Option<(String, &'static str)>, Fault> {
    let (id, part) = rest.split_once('/').map_or((rest, None), |(id, part)| (id, Some(part)));
    let id = unescape(id).unwrap_or_default();
    let run = find_run(shared, &id)?;
    Ok(Some(match part {
        None => (pretty(&json!(jobs::progress(&run)?)), JSON),
        Some("metrics") => (end_of(shared, &run, "metrics.jsonl"), "application/jsonl"),
        Some("log") => (format!("{}\n{}", end_of(shared, &run, "training.log"), end_of(shared, &run, "worker.log")), "text/plain"),
        Some(_) => return Ok(None),
    }))
}

/// The curves of a run as a PNG file.
fn plot(shared: &Shared, run: &RunFolder) -> Result<Vec<u8>, Fault> {
    let path = run.path().join("metrics.jsonl");
    let rows = shared.roots.tail(&path, MOST_ROWS_BYTES);
    let curves = Curves::from_lines(rows.as_slice()).map_err(|e| Fault::io("read", &path, &e))?;
    Picture::of(&[(run.id(), curves)], Look::default()).png()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Devices with their memory.
pub(super) fn devices() -> Vec<Value> {
    let m = crate::runs::Machine::this();
    let cpu = json!({ "device": "cpu", "model": m.cpu_model, "threads": m.cpu_count, "memory_bytes": m.memory_bytes,
        "free_bytes": crate::train::available_memory(), "findings": doctor::machine_findings() });
    let gpus = crate::app::device::available().unwrap_or_default();
    std::iter::once(cpu).chain(gpus.iter().map(|g| json!(g))).collect()
}

/// The whole lines at the end of a run's text file; nothing where there is none.
pub(super) fn end_of(shared: &Shared, run: &RunFolder, name: &str) -> String {
    let bytes = shared.roots.tail(&run.path().join(name), MOST_TEXT_BYTES as u64);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `%41` as `A`; `None` for what is no text.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' && more.len() >= 2 {
            let hex = std::str::from_utf8(&more[..2]).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).ok()
}

/// What an argument of a prompt or of a template may be completed to.
pub(super) fn complete(shared: &Shared, name: &str, begun: &str, given: &HashMap<String, String>, of_prompt: bool) -> Vec<String> {
    let fitting = |all: Vec<String>| all.into_iter().filter(|v| v.starts_with(begun)).collect();
    match name {
        "run_id" => {
            let project = given.get("project_path").and_then(|p| shared.roots.allow(p).ok());
            let runs = runs(shared).into_iter().filter(|(p, _)| project.as_ref().is_none_or(|wanted| wanted == p));
            fitting(runs.map(|(_, run)| run.run_id).chain(["latest".to_owned()]).collect())
        }
        "project_path" => fitting(projects(shared).iter().map(|p| p.display().to_string()).collect()),
        "base_model" | "model" if of_prompt => {
            let known = info::FAMILIES.iter().flat_map(|f| f.examples.iter().map(|e| (*e).to_owned()));
            fitting(known.collect())
        }
        "task" => fitting(["chat", "tool calling", "classification", "extraction", "summarisation", "code"].map(str::to_owned).into()),
        "framework" => fitting(vec!["tallow".into()]),
        "path" | "dataset" => {
            let folders = projects(shared).into_iter().map(|p| p.join("data/raw"));
            let files = folders.flat_map(|f| std::fs::read_dir(f).into_iter().flatten().flatten().map(|e| e.path()));
            fitting(files.filter(|p| p.extension().is_some()).map(|p| p.display().to_string()).collect())
        }
        _ => Vec::new(),
    }
}
