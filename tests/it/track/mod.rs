//! Trackers, pictures and checkpoints of runs.

mod checkpoints;
mod exactly_once;
mod pictures;
mod read;
mod samples;
mod server;
mod trained;
