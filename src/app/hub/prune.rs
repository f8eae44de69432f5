//! Models and datasets that leave the cache. Nothing goes before it was shown, and what a run stands on says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::days_since;
use crate::base::error::Fault;
use crate::model::hub::{self, CachedRepo, HubOptions, Kind, model_of};
use crate::runs;

/// What shall go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// These, by `owner/name`.
    pub ids: Vec<String>,
    /// Whatever no program has read for so many days.
    pub unused_days: Option<u64>,
    /// Halves of downloads that broke off.
    pub incomplete: bool,
    /// Commits that no branch or tag of the cache leads to any more.
    pub old_revisions: bool,
    /// Also what runs of these projects stand on.
    pub even_if_used: bool,
    /// Projects, or folders with projects in them, whose runs are asked.
    pub projects: Vec<PathBuf>,
    /// Delete; else only say what would go.
    pub delete: bool,
}

/// One thing that goes or stays.
#[derive(Debug, Clone, Serialize)]
pub struct Removal {
    /// Model or dataset.
    pub kind: Kind,
    /// `owner/name`.
    pub id: String,
    /// `all`, a commit, or `incomplete`.
    pub part: String,
    /// Bytes that the disk gets back.
    pub bytes: u64,
    /// Days since its last use, as far as the file system keeps account.
    pub unused_days: Option<u64>,
    /// Runs that stand on it, as `project/run`.
    pub used_by: Vec<String>,
    /// It stays, since runs stand on it.
    pub kept: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Serialize)]
pub struct PruneReport {
    /// False: nothing was deleted.
    pub deleted: bool,
    /// What it is about.
    pub removals: Vec<Removal>,
    /// Bytes that went or would go.
    pub bytes: u64,
    /// Projects whose runs were asked what they stand on.
    pub projects: Vec<PathBuf>,
}

/// Says what would leave the cache, and deletes it where that is wanted.
///
/// # Errors
/// When nothing is chosen, an id is not in the cache, or a file cannot be deleted.
pub fn prune(request: &PruneRequest) -> Result<PruneReport, Fault> {
    if request.ids.is_empty() && request.unused_days.is_none() && !request.incomplete && !request.old_revisions {
        return Err(Fault::new("usage", "nothing is chosen to go")
            .hint("name models by their ids, or give --unused-days N, --incomplete or --old-revisions"));
    }
    let repos = hub::cached_repos(&HubOptions::from_env());
    if let Some(id) = request.ids.iter().find(|id| !repos.iter().any(|r| r.id == **id)) {
        return Err(Fault::new("model_not_cached", format!("{id} is not in the cache")).hint("`tallow hub list` shows what is"));
    }
    // A name that is wrong would protect nothing, and say so too late.
    let is_project = |folder: &PathBuf| !projects(std::slice::from_ref(folder)).is_empty();
    if let Some(wrong) = request.projects.iter().find(|folder| folder.as_path() != Path::new(".") && !is_project(folder)) {
        let message = format!("{}: neither a project nor a folder with projects in it", wrong.display());
        return Err(Fault::new("project_not_found", message).hint("name the folder that has config/ and runs/ in it; nothing was deleted"));
    }
    let projects = projects(&request.projects);
    let users = users(&projects);
    let mut removals = Vec::new();
    for repo in &repos {
        for (part, bytes) in chosen(request, repo) {
            let used_by: Vec<String> = match part.as_str() {
                "incomplete" => Vec::new(),
                "all" => {
                    users.iter().filter(|((id, _), _)| repo.kind == Kind::Model && *id == repo.id).flat_map(|(_, r)| r.clone()).collect()
                }
                commit => users.get(&(repo.id.clone(), commit.to_owned())).cloned().unwrap_or_default(),
            };
            let kept = !used_by.is_empty() && !request.even_if_used;
            if request.delete && !kept {
                delete(repo, &part)?;
            }
            let unused_days = repo.last_used.map(days_since);
            removals.push(Removal { kind: repo.kind, id: repo.id.clone(), part, bytes, unused_days, used_by, kept });
        }
    }
    let bytes = removals.iter().filter(|r| !r.kept).map(|r| r.bytes).sum();
    Ok(PruneReport { deleted: request.delete, removals, bytes, projects })
}

/// What of a repository is chosen: its part, and its bytes.
fn chosen(request: &PruneRequest, repo: &CachedRepo) -> Vec<(String, u64)> {
    let is_old = |days: u64| repo.last_used.is_some_and(|time| days_since(time) >= days);
    if request.ids.contains(&repo.id) || request.unused_days.is_some_and(is_old) {
        return vec![("all".into(), repo.bytes)];
    }
    let mut parts = Vec::new();
    if request.old_revisions {
        // The only commit stays: it is the model, whatever leads to it.
        let old = repo.revisions.iter().filter(|r| r.refs.is_empty() && repo.revisions.len() > 1);
        parts.extend(old.map(|r| (r.commit.clone(), r.own_bytes)));
    }
    if request.incomplete && repo.incomplete_bytes > 0 {
        parts.push(("incomplete".into(), repo.incomplete_bytes));
    }
    parts
}

fn delete(repo: &CachedRepo, part: &str) -> Result<(), Fault> {
    let done = match part {
        "all" => repo.delete(),
        "incomplete" => repo.incomplete.iter().try_for_each(std::fs::remove_file),
        commit => repo.delete_revision(commit),
    };
    done.map_err(|e| Fault::io("delete", &repo.path, &e))
}

/// The named folders that are projects, and projects right below them.
fn projects(named: &[PathBuf]) -> Vec<PathBuf> {
    let below = |folder: &PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let mut all: Vec<PathBuf> = named.iter().flat_map(|f| std::iter::once(f.clone()).chain(below(f))).collect();
    all.retain(|p| p.join("runs").is_dir() || p.join("config/fine_tuning_config.yaml").is_file());
    all.sort();
    all.dedup();
    all
}

/// Runs by the id and commit of the model that they stand on.
fn users(projects: &[PathBuf]) -> BTreeMap<(String, String), Vec<String>> {
    let mut users: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for project in projects {
        for run in runs::list(project).unwrap_or_default() {
            let manifest = runs::RunFolder::open(&run.path).and_then(|folder| folder.manifest());
            if let Some(key) = manifest.ok().and_then(|m| model_of(&m.base_model?.path)) {
                users.entry(key).or_default().push(format!("{}/{}", project.display(), run.run_id));
            }
        }
    }
    users
}
