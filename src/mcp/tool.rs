//! What a tool is, and how a call of it runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::{JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::consent::Ask;
use super::lanes::{Lane, Lanes, Limits, Waited};
use super::log::Log;
use super::roots::Roots;
use super::secrets::Secrets;
use super::tools::Choice;
use super::warm::Warm;
use super::{arguments, hints, isolate, schema};
use crate::base::error::Fault;
use crate::base::{cancel, panics};
use crate::train::StopFlag;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) roots: Roots,
    pub(super) log: Log,
    pub(super) secrets: Secrets,
    /// Which tools there are for clients.
    pub(super) choice: Choice,
    /// Most memory of a call that runs in a process of its own; `None`: as its lane says.
    pub(super) call_memory: Option<u64>,
    /// Models that stay loaded.
    pub(super) warm: Warm,
    lanes: Lanes,
    open: AtomicUsize,
    names: Mutex<Option<(Instant, Arc<Vec<String>>)>>,
}

/// Calls that may be under way or waiting for their turn.
const MOST_OPEN_CALLS: usize = 512;

impl Shared {
    pub(super) fn new(roots: Roots, log: Log, choice: Choice, call_memory: Option<u64>) -> Self {
        let (lanes, secrets) = (Lanes::new(), Secrets::from_env());
        let warm = Warm::default();
        Self { roots, log, secrets, choice, call_memory, warm, lanes, open: AtomicUsize::new(0), names: Mutex::default() }
    }
}

/// How long the names of all runs are taken for true: every client that is connected asks after them.
const NAMES_AGE: Duration = Duration::from_millis(450);

impl Shared {
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tick {
    pub(super) done: f64,
    pub(super) total: Option<f64>,
    pub(super) message: String,
}

/// One call: where it tells how far it is, and learns that nobody waits for it any more.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) cancelled: StopFlag,
    pub(super) ticks: Arc<dyn Fn(Tick) + Send + Sync>,
    /// How whoever sits before the client is asked, where that can be done.
    pub(super) ask: Option<Ask>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call {{ cancelled: {} }}", self.cancelled.is_requested())
    }
}

impl Call {
    pub(super) fn tell(&self, done: f64, total: Option<f64>, message: String) {
        (self.ticks)(Tick { done, total, message });
    }

    /// False once the call is cancelled.
    pub(super) fn go_on(&self) -> bool {
        !self.cancelled.is_requested()
    }

    /// Whether the user agrees; `None` where nobody can be asked.
    pub(super) fn asks(&self, question: &str) -> Option<bool> {
        self.ask.as_ref().and_then(|ask| ask(question))
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
    const LANE: Lane;
    /// Whether a person should see each call before it is made: it costs money, or deletes for good.
    const ASKS: bool = false;
    type In: DeserializeOwned + JsonSchema;
    type Out: Serialize + JsonSchema;
    /// Does the work, on a thread that may block; in a process of its own where the lane says so.
    fn call(input: Self::In, shared: &Shared, call: &Call) -> Result<Self::Out, Fault>;

    /// The answer, where the server itself has it and no process is needed. Looks at nothing that others wrote.
    fn in_server(_: &Value, _: &Shared, _: &Call) -> Option<Result<Value, Fault>> {
        None
    }

    /// What the server itself has to do once a process has answered.
    fn after(answer: Value, _: &Shared, _: &Call) -> Result<Value, Fault> {
        Ok(answer)
    }
}

/// A tool, its types forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) read_only: bool,
    lane: Lane,
    describe: fn() -> rmcp::model::Tool,
    call: fn(Value, &Shared, &Call) -> Result<Value, Fault>,
    in_server: fn(&Value, &Shared, &Call) -> Option<Result<Value, Fault>>,
    after: fn(Value, &Shared, &Call) -> Result<Value, Fault>,
}

/// The row of a tool.
pub(super) const fn row<T: Tool>() -> Row {
    Row {
        name: T::NAME,
        read_only: T::HINTS.read_only,
        lane: T::LANE,
        describe: describe::<T>,
        call: call::<T>,
        in_server: T::in_server,
        after: T::after,
    }
}

