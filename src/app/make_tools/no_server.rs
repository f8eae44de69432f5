//! In place of `server.rs` in a library without the feature `program`, which has no MCP client.

use std::time::Duration;

use crate::base::error::Fault;
use crate::data::make_tools::Tool;

/// Most tools that are taken from one server.
pub(super) const MOST_TOOLS: usize = 2000;

/// Refuses.
///
/// # Errors
/// Always: a server's command needs the feature `program`.
pub(super) fn tools_of(command: &str, _: Duration) -> Result<(String, Vec<Tool>), Fault> {
    let message = format!("`{command}` cannot be started: this build has no MCP client");
    Err(Fault::new("unsupported", message).hint("build with the feature `program`, or give a file of tool schemas"))
}
