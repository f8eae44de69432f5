//! What a model is asked: messages as training would write them, up to the answer.

use serde_json::{Map, Value};

use super::conversation::Conversation;
use super::render::Turns;
use super::tokenizer::TextTokenizer;
use super::tokens::Tokens;

/// A prompt as text and ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// Its ids.
    pub ids: Vec<u32>,
}

/// The prompt of a conversation that a model is to go on with: the same reading of messages and the same template as in
/// training, so that the ids are those that stood before the answer there.
///
/// # Errors
/// In words: messages of a wrong form, no template, or the template refuses them.
pub fn prompt_of(tokenizer: &TextTokenizer, messages: &[Value], tools: &Value, variables: &Map<String, Value>) -> Result<Prompt, String> {
    let chat = Conversation::prompt("messages", messages, Some(tools)).map_err(|(_, message)| message)?;
    if chat.messages.is_empty() {
        return Err("there is no message".into());
    }
    let template = tokenizer.template_for(chat.has_tools()).ok_or("the tokenizer has no chat template")?;
    let text = Turns::new(&chat, template, variables).prompt()?;
    let ids = Tokens::of(&text, false, tokenizer)?.ids;
    Ok(Prompt { text, ids })
}
