//! Trackers: observers of a run that bring its figures elsewhere.
//!
//! ```text
//!   training ──Event──> Trackers ──"look"──> a thread for each tracker
//!      │                                        │ reads on from its cursor
//!      └──> metrics.jsonl ──────────────────────┘ track/<name>.json says what was delivered
//! ```
//! metrics.jsonl is the source: a tracker that is slow, or whose server is away, misses nothing and
//! holds nobody up. What it has delivered stands in its cursor, so nothing is delivered twice, and a
//! later session or `tallow track sync` goes on from there.

mod cursor;
pub mod energy;
mod facts;
mod feed;
mod mirror;
pub mod mlflow;
mod of_run;
mod proto;
mod row;
mod settings;
mod tail;
pub mod tensorboard;
mod trackers;
pub mod wandb;

pub use facts::{Facts, Standing, flatten, in_words};
pub use feed::{Feed, Pace, Taken, Tracker, finish, pump};
pub use of_run::{energy_plan, facts as facts_of};
pub use row::{Place, Row, millis};
pub use settings::{Chosen, check};
pub use tail::Tail;
pub use trackers::{Synced, Trackers, sync};
