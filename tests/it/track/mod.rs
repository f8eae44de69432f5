//! Trackers, pictures and checkpoints of runs.

mod exactly_once;
mod read;
mod server;
mod trained;
