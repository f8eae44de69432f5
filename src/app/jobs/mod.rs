//! Runs as jobs: each in a worker process of its own, one at a time on a device, the rest in a queue.
//!
//! ```text
//!   starter (a server)                    worker (this program, `tallow worker RUN`)
//!   takes job.lock, starts the worker ──> inherits job.lock: held until it ends, however it ends
//!   waits until it says so         <───   writes job.json as queued, with its process
//!                                         waits for its turn at the device, trains, writes how it ended
//! ```
//! Only the holder of `job.lock` writes `job.json`. Whoever finds a job that claims to be under way while nobody holds
//! the lock knows that its worker is gone, and writes that down. So a server may die and another one take its place: the
//! worker goes on, and the folder says everything. A wish to stop is a file that the worker looks for.

mod curves;
mod delete;
mod estimate;
mod progress;
mod queue;
mod record;
mod rows;
mod start;
mod worker;

pub use curves::{Curves, CurvesRequest, Series, curves};
pub use delete::delete;
pub use estimate::{Pace, Work as WorkAhead, pace, seconds_left, seconds_of};
pub use progress::{Measured, Metrics, Progress, list, measured, progress};
pub use queue::{Claim, Ticket, turn};
pub use record::{ELSEWHERE, JobRecord, Reason, State, forget_wish, hold, only_here, settle, status, wish};
pub use rows::{Rows, Step, manifest};
pub use start::{Started, Stop, start, stop, this_program, watch_over};
pub use worker::{Work, claim, work};
