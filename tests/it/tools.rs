//! Tools: calls out of text, and data made from tools.

mod calls;
mod command;
mod make;
