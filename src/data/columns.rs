//! The columns of a row, and which of them were read: what nothing reads is told, not dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::conversation::Refusal;
use super::error::{DataError, Location};
use super::layout::{Fields, first_of};
use super::record::as_text;
use super::source::Row;

/// A row whose columns are marked as they are read.
pub(super) struct Columns<'a> {
    row: &'a Row,
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(row: &'a Row) -> Self {
        Self { row, read: RefCell::default() }
    }

    pub(super) fn at(&self) -> &'a Location {
        &self.row.at
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> {
        self.row.fields.keys()
    }

    /// Marks a column as read.
    pub(super) fn mark(&self, name: &str) {
        if let Some((name, _)) = self.row.fields.get_key_value(name) {
            self.read.borrow_mut().push(name);
        }
    }

    /// The value of a column that is not null, which is read by this.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.mark(name);
        self.row.fields.get(name).filter(|v| !v.is_null())
    }

    /// The same, where it is no empty text (a cell of a table that holds nothing).
    pub(super) fn filled(&self, name: &str) -> Option<&'a Value> {
        self.get(name).filter(|v| v.as_str().is_none_or(|text| !text.trim().is_empty()))
    }

    /// The value of a column that nothing has read yet.
    pub(super) fn peek(&self, name: &str) -> Option<&'a Value> {
        self.peek_any(name).filter(|v| !v.is_null() && !self.read.borrow().contains(&name))
    }

    /// The value of a column, null or not.
    pub(super) fn peek_any(&self, name: &str) -> Option<&'a Value> {
        self.row.fields.get(name)
    }

    fn marked(&self, found: Option<(&'a str, &'a Value)>) -> Option<(&'a str, &'a Value)> {
        found.inspect(|(name, _)| self.mark(name))
    }

    pub(super) fn messages(&self, fields: &Fields) -> Option<(&'a str, &'a Value)> {
        self.marked(fields.messages_of(self.row))
    }

    pub(super) fn completion(&self, fields: &Fields) -> Option<(&'a str, &'a Value)> {
        self.marked(fields.completion_of(self.row))
    }

    pub(super) fn input(&self, fields: &Fields) -> Option<(&'a str, &'a Value)> {
        let others = if fields.is_metadata("context") { &[][..] } else { &["context"] };
        self.marked(first_of(self.row, &fields.input, "input", others))
    }

    pub(super) fn output_name<'b>(&self, fields: &'b Fields) -> &'b str
    where
        'a: 'b,
    {
        fields.output_of(self.row).map_or(fields.output.as_str(), |(name, _)| name)
    }

    pub(super) fn tools(&self, fields: &Fields) -> Option<&'a Value> {
        self.marked(first_of(self.row, &fields.tools, "tools", &["functions"])).map(|(_, value)| value)
    }

    /// The system prompt beside a row; an empty one is none.
    pub(super) fn system(&self, fields: &Fields) -> Result<Option<String>, Refusal> {
        let others = if fields.is_metadata("system_prompt") { &[][..] } else { &["system_prompt"] };
        match self.marked(first_of(self.row, &fields.system, "system", others)) {
            Some((name, value)) => Ok(Some(as_text(name, value)?).filter(|s| !s.trim().is_empty())),
            None => Ok(None),
        }
    }

    /// Names of columns that hold something and were not read.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let empty = |v: &Value| match v {
            Value::Null => true,
            Value::String(s) => s.trim().is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            _ => false,
        };
        let unread = self.row.fields.iter().filter(|(name, v)| !read.contains(&name.as_str()) && !empty(v));
        unread.map(|(name, _)| name.clone()).collect()
    }
}

/// A column (or a member of messages, `messages[].name`) that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its name.
    pub name: String,
    /// Rows in which it holds something.
    pub rows: usize,
}

/// Counts names; the commonest first.
#[derive(Debug, Default)]
pub(super) struct UnreadCounts(BTreeMap<String, usize>);

impl UnreadCounts {
    pub(super) fn add(&mut self, name: String) {
        *self.0.entry(name).or_default() += 1;
    }

    /// At most this many names are listed.
    pub(super) const MOST: usize = 50;

    pub(super) fn list(self) -> Vec<Unread> {
        let mut list: Vec<Unread> = self.0.into_iter().map(|(name, rows)| Unread { name, rows }).collect();
        list.sort_by_key(|u| std::cmp::Reverse(u.rows));
        list.truncate(Self::MOST);
        list
    }
}

/// Whether a column holds answers not to give: to train the row as it stands would lose half of what it says.
fn is_rejected(name: &str) -> bool {
    name.to_ascii_lowercase().contains("rejected")
}

/// Refuses preference pairs: supervised fine-tuning learns one answer a row.
pub(super) fn refuse_pairs(rows: &[Row], fields: &Fields, path: &str) -> Result<(), DataError> {
    // A list or a text is an answer; a number or a yes says something about the row.
    let is_answer = |v: &Value| v.is_array() || v.as_str().is_some_and(|text| !text.trim().is_empty());
    let holds = |name: &str| rows.iter().filter(|r| r.fields.get(name).is_some_and(is_answer)).count();
    let names = rows.iter().flat_map(|r| r.fields.iter()).filter(|(name, v)| is_rejected(name) && is_answer(v)).map(|(name, _)| name);
    let Some(name) = names.into_iter().find(|name| !fields.is_metadata(name)) else { return Ok(()) };
    let message = format!("{} of {} rows hold `{name}`: these are preference pairs", holds(name), rows.len());
    let hint = format!(
        "supervised fine-tuning learns one answer a row: to train the chosen ones alone, name their field \
         (dataset.completion_field: chosen, or dataset.output_field) and set dataset.metadata_field: {name}"
    );
    Err(DataError::Layout { path: path.to_owned(), message, hint })
}
