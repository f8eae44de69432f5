//! The tools, by what they are about.

mod compare;
mod configure;
mod data;
mod evaluate;
mod export;
mod generate;
mod model;
mod overrides;
mod plan;
mod project;
mod run;
mod start;

use super::tool::{Row, row};

/// All of them, in the order of use.
pub(super) fn all() -> Vec<Row> {
    vec![
        row::<project::Generate>(),
        row::<data::Validate>(),
        row::<data::Stats>(),
        row::<plan::Plan>(),
        row::<configure::Configure>(),
        row::<start::Start>(),
        row::<run::Monitor>(),
        row::<run::Stop>(),
        row::<run::List>(),
        row::<evaluate::Evaluate>(),
        row::<compare::Compare>(),
        row::<export::Export>(),
        row::<generate::Generate>(),
        row::<model::Check>(),
        row::<model::Families>(),
        row::<model::Info>(),
    ]
}
