//! Lanes: how many calls of a kind run at once, and what a call that has to wait is waiting for.
//!
//! ```text
//!   lane      where              what its calls do
//!   Cheap     in the server      read a few small files of Tallow's own
//!   Control   in the server      stop a run
//!   Wait      in the server      sleep until a run changes
//!   Inspect   in a process       parse a configuration or the small files of a model
//!   Data      in a process       read datasets
//!   Model     in a process       load a model
//! ```
//! A full lane delays no other lane. Within a lane, calls run in the order in which they came.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::tool::Call;
use crate::base::error::Fault;

/// The kind of a call, by what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Cheap,
    Control,
    Wait,
    Inspect,
    Data,
    Model,
}

const LANES: [Lane; 6] = [Lane::Cheap, Lane::Control, Lane::Wait, Lane::Inspect, Lane::Data, Lane::Model];

/// What one call of a lane may use, where it runs in a process of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Processor seconds of all its threads together.
    pub(super) cpu_seconds: u64,
    /// Share of the memory that is free when it begins.
    pub(super) share_of_free: f64,
    /// Most memory, whatever is free.
    pub(super) memory_bytes: Option<u64>,
    /// How much less urgent than the server it is, from 0 to 19 as `nice` has it: short calls go before long ones.
    pub(super) nice: i32,
}

impl Lane {
    /// Calls that run at once.
    const fn most(self) -> usize {
        match self {
            Self::Wait => 64,
            Self::Cheap => 32,
            Self::Control => 16,
            Self::Inspect => 4,
            Self::Data | Self::Model => 2,
        }
    }

    /// For those that run in a process of their own.
    pub(super) const fn limits(self) -> Option<Limits> {
        match self {
            Self::Cheap | Self::Control | Self::Wait => None,
            Self::Inspect => Some(Limits { cpu_seconds: 300, share_of_free: 0.5, memory_bytes: Some(2 << 30), nice: 2 }),
            Self::Data => Some(Limits { cpu_seconds: 1800, share_of_free: 0.5, memory_bytes: None, nice: 10 }),
            // A long evaluation or generation is legitimate; the client can cancel it.
            Self::Model => Some(Limits { cpu_seconds: 24 * 3600, share_of_free: 0.9, memory_bytes: None, nice: 10 }),
        }
    }

    const fn calls(self) -> &'static str {
        match self {
            Self::Cheap => "short calls",
            Self::Control => "calls that stop a run",
            Self::Wait => "calls that wait for a run",
            Self::Inspect => "calls that read a configuration or a model's description",
            Self::Data => "calls that read a dataset",
            Self::Model => "calls that load a model",
        }
    }
}

#[derive(Debug)]
struct State {
    turns: Semaphore,
    /// The calls that run now: number, tool, since when.
    running: Mutex<Vec<(u64, &'static str, Instant)>>,
}

/// All lanes of a server.
#[derive(Debug)]
pub(super) struct Lanes {
    states: [State; LANES.len()],
    next: AtomicU64,
}

/// How often a waiting call looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);
/// How often it says again what it waits for.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// A place in a lane, and what was waited for to get it.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    state: &'a State,
    number: u64,
    pub(super) waited: Option<Waited>,
    _permit: SemaphorePermit<'a>,
}

/// A wait that is over.
#[derive(Debug, Clone)]
pub(super) struct Waited {
    pub(super) time: Duration,
    /// What was before it.
    pub(super) reason: String,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let state = |lane: Lane| State { turns: Semaphore::new(lane.most()), running: Mutex::default() };
        Self { states: LANES.map(state), next: AtomicU64::new(0) }
    }

    /// Takes a place, in the order of asking. A call that has to wait says so, and for what.
    pub(super) async fn turn(&self, lane: Lane, tool: &'static str, call: &Call) -> Result<Turn<'_>, Fault> {
        let state = &self.states[lane as usize];
        let acquire = state.turns.acquire();
        tokio::pin!(acquire);
        let begun = Instant::now();
        let (mut reason, mut said, mut said_at) = (None, 0u32, None::<Instant>);
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut acquire => break permit.map_err(|_| Fault::new("closing", "the server is closing"))?,
                () = tokio::time::sleep(LOOK) => {}
            }
            if !call.go_on() {
                return Err(Fault::new("cancelled", "the call was cancelled while it waited for its turn"));
            }
            if said_at.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                let text = state.who(lane);
                // Progress may only rise: the work itself begins at 0 and goes on from 1.
                call.tell(f64::from(said) * 1e-6, None, text.clone());
                (said, said_at) = (said + 1, Some(Instant::now()));
                reason.get_or_insert(text);
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        state.lock().push((number, tool, Instant::now()));
        let waited = reason.map(|reason| Waited { time: begun.elapsed(), reason });
        Ok(Turn { state, number, waited, _permit: permit })
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, &'static str, Instant)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs now, in words.
    fn who(&self, lane: Lane) -> String {
        let running = self.lock();
        let all: Vec<String> = running.iter().map(|(_, tool, since)| format!("{tool} (for {} s)", since.elapsed().as_secs())).collect();
        format!("waiting for {}; at most {} {} run at once", all.join(", "), lane.most(), lane.calls())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.state.lock().retain(|(number, ..)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::train::StopFlag;

    #[test]
    fn a_full_lane_says_who_is_in_it_and_hears_a_cancellation() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let lanes = Lanes::new();
            let said = Arc::new(Mutex::new(Vec::new()));
            let log = said.clone();
            let call = Call { cancelled: StopFlag::default(), ticks: Arc::new(move |tick| log.lock().unwrap().push(tick)), ask: None };
            let first = lanes.turn(Lane::Model, "generate_text", &call).await.unwrap();
            let second = lanes.turn(Lane::Model, "export_model", &call).await.unwrap();
            assert!(first.waited.is_none() && second.waited.is_none());
            // Another lane is not held up.
            assert!(lanes.turn(Lane::Cheap, "list_runs", &call).await.unwrap().waited.is_none());
            let impatient = Call { cancelled: StopFlag::default(), ..call.clone() };
            impatient.cancelled.request();
            assert_eq!(lanes.turn(Lane::Model, "evaluate_model", &impatient).await.unwrap_err().code, "cancelled");
            let leave = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                drop(first);
            };
            let (third, ()) = tokio::join!(lanes.turn(Lane::Model, "evaluate_model", &call), leave);
            let waited = third.unwrap().waited.clone().unwrap();
            assert!(waited.time >= Duration::from_millis(150) && waited.reason.contains("generate_text"), "{waited:?}");
            let messages: Vec<String> = said.lock().unwrap().iter().map(|t: &crate::mcp::tool::Tick| t.message.clone()).collect();
            assert_eq!(messages, [waited.reason]);
        });
    }
}
