//! A conversation with a model: it remembers what was said and answers the next message.

use serde_json::{Value, json};

use super::generate::{GenerateReport, Input, Sampling, generate_with};
use super::load::{LoadedModel, ModelRequest, load};
use crate::base::error::Fault;

/// A conversation.
#[derive(Debug)]
pub struct Chat {
    loaded: LoadedModel,
    sampling: Sampling,
    system: Option<String>,
    messages: Vec<Value>,
    /// What was said so far, for a model without a chat template, which only continues text.
    text: String,
}

impl Chat {
    /// Loads the model; `system` stands before the first message.
    ///
    /// # Errors
    /// When the model or its adapter cannot be loaded.
    pub fn open(model: &ModelRequest, system: Option<String>, sampling: Sampling) -> Result<Self, Fault> {
        let mut chat = Self { loaded: load(model)?, sampling, system, messages: Vec::new(), text: String::new() };
        chat.forget();
        Ok(chat)
    }

    /// Whether the model renders chats; otherwise it continues what is typed.
    pub fn has_template(&self) -> bool {
        self.loaded.tokenizer.chat_template().is_some()
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.messages = self.system.iter().map(|s| json!({"role": "system", "content": s})).collect();
        self.text = self.system.clone().unwrap_or_default();
    }

    /// Messages so far.
    pub fn turns(&self) -> usize {
        self.messages.iter().filter(|m| m["role"] == "assistant").count()
    }

    /// Answers a message, handing each piece of text to `on_text` as it comes. A message that cannot be answered leaves
    /// the conversation as it was.
    ///
    /// # Errors
    /// When the template refuses the conversation, or it has grown beyond the model's context.
    pub fn say(&mut self, text: &str, on_text: &mut dyn FnMut(&str)) -> Result<GenerateReport, Fault> {
        if !self.has_template() {
            let input = Input::Prompt { text: format!("{}{text}", self.text), raw: true };
            let report = generate_with(&self.loaded, &input, &self.sampling, on_text)?;
            self.text = format!("{}{text}{}", self.text, report.text);
            return Ok(report);
        }
        let mut messages = self.messages.clone();
        messages.push(json!({"role": "user", "content": text}));
        let input = Input::Messages { messages: Value::Array(messages.clone()), tools: Value::Null };
        let report = generate_with(&self.loaded, &input, &self.sampling, on_text)?;
        messages.push(json!({"role": "assistant", "content": report.text}));
        self.messages = messages;
        Ok(report)
    }
}
