//! The tools, by what they are about.

mod data;
mod model;
mod project;
mod run;
mod start;
mod use_model;

use super::tool::{Row, row};

/// All of them, in the order of use.
pub(super) fn all() -> Vec<Row> {
    vec![
        row::<project::Generate>(),
        row::<data::Validate>(),
        row::<data::Stats>(),
        row::<project::Plan>(),
        row::<project::Configure>(),
        row::<start::Start>(),
        row::<run::Monitor>(),
        row::<run::Stop>(),
        row::<run::List>(),
        row::<use_model::Evaluate>(),
        row::<use_model::Compare>(),
        row::<use_model::Export>(),
        row::<use_model::Generate>(),
        row::<model::Check>(),
        row::<model::Families>(),
        row::<model::Info>(),
    ]
}
