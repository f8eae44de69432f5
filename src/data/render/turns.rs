//! The assistant's turns of one conversation.
//!
//! Where a template breaks the rules of `render`:
//!
//! - `reply(i)` is no prefix of `full`: some templates take the thinking out of earlier turns. The model would learn a
//!   turn in a text that it never sees when it writes that turn, so the turn becomes a rendering of its own, `reply(i)`.
//! - `prompt(i)` is no prefix of `reply(i)`, but opens it (`<think>\n`) with what a finished turn does not have. The
//!   answer begins where the same turn with another answer begins to differ.
//! - `prompt(i)` is another text: some templates write the system prompt into the last user turn. The answer is put
//!   behind its prompt, in a rendering of its own.
//!
//! Every turn is trained exactly once, behind what the model is given when it writes it.

use std::ops::Range;

use minijinja::Value;
use serde_json::Map;

use super::Rendered;
use crate::data::conversation::{Conversation, Message};
use crate::data::template::{Call, ChatTemplate, PROBE, from_json};

/// One assistant turn behind its prompt.
struct Turn {
    /// The text up to the end of the turn; `None` where the whole conversation begins with it.
    text: Option<String>,
    /// Its length.
    len: usize,
    /// Where the answer starts in it.
    start: usize,
    /// Parts of the answer that are not trained.
    untrained: Vec<Range<usize>>,
    opened: bool,
    restated: bool,
    changed: bool,
}

/// A conversation under a template.
pub(in crate::data) struct Turns<'a> {
    chat: &'a Conversation,
    template: &'a ChatTemplate,
    variables: &'a Map<String, serde_json::Value>,
    messages: Vec<Value>,
    tools: Vec<Value>,
}

