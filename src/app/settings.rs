//! Settings of a project: what a key means and is now, and changing keys in the configuration file.

mod edit;

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::base::atomic;
use crate::base::error::Fault;
use crate::config::{KeyInfo, Resolved, RunConfig, Sources, keys, nearest_key, resolve};
use crate::runs::Project;

/// A key, what it means, and its value.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Described {
    /// Dotted.
    pub key: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Values that it takes.
    pub accepts: String,
    /// Its value where nobody says another one; null: unset.
    pub default: Value,
    /// Why it has no effect, where it has none.
    pub no_effect: Option<&'static str>,
    /// The project's value, where a project was named.
    pub now: Option<Value>,
    /// Where that was said, where it is not the default.
    pub said_at: Option<String>,
}

/// The keys at or below a dotted path (all below an empty one), with a project's values where one is named.
///
/// # Errors
/// When there is no such key, or the project's configuration cannot be used.
pub fn describe(path: &str, project: Option<&Path>) -> Result<Vec<Described>, Fault> {
    let below = |key: &str| path.is_empty() || key == path || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let found: Vec<KeyInfo> = keys().into_iter().filter(|k| below(k.path)).collect();
    if found.is_empty() {
        let shown: String = path.chars().take(100).collect();
        let fault = Fault::new("unknown_key", format!("there is no key or section `{}`", shown.escape_debug()));
        return Err(match nearest_key(path) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("without a key, every key is listed"),
        });
    }
    let resolved = project.map(|p| super::train::configuration(p, &[]).map(|(_, resolved)| resolved)).transpose()?;
    let tree = resolved.as_ref().map(|r| json!(r.config));
    let describe = |info: KeyInfo| {
        let default: Value = serde_json::from_str(info.default).unwrap_or_default();
        // A setting may be left out where it is the default.
        let now = |tree: &Value| Some(at(tree, info.path).clone()).filter(|v| !v.is_null()).unwrap_or_else(|| default.clone());
        let said = |r: &Resolved| r.said.is_said(info.path).then(|| r.said.origin(info.path).to_string());
        Described {
            key: info.path,
            meaning: info.about,
            accepts: info.accepts,
            no_effect: info.no_effect,
            now: tree.as_ref().map(now),
            default,
            said_at: resolved.as_ref().and_then(said),
        }
    };
    Ok(found.into_iter().map(describe).collect())
}

fn at<'a>(tree: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(tree, |node, part| &node[part])
}

/// One key that was changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Changed {
    /// The key.
    pub key: String,
    /// Its value before.
    pub before: Value,
    /// Its value now.
    pub now: Value,
}

/// Changes keys in a project's configuration file; null takes a key out, so that its default holds. Comments and the
/// order of the file stay. `allow` sees the settings first.
///
/// Also gives what is to be said of the settings as they then are.
///
/// # Errors
/// When the result would not be a valid configuration, or the file is laid out in a way that cannot be edited; then the
/// file is as it was.
pub fn change(
    named: &Path,
    changes: &[(String, Value)],
    allow: &dyn Fn(&RunConfig) -> Result<(), Fault>,
) -> Result<(Vec<Changed>, Vec<String>), Fault> {
    let project = Project::locate(named)?;
    let path = &project.config;
    let old = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
    let set: Vec<String> = changes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let working_dir = std::env::current_dir().map_err(|e| Fault::io("open", Path::new("."), &e))?;
    let env: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let sources = |text: &str, set: Vec<String>| Sources {
        file: Some((path.clone(), text.to_owned())),
        root: project.root.clone(),
        working_dir: working_dir.clone(),
        set,
        env: env.clone(),
        flags: Vec::new(),
    };
    let resolved = resolve(&sources(&old, set))?;
    let wanted = resolved.config;
    allow(&wanted)?;
    let new = changes.iter().fold(old.clone(), |text, (key, value)| edit::set(&text, key, value));
    // The file as it will be read must say exactly what was asked for, and nothing else may have changed.
    if !resolve(&sources(&new, Vec::new())).is_ok_and(|got| json!(got.config) == json!(wanted)) {
        return Err(Fault::new(
            "config_not_editable",
            format!("{}: the file is laid out in a way that cannot be edited here", path.display()),
        )
        .hint("change it by hand, one key a line below its section"));
    }
    let before = resolve(&sources(&old, Vec::new())).map(|r| json!(r.config)).unwrap_or_default();
    atomic::write_file(path, new.as_bytes())?;
    let after = json!(wanted);
    let changed = |(key, _): &(String, Value)| Changed { key: key.clone(), before: at(&before, key).clone(), now: at(&after, key).clone() };
    Ok((changes.iter().map(changed).collect(), resolved.warnings))
}
