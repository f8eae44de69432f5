//! What a tool is, and how a call of it runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::{JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::log::Log;
use super::roots::Roots;
use super::schema;
use super::secrets::Secrets;
use crate::base::cancel;
use crate::base::error::Fault;
use crate::train::StopFlag;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) roots: Roots,
    pub(super) log: Log,
    pub(super) secrets: Secrets,
    looks: Semaphore,
    works: Semaphore,
    waits: Semaphore,
    open: AtomicUsize,
    names: Mutex<Option<(Instant, Arc<Vec<String>>)>>,
}

/// Calls that may be under way or waiting for their turn.
const MOST_OPEN_CALLS: usize = 512;

impl Desk {
    pub(super) fn new(roots: Roots, log: Log) -> Self {
        let [looks, works, waits] = [32, 2, 32].map(Semaphore::new);
        Self { roots, log, secrets: Secrets::from_env(), looks, works, waits, open: AtomicUsize::new(0), names: Mutex::default() }
    }
}

/// How long the names of all runs are taken for true: every client that is connected asks after them.
const NAMES_AGE: Duration = Duration::from_millis(450);

impl Desk {
    /// The names of all runs, looked up by `look` where the last look is too old.
    pub(super) fn names(&self, look: impl FnOnce() -> Vec<String>) -> Arc<Vec<String>> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, names)) = known.as_ref().filter(|(at, _)| at.elapsed() < NAMES_AGE) {
            return names.clone();
        }
        let names = Arc::new(look());
        *known = Some((Instant::now(), names.clone()));
        names
    }
}

/// How much a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Reads a few files.
    Look,
    /// Loads a model or reads data: few at a time.
    Work,
    /// May wait for a run.
    Wait,
}

/// What a client should know before it calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    pub(super) read_only: bool,
    pub(super) destructive: bool,
    pub(super) idempotent: bool,
    pub(super) open_world: bool,
}

impl Hints {
    pub(super) const LOOK: Self = Self { read_only: true, destructive: false, idempotent: true, open_world: false };
    pub(super) const MAKE: Self = Self { read_only: false, destructive: false, idempotent: false, open_world: false };
    pub(super) const DESTROY: Self = Self { read_only: false, destructive: true, idempotent: true, open_world: false };
    /// It may fetch a model from the Hub.
    pub(super) const fn reaching_out(self) -> Self {
        Self { open_world: true, ..self }
    }
}

/// How far a call is.
#[derive(Debug, Clone)]
pub(super) struct Tick {
    pub(super) done: f64,
    pub(super) total: Option<f64>,
    pub(super) message: String,
}

/// One call: where it tells how far it is, and learns that nobody waits for it any more.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) cancelled: StopFlag,
    pub(super) ticks: mpsc::UnboundedSender<Tick>,
}

impl Call {
    pub(super) fn tell(&self, done: f64, total: Option<f64>, message: String) {
        // Nobody may be listening.
        let _ = self.ticks.send(Tick { done, total, message });
    }

    pub(super) fn go_on(&self) -> bool {
        !self.cancelled.is_requested()
    }

    /// Sleeps a little; false once the call is cancelled.
    pub(super) fn pause(&self, time: Duration) -> bool {
        std::thread::sleep(time);
        self.go_on()
    }
}

/// A tool.
pub(super) trait Tool: 'static {
    const NAME: &'static str;
    const TITLE: &'static str;
    const ABOUT: &'static str;
    const HINTS: Hints;
    const WEIGHT: Weight;
    type In: DeserializeOwned + JsonSchema;
    type Out: Serialize + JsonSchema;
    /// Does the work, on a thread that may block.
    fn call(input: Self::In, desk: &Desk, call: &Call) -> Result<Self::Out, Fault>;
}

/// A tool, its types forgotten.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) tool: rmcp::model::Tool,
    weight: Weight,
    call: fn(Value, &Desk, &Call) -> Result<Value, Fault>,
}

/// The row of a tool.
pub(super) fn row<T: Tool>() -> Row {
    let h = T::HINTS;
    let annotations = ToolAnnotations::with_title(T::TITLE)
        .read_only(h.read_only)
        .destructive(h.destructive)
        .idempotent(h.idempotent)
        .open_world(h.open_world);
    let tool = rmcp::model::Tool::new(T::NAME, T::ABOUT, schema::of::<T::In>())
        .with_title(T::TITLE)
        .with_raw_output_schema(schema::of::<T::Out>())
        .with_annotations(annotations);
    let call = |arguments: Value, desk: &Desk, call: &Call| {
        let input: T::In = serde_json::from_value(arguments).map_err(|e| {
            Fault::new("invalid_arguments", e.to_string()).hint(format!("the input schema of {} says what it takes", T::NAME))
        })?;
        let output = T::call(input, desk, call)?;
        let mut answer = serde_json::to_value(output).map_err(|e| Fault::new("io", format!("the answer cannot be written: {e}")))?;
        schema::drop_nulls(&mut answer);
        Ok(answer)
    };
    Row { tool, weight: T::WEIGHT, call }
}

impl Row {
    /// Runs a call on a blocking thread. Secrets are hidden in what it gives.
    pub(super) async fn run(&self, desk: Arc<Desk>, arguments: Option<JsonObject>, call: Call) -> Result<Value, Fault> {
        if desk.open.fetch_add(1, Ordering::SeqCst) >= MOST_OPEN_CALLS {
            desk.open.fetch_sub(1, Ordering::SeqCst);
            return Err(Fault::new("too_many_calls", "too many calls are under way").hint("wait for some of them"));
        }
        let result = self.run_in_turn(&desk, arguments, call).await;
        desk.open.fetch_sub(1, Ordering::SeqCst);
        let secrets = &desk.secrets;
        result
            .map(|mut value| {
                secrets.hide_in(&mut value);
                value
            })
            .map_err(|f| secrets.hide_in_fault(f))
    }

    async fn run_in_turn(&self, desk: &Arc<Desk>, arguments: Option<JsonObject>, call: Call) -> Result<Value, Fault> {
        let turns = match self.weight {
            Weight::Look => &desk.looks,
            Weight::Work => &desk.works,
            Weight::Wait => &desk.waits,
        };
        let _turn = turns.acquire().await.map_err(|_| Fault::new("closing", "the server is closing"))?;
        if !call.go_on() {
            return Err(Fault::new("cancelled", "the call was cancelled"));
        }
        let (function, desk) = (self.call, desk.clone());
        let arguments = Value::Object(arguments.unwrap_or_default());
        let asked = call.cancelled.clone();
        let work = tokio::task::spawn_blocking(move || cancel::within(move || asked.is_requested(), || function(arguments, &desk, &call)));
        work.await.unwrap_or_else(|e| {
            Err(Fault::new("internal", format!("the tool broke down: {e}")).hint("this is a bug of tallow; the server goes on"))
        })
    }
}

/// A fault as an answer shows it.
pub(super) fn fault_json(fault: &Fault) -> Value {
    json!({ "error": fault })
}

/// Refuses a number outside of its range.
pub(super) fn within<N: PartialOrd + std::fmt::Display + Copy>(name: &str, value: N, least: N, most: N) -> Result<N, Fault> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(Fault::new("invalid_arguments", format!("`{name}` is {value}")).hint(format!("it must be from {least} to {most}")))
}
