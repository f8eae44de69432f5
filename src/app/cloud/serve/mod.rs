//! A finished run behind an endpoint: exported, put where workers read it, served, and asked once.
//!
//! ```text
//!   Begun ──export──> Exported ──volume, files──> Stored ──endpoint──> Made ──a request──> Answered
//!     └── a failure that another try does not mend: everything made for it is removed ──> Ended
//! ```
//! The record is on disk before each step, and names are made from its tag, so whoever comes after
//! one that was killed finds the volume, the files and the endpoint, and goes on or removes them.

mod detached;
mod end;
mod offer;
mod record;
mod steps;

pub use detached::{keep_detached, serve_detached};
pub use end::{end_serving, tidy_servings};
pub use offer::{Form, ServeOffer, ServeRequest, serve_offer};
pub use record::{ServeStage, Serving, find_serving, servings};
pub use steps::{Served, begin_serving, serve_finish};
