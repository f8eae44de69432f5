//! Typed access to config.json that names the field in every error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{Error, Result};
use crate::base::files;

/// A JSON object with the path it came from. Remembers which fields were asked for.
#[derive(Debug)]
pub(crate) struct ConfigJson {
    path: PathBuf,
    prefix: String,
    fields: Map<String, Value>,
    asked: RefCell<BTreeSet<String>>,
}

impl ConfigJson {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path).map_err(Error::io(path))?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let bad = |message: String| Error::NotAModel { path: path.to_path_buf(), message };
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self::of(path, String::new(), fields)),
            Ok(_) => Err(bad("expected a JSON object".into())),
            Err(e) => Err(bad(format!("not valid JSON: {e}"))),
        }
    }

    fn of(path: &Path, prefix: String, fields: Map<String, Value>) -> Self {
        Self { path: path.to_path_buf(), prefix, fields, asked: RefCell::default() }
    }

    pub(crate) fn bad(&self, field: &str, message: impl Into<String>) -> Error {
        Error::Field { path: self.path.clone(), field: format!("{}{field}", self.prefix), message: message.into() }
    }

    /// The value, with null read as absent.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.asked.borrow_mut().insert(field.to_owned());
        self.fields.get(field).filter(|v| !v.is_null())
    }

    pub(crate) fn usize(&self, field: &str) -> Result<Option<usize>> {
        self.get(field)
            .map(|v| v.as_u64().map(|n| n as usize).ok_or_else(|| self.bad(field, format!("expected a whole number, got {v}"))))
            .transpose()
    }

    /// A count that must be there and be at least 1.
    pub(crate) fn count(&self, field: &str) -> Result<usize> {
        match self.usize(field)? {
            Some(0) => Err(self.bad(field, "must be at least 1")),
            Some(n) => Ok(n),
            None => Err(self.bad(field, "is missing")),
        }
    }

    pub(crate) fn f64(&self, field: &str) -> Result<Option<f64>> {
        self.get(field).map(|v| v.as_f64().ok_or_else(|| self.bad(field, format!("expected a number, got {v}")))).transpose()
    }

    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>> {
        self.get(field).map(|v| v.as_bool().ok_or_else(|| self.bad(field, format!("expected true or false, got {v}")))).transpose()
    }

    pub(crate) fn str(&self, field: &str) -> Result<Option<&str>> {
        self.get(field).map(|v| v.as_str().ok_or_else(|| self.bad(field, format!("expected text, got {v}")))).transpose()
    }

    pub(crate) fn strings(&self, field: &str) -> Result<Option<Vec<&str>>> {
        let Some(v) = self.get(field) else { return Ok(None) };
        let texts = v.as_array().and_then(|a| a.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        texts.map(Some).ok_or_else(|| self.bad(field, format!("expected a list of texts, got {v}")))
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<ConfigJson>> {
        let Some(v) = self.get(field) else { return Ok(None) };
        let map = v.as_object().ok_or_else(|| self.bad(field, format!("expected an object, got {v}")))?;
        Ok(Some(Self::of(&self.path, format!("{}{field}.", self.prefix), map.clone())))
    }

    /// A list of whole numbers.
    pub(crate) fn usizes(&self, field: &str) -> Result<Option<Vec<usize>>> {
        let Some(v) = self.get(field) else { return Ok(None) };
        let numbers = v.as_array().and_then(|a| a.iter().map(|n| n.as_u64().map(|n| n as usize)).collect());
        numbers.map(Some).ok_or_else(|| self.bad(field, format!("expected a list of whole numbers, got {v}")))
    }

    /// A list of numbers.
    pub(crate) fn f64s(&self, field: &str) -> Result<Option<Vec<f64>>> {
        let Some(v) = self.get(field) else { return Ok(None) };
        let numbers = v.as_array().and_then(|a| a.iter().map(Value::as_f64).collect());
        numbers.map(Some).ok_or_else(|| self.bad(field, format!("expected a list of numbers, got {v}")))
    }

    /// Puts in the fields of a JSON object that are missing.
    pub(crate) fn fill(&mut self, defaults: &str) {
        if let Ok(Value::Object(defaults)) = serde_json::from_str(defaults) {
            for (field, value) in defaults {
                if self.fields.get(&field).is_none_or(Value::is_null) {
                    self.fields.insert(field, value);
                }
            }
        }
    }

    /// A field's value, where nobody has asked for it.
    pub(crate) fn not_asked_value(&self, field: &str) -> Option<&Value> {
        let asked = self.asked.borrow().contains(field);
        self.fields.get(field).filter(|v| !asked && !v.is_null())
    }

    /// Fields that are set to something but that nobody asked for.
    pub(crate) fn not_asked(&self) -> Vec<(&str, &Value)> {
        let asked = self.asked.borrow();
        let neutral = |v: &Value| matches!(v, Value::Null | Value::Bool(false));
        self.fields.iter().filter(|(k, v)| !asked.contains(*k) && !neutral(v)).map(|(k, v)| (k.as_str(), v)).collect()
    }
}
