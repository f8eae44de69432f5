//! The key to the service: read from the environment, shown to nobody.

use crate::base::error::Fault;

/// Where the key is read from; it is taken from nowhere else.
pub const KEY_VARIABLE: &str = "RUNPOD_API_KEY";

/// A key. Its value leaves only in the header of a request.
#[derive(Clone)]
pub struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl Key {
    /// The key of the environment.
    ///
    /// # Errors
    /// When there is none, or it cannot be one.
    pub fn from_env() -> Result<Self, Fault> {
        let hint = "make a key in the console of RunPod (Settings, API Keys) and set the variable RUNPOD_API_KEY";
        match std::env::var(KEY_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => Self::new(text.trim()),
            _ => Err(Fault::new("cloud_key_missing", format!("{KEY_VARIABLE} is not set")).hint(hint)),
        }
    }

    /// A key from its text.
    ///
    /// # Errors
    /// When it has signs that no key has; the text is not repeated.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let plain = text.len() <= 512 && text.chars().all(|c| c.is_ascii_graphic());
        if !plain || text.is_empty() {
            let message = format!("{KEY_VARIABLE} holds signs that no key has");
            return Err(Fault::new("cloud_key_invalid", message).hint("copy the key again, without spaces"));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text in which the key, should somebody have repeated it, is blotted out.
    pub(super) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, "[secret]")
    }
}
