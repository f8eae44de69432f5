//! Records to text, with the byte ranges the loss covers, from the structure of the rendering.
//!
//! For a conversation rendered by a chat template, assistant turn `i` is what the template adds for it:
//!
//! ```text
//!   prompt(i) = template(messages[..i], add_generation_prompt)     what the model will be given
//!   reply(i)  = template(messages[..=i])                           the same with the turn in it
//!   full      = template(messages)
//!
//!   full:  <|user|>Hi<|end|><|assistant|>Hello<|end|><|user|>More<|end|><|assistant|>Yes<|end|>
//!          └────────── prompt(1) ───────┘
//!          └────────── reply(1) ─────────────────────┘
//!                                        ^^^^^^^^^^^^ trained
//! ```
//!
//! `prompt(i)` must be a prefix of `reply(i)`, and `reply(i)` of `full`. Some templates break the second: they take the
//! thinking out of earlier turns. There the model would learn a turn in a text it never sees when it writes that turn,
//! so such a turn becomes a rendering of its own, `reply(i)`. Every turn is trained exactly once, in its own context.
//! A template with `{% generation %}` says itself what the assistant writes, and is believed.

use std::ops::Range;

use minijinja::Value;

use super::alpaca;
use super::conversation::Conversation;
use super::options::{DataOptions, TrainOn};
use super::record::{Content, Record};
use super::template::{Call, ChatTemplate, from_json};
use super::tokenizer::TextTokenizer;

/// A text and the parts of it that are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Byte ranges the loss covers, ascending.
    pub trained: Vec<Range<usize>>,
    /// The tokenizer adds its own special tokens (a chat template has already written them).
    pub add_special: bool,
    /// An end-of-text token follows and is trained.
    pub append_eos: bool,
}

/// Renders one record. Most give one text; see the module's page for those that give more.
///
/// # Errors
/// Code and words: the template refuses the conversation, leaves its tool calls out, or rewrites it beyond recognition.
pub fn render(record: &Record, tokenizer: &TextTokenizer, options: &DataOptions) -> Result<Vec<Rendered>, (&'static str, String)> {
    let mut rendered = match (record.messages(), tokenizer.chat_template()) {
        (Some(chat), Some(template)) => Turns::new(&chat, template, options).render()?,
        (Some(_), None) => vec![plain_pair(record)?],
        (None, _) => vec![plain_text(record)],
    };
    if options.train_on == TrainOn::Everything {
        // The last rendering holds the whole conversation; the others would train its beginning twice.
        rendered.drain(..rendered.len().saturating_sub(1));
        for r in &mut rendered {
            r.trained = one(0..r.text.len());
        }
    }
    Ok(rendered)
}

fn one(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

fn plain_text(record: &Record) -> Rendered {
    let text = record.answer();
    Rendered { trained: one(0..text.len()), text, add_special: true, append_eos: true }
}

fn plain_pair(record: &Record) -> Result<Rendered, (&'static str, String)> {
    let Content::Pair { system, prompt, input, completion, alpaca: is_alpaca } = &record.content else {
        return Err(("no_chat_template", "the row is a chat, but the tokenizer has no chat template".into()));
    };
    let head = match (is_alpaca, system) {
        (true, _) => alpaca::prompt(system.as_deref(), prompt, input.as_deref()),
        (false, Some(system)) => format!("{system}\n\n{prompt}"),
        (false, None) => prompt.clone(),
    };
    let text = format!("{head}{completion}");
    Ok(Rendered { trained: one(head.len()..text.len()), text, add_special: true, append_eos: true })
}

/// One assistant turn in its own context.
struct Turn {
    /// `template(messages[..=i])`.
    reply: String,
    /// Where the assistant's part starts in it.
    start: usize,
}

struct Turns<'a> {
    chat: &'a Conversation,
    template: &'a ChatTemplate,
    options: &'a DataOptions,
    messages: Vec<Value>,
    tools: Vec<Value>,
}