type Refused = (&'static str, String);

impl<'a> Turns<'a> {
    pub(in crate::data) fn new(chat: &'a Conversation, template: &'a ChatTemplate, variables: &'a Map<String, serde_json::Value>) -> Self {
        let messages = chat.messages.iter().map(|m| from_json(&m.value)).collect();
        let tools = chat.tools.iter().map(from_json).collect();
        Self { chat, template, variables, messages, tools }
    }

    /// What a model is given to go on with.
    pub(in crate::data) fn prompt(&self) -> Result<String, String> {
        self.text(self.messages.len(), true)
    }

    pub(super) fn render(self, last_only: bool) -> Result<Vec<Rendered>, Refused> {
        let full = self.text(self.messages.len(), false).map_err(|e| ("template_refused", e))?;
        let wanted = self.wanted(last_only);
        let mut rendered = match self.marked(&full, &wanted)? {
            Some(marked) => {
                let last = wanted.last().copied();
                (0..self.messages.len()).try_for_each(|i| self.check_rendered(i, &full, Some(i) == last))?;
                vec![marked]
            }
            None => self.by_prefixes(full.clone(), wanted)?,
        };
        if !self.tools.is_empty()
            && let Some(last) = rendered.last_mut()
        {
            let call = Call { messages: &self.messages, tools: &[], add_generation_prompt: false, variables: self.variables };
            last.tools_ignored = self.template.call(&call).is_ok_and(|without| without == full);
        }
        Ok(rendered)
    }

    /// Indices of the assistant messages that are trained.
    fn wanted(&self, last_only: bool) -> Vec<usize> {
        let mut all = (0..self.chat.messages.len()).filter(|i| self.chat.messages[*i].trained);
        if last_only { all.next_back().into_iter().collect() } else { all.collect() }
    }

    fn text(&self, count: usize, add_generation_prompt: bool) -> Result<String, String> {
        self.call(&self.messages[..count], add_generation_prompt)
    }

    fn call(&self, messages: &[Value], add_generation_prompt: bool) -> Result<String, String> {
        self.template.call(&Call { messages, tools: &self.tools, add_generation_prompt, variables: self.variables })
    }

    /// The text of the first messages with the last of them replaced.
    fn text_with(&self, count: usize, last: &Map<String, serde_json::Value>) -> Result<String, String> {
        let mut messages = self.messages[..count].to_vec();
        messages[count - 1] = from_json(last);
        self.call(&messages, false)
    }

    /// Spans from `{% generation %}`, where the template has it and they can be told apart by message.
    fn marked(&self, full: &str, wanted: &[usize]) -> Result<Option<Rendered>, Refused> {
        let parts = self.chat.messages.iter().any(|m| !m.untrained.is_empty());
        if !self.template.marks_generation() || parts {
            return Ok(None);
        }
        let all = Call { messages: &self.messages, tools: &self.tools, add_generation_prompt: false, variables: self.variables };
        let spans = self.template.call_marked(&all, full).map_err(|e| ("template_refused", e))?;
        let assistants: Vec<usize> = (0..self.chat.messages.len()).filter(|i| self.chat.messages[*i].role == "assistant").collect();
        let trained: Vec<Range<usize>> = match spans {
            Some(spans) if spans.len() == assistants.len() => {
                spans.into_iter().zip(assistants).filter(|(_, i)| wanted.contains(i)).map(|(span, _)| span).collect()
            }
            Some(spans) if !spans.is_empty() && wanted.len() == assistants.len() => spans,
            _ => return Ok(None),
        };
        let mut cuts = Vec::new();
        for i in wanted {
            let prompt = self.text(*i, true).ok().filter(|prompt| full.starts_with(prompt));
            cuts.extend(prompt.map(|prompt| prompt.len()));
        }
        if cuts.len() < wanted.len() {
            cuts = trained.iter().map(|span| span.start).collect();
        }
        Ok(Some(Rendered { text: full.to_owned(), trained, cuts, ..Rendered::default() }))
    }

    fn by_prefixes(&self, full: String, mut wanted: Vec<usize>) -> Result<Vec<Rendered>, Refused> {
        let mut turns: Vec<(usize, Turn)> = Vec::new();
        for i in &wanted {
            turns.push((*i, self.turn(*i, &full)?));
        }
        let mut out = Vec::new();
        let mut rest = Some(full);
        // From the back: the longest text that is left covers every turn that it begins with.
        while let Some(last) = wanted.last().copied() {
            let own = turns.iter().find(|(i, _)| *i == last).and_then(|(_, t)| t.text.clone());
            let is_full = own.is_none();
            let whole = own.or_else(|| rest.take()).unwrap_or_default();
            let covered = |t: &Turn| match &t.text {
                None => is_full,
                Some(text) => whole.starts_with(text.as_str()),
            };
            let mut rendered = Rendered::default();
            for (_, turn) in turns.iter().filter(|(i, t)| wanted.contains(i) && covered(t)) {
                rendered.cuts.push(turn.start);
                rendered.trained.extend(without(turn.start..turn.len, &turn.untrained));
                rendered.opened += usize::from(turn.opened);
                rendered.restated += usize::from(turn.restated);
                rendered.changed += usize::from(turn.changed);
            }
            wanted.retain(|i| !turns.iter().any(|(j, t)| i == j && covered(t)));
            rendered.text = whole;
            out.push(rendered);
        }
        out.reverse();
        Ok(out)
    }

    fn turn(&self, i: usize, full: &str) -> Result<Turn, Refused> {
        let refused = |e: String| ("template_refused", format!("messages[{i}]: {e}"));
        let reply = if i + 1 == self.messages.len() { full.to_string() } else { self.text(i + 1, false).map_err(refused)? };
        let prompt = self.text(i, true).map_err(refused)?;
        let mut turn = Turn {
            text: None,
            len: reply.len(),
            start: prompt.len(),
            untrained: Vec::new(),
            opened: false,
            restated: false,
            changed: false,
        };
        let mut text = reply.clone();
        let mut moved = 0;
        if !reply.starts_with(&prompt) {
            let header = self.header(i, &reply).map_err(refused)?;
            let before = self.text(i, false).map_err(refused)?;
            match header {
                Some(header) if reply.starts_with(&before) => {
                    turn.start = header.min(shared_prefix(&prompt, &reply)).max(before.len());
                    turn.opened = prompt.len() > turn.start;
                }
                None if reply.starts_with(&before) => turn.start = shared_prefix(&prompt, &reply).max(before.len()),
                Some(header) => {
                    let header = meeting(&prompt, &reply[..header]);
                    moved = prompt.len() as isize - header as isize;
                    text = format!("{prompt}{}", &reply[header..]);
                    (turn.len, turn.restated) = (text.len(), true);
                }
                None => {
                    let message = "the chat template writes earlier messages differently once the reply is there, \
                                   so the reply cannot be told apart; another template can be set (dataset.chat_template)";
                    return Err(("template_rewrites", format!("messages[{i}]: {message}")));
                }
            }
        }
        self.check_rendered(i, &text[turn.start..], true)?;
        turn.changed = !text[turn.start..].contains(self.chat.messages[i].text().trim());
        turn.untrained = self.switched_off(i, &reply)?.into_iter().map(|r| shifted(r, moved)).collect();
        turn.text = (!full.starts_with(&text)).then_some(text);
        Ok(turn)
    }

    /// Where the answer begins in `reply(i)`: where the turn with another answer differs. `None` where the template
    /// does not write the answer as it is.
    fn header(&self, i: usize, reply: &str) -> Result<Option<usize>, String> {
        let probe = Message::new("assistant", PROBE);
        let other = self.text_with(i + 1, &probe.value)?;
        let shared = shared_prefix(reply, &other);
        Ok((other.contains(PROBE) && shared < reply.len()).then_some(shared))
    }

    /// The parts of the content that are switched off, in `reply(i)`: found by a character that no text has, put into
    /// the content at their ends.
    fn switched_off(&self, i: usize, reply: &str) -> Result<Vec<Range<usize>>, Refused> {
        let message = &self.chat.messages[i];
        if message.untrained.is_empty() {
            return Ok(Vec::new());
        }
        let lost = || ("part_flags_lost", format!("messages[{i}]: the chat template changes the parts that are switched off"));
        let content = message.text();
        let mark = ('\u{F0400}'..'\u{F0500}').find(|c| !reply.contains(*c)).ok_or_else(lost)?;
        let end = content.trim_end().len();
        let start = content.len() - content.trim_start().len();
        // A mark within white space at an end would keep a template from trimming it.
        let places: Vec<usize> = message.untrained.iter().flat_map(|r| [r.start.clamp(start, end), r.end.clamp(start, end)]).collect();
        let mut marked = String::new();
        let mut at = 0;
        for place in &places {
            marked.push_str(&content[at..*place]);
            marked.push(mark);
            at = *place;
        }
        marked.push_str(&content[at..]);
        let mut value = message.value.clone();
        value.insert("content".into(), marked.into());
        let text = self.text_with(i + 1, &value).map_err(|_| lost())?;
        let mut found = Vec::new();
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            if c == mark { found.push(plain.len()) } else { plain.push(c) }
        }
        if plain != reply || found.len() != places.len() {
            return Err(lost());
        }
        Ok(found.chunks(2).map(|pair| pair[0]..pair[1]).collect())
    }

    /// A template without tool support would silently train an empty turn; one without reasoning would lose it.
    fn check_rendered(&self, i: usize, text: &str, reasoning: bool) -> Result<(), Refused> {
        let message = &self.chat.messages[i];
        let mut names = message.tool_calls().iter().filter_map(|c| c["function"]["name"].as_str());
        if let Some(name) = names.find(|name| !text.contains(*name)) {
            let why = "it has no tool support; another one can be set (dataset.chat_template: hermes)";
            return Err(("tool_call_not_rendered", format!("messages[{i}]: the chat template leaves out the call of `{name}`; {why}")));
        }
        let thought = message.reasoning().trim();
        if reasoning && message.trained && !text.contains(thought) {
            let why = "set one that writes it (dataset.chat_template: hermes), or take the reasoning out of the rows";
            return Err(("reasoning_not_rendered", format!("messages[{i}]: the chat template leaves out the reasoning; {why}")));
        }
        Ok(())
    }
}

fn shifted(range: Range<usize>, by: isize) -> Range<usize> {
    range.start.saturating_add_signed(by)..range.end.saturating_add_signed(by)
}

/// A range without some ranges in it.
fn without(range: Range<usize>, holes: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = range.start;
    for hole in holes {
        if hole.start > at {
            out.push(at..hole.start);
        }
        at = at.max(hole.end);
    }
    out.push(at..range.end);
    out.retain(|r| !r.is_empty());
    out
}

/// Where a header ends that the prompt ends with too: what stands behind it (a space before the answer) is the
/// answer's own.
fn meeting(prompt: &str, header: &str) -> usize {
    let shared = |end: usize| prompt.bytes().rev().zip(header[..end].bytes().rev()).take_while(|(a, b)| a == b).count();
    let ends = header.char_indices().map(|(i, _)| i).chain([header.len()]);
    let near = ends.filter(|end| header.len() - end <= 16);
    near.max_by_key(|end| (shared(*end), *end)).unwrap_or(header.len())
}

/// Length in bytes of the common beginning, on a character boundary.
fn shared_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum()
}
