//! A run on another machine: shipped, started under the same supervision, mirrored into the local
//! run folder, fetched.
//!
//! ```text
//!   here                                     there: ~/.tallow/jobs/TAG/
//!   project/remote/TAG.json  the job         tallow          this program
//!   pack ── files, hashes ─────────────────> project/        configuration, rows, model
//!   `remote-agent begin` ──────────────────> worker          as a server starts it (`app::jobs`)
//!   project/runs/RUN/  <── mirror ────────── project/runs/RUN/
//!                                            guard           stops the machine that nobody asks
//! ```
//! The job stands on disk before anything is sent, and every step can be repeated: whoever was cut
//! off at any point attaches to the job again and goes on.

pub mod agent;
mod job;
mod mirror;
mod pack;
mod train;

pub use job::{Job, Stage, find, jobs};
pub use train::{Followed, TrainRequest, attach, clean, finish, follow, followed, settle, ship, stop};
