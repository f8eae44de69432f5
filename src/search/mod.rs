//! Hyperparameter search: what may vary, what is tried next, which trials end early, and what it
//! showed.
//!
//! ```text
//!   Space ──propose(history)──> settings of the next trial ──(a run)──> its evaluations
//!     ^                                                                    │ is_poor: stop it early
//!     └───────────────── Record: search.json, written whole <──────────────┘
//! ```
//! It knows no runs: whoever trains tells it what came of a trial. What is proposed depends on the
//! seed, the number of the trial and the trials that have ended, so a search that was killed goes
//! on as if it had not been.

mod draw;
mod importance;
mod parse;
mod propose;
mod prune;
mod record;
mod space;

pub use importance::importance;
pub use propose::{Method, Past, propose};
pub use prune::{Point, Prune, is_poor};
pub use record::{Metric, Record, State, Trial};
pub use space::{Domain, Parameter, Settings, Space};
