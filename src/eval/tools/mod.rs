//! Scores of tool calls: the leaderboard's rules ([`bfcl`]), and a comparison of calls with what was
//! expected and with the schemas of the tools ([`score`]).

pub mod bfcl;
mod score;

pub use score::{CallScore, score};
