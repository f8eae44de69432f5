//! Use cases: one typed request, one typed report.

pub mod recipe;
