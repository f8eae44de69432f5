//! Secrets of the environment never leave in an answer.

use serde_json::Value;

use crate::base::error::Fault;

/// The values of variables that look like secrets.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// A shorter value is no secret worth the name, and would hide ordinary words.
const LEAST_LENGTH: usize = 8;

impl Secrets {
    pub(super) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let words = ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH", "PRIVATE", "DSN"];
        let is_secret = |name: &str| words.iter().any(|w| name.to_ascii_uppercase().contains(w));
        let mut all: Vec<String> = variables.into_iter().filter(|(n, v)| is_secret(n) && v.len() >= LEAST_LENGTH).map(|(_, v)| v).collect();
        // One may be a part of another.
        all.sort_by_key(|v| std::cmp::Reverse(v.len()));
        Self(all)
    }

    pub(super) fn from_env() -> Self {
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        // The Hub's token may also lie in a file.
        Self::of(variables.chain(crate::model::hub::access_token().map(|token| ("HF_TOKEN".to_owned(), token))))
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| if text.contains(secret) { text.replace(secret, "[secret]") } else { text })
    }

    pub(super) fn hide_in_fault(&self, fault: Fault) -> Fault {
        Fault { code: fault.code, message: self.hide(&fault.message), hint: fault.hint.map(|h| self.hide(&h)) }
    }

    pub(super) fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(s) if self.0.iter().any(|secret| s.contains(secret)) => *s = self.hide(s),
            Value::Array(all) => all.iter_mut().for_each(|v| self.hide_in(v)),
            Value::Object(map) => map.values_mut().for_each(|v| self.hide_in(v)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_variables_are_hidden() {
        let variables = [("HF_TOKEN", "hf_abcdefgh"), ("HOME", "/home/somebody"), ("API_KEY", "short")];
        let secrets = Secrets::of(variables.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let mut value = serde_json::json!({"a": ["x hf_abcdefgh y", 1], "b": "/home/somebody short"});
        secrets.hide_in(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x [secret] y", 1], "b": "/home/somebody short"}));
    }
}
