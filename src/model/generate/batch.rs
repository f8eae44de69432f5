//! Many prompts at once: every pass through the model carries the next token of each answer and,
//! while there is room, pieces of prompts that were just admitted.
//!
//! ```text
//!   waiting ──admit──> reading its prompt ──> one token a pass ──> done (its cache is freed,
//!              │            (packed)                                the next prompt is admitted)
//!              └ a free place, and room for its whole cache
//! ```
//!
//! A weight is read once for all sequences of a pass, which is what decoding waits for. Each
//! sequence has a cache and a sampler of its own, so its answer is that of [`Generator::run`].

use std::collections::VecDeque;
use std::time::Instant;

use super::{Generator, PROMPT_CHUNK, Sampler, SamplingOptions};
use crate::model::decoder::{KvCache, Next};
use crate::model::error::{Error, Result};

/// How many sequences are decoded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// The most sequences in a pass.
    pub max_sequences: usize,
    /// The most bytes of keys and values at a time. A sequence takes room for its prompt and for
    /// all the tokens that it may get, from its admission to its end.
    pub cache_bytes: u64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_sequences: 32, cache_bytes: 1 << 30 }
    }
}

/// The answer to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// `stop_token`, `max_new_tokens`, `context_full` or `cancelled`.
    pub stop_reason: &'static str,
}

/// What a batch took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchFigures {
    /// Tokens of all prompts that were read.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub new_tokens: u64,
    /// Passes through the model.
    pub passes: u64,
    /// The most bytes of keys and values held at a time.
    pub peak_cache_bytes: u64,
    /// Seconds from the first pass to the last.
    pub seconds: f64,
}

/// All answers, in the order of the prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// One for each prompt.
    pub answers: Vec<Answer>,
    /// What they took.
    pub figures: BatchFigures,
}

/// A sequence that is being decoded.
struct Slot<'p> {
    index: usize,
    prompt: &'p [u32],
    most: usize,
    cache: KvCache,
    bytes: u64,
    sampler: Sampler,
    tokens: Vec<u32>,
}

impl Slot<'_> {
    /// The tokens of the next pass, at most `room` of the prompt, and whether a choice follows.
    fn next(&self, room: usize) -> (&[u32], bool) {
        let read = self.cache.len();
        if read < self.prompt.len() {
            let end = self.prompt.len().min(read + room);
            return (&self.prompt[read..end], end == self.prompt.len() && self.most > 0);
        }
        (&self.tokens[self.tokens.len() - 1..], true)
    }
}

