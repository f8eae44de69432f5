//! Secrets and e-mail addresses out of texts, by their form.
//!
//! Only what has a form of its own is found: keys with a known beginning, private keys, tokens in
//! three parts, passwords in addresses and behind a name that says so. A password in a sentence is
//! not.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What is taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redact {
    /// Keys, tokens and passwords become `[SECRET]`.
    pub secrets: bool,
    /// Addresses become `[EMAIL]`.
    pub emails: bool,
}

/// What was taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redacted {
    /// Secrets.
    pub secrets: usize,
    /// E-mail addresses.
    pub emails: usize,
}

/// Forms of which the whole match is a secret.
const WHOLE: [&str; 12] = [
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"\bAIza[0-9A-Za-z_-]{35}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"\bnpm_[A-Za-z0-9]{36}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
];
/// Forms whose groups `before` and `after` stay.
const INNER: [&str; 2] = [
    r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?P<after>@)",
    r#"(?i)(?P<before>\b(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)["']?\s*[:=]\s*["']?)[^\s"',;]{8,}(?P<after>)"#,
];
const EMAIL: &str = r"(?i)\b[a-z0-9][a-z0-9._%+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b";

struct Forms {
    whole: Regex,
    inner: Vec<Regex>,
    email: Regex,
}

/// A test compiles them; a form that does not compile would find nothing.
static FORMS: LazyLock<Option<Forms>> = LazyLock::new(|| {
    Some(Forms {
        whole: Regex::new(&WHOLE.join("|")).ok()?,
        inner: INNER.iter().map(|f| Regex::new(f)).collect::<Result<_, _>>().ok()?,
        email: Regex::new(EMAIL).ok()?,
    })
});

impl Redact {
    /// Whether anything is taken out.
    pub fn is_asked(self) -> bool {
        self.secrets || self.emails
    }

    /// Takes them out of a text.
    pub(super) fn text(self, text: &mut String, out: &mut Redacted) {
        let Some(forms) = FORMS.as_ref() else { return };
        if self.secrets {
            replace(&forms.whole, text, &mut out.secrets, |_| "[SECRET]".into());
            for form in &forms.inner {
                replace(form, text, &mut out.secrets, |c| format!("{}[SECRET]{}", &c["before"], &c["after"]));
            }
        }
        if self.emails {
            replace(&forms.email, text, &mut out.emails, |_| "[EMAIL]".into());
        }
    }

    /// Takes them out of all texts of a value.
    pub(super) fn value(self, value: &mut Value, out: &mut Redacted) {
        match value {
            Value::String(text) => self.text(text, out),
            Value::Array(list) => list.iter_mut().for_each(|v| self.value(v, out)),
            Value::Object(map) => self.members(map, out),
            _ => {}
        }
    }

    /// Takes them out of all texts of an object.
    pub(super) fn members(self, map: &mut Map<String, Value>, out: &mut Redacted) {
        map.values_mut().for_each(|v| self.value(v, out));
    }
}

fn replace(form: &Regex, text: &mut String, count: &mut usize, with: impl Fn(&Captures) -> String) {
    if !form.is_match(text) {
        return;
    }
    let changed = form.replace_all(text, |c: &Captures| {
        // What stands there already is no secret.
        if c[0].contains("[SECRET]") {
            return c[0].to_owned();
        }
        *count += 1;
        with(c)
    });
    *text = changed.into_owned();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(text: &str) -> (String, usize, usize) {
        let (mut text, mut out) = (text.to_owned(), Redacted::default());
        Redact { secrets: true, emails: true }.text(&mut text, &mut out);
        (text, out.secrets, out.emails)
    }

    #[test]
    fn secrets_and_addresses_go_and_all_else_stays() {
        let letters = |n: usize| "aB3dE6gH9k".chars().cycle().take(n).collect::<String>();
        for secret in [
            format!("AKIA{}", "A1B2C3D4E5F6G7H8"),
            format!("ghp_{}", letters(36)),
            format!("github_pat_{}", letters(30)),
            format!("sk-proj-{}", letters(40)),
            format!("xoxb-{}", letters(24)),
            format!("hf_{}", letters(34)),
            format!("AIza{}", letters(35)),
            format!("eyJ{}.eyJ{}.{}", letters(20), letters(30), letters(43)),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", letters(64)),
        ] {
            assert_eq!(done(&format!("use {secret} now")), ("use [SECRET] now".into(), 1, 0), "{secret}");
        }
        for (text, wanted, secrets, emails) in [
            ("postgres://me:hunter2@db/x", "postgres://me:[SECRET]@db/x", 1, 0),
            ("password = \"correct-horse\" and", "password = \"[SECRET]\" and", 1, 0),
            ("{\"api_key\": \"0123456789abc\"}", "{\"api_key\": \"[SECRET]\"}", 1, 0),
            ("mail Ann.Lee+x@mail.example.org.", "mail [EMAIL].", 0, 1),
            ("a@b.io,c@d.com", "[EMAIL],[EMAIL]", 0, 2),
            ("the password is not here: read the secret garden", "the password is not here: read the secret garden", 0, 0),
            ("@user and sk-learn, 3@4, x@y", "@user and sk-learn, 3@4, x@y", 0, 0),
            ("https://example.org/a:b@c", "https://example.org/a:b@c", 0, 0),
        ] {
            assert_eq!(done(text), (wanted.into(), secrets, emails), "{text}");
            // A second pass finds nothing more.
            assert_eq!(done(wanted), (wanted.into(), 0, 0), "{wanted}");
        }
    }
}
