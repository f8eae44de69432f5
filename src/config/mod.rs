//! Configuration: layers of settings, folded into one fully resolved [`RunConfig`].
//!
//! ```text
//!   defaults (schema) < YAML file < --set < TALLOW_SECTION__KEY < flags
//!        └────────────── layer: path -> (value, where it was said) ──────────────┘
//!                                   │ check each value against its key's kind
//!                                   │ check combinations
//!                                   v
//!                               RunConfig          or every problem at once
//! ```
//!
//! The schema is the one list of keys: defaults, types, documentation and did-you-mean hints all come from it.

mod combinations;
#[cfg(test)]
mod hostile;
mod kind;
mod layer;
mod older;
mod problem;
mod resolve;
mod run_config;
mod schema;
mod words;
mod yaml;

pub use combinations::is_server;
pub use older::with_defaults;
pub use problem::{ConfigError, Origin, Problem};
pub use resolve::{Resolved, Said, Sources, resolve};
pub use run_config::*;
pub use schema::{KeyInfo, keys, reference_markdown, suggest as nearest_key};
pub use words::*;
pub use yaml::scalar as yaml_value;