type Refused = (&'static str, String);

impl<'a> Turns<'a> {
    fn new(chat: &'a Conversation, template: &'a ChatTemplate, options: &'a DataOptions) -> Self {
        let messages = chat.messages.iter().map(|m| from_json(&m.value)).collect();
        let tools = chat.tools.iter().map(from_json).collect();
        Self { chat, template, options, messages, tools }
    }

    fn render(mut self) -> Result<Vec<Rendered>, Refused> {
        let full = match self.text(self.messages.len(), false) {
            Ok(full) => full,
            Err(first) => self.retry_with_empty_content().ok_or(("template_refused", first))?,
        };
        let wanted = self.wanted();
        if let Some(spans) = self.marked(&full, &wanted)? {
            self.check_tool_calls(&full)?;
            return Ok(vec![chat_text(full, spans)]);
        }
        self.by_prefixes(full, wanted)
    }

    /// Indices of the assistant messages that are trained.
    fn wanted(&self) -> Vec<usize> {
        let mut all = (0..self.chat.messages.len()).filter(|i| self.chat.messages[*i].trained);
        if self.options.train_on == TrainOn::LastAssistant { all.next_back().into_iter().collect() } else { all.collect() }
    }

    fn call(&self, count: usize, add_generation_prompt: bool) -> Call<'_> {
        Call { messages: &self.messages[..count], tools: &self.tools, add_generation_prompt, variables: &self.options.template_variables }
    }

    fn text(&self, count: usize, add_generation_prompt: bool) -> Result<String, String> {
        self.template.call(&self.call(count, add_generation_prompt))
    }

    /// Templates that add strings up cannot take `content: null`, which stands beside tool calls; they get "".
    fn retry_with_empty_content(&mut self) -> Option<String> {
        let null = |m: &super::conversation::Message| m.value.get("content").is_none_or(serde_json::Value::is_null);
        if !self.chat.messages.iter().any(null) {
            return None;
        }
        for (value, message) in self.messages.iter_mut().zip(&self.chat.messages).filter(|(_, m)| null(m)) {
            let mut with_text = message.value.clone();
            with_text.insert("content".into(), "".into());
            *value = from_json(&with_text);
        }
        self.text(self.messages.len(), false).ok()
    }

    /// Spans from `{% generation %}`, where the template has it and they can be told apart by message.
    fn marked(&self, full: &str, wanted: &[usize]) -> Result<Option<Vec<Range<usize>>>, Refused> {
        if !self.template.marks_generation() {
            return Ok(None);
        }
        let call = self.call(self.messages.len(), false);
        let spans = self.template.call_marked(&call, full).map_err(|e| ("template_refused", e))?;
        let assistants: Vec<usize> = (0..self.chat.messages.len()).filter(|i| self.chat.messages[*i].role == "assistant").collect();
        Ok(match spans {
            Some(spans) if spans.len() == assistants.len() => {
                Some(spans.into_iter().zip(assistants).filter(|(_, i)| wanted.contains(i)).map(|(span, _)| span).collect())
            }
            Some(spans) if !spans.is_empty() && wanted.len() == assistants.len() => Some(spans),
            _ => None,
        })
    }

    fn by_prefixes(&self, full: String, mut wanted: Vec<usize>) -> Result<Vec<Rendered>, Refused> {
        let mut turns: Vec<(usize, Turn)> = Vec::new();
        for i in &wanted {
            turns.push((*i, self.turn(*i, &full)?));
        }
        let mut out = Vec::new();
        let mut text = Some(full);
        // From the back: the longest text that is left covers every turn that it begins with.
        while let Some(last) = wanted.last().copied() {
            let of_last = turns.iter().find(|(i, _)| *i == last).map(|(_, t)| t.reply.clone()).unwrap_or_default();
            let whole = text.take().filter(|full| full.starts_with(&of_last)).unwrap_or(of_last);
            let covered = |t: &Turn| whole.starts_with(&t.reply);
            let spans = turns.iter().filter(|(i, t)| wanted.contains(i) && covered(t)).map(|(_, t)| t.start..t.reply.len()).collect();
            wanted.retain(|i| !turns.iter().any(|(j, t)| i == j && covered(t)));
            out.push(chat_text(whole, spans));
        }
        out.reverse();
        Ok(out)
    }

    fn turn(&self, i: usize, full: &str) -> Result<Turn, Refused> {
        let refused = |e: String| ("template_refused", format!("messages[{i}]: {e}"));
        let reply = if i + 1 == self.messages.len() { full.to_string() } else { self.text(i + 1, false).map_err(refused)? };
        let prompt = self.text(i, true).map_err(refused)?;
        let start = if reply.starts_with(&prompt) {
            prompt.len()
        } else {
            // Some templates open the reply for the model (with a `<think>`) but do not write it in a finished turn.
            // What prompt and reply share, past the messages before, is still the header.
            let before = self.text(i, false).map_err(refused)?;
            if !reply.starts_with(&before) {
                let message = "the chat template rewrites earlier messages when the reply is added, so the reply cannot be told apart";
                return Err(("template_rewrites", format!("messages[{i}]: {message}")));
            }
            shared_prefix(&prompt, &reply)
        };
        self.check_calls_of(i, &reply[start..])?;
        Ok(Turn { reply, start })
    }

    fn check_tool_calls(&self, full: &str) -> Result<(), Refused> {
        (0..self.chat.messages.len()).try_for_each(|i| self.check_calls_of(i, full))
    }

    /// A template without tool support would silently train an empty turn.
    fn check_calls_of(&self, i: usize, text: &str) -> Result<(), Refused> {
        let names = self.chat.messages[i].tool_calls().iter().filter_map(|c| c["function"]["name"].as_str());
        match names.into_iter().find(|name| !text.contains(*name)) {
            Some(name) => Err((
                "tool_call_not_rendered",
                format!("messages[{i}]: the chat template leaves out the call of `{name}`; it has no tool support"),
            )),
            None => Ok(()),
        }
    }
}

fn chat_text(text: String, trained: Vec<Range<usize>>) -> Rendered {
    Rendered { text, trained, add_special: false, append_eos: false }
}

/// Length in bytes of the common beginning, on a character boundary.
fn shared_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum()
}
