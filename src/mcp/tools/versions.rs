//! The models of a project by their content.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::versions;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionsIn {
    project_path: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VersionsOut {
    /// Newest first: id, kind, format, path, run_id, losses, whether it is promoted and its files are as they were.
    versions: Vec<Map<String, Value>>,
    /// The id of the promoted one.
    promoted: Option<String>,
}

/// list_model_versions
pub(super) struct Versions;

impl Tool for Versions {
    const NAME: &'static str = "list_model_versions";
    const TITLE: &'static str = "List model versions";
    const ABOUT: &'static str =
        "A project's models by their content: results of runs and exports, with their figures, and which one is promoted.";
    /// What it finds is written down, so that it need not be hashed again.
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Data;
    type In = VersionsIn;
    type Out = VersionsOut;

    fn call(input: VersionsIn, shared: &Shared, _: &Call) -> Result<VersionsOut, Fault> {
        let report = versions::list(&shared.roots.project(&input.project_path)?.root)?;
        let object = |v: &crate::runs::Listed| json!(v).as_object().cloned().unwrap_or_default();
        Ok(VersionsOut { versions: report.versions.iter().map(object).collect(), promoted: report.promoted })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PromoteIn {
    project_path: String,
    /// The version: its id or the beginning of it, or the run_id whose result it is.
    version: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PromoteOut {
    success: bool,
    /// Its id.
    promoted: String,
    run_id: String,
    path: String,
}

/// promote_model
pub(super) struct Promote;

impl Tool for Promote {
    const NAME: &'static str = "promote_model";
    const TITLE: &'static str = "Promote a model version";
    const ABOUT: &'static str =
        "Make one of a project's model versions the one that counts. Its files are hashed first: they must be what they were.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Data;
    type In = PromoteIn;
    type Out = PromoteOut;

    fn call(input: PromoteIn, shared: &Shared, _: &Call) -> Result<PromoteOut, Fault> {
        let root = shared.roots.project(&input.project_path)?.root;
        let version = versions::promote(&root, &input.version)?;
        let path = root.join(&version.path).display().to_string();
        Ok(PromoteOut { success: true, promoted: version.id, run_id: version.run_id, path })
    }
}
