//! Scores of tool calls: the leaderboard's rules ([`bfcl`]), and the tool metrics of ordinary rows
//! (`metric`) over a comparison of each answer with the calls that were expected ([`score`]).

pub mod bfcl;
mod metric;
mod score;

pub use metric::{ToolAnswers, ToolMetric, ToolTurn};
pub use score::{CallScore, score};
