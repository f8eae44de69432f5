//! The Model Context Protocol face: tools, resources and prompts over stdio or loopback HTTP.
//!
//! ```text
//!   client ── stdio | http ── server ── tool: JSON -> typed request -> app use case -> typed answer -> JSON
//!                               │                (on a blocking thread, with progress and cancellation)
//!                               └─ roots: every path that a client names lies below one of them
//! ```
//! It holds no logic: what a tool does is a use case of `app`, and what a run is stands in its folder. On stdio, standard
//! output carries the protocol and nothing else.
//!
//! Calls are sorted into lanes by what they cost (`lanes`), and those that read what others wrote run in a process of
//! their own (`isolate`), whose rights the system limits (`confine`).

mod arguments;
mod confine;
mod consent;
pub(crate) mod door;
mod hints;
mod http;
mod icon;
mod isolate;
mod lanes;
mod log;
mod notes;
mod prompts;
mod rented;
mod resources;
pub(crate) mod roots;
mod schema;
mod secrets;
mod server;
mod sessions;
mod stdio;
mod tool;
mod tools;
mod warm;
mod watch;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rmcp::ServiceExt;

use crate::base::error::Fault;

pub use isolate::{LEAST_MEMORY as LEAST_CALL_MEMORY, answer_one_call};
pub use warm::hold_model;

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folders that clients may use; empty: the working folder.
    pub roots: Vec<PathBuf>,
    /// Serve HTTP here instead of stdio.
    pub http: Option<SocketAddr>,
    /// Bearer token that HTTP clients must show.
    pub token: Option<String>,
    /// Host names, beside the loopback ones, that HTTP requests may be meant for.
    pub allowed_hosts: Vec<String>,
    /// Origins of browsers that may send HTTP requests.
    pub allowed_origins: Vec<String>,
    /// A file that calls are logged to.
    pub log: Option<PathBuf>,
    /// Names of the toolsets to show; empty: `core`.
    pub toolsets: Vec<String>,
    /// Show only tools that change nothing.
    pub read_only: bool,
    /// Most bytes of memory of a call that reads files of others; `None`: a share of what is free.
    pub call_memory: Option<u64>,
}

/// Longest message of a client, in bytes.
const MOST_MESSAGE_BYTES: usize = 4 << 20;

/// Serves until the client goes away, or for HTTP until the process is ended. `ready` is told the address once HTTP
/// requests are taken.
///
/// # Errors
/// When a root does not exist, the log cannot be written, or the address cannot be used.
pub fn serve(options: &Options, ready: &mut dyn FnMut(SocketAddr)) -> Result<(), Fault> {
    let choice = tools::Choice::new(&options.toolsets, options.read_only)?;
    let shared = Arc::new(tool::Shared::new(
        roots::Roots::new(&options.roots)?,
        log::Log::open(options.log.as_deref())?,
        choice,
        options.call_memory,
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(256)
        .enable_all()
        .build()
        .map_err(|e| Fault::new("io", format!("the server cannot start: {e}")))?;
    let result = match options.http {
        Some(address) => runtime.block_on(http::serve(address, options, shared, ready)),
        None => runtime.block_on(serve_stdio(shared)),
    };
    // A thread may still sit in a read of stdin or in a call that nobody waits for.
    runtime.shutdown_background();
    result
}

async fn serve_stdio(shared: Arc<tool::Shared>) -> Result<(), Fault> {
    let (read, write) = rmcp::transport::stdio();
    let transport = stdio::Pipes::new(read, write);
    let log = shared.clone();
    log.log.line("serving on stdio");
    match server::Server::new(shared).serve(transport).await {
        Ok(service) => {
            let _ = service.waiting().await;
        }
        // A client that goes away before it has said hello is no fault of ours.
        Err(e) => log.log.line(&format!("the client left: {e}")),
    }
    log.log.line("the client is gone");
    Ok(())
}
