//! Metrics of tool calls over the turns of a conversation.
//!
//! Each answer of the assistant in a row is a turn of its own: the model sees the conversation as
//! the row has it up to there, tool results included, and its answer is compared with the calls
//! that the row makes there. A row's sums are those of its turns, so that rows, not turns, are
//! drawn again for intervals.

use serde_json::Value;

use super::score::{CallScore, score};
use crate::data::calls::{Parsed, ToolCall};

/// One turn of the assistant.
#[derive(Debug, Clone, Default)]
pub struct ToolTurn {
    /// What the model's answer holds.
    pub answer: Parsed,
    /// The calls that the row makes here; none where it answers in words.
    pub expected: Vec<ToolCall>,
}

/// The turns of a row, answered.
#[derive(Debug, Clone, Default)]
pub struct ToolAnswers {
    /// In the order of the conversation.
    pub turns: Vec<ToolTurn>,
    /// The offered tools, `{type: "function", function: {..}}`.
    pub tools: Vec<Value>,
}

/// What is measured of tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolMetric {
    /// Turns in which nothing is wrong: the expected calls and no other, or none where none is due.
    Correct,
    /// Expected calls that were made, with the right tool and arguments.
    Call,
    /// Rows in which every turn is correct.
    Task,
    /// Turns with an expected call in which a call was made and every call can be read.
    Format,
    /// Tools that were both expected and called, of those that were one or the other.
    Selection,
    /// Calls of an expected tool whose arguments are all right.
    Arguments,
    /// Expected arguments left out, for each expected argument of a called tool.
    Missing,
    /// Arguments that were not expected, likewise.
    Extra,
    /// Arguments of another type than the schema's, likewise.
    WrongType,
    /// Arguments of the right type with another value, likewise.
    WrongValue,
    /// Turns without an expected call in which none was made.
    Abstention,
    /// Rows of several steps in which each step called the tools that are due there.
    Order,
}

impl ToolMetric {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 12] = [
        Self::Correct,
        Self::Call,
        Self::Task,
        Self::Format,
        Self::Selection,
        Self::Arguments,
        Self::Missing,
        Self::Extra,
        Self::WrongType,
        Self::WrongValue,
        Self::Abstention,
        Self::Order,
    ];

    /// Its name in requests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "tool_correct",
            Self::Call => "tool_call",
            Self::Task => "tool_task",
            Self::Format => "tool_format",
            Self::Selection => "tool_selection",
            Self::Arguments => "tool_arguments",
            Self::Missing => "tool_missing",
            Self::Extra => "tool_extra",
            Self::WrongType => "tool_wrong_type",
            Self::WrongValue => "tool_wrong_value",
            Self::Abstention => "tool_abstention",
            Self::Order => "tool_order",
        }
    }

    /// Whether less is better.
    pub fn lower_is_better(self) -> bool {
        matches!(self, Self::Missing | Self::Extra | Self::WrongType | Self::WrongValue)
    }

    /// Counted and countable things of one row: the figure is the first over the second.
    pub fn sums(self, row: &ToolAnswers) -> Vec<f64> {
        let scores: Vec<CallScore> = row.turns.iter().map(|t| score(&t.answer, &t.expected, &row.tools)).collect();
        let sum = |part: fn(&CallScore) -> usize| scores.iter().map(part).sum::<usize>();
        let share = |which: fn(&CallScore) -> bool, good: fn(&CallScore) -> bool| {
            let of = scores.iter().filter(|s| which(s));
            (of.clone().filter(|s| good(s)).count(), of.count())
        };
        let (part, whole) = match self {
            Self::Correct => share(|_| true, |s| s.correct),
            Self::Call => (sum(|s| s.right_call), sum(|s| s.expected)),
            Self::Task => (usize::from(scores.iter().all(|s| s.correct)), 1),
            Self::Format => share(|s| s.expected > 0, |s| s.made > 0 && s.well_formed),
            Self::Selection => (sum(|s| s.right_tool), sum(|s| s.expected + s.made - s.right_tool)),
            Self::Arguments => (sum(|s| s.right_call), sum(|s| s.right_tool)),
            Self::Missing => (sum(|s| s.missing), sum(|s| s.arguments)),
            Self::Extra => (sum(|s| s.extra), sum(|s| s.arguments)),
            Self::WrongType => (sum(|s| s.wrong_type), sum(|s| s.arguments)),
            Self::WrongValue => (sum(|s| s.wrong_value), sum(|s| s.arguments)),
            Self::Abstention => share(|s| s.expected == 0, |s| s.made == 0 && s.well_formed),
            Self::Order => order(row),
        };
        vec![part as f64, whole as f64]
    }
}