impl Generator<'_> {
    /// Continues all `prompts`. `go_on` gets the number of answers that are complete before each
    /// pass and may end the work by returning false: what is not complete then is `cancelled`.
    ///
    /// # Errors
    /// As [`Generator::run`], and when one sequence alone needs more than the cache may hold.
    pub fn run_batch(
        &self,
        prompts: &[Vec<u32>],
        options: &SamplingOptions,
        batch: &BatchOptions,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Answers> {
        if batch.max_sequences == 0 {
            return Err(Error::Value("a batch must hold at least one sequence".into()));
        }
        let started = Instant::now();
        let mut answers = vec![Answer { tokens: Vec::new(), stop_reason: "cancelled" }; prompts.len()];
        let mut waiting: VecDeque<usize> = (0..prompts.len()).collect();
        let (mut active, mut done, mut figures) = (Vec::new(), 0, BatchFigures::default());
        loop {
            self.admit(prompts, options, batch, &mut waiting, &mut active)?;
            let held = active.iter().map(|s: &Slot| s.bytes).sum();
            figures.peak_cache_bytes = figures.peak_cache_bytes.max(held);
            if active.is_empty() || !go_on(done) {
                break;
            }
            self.pass(&mut active, &mut figures)?;
            figures.passes += 1;
            active.retain_mut(|slot| {
                let Some(reason) = slot.ended(options) else { return true };
                answers[slot.index] = Answer { tokens: std::mem::take(&mut slot.tokens), stop_reason: reason };
                done += 1;
                false
            });
        }
        for slot in active {
            answers[slot.index].tokens = slot.tokens;
        }
        figures.new_tokens = answers.iter().map(|a| a.tokens.len() as u64).sum();
        figures.seconds = started.elapsed().as_secs_f64();
        Ok(Answers { answers, figures })
    }

    /// Takes in waiting prompts, in order, while there is a place and room for the next one.
    fn admit<'p>(
        &self,
        prompts: &'p [Vec<u32>],
        options: &SamplingOptions,
        batch: &BatchOptions,
        waiting: &mut VecDeque<usize>,
        active: &mut Vec<Slot<'p>>,
    ) -> Result<()> {
        let mut held: u64 = active.iter().map(|s| s.bytes).sum();
        while active.len() < batch.max_sequences
            && let Some(&index) = waiting.front()
        {
            let prompt = &prompts[index];
            if prompt.is_empty() {
                return Err(Error::Value(format!("prompt {} of {} is empty", index + 1, prompts.len())));
            }
            let context = self.decoder.spec().max_positions;
            let Some(room) = context.checked_sub(prompt.len()) else {
                let (n, all) = (prompt.len(), prompts.len());
                let message = format!("prompt {} of {all} has {n} tokens, the model's context {context}", index + 1);
                return Err(Error::Value(message));
            };
            let most = options.max_new_tokens.min(room);
            let capacity = prompt.len() + most;
            let bytes = capacity as u64 * self.decoder.cache_bytes_per_token();
            if bytes > batch.cache_bytes {
                return Err(Error::Value(format!(
                    "prompt {} of {} needs {bytes} bytes of keys and values for its {} tokens and up to {} new ones, \
                     and the limit is {} bytes: raise the limit, or ask for fewer new tokens",
                    index + 1,
                    prompts.len(),
                    prompt.len(),
                    most,
                    batch.cache_bytes
                )));
            }
            if held + bytes > batch.cache_bytes {
                break;
            }
            held += bytes;
            waiting.pop_front();
            let (cache, sampler) = (self.decoder.new_cache(capacity)?, Sampler::new(options)?);
            active.push(Slot { index, prompt, most, cache, bytes, sampler, tokens: Vec::new() });
        }
        Ok(())
    }

    /// One pass: a token of each answer, and at most [`PROMPT_CHUNK`] tokens of prompts.
    fn pass(&self, active: &mut [Slot], figures: &mut BatchFigures) -> Result<()> {
        let (mut room, mut plan) = (PROMPT_CHUNK, Vec::with_capacity(active.len()));
        for (at, slot) in active.iter().enumerate() {
            let reading = slot.cache.len() < slot.prompt.len();
            if reading && room == 0 {
                continue;
            }
            let (ids, wants_logits) = slot.next(room);
            if reading {
                room -= ids.len();
                figures.prompt_tokens += ids.len() as u64;
            }
            plan.push((at, ids.to_vec(), wants_logits));
        }
        let (mut sequences, mut choosing) = (Vec::with_capacity(plan.len()), Vec::new());
        let mut planned = plan.iter().peekable();
        for (at, slot) in active.iter_mut().enumerate() {
            if let Some((_, ids, wants)) = planned.next_if(|p| p.0 == at) {
                sequences.push(Next { ids, cache: &mut slot.cache, wants_logits: *wants });
                if *wants {
                    choosing.push((&mut slot.sampler, &mut slot.tokens));
                }
            }
        }
        let logits = self.decoder.next_logits_of(sequences)?;
        for ((sampler, tokens), logits) in choosing.into_iter().zip(&logits) {
            tokens.push(sampler.choose(logits)?);
        }
        Ok(())
    }
}

impl Slot<'_> {
    /// Why the answer is complete, if it is; a token that ends it is taken away.
    fn ended(&mut self, options: &SamplingOptions) -> Option<&'static str> {
        if self.tokens.last().is_some_and(|t| options.stop.contains(t)) {
            self.tokens.pop();
            return Some("stop_token");
        }
        let full = self.tokens.len() == self.most && self.cache.len() >= self.prompt.len();
        full.then_some(if self.most < options.max_new_tokens { "context_full" } else { "max_new_tokens" })
    }
}
