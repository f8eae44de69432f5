//! Tools: calls out of text, and data made from tools.

mod bfcl;
mod calls;
mod command;
mod eval;
mod make;
