//! Settings of a project.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::overrides::{MOST_OVERRIDES, pairs};
use crate::app::settings;
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeIn {
    /// A key or section, for example training.stage1. Left out: the names of all keys.
    key: Option<String>,
    /// Also give the values of this project.
    project_path: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DescribeOut {
    /// What was asked for.
    keys: Vec<settings::Described>,
    /// All names, where no key was given.
    names: Vec<String>,
}

/// describe_config
pub(super) struct Describe;

impl Tool for Describe {
    const NAME: &'static str = "describe_config";
    const TITLE: &'static str = "Describe settings";
    const ABOUT: &'static str = "What a setting means, what it accepts, its default, and its value in a project.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Inspect;
    type In = DescribeIn;
    type Out = DescribeOut;

    fn call(input: DescribeIn, shared: &Shared, _: &Call) -> Result<DescribeOut, Fault> {
        let project = input.project_path.as_ref().map(|p| shared.roots.project(p)).transpose()?;
        let keys = settings::describe(input.key.as_deref().unwrap_or_default(), project.as_ref().map(|p| p.config.as_path()))?;
        if input.key.is_some() {
            return Ok(DescribeOut { keys, names: Vec::new() });
        }
        let names = keys.iter().map(|k| k.key.to_owned()).collect();
        // With a project, what it says itself; the rest is default.
        let said = keys.into_iter().filter(|k| k.said_at.is_some()).collect();
        Ok(DescribeOut { keys: said, names })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeIn {
    project_path: String,
    /// By dotted key or as nested sections, for example {"training.seed": 7}. null: back to the default.
    values: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangeOut {
    success: bool,
    changed: Vec<settings::Changed>,
    /// The file that was changed.
    config_file: String,
    note: String,
}

/// set_config
pub(super) struct Change;

impl Tool for Change {
    const NAME: &'static str = "set_config";
    const TITLE: &'static str = "Change settings";
    const ABOUT: &'static str = "Change settings in a project's configuration file, all or none. Configured runs keep theirs.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const LANE: Lane = Lane::Inspect;
    type In = ChangeIn;
    type Out = ChangeOut;

    fn call(input: ChangeIn, shared: &Shared, _: &Call) -> Result<ChangeOut, Fault> {
        let project = shared.roots.project(&input.project_path)?;
        let values = pairs(shared, &input.values)?;
        within("values (their number)", values.len(), 1, MOST_OVERRIDES)?;
        let (changed, warnings) = settings::change(&project.config, &values, &|config| shared.roots.settings(config))
            .map_err(|fault| Fault { message: fault.message.replace("--set: ", "values: "), ..fault })?;
        let next = "configure_training_run uses these settings from now on, and checks them against the model and the data";
        Ok(ChangeOut {
            success: true,
            changed,
            config_file: project.config.display().to_string(),
            note: std::iter::once(next.to_owned()).chain(warnings).collect::<Vec<_>>().join("; "),
        })
    }
}
