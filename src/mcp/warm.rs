//! Models that stay loaded between calls, each in a process of its own, confined as the process of a single call is.
//!
//! ```text
//!   server                                    tallow mcp-hold
//!     two lines: limits; which model, roots ──> loads it
//!     "loaded": seconds, bytes, files       <──
//!     {"answer": arguments}                 ──> generates
//!     progress, then the result or a fault  <──
//!     "cancel"                              ──> the answer under way ends; the model stays
//!     closes stdin                          ──> ends
//! ```
//! `generate_text` goes to such a process when one holds its model. A model whose files changed is dropped, and so is the
//! least used one when there are too many or they take too much memory.

mod hold;
mod process;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::hold::hold_model;
use self::process::Process;
use super::roots::Roots;
use super::tool::{Call, Shared};
use crate::base::error::Fault;

/// Models that are held at once.
const MOST_MODELS: usize = 4;
/// How often a call that waits for a busy model looks again.
const LOOK: Duration = Duration::from_millis(20);

/// A model as the tools name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Folder, GGUF file, Hub id or `embedded`. This, or project_path and run_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    /// A PEFT adapter folder over the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) adapter: Option<String>,
    /// The project folder of run_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project_path: Option<String>,
    /// A run: its final result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run_id: Option<String>,
    /// With run_id: what this stage gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2))]
    pub(super) stage: Option<u64>,
    /// With run_id: this checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint_step: Option<u64>,
}

impl Which {
    /// The part of some arguments that names a model, with paths as they lie on disk: two names of one model are one.
    fn of(arguments: &Value, roots: &Roots) -> Result<Self, Fault> {
        let text = |key: &str| arguments[key].as_str().map(str::to_owned);
        let path = |key: &str| text(key).map(|p| roots.allow(p).map(|p| p.display().to_string())).transpose();
        Ok(Self {
            model: text("model").map(|m| roots.model(&m)).transpose()?,
            adapter: path("adapter")?,
            project_path: path("project_path")?,
            run_id: text("run_id"),
            stage: arguments["stage"].as_u64(),
            checkpoint_step: arguments["checkpoint_step"].as_u64(),
        })
    }

    /// In words.
    fn name(&self) -> String {
        let base = self.model.clone().or_else(|| self.run_id.clone()).unwrap_or_default();
        let more = self.adapter.as_ref().map(|a| format!(" with {a}"));
        let step = self.checkpoint_step.map(|s| format!(" at step {s}"));
        format!("{base}{}{}", more.unwrap_or_default(), step.unwrap_or_default())
    }
}

/// A file's path, size and time of change, in nanoseconds since 1970.
type Stamp = (PathBuf, u64, u128);

/// How the files of some folders stand: a changed, added or removed one shows.
fn stamps(places: &[PathBuf]) -> Vec<Stamp> {
    let below = |place: &PathBuf| match std::fs::read_dir(place) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(_) => vec![place.clone()],
    };
    let stamp = |path: PathBuf| {
        let data = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let changed = data.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some((path, data.len(), changed.as_nanos()))
    };
    let mut all: Vec<Stamp> = places.iter().flat_map(below).filter_map(stamp).collect();
    all.sort();
    all
}

/// What a process says once it holds a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Loaded {
    seconds: f64,
    /// What its allocator has given out.
    memory_bytes: u64,
    /// Folders and files that the model was read from.
    places: Vec<PathBuf>,
    /// How they stood before it was read.
    stamps: Vec<Stamp>,
}

/// A model in its process.
#[derive(Debug)]
struct Held {
    number: u64,
    which: Which,
    loaded: Loaded,
    memory_bytes: AtomicU64,
    answers: AtomicU64,
    used: Mutex<Instant>,
    process: Mutex<Process>,
}

impl Held {
    fn memory(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The process, once no other call uses it.
    fn turn(&self, call: &Call) -> Result<MutexGuard<'_, Process>, Fault> {
        loop {
            match self.process.try_lock() {
                Ok(process) => return Ok(process),
                Err(TryLockError::Poisoned(e)) => return Ok(e.into_inner()),
                Err(TryLockError::WouldBlock) if call.pause(LOOK) => {}
                Err(TryLockError::WouldBlock) => return Err(cancelled()),
            }
        }
    }
}

fn cancelled() -> Fault {
    Fault::new("cancelled", "the call was cancelled")
}

/// A held model as a client sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HeldOut {
    /// What unload_model takes.
    number: u64,
    model: String,
    /// What each further call saves.
    load_seconds: f64,
    memory_bytes: u64,
    /// Calls of generate_text that it answered.
    answers: u64,
    idle_seconds: f64,
}

impl HeldOut {
    pub(super) fn bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl From<&Held> for HeldOut {
    fn from(h: &Held) -> Self {
        Self {
            number: h.number,
            model: h.which.name(),
            load_seconds: h.loaded.seconds,
            memory_bytes: h.memory(),
            answers: h.answers.load(Ordering::Relaxed),
            idle_seconds: h.idle().as_secs_f64(),
        }
    }
}

/// The models of a server.
#[derive(Debug, Default)]
pub(super) struct Warm {
    held: Mutex<Vec<Arc<Held>>>,
    /// One model is loaded at a time: two calls for the same one load it once.
    loading: Mutex<()>,
    next: AtomicU64,
}

/// What became of `load_model`.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) model: HeldOut,
    pub(super) was_loaded: bool,
    /// Models that had to go for it.
    pub(super) dropped: Vec<String>,
}

