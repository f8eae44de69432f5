//! What lies below the roots: projects and datasets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Nothing;
use super::run::StatusName;
use crate::app::{find, jobs};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::resources;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProjectOut {
    /// What the other tools take.
    project_path: String,
    runs: u64,
    /// The newest run.
    newest_run: Option<String>,
    newest_status: Option<StatusName>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProjectsOut {
    projects: Vec<ProjectOut>,
}

/// list_projects
pub(super) struct Projects;

impl Tool for Projects {
    const NAME: &'static str = "list_projects";
    const TITLE: &'static str = "List projects";
    const ABOUT: &'static str = "The projects at or directly below the server's roots, each with its newest run.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = Nothing;
    type Out = ProjectsOut;

    fn call(_: Nothing, shared: &Shared, _: &Call) -> Result<ProjectsOut, Fault> {
        let project = |path: std::path::PathBuf| {
            let runs = crate::runs::list(&path).unwrap_or_default();
            let newest = runs.first();
            let status = |r: &crate::runs::RunSummary| Some(jobs::status(&crate::runs::RunFolder::open(&r.path).ok()?).ok()?.0.into());
            ProjectOut {
                project_path: path.display().to_string(),
                runs: runs.len() as u64,
                newest_run: newest.map(|r| r.run_id.clone()),
                newest_status: newest.and_then(status),
            }
        };
        Ok(ProjectsOut { projects: resources::projects(shared).into_iter().map(project).collect() })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetsIn {
    /// Only files whose path contains this.
    search_query: Option<String>,
    /// Most files. Default 20.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DatasetsOut {
    /// Newest first.
    datasets: Vec<find::DatasetFile>,
    /// Files beyond the limit.
    more: u64,
}

/// list_datasets
pub(super) struct Datasets;

impl Tool for Datasets {
    const NAME: &'static str = "list_datasets";
    const TITLE: &'static str = "List datasets";
    const ABOUT: &'static str =
        "Files of rows (JSONL, CSV, Parquet) below the server's roots, newest first. Folders of runs and models are left out.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Inspect;
    type In = DatasetsIn;
    type Out = DatasetsOut;

    fn call(input: DatasetsIn, shared: &Shared, _: &Call) -> Result<DatasetsOut, Fault> {
        let mut datasets = find::datasets(shared.roots.all(), input.search_query.as_deref().unwrap_or_default());
        let limit = input.limit.unwrap_or(20) as usize;
        let more = datasets.len().saturating_sub(limit) as u64;
        datasets.truncate(limit);
        Ok(DatasetsOut { datasets, more })
    }
}
