//! A project's models by content: compared, promoted, taken back.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::compare::{self, CompareReport, CompareRequest};
use super::load::ModelRequest;
use super::outcome;
use crate::base::error::Fault;
use crate::data::DataOptions;
use crate::runs::{Kind, Listed, Version, Versions, find};

/// All versions of a project, and how it came to the promoted one.
#[derive(Debug, Clone, Serialize)]
pub struct VersionsReport {
    /// The newest first.
    pub versions: Vec<Listed>,
    /// The promoted one.
    pub promoted: Option<String>,
}

/// Lists.
///
/// # Errors
/// When there is no such project, or a result of a run cannot be read.
pub fn list(project: &Path) -> Result<VersionsReport, Fault> {
    let all = Versions::of(project)?;
    let versions = all.list()?;
    Ok(VersionsReport { promoted: all.promotions()?.stack.last().cloned(), versions })
}

/// One version, and how to use it.
#[derive(Debug, Clone, Serialize)]
pub struct VersionReport {
    /// The version.
    #[serde(flatten)]
    pub listed: Listed,
    /// Its files, as an absolute path.
    pub files: PathBuf,
    /// The model to load; `None` where another program reads it.
    pub model: Option<String>,
    /// The adapter to load on it.
    pub adapter: Option<PathBuf>,
}

/// Shows one.
///
/// # Errors
/// When none or several fit the name.
pub fn show(project: &Path, named: &str) -> Result<VersionReport, Fault> {
    let all = Versions::of(project)?;
    let listed = all.find(named)?;
    let request = request(&all, project, &listed.version).ok();
    let (model, adapter) = request.map_or((None, None), |r| (Some(r.model), r.adapter));
    Ok(VersionReport { files: all.path(&listed.version), listed, model, adapter })
}

/// Makes a version the one that counts.
///
/// # Errors
/// When none or several fit the name, or its files are not what they were.
pub fn promote(project: &Path, named: &str) -> Result<Version, Fault> {
    Versions::of(project)?.promote(named)
}

/// The one that counts after the last promotion was taken back.
#[derive(Debug, Clone, Serialize)]
pub struct RollbackReport {
    /// It; `None` when nothing had been promoted before.
    pub promoted: Option<Version>,
}

/// Takes the last promotion back.
///
/// # Errors
/// When nothing is promoted, or the files of the version before are not what they were.
pub fn rollback(project: &Path) -> Result<RollbackReport, Fault> {
    Ok(RollbackReport { promoted: Versions::of(project)?.rollback()? })
}

/// Which versions to compare, and on what.
#[derive(Debug, Clone)]
pub struct VersionsRequest {
    /// The project folder.
    pub project: PathBuf,
    /// The two.
    pub versions: [String; 2],
    /// Rows to measure both on; without them the figures of their runs stand beside each other.
    pub data: Option<PathBuf>,
    /// How they are read.
    pub options: DataOptions,
    /// At most this many rows.
    pub max_rows: Option<usize>,
}

/// A setting in which two runs differ.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Its key.
    pub key: String,
    /// The first one's.
    pub first: Value,
    /// The second one's.
    pub second: Value,
}

/// Two versions side by side.
#[derive(Debug, Clone, Serialize)]
pub struct VersionsCompared {
    /// The first.
    pub first: Listed,
    /// The second.
    pub second: Listed,
    /// Settings in which their runs differ.
    pub settings: Vec<Difference>,
    /// Both measured on the rows that were given.
    pub measured: Option<CompareReport>,
}

/// Compares two versions.
///
/// # Errors
/// When one is not found, or they shall be measured and cannot be loaded here.
pub fn compare(request_: &VersionsRequest) -> Result<VersionsCompared, Fault> {
    let project = request_.project.as_path();
    let all = Versions::of(project)?;
    let [first, second] = [all.find(&request_.versions[0])?, all.find(&request_.versions[1])?];
    let measured = match &request_.data {
        None => None,
        Some(data) => {
            let model = |l: &Listed| Ok::<_, Fault>((l.version.id.clone(), request(&all, project, &l.version)?));
            let models = [model(&first)?, model(&second)?];
            let (data, options) = (data.clone(), request_.options.clone());
            let wanted = CompareRequest { models, data, options, max_rows: request_.max_rows, samples: 0, max_new_tokens: 1 };
            Some(compare::run(&wanted, &|| true)?)
        }
    };
    let settings = match (config(project, &first.version), config(project, &second.version)) {
        (Ok(a), Ok(b)) => differences(&a, &b),
        // A run that was deleted has no settings any more.
        _ => Vec::new(),
    };
    Ok(VersionsCompared { first, second, settings, measured })
}

/// How a version is loaded.
fn request(all: &Versions, project: &Path, v: &Version) -> Result<ModelRequest, Fault> {
    let path = all.path(v);
    let base = || outcome::base_of_run(&find(project, &v.run_id)?);
    let whole = |path: PathBuf| ModelRequest::named(&path.display().to_string());
    let form = v.format.split(' ').next().unwrap_or_default();
    match (v.kind, form) {
        (Kind::Model, _) | (Kind::Export, "gguf" | "safetensors" | "bnb-4bit" | "mlx" | "vllm") => Ok(whole(path)),
        (Kind::Export, "ollama") => Ok(whole(path.join("model.gguf"))),
        (Kind::Adapter, _) | (Kind::Export, "peft") => Ok(ModelRequest { adapter: Some(path), ..base()? }),
        _ => Err(Fault::new("not_comparable", format!("version {} is {}, which only another program loads", v.id, v.format))
            .hint("compare the run's result instead")),
    }
}

fn config(project: &Path, v: &Version) -> Result<Value, Fault> {
    let manifest = find(project, &v.run_id)?.manifest()?;
    serde_json::to_value(&manifest.config).map_err(|e| Fault::new("io", e.to_string()))
}

/// Keys whose values differ, by their full names.
fn differences(a: &Value, b: &Value) -> Vec<Difference> {
    fn walk(path: &str, a: &Value, b: &Value, out: &mut Vec<Difference>) {
        if let (Value::Object(x), Value::Object(y)) = (a, b) {
            let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&path, &a[key.as_str()], &b[key.as_str()], out);
            }
        } else if a != b {
            out.push(Difference { key: path.to_owned(), first: a.clone(), second: b.clone() });
        }
    }
    let mut out = Vec::new();
    walk("", a, b, &mut out);
    out
}
