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
//! `prompt(i)` should be a prefix of `reply(i)`, and `reply(i)` of `full`. `turns` says what happens where a template
//! breaks either rule. Each place where a prompt ends is a cut: the text is tokenised apart there, as the model will be
//! given it. A template with `{% generation %}` says itself what the assistant writes, and is believed.

use std::ops::Range;

use super::options::{DataOptions, TrainOn};
use super::record::{Content, Record};
use super::tokenizer::TextTokenizer;

mod turns;

pub(super) use turns::Turns;

/// A text and the parts of it that are trained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Byte ranges the loss covers, ascending.
    pub trained: Vec<Range<usize>>,
    /// Where prompts end, ascending.
    pub cuts: Vec<usize>,
    /// The tokenizer adds its own special tokens (a chat template has already written them).
    pub add_special: bool,
    /// An end-of-text token follows and is trained.
    pub append_eos: bool,
    /// Answers before which the prompt writes something that a finished turn does not have.
    pub opened: usize,
    /// Answers that stand behind their own prompt, which the whole conversation writes differently.
    pub restated: usize,
    /// Answers that the template does not write as they are (it takes reasoning out).
    pub changed: usize,
    /// The row has tools, and the template writes the same without them.
    pub tools_ignored: bool,
}

/// Renders one record. Most give one text; see the module's page for those that give more.
///
/// # Errors
/// Code and words: the template refuses the conversation, or leaves calls or reasoning out.
pub fn render(record: &Record, tokenizer: &TextTokenizer, options: &DataOptions) -> Result<Vec<Rendered>, (&'static str, String)> {
    let with_tools = matches!(&record.content, Content::Chat(chat) if chat.has_tools());
    let template = match &record.content {
        Content::Pair { alpaca: true, .. } => tokenizer.template_for(false).or_else(|| tokenizer.pair_template()),
        _ => tokenizer.template_for(with_tools),
    };
    let apart = template.is_some_and(|t| t.source().contains("message['input']"));
    let mut rendered = match (record.messages(apart), template) {
        (Some(chat), Some(template)) => {
            Turns::new(&chat, template, &options.template_variables).render(options.train_on == TrainOn::LastAssistant)?
        }
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
    Rendered { trained: one(0..text.len()), text, add_special: true, append_eos: true, ..Rendered::default() }
}

fn plain_pair(record: &Record) -> Result<Rendered, (&'static str, String)> {
    let Content::Pair { system, prompt, completion, reasoning, .. } = &record.content else {
        return Err(("no_chat_template", "the row is a chat, but the tokenizer has no chat template".into()));
    };
    if reasoning.is_some() {
        let message =
            "the row has reasoning beside its answer, and there is no chat template to write it (set dataset.chat_template: hermes)";
        return Err(("reasoning_not_rendered", message.into()));
    }
    let head = match system {
        Some(system) => format!("{system}\n\n{prompt}"),
        None => prompt.clone(),
    };
    let text = format!("{head}{completion}");
    Ok(Rendered {
        trained: one(head.len()..text.len()),
        cuts: vec![head.len()],
        text,
        add_special: true,
        append_eos: true,
        ..Rendered::default()
    })
}
