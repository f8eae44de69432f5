//! How good answers are: metrics over rows, their uncertainty, and the report.
//!
//! Knows no tensors. A metric turns each row into a few sums, and the sums of any set of rows into
//! one figure; that is all that confidence intervals, paired tests and groups need.
//!
//! ```text
//!   answer, wanted ──metric──> sums of a row ──┬─ all rows ──────> figure
//!                                              ├─ rows drawn again ─> interval, paired test
//!                                              └─ rows of a group ──> figure by kind, tool, server
//! ```

pub mod answer;
pub mod command;
pub mod metric;
pub mod report;
pub mod resample;
pub mod rubric;
pub mod schema;
pub mod text;
pub mod threshold;
pub mod tools;

pub use metric::{Case, Metric, Table};
pub use resample::{Figure, Paired};
pub use rubric::Rubric;
pub use threshold::{Threshold, Verdict};
pub use tools::{ToolAnswers, ToolMetric};