fn describe<T: Tool>() -> rmcp::model::Tool {
    let h = T::HINTS;
    let annotations =
        ToolAnnotations::new().read_only(h.read_only).destructive(h.destructive).idempotent(h.idempotent).open_world(h.open_world);
    let mut tool = rmcp::model::Tool::new(T::NAME, T::ABOUT, schema::input::<T::In>())
        .with_title(T::TITLE)
        .with_raw_output_schema(schema::output::<T::Out>())
        .with_annotations(annotations);
    if T::ASKS {
        let mut meta = rmcp::model::MetaObject::new();
        meta.insert("anthropic/requiresUserInteraction".into(), true.into());
        tool.meta = Some(meta);
    }
    tool
}

fn call<T: Tool>(arguments: Value, shared: &Shared, call: &Call) -> Result<Value, Fault> {
    let input: T::In = serde_json::from_value(arguments).map_err(|e| {
        // The schema has passed it already; what is left is for instance a number that is too large for any use.
        Fault::new("invalid_arguments", e.to_string()).hint(format!("see the input schema of {}", T::NAME))
    })?;
    let output = T::call(input, shared, call)?;
    let mut answer = serde_json::to_value(output).map_err(|e| Fault::new("io", format!("the answer cannot be written: {e}")))?;
    schema::tidy_answer(&mut answer);
    Ok(answer)
}

/// Descriptions are made once, not for each client.
static DESCRIPTIONS: LazyLock<Vec<rmcp::model::Tool>> =
    LazyLock::new(|| super::tools::ALL.iter().map(|(row, _)| (row.describe)()).collect());

/// How a call ended, and what it waited for before it began.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: Result<Value, Fault>,
    pub(super) waited: Option<Waited>,
}

impl Row {
    /// As clients see it.
    pub(super) fn description(&self) -> rmcp::model::Tool {
        DESCRIPTIONS.iter().find(|t| t.name == self.name).cloned().unwrap_or_else(self.describe)
    }

    /// Checks the arguments, waits for a turn, does the work. In what it gives, secrets are hidden and remarks name tools.
    pub(super) async fn run(&self, shared: Arc<Shared>, arguments: Option<JsonObject>, call: Call) -> Ended {
        let mut waited = None;
        let result = if shared.open.fetch_add(1, Ordering::SeqCst) < MOST_OPEN_CALLS {
            self.run_in_turn(&shared, arguments, call, &mut waited).await
        } else {
            Err(Fault::new("too_many_calls", "too many calls are under way").hint("wait for some of them"))
        };
        shared.open.fetch_sub(1, Ordering::SeqCst);
        let secrets = &shared.secrets;
        let hidden = |mut value: Value| {
            secrets.hide_in(&mut value);
            hints::in_answer(&mut value);
            value
        };
        Ended { result: result.map(hidden).map_err(|f| hints::for_tools(secrets.hide_in_fault(f))), waited }
    }

    async fn run_in_turn(
        &self,
        shared: &Arc<Shared>,
        arguments: Option<JsonObject>,
        call: Call,
        waited: &mut Option<Waited>,
    ) -> Result<Value, Fault> {
        let arguments = arguments::checked(self.name, &self.description().input_schema, arguments.unwrap_or_default())?;
        let turn = shared.lanes.turn(self.lane, self.name, &call).await?;
        *waited = turn.waited.clone();
        if !call.go_on() {
            return Err(Fault::new("cancelled", "the call was cancelled"));
        }
        let (row, shared) = (*self, shared.clone());
        let work = tokio::task::spawn_blocking(move || match row.lane.limits() {
            Some(limits) => row.run_isolated(arguments, &shared, &limits, &call),
            None => row.run_here(arguments, &shared, &call),
        });
        work.await.unwrap_or_else(|e| {
            Err(Fault::new("internal", format!("the tool broke down: {e}")).hint("this is a bug of tallow; the server goes on"))
        })
    }

    /// Does the work in a process, but for what only the server can do.
    fn run_isolated(&self, arguments: Value, shared: &Shared, limits: &Limits, call: &Call) -> Result<Value, Fault> {
        if let Some(answer) = (self.in_server)(&arguments, shared, call) {
            return answer;
        }
        let answer = isolate::run(self.name, arguments, shared, limits, call)?;
        (self.after)(answer, shared, call)
    }

    /// Does the work on this thread.
    pub(super) fn run_here(&self, arguments: Value, shared: &Shared, call: &Call) -> Result<Value, Fault> {
        let asked = call.cancelled.clone();
        cancel::within(move || asked.is_requested(), || panics::caught(|| (self.call)(arguments, shared, call)))
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
