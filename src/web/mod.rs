//! The page: runs, curves, data and plans in a browser, served by this program on loopback.
//!
//! ```text
//!   browser ── http ── door (how many) ── guard (host, origin, tokens) ── routes ── app use case ── JSON
//!                                                                          ├─ page: HTML, CSS, JS of this program
//!                                                                          └─ live: server-sent events
//! ```
//! It holds no logic: what a request does is a use case of `app`. Paths that a request names lie
//! below the folders that it was started with. It reads datasets in its own process, as the shell
//! does.

mod guard;
mod live;
mod page;
mod query;
mod routes;
mod views;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::base::error::Fault;
use crate::mcp::door::{Door, Visitor, check_token, listen};
use crate::mcp::roots::Roots;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Project folders, or folders with projects in them; empty: the working folder.
    pub roots: Vec<PathBuf>,
    /// Where.
    pub address: SocketAddr,
    /// What a browser must show first. Needed where other machines reach the address.
    pub token: Option<String>,
    /// Host names, beside the loopback ones and the address's own, that requests may be meant for.
    pub allowed_hosts: Vec<String>,
    /// Refuse whatever changes something.
    pub read_only: bool,
}

/// The environment variable with the token.
pub const TOKEN_VARIABLE: &str = "TALLOW_WEB_TOKEN";

/// Requests that read datasets or plan memory, at once.
const HEAVY_AT_ONCE: usize = 2;
/// Open streams of events.
const MOST_STREAMS: usize = 64;

/// What all requests share.
#[derive(Debug)]
struct Shared {
    roots: Roots,
    guard: guard::Guard,
    read_only: bool,
    heavy: Semaphore,
    streams: Arc<Semaphore>,
}

/// Serves until the process is ended. `ready` is told the address once requests are taken.
///
/// # Errors
/// When a folder does not exist, the address cannot be used, or it can be reached from outside and
/// there is no token.
pub fn serve(options: &Options, ready: &mut dyn FnMut(SocketAddr)) -> Result<(), Fault> {
    check_token(options.address, options.token.as_deref(), TOKEN_VARIABLE)?;
    let roots = Roots::new(&options.roots)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .map_err(|e| Fault::new("io", format!("the server cannot start: {e}")))?;
    runtime.block_on(async {
        let (listener, address) = listen(options.address).await?;
        let shared = Arc::new(Shared {
            roots,
            guard: guard::Guard::new(address, options),
            read_only: options.read_only,
            heavy: Semaphore::new(HEAVY_AT_ONCE),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        });
        let door = Door::new();
        ready(address);
        let inner = door.clone();
        let answer = move |request, visitor: Arc<Visitor>| {
            let (shared, door) = (shared.clone(), inner.clone());
            async move { routes::answer(shared, &door, &visitor, request).await }
        };
        door.serve(listener, |_| {}, answer).await;
        Ok(())
    })
}
