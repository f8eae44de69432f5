//! Sequences that are decoded together: they join and leave between passes.
//!
//! Each has a cache, a sampler and an end of its own, so its answer is that of [`Generator::run`].

use super::{Generator, Hold, PROMPT_CHUNK, Sampler, SamplingOptions};
use crate::model::decoder::{KvCache, Next};
use crate::model::error::{Error, Result};

/// What a sequence takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The most new tokens: what was asked for, or what the context has room for.
    pub most: usize,
    /// Bytes of keys and values from its first token to its last.
    pub cache_bytes: u64,
}

/// What a pass did to a sequence.
#[derive(Debug)]
pub struct Moved {
    /// The sequence, by the key that it joined with.
    pub key: usize,
    /// Its new token.
    pub token: Option<u32>,
    /// Why it is complete: `stop_token`, `max_new_tokens` or `context_full`. It has left then.
    pub ended: Option<&'static str>,
    /// Why it cannot go on. It has left then.
    pub failed: Option<Error>,
}

/// One pass through the model.
#[derive(Debug, Default)]
pub struct Passed {
    /// The sequences that got a token or ended.
    pub moved: Vec<Moved>,
    /// Tokens of prompts that were read.
    pub prompt_tokens: u64,
}

#[derive(Debug)]
struct Slot {
    key: usize,
    prompt: Vec<u32>,
    options: SamplingOptions,
    need: Need,
    cache: KvCache,
    sampler: Sampler,
    hold: Option<Box<dyn Hold>>,
    /// How many tokens it has, and the last of them.
    made: usize,
    last: u32,
}

/// Sequences of one model.
#[derive(Debug)]
pub struct Sequences<'d> {
    generator: Generator<'d>,
    slots: Vec<Slot>,
}

impl Generator<'_> {
    /// What a prompt takes with at most so many new tokens.
    ///
    /// # Errors
    /// When the prompt is empty or longer than the model's context.
    pub fn need(&self, prompt_tokens: usize, max_new_tokens: usize) -> Result<Need> {
        if prompt_tokens == 0 {
            return Err(Error::Value("the prompt is empty".into()));
        }
        let context = self.decoder.spec().max_positions;
        let room = context.checked_sub(prompt_tokens);
        let room = room.ok_or_else(|| Error::Value(format!("the prompt has {prompt_tokens} tokens, the model's context {context}")))?;
        let most = max_new_tokens.min(room);
        Ok(Need { most, cache_bytes: (prompt_tokens + most) as u64 * self.decoder.cache_bytes_per_token() })
    }
}

impl<'d> Sequences<'d> {
    /// None yet.
    pub fn new(generator: Generator<'d>) -> Self {
        Self { generator, slots: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of keys and values that they hold.
    pub fn held_bytes(&self) -> u64 {
        self.slots.iter().map(|s| s.need.cache_bytes).sum()
    }

    /// Takes in a prompt; its first piece is read in the next pass.
    ///
    /// # Errors
    /// As [`Generator::need`], when an option is out of range, and when there is no memory for its cache.
    pub fn join(&mut self, key: usize, prompt: Vec<u32>, options: SamplingOptions) -> Result<()> {
        self.join_held(key, prompt, options, None)
    }

    /// The same, its answer held to a form.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn join_held(&mut self, key: usize, prompt: Vec<u32>, options: SamplingOptions, hold: Option<Box<dyn Hold>>) -> Result<()> {
        let need = self.generator.need(prompt.len(), options.max_new_tokens)?;
        let cache = self.generator.decoder.new_cache(prompt.len() + need.most)?;
        let sampler = Sampler::new(&options)?;
        self.slots.push(Slot { key, prompt, options, need, cache, sampler, hold, made: 0, last: 0 });
        Ok(())
    }

    /// Takes a sequence out before its end; its cache is freed.
    pub fn leave(&mut self, key: usize) {
        self.slots.retain(|s| s.key != key);
    }

    /// One pass: a token of each answer, and at most `PROMPT_CHUNK` tokens of prompts.
    ///
    /// # Errors
    /// When the model fails for all of them; they stay then.
    pub fn pass(&mut self) -> Result<Passed> {
        let (mut room, mut plan, mut passed) = (PROMPT_CHUNK, Vec::with_capacity(self.slots.len()), Passed::default());
        for (at, slot) in self.slots.iter().enumerate() {
            let reading = slot.cache.len() < slot.prompt.len();
            if reading && room == 0 {
                continue;
            }
            let (ids, wants_logits) = slot.next(room);
            if reading {
                room -= ids.len();
                passed.prompt_tokens += ids.len() as u64;
            }
            plan.push((at, ids, wants_logits));
        }
        let mut sequences = Vec::with_capacity(plan.len());
        let (mut choosing, mut planned) = (Vec::new(), plan.iter().peekable());
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if let Some((_, ids, wants)) = planned.next_if(|p| p.0 == at) {
                sequences.push(Next { ids, cache: &mut slot.cache, wants_logits: *wants });
                if *wants {
                    choosing.push(at);
                }
            }
        }
        let logits = self.generator.decoder.next_logits_of(sequences)?;
        let mut chosen = choosing.into_iter().zip(&logits).peekable();
        let mut at = 0;
        self.slots.retain_mut(|slot| {
            let logits = chosen.next_if(|c| c.0 == at).map(|c| c.1);
            at += 1;
            let moved = slot.moved(logits);
            let stays = moved.as_ref().is_none_or(|m| m.ended.is_none() && m.failed.is_none());
            passed.moved.extend(moved);
            stays
        });
        Ok(passed)
    }
}

impl Slot {
    /// The tokens of the next pass, at most `room` of the prompt, and whether a choice follows.
    fn next(&self, room: usize) -> (Vec<u32>, bool) {
        let read = self.cache.len();
        if read < self.prompt.len() {
            let end = self.prompt.len().min(read + room);
            return (self.prompt[read..end].to_vec(), end == self.prompt.len() && self.need.most > 0);
        }
        (vec![self.last], true)
    }

    /// What a pass did, given the logits after the last token where they were wanted.
    fn moved(&mut self, logits: Option<&Vec<f32>>) -> Option<Moved> {
        let mut moved = Moved { key: self.key, token: None, ended: None, failed: None };
        let (sampler, hold) = (&mut self.sampler, &mut self.hold);
        let chosen = logits.map(|l| match hold {
            Some(hold) => sampler.choose_held(l, hold.as_mut()),
            None => sampler.choose(l),
        });
        match chosen {
            Some(Err(e)) => {
                moved.failed = Some(e);
                return Some(moved);
            }
            Some(Ok(token)) if self.options.stop.contains(&token) => {
                moved.ended = Some("stop_token");
                return Some(moved);
            }
            Some(Ok(token)) => {
                (self.made, self.last) = (self.made + 1, token);
                moved.token = Some(token);
            }
            None => {}
        }
        let full = self.made == self.need.most && self.cache.len() >= self.prompt.len();
        moved.ended = full.then_some(if self.need.most < self.options.max_new_tokens { "context_full" } else { "max_new_tokens" });
        (moved.token.is_some() || full).then_some(moved)
    }
}
