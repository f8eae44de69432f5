//! An OpenAI-compatible server over one base model and adapters on it.
//!
//! ```text
//!   client ── http ── door (how many) ── guard (host, origin, token) ── routes
//!                                                                        │ request: JSON to a prompt and options
//!             JSON or server-sent events <── answer <── tokens ── engine ┘ (one thread: passes over all sequences)
//! ```
//! All answers are decoded together: each pass through a model carries one token of every answer and
//! pieces of new prompts. The wait is bounded by places; a client that goes away frees its own.

mod answer;
mod calls;
mod engine;
mod fault;
mod guard;
mod request;
mod routes;
mod stops;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::app::serve::Served;
use crate::base::cancel::StopFlag;
use crate::base::error::Fault;
use crate::mcp::door::{Door, Visitor, check_token, listen};
use crate::model::generate::BatchOptions;

/// The environment variable with the token.
pub const TOKEN_VARIABLE: &str = "TALLOW_SERVE_TOKEN";

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where.
    pub address: SocketAddr,
    /// What clients must show. Needed where other machines reach the address.
    pub token: Option<String>,
    /// Host names, beside the loopback ones and the address's own, that requests may be meant for.
    pub allowed_hosts: Vec<String>,
    /// How many answers are decoded together.
    pub batch: BatchOptions,
    /// Requests that may wait for a place.
    pub queue: usize,
}

/// How long answers under way may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(30);
/// How often the request to stop is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Prompts that are made of requests at once.
const PREPARING: usize = 4;

/// What all requests share.
#[derive(Debug)]
struct Shared {
    models: Arc<Vec<Served>>,
    engine: engine::Engine,
    guard: guard::Guard,
    preparing: Semaphore,
    stop: StopFlag,
    /// Seconds since 1970 when the server began.
    created: u64,
}

/// Serves until `stop` is requested, then lets answers under way end. `ready` is told the address once
/// requests are taken.
///
/// # Errors
/// When the address cannot be used, or it can be reached from outside and there is no token.
pub fn serve(models: Vec<Served>, options: &Options, stop: StopFlag, ready: &mut dyn FnMut(SocketAddr)) -> Result<(), Fault> {
    check_token(options.address, options.token.as_deref(), TOKEN_VARIABLE)?;
    if options.batch.max_sequences == 0 {
        return Err(Fault::new("usage", "no answer could be decoded").hint("allow at least one sequence at a time"));
    }
    let models = Arc::new(models);
    let (engine, thread) = engine::Engine::start(models.clone(), options.batch, options.queue)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(PREPARING + 2)
        .enable_all()
        .build()
        .map_err(|e| Fault::new("io", format!("the server cannot start: {e}")))?;
    runtime.block_on(async {
        let (listener, address) = listen(options.address).await?;
        let shared = Arc::new(Shared {
            models,
            engine,
            guard: guard::Guard::new(address, options),
            preparing: Semaphore::new(PREPARING),
            stop: stop.clone(),
            created: answer::now(),
        });
        let door = Door::new();
        ready(address);
        let (inner, all) = (door.clone(), shared.clone());
        let answer = move |request, visitor: Arc<Visitor>| {
            let (shared, door) = (all.clone(), inner.clone());
            async move { routes::answer(shared, &door, &visitor, request).await }
        };
        // New connections are taken until the end, so that clients hear that the server stops.
        tokio::select! {
            () = door.serve(listener, |_| {}, answer) => {}
            () = stopped(&shared) => {}
        }
        shared.engine.end();
        Ok::<(), Fault>(())
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    // It ends after its pass; a pass that goes on for ever must not hold the program.
    let begun = Instant::now();
    while !thread.is_finished() && begun.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits for the request to stop, and then for the answers under way.
async fn stopped(shared: &Shared) {
    while !shared.stop.is_requested() {
        tokio::time::sleep(LOOK).await;
    }
    let begun = Instant::now();
    while !shared.engine.is_idle() && begun.elapsed() < GRACE {
        tokio::time::sleep(LOOK).await;
    }
    // What the last answers wrote is still on its way to the clients.
    tokio::time::sleep(LOOK).await;
}