/// Whether each step of a row called the tools that are due there; of rows with several steps.
fn order(row: &ToolAnswers) -> (usize, usize) {
    let names = |calls: &[ToolCall]| {
        let mut names: Vec<String> = calls.iter().map(|c| c.name.clone()).collect();
        names.sort_unstable();
        names
    };
    let mut steps = row.turns.iter().filter(|t| !t.expected.is_empty());
    if steps.clone().count() < 2 {
        return (0, 0);
    }
    (usize::from(steps.all(|t| names(&t.answer.calls) == names(&t.expected))), 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::data::calls::parse;

    fn turn(expected: &[&str], answer: &str) -> ToolTurn {
        let call = |name: &&str| ToolCall::new(*name, Map::from_iter([("n".into(), json!(1))]));
        ToolTurn { answer: parse(answer), expected: expected.iter().map(call).collect() }
    }

    fn calls(names: &[&str], n: i64) -> String {
        let one = |name: &&str| format!("<tool_call>{}</tool_call>", json!({"name": name, "arguments": {"n": n}}));
        names.iter().map(one).collect()
    }

    fn figures(turns: Vec<ToolTurn>) -> Vec<(&'static str, Vec<f64>)> {
        let row = ToolAnswers { turns, tools: Vec::new() };
        ToolMetric::ALL.iter().map(|m| (m.name(), m.sums(&row))).collect()
    }

    fn of(figures: &[(&'static str, Vec<f64>)], name: &str) -> [f64; 2] {
        let (_, sums) = figures.iter().find(|(n, _)| *n == name).unwrap();
        [sums[0], sums[1]]
    }

    #[test]
    fn a_row_of_two_steps_and_a_closing_word() {
        let right = vec![turn(&["a"], &calls(&["a"], 1)), turn(&["b"], &calls(&["b"], 1)), turn(&[], "Done.")];
        let f = figures(right);
        for (name, wanted) in [
            ("tool_correct", [3.0, 3.0]),
            ("tool_call", [2.0, 2.0]),
            ("tool_task", [1.0, 1.0]),
            ("tool_format", [2.0, 2.0]),
            ("tool_selection", [2.0, 2.0]),
            ("tool_arguments", [2.0, 2.0]),
            ("tool_missing", [0.0, 2.0]),
            ("tool_abstention", [1.0, 1.0]),
            ("tool_order", [1.0, 1.0]),
        ] {
            assert_eq!(of(&f, name), wanted, "{name}");
        }
        let swapped = figures(vec![turn(&["a"], &calls(&["b"], 1)), turn(&["b"], &calls(&["a"], 1))]);
        assert_eq!(of(&swapped, "tool_order"), [0.0, 1.0]);
        assert_eq!(of(&swapped, "tool_selection"), [0.0, 4.0]);
        assert_eq!(of(&swapped, "tool_arguments"), [0.0, 0.0]);
        // A wrong value is no fault of the order.
        let values = figures(vec![turn(&["a"], &calls(&["a"], 2)), turn(&["b"], &calls(&["b"], 1))]);
        assert_eq!((of(&values, "tool_order"), of(&values, "tool_call")), ([1.0, 1.0], [1.0, 2.0]));
        assert_eq!(of(&values, "tool_wrong_value"), [1.0, 2.0]);
    }

    #[test]
    fn silence_and_talk_are_counted_where_they_belong() {
        let silent = figures(vec![turn(&["a"], "I cannot."), turn(&[], "Which one?")]);
        assert_eq!(of(&silent, "tool_format"), [0.0, 1.0]);
        assert_eq!(of(&silent, "tool_abstention"), [1.0, 1.0]);
        assert_eq!(of(&silent, "tool_correct"), [1.0, 2.0]);
        assert_eq!(of(&silent, "tool_order"), [0.0, 0.0]);
        let eager = figures(vec![turn(&[], &calls(&["a"], 1))]);
        assert_eq!(of(&eager, "tool_abstention"), [0.0, 1.0]);
        assert_eq!(of(&eager, "tool_selection"), [0.0, 1.0]);
        // A call that breaks off has no right form, where one is due and where none is.
        let broken = "<tool_call>{\"name\": \"a\"";
        let f = figures(vec![turn(&["a"], broken), turn(&[], broken)]);
        assert_eq!((of(&f, "tool_format"), of(&f, "tool_abstention")), ([0.0, 1.0], [0.0, 1.0]));
    }
}
