//! Metrics as a client may name them.

use std::path::Path;

use crate::app::score::{JudgeOptions, options_of};
use crate::base::error::Fault;
use crate::mcp::tool::Shared;

/// The metrics and limits of a call. A client starts no programs, and its schemas lie within the roots.
pub(super) fn options(shared: &Shared, metrics: &[String], thresholds: &[String]) -> Result<JudgeOptions, Fault> {
    let mut names = Vec::with_capacity(metrics.len());
    for name in metrics {
        names.push(match name.split_once(':') {
            Some(("command", _)) => {
                return Err(Fault::new("bad_metric", "a scorer that is a program cannot be named over MCP")
                    .hint("whoever runs the machine can use it in a shell"));
            }
            Some(("json_schema", file)) => format!("json_schema:{}", shared.roots.allow(file)?.display()),
            _ => name.clone(),
        });
    }
    options_of(&names, thresholds, Path::new("/"))
}
