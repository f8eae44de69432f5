//! Whether an answer is JSON that a schema allows.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::answer;
use crate::base::error::Fault;

/// A schema, ready to judge.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// From a file. References to other files or addresses are refused: nothing is fetched.
    ///
    /// # Errors
    /// When the file cannot be read or is no JSON schema.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
        let bad = |m: String| {
            Fault::new("bad_schema", format!("{}: {m}", path.display()))
                .hint("give a JSON Schema (draft 4, 6, 7, 2019-09 or 2020-12) in one file, without references to other files")
        };
        let value: Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        jsonschema::validator_for(&value).map(Self).map_err(|e| bad(e.to_string()))
    }

    /// Whether the JSON in an answer fits.
    pub fn allows(&self, text: &str) -> bool {
        answer::json(text).is_some_and(|value| self.0.is_valid(&value))
    }
}
