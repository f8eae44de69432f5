//! What was made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Kind, MakeOptions, Part, Tool};

/// A kind of rows about a tool in a part that could not be filled as often as the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// The part.
    pub part: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Tools, one name each.
    pub tools: Vec<String>,
}

/// What was made, and what is thin.
#[derive(Debug, Clone, Serialize)]
pub struct MakeReport {
    /// Rows in all parts.
    pub rows: usize,
    /// Rows of each part.
    pub parts: BTreeMap<&'static str, usize>,
    /// Rows of each kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Rows about each tool.
    pub tools: BTreeMap<String, usize>,
    /// Tools that only the part `unseen` has.
    pub unseen_tools: Vec<String>,
    /// Rows that were made and asked what an earlier one asks.
    pub duplicates_dropped: usize,
    /// Rows that were made and held a call that its schema refuses.
    pub invalid_dropped: usize,
    /// Kinds that do not fit a tool, or ran out of words.
    pub thin: Vec<Cell>,
    /// Tools without any row.
    pub unreachable_tools: Vec<String>,
    /// Rows fewer than were asked for.
    pub short_by: usize,
    #[serde(skip)]
    names: Vec<String>,
    #[serde(skip)]
    open: BTreeMap<(&'static str, &'static str), BTreeSet<usize>>,
    #[serde(skip)]
    unseen: BTreeSet<usize>,
}

/// A part's name, which is also its file's.
pub fn part_name(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Validation => "validation",
        Part::Test => "test",
        Part::Unseen => "unseen",
    }
}

impl MakeReport {
    pub(super) fn new(tools: &[Tool], _: &MakeOptions) -> Self {
        Self {
            rows: 0,
            parts: BTreeMap::new(),
            kinds: BTreeMap::new(),
            tools: BTreeMap::new(),
            unseen_tools: Vec::new(),
            duplicates_dropped: 0,
            invalid_dropped: 0,
            thin: Vec::new(),
            unreachable_tools: Vec::new(),
            short_by: 0,
            names: tools.iter().map(|t| t.name.clone()).collect(),
            open: BTreeMap::new(),
            unseen: BTreeSet::new(),
        }
    }

    pub(super) fn count(&mut self, part: Part, kind: Kind, tool: usize) {
        self.rows += 1;
        *self.parts.entry(part_name(part)).or_default() += 1;
        *self.kinds.entry(kind.name()).or_default() += 1;
        *self.tools.entry(self.names[tool].clone()).or_default() += 1;
        if part == Part::Unseen {
            self.unseen.insert(tool);
        }
    }

    pub(super) fn thin(&mut self, part: Part, kind: Kind, tool: usize) {
        self.open.entry((part_name(part), kind.name())).or_default().insert(tool);
    }

    pub(super) fn finish(&mut self, tools: &[Tool], options: &MakeOptions) {
        self.unseen_tools = self.unseen.iter().map(|t| self.names[*t].clone()).collect();
        self.unseen_tools.sort();
        let cell = |((part, kind), tools): (&(&'static str, &'static str), &BTreeSet<usize>)| Cell {
            part,
            kind,
            tools: tools.iter().map(|t| self.names[*t].clone()).collect(),
        };
        self.thin = self.open.iter().map(cell).collect();
        self.unreachable_tools = tools.iter().map(|t| t.name.clone()).filter(|n| !self.tools.contains_key(n)).collect();
        self.short_by = options.rows.saturating_sub(self.rows);
    }
}