impl Warm {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, which: &Which) -> Option<Arc<Held>> {
        let found = self.lock().iter().find(|h| h.which == *which).cloned()?;
        if stamps(&found.loaded.places) == found.loaded.stamps {
            return Some(found);
        }
        self.forget(found.number);
        None
    }

    fn forget(&self, number: u64) -> bool {
        let mut held = self.lock();
        let before = held.len();
        // A process ends once the last call that uses it has.
        held.retain(|h| h.number != number);
        held.len() < before
    }

    /// Loads a model and keeps it.
    pub(super) fn load(&self, arguments: &Value, shared: &Shared, call: &Call) -> Result<Load, Fault> {
        let which = Which::of(arguments, &shared.roots)?;
        let _one = loop {
            match self.loading.try_lock() {
                Ok(one) => break one,
                Err(TryLockError::Poisoned(e)) => break e.into_inner(),
                Err(TryLockError::WouldBlock) if call.pause(LOOK) => {}
                Err(TryLockError::WouldBlock) => return Err(cancelled()),
            }
        };
        if let Some(found) = self.find(&which) {
            found.touch();
            return Ok(Load { model: HeldOut::from(&*found), was_loaded: true, dropped: Vec::new() });
        }
        let mut dropped = self.make_room(|held| held.len() < MOST_MODELS);
        call.tell(0.0, None, format!("loading {}", which.name()));
        let (process, loaded) = Process::start(&json!(which), shared, call)?;
        let all: u64 = self.lock().iter().map(|h| h.memory()).sum();
        let most = (crate::train::available_memory().saturating_add(all).saturating_add(loaded.memory_bytes)) / 2;
        if loaded.memory_bytes > most {
            let message = format!("{} takes {} MiB, and at most {} MiB are kept", which.name(), loaded.memory_bytes >> 20, most >> 20);
            return Err(Fault::new("out_of_memory", message).hint("generate_text loads it for each call instead, or use a smaller model"));
        }
        dropped.extend(self.make_room(|held| held.iter().map(|h| h.memory()).sum::<u64>() + loaded.memory_bytes <= most));
        let held = Arc::new(Held {
            number: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            memory_bytes: AtomicU64::new(loaded.memory_bytes),
            answers: AtomicU64::new(0),
            used: Mutex::new(Instant::now()),
            process: Mutex::new(process),
            which,
            loaded,
        });
        let model = HeldOut::from(&*held);
        self.lock().push(held);
        Ok(Load { model, was_loaded: false, dropped })
    }

    /// Drops the models that were not used for longest until `enough`.
    fn make_room(&self, enough: impl Fn(&[Arc<Held>]) -> bool) -> Vec<String> {
        let (mut held, mut dropped) = (self.lock(), Vec::new());
        while !held.is_empty() && !enough(&held) {
            let oldest = held.iter().enumerate().max_by_key(|(_, h)| h.idle()).map_or(0, |(i, _)| i);
            dropped.push(held.remove(oldest).which.name());
        }
        dropped
    }

    /// The answer of a held model to arguments of `generate_text`; `None` when none holds what they name.
    pub(super) fn answer(&self, arguments: &Value, shared: &Shared, call: &Call) -> Option<Result<Value, Fault>> {
        if self.lock().is_empty() {
            return None;
        }
        let held = self.find(&Which::of(arguments, &shared.roots).ok()?)?;
        Some(self.ask(&held, arguments, call))
    }

    fn ask(&self, held: &Held, arguments: &Value, call: &Call) -> Result<Value, Fault> {
        held.touch();
        let mut process = held.turn(call)?;
        let answered = process.ask(arguments, call);
        held.touch();
        match answered {
            Ok((mut value, memory_bytes)) => {
                held.memory_bytes.store(memory_bytes, Ordering::Relaxed);
                held.answers.fetch_add(1, Ordering::Relaxed);
                value["warm"] = json!(true);
                Ok(value)
            }
            Err(fault) => {
                if process.is_over() {
                    self.forget(held.number);
                }
                Err(fault)
            }
        }
    }

    /// The models, the one that was used last first.
    pub(super) fn list(&self) -> Vec<HeldOut> {
        let mut held = self.lock().clone();
        held.retain(|h| self.find(&h.which).is_some());
        held.sort_by_key(|h| h.idle());
        held.iter().map(|h| HeldOut::from(&**h)).collect()
    }

    /// Drops one model, or all.
    pub(super) fn unload(&self, number: Option<u64>) -> Result<Vec<String>, Fault> {
        let mut held = self.lock();
        let gone: Vec<Arc<Held>> = held.iter().filter(|h| number.is_none_or(|n| h.number == n)).cloned().collect();
        held.retain(|h| !gone.iter().any(|g| g.number == h.number));
        if let Some(number) = number.filter(|_| gone.is_empty()) {
            return Err(Fault::new("not_loaded", format!("no model of number {number} is loaded")).hint("list_loaded_models shows them"));
        }
        Ok(gone.iter().map(|h| h.which.name()).collect())
    }
}
