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

use super::sequences::Sequences;
use super::{Generator, SamplingOptions};
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
        let (mut active, mut done, mut figures) = (Sequences::new(*self), 0, BatchFigures::default());
        loop {
            self.admit(prompts, options, batch, &mut waiting, &mut active)?;
            figures.peak_cache_bytes = figures.peak_cache_bytes.max(active.held_bytes());
            if active.is_empty() || !go_on(done) {
                break;
            }
            let passed = active.pass()?;
            figures.passes += 1;
            figures.prompt_tokens += passed.prompt_tokens;
            for moved in passed.moved {
                if let Some(e) = moved.failed {
                    return Err(e);
                }
                let answer = &mut answers[moved.key];
                answer.tokens.extend(moved.token);
                if let Some(reason) = moved.ended {
                    answer.stop_reason = reason;
                    done += 1;
                }
            }
        }
        figures.new_tokens = answers.iter().map(|a| a.tokens.len() as u64).sum();
        figures.seconds = started.elapsed().as_secs_f64();
        Ok(Answers { answers, figures })
    }

    /// Takes in waiting prompts, in order, while there is a place and room for the next one.
    fn admit(
        &self,
        prompts: &[Vec<u32>],
        options: &SamplingOptions,
        batch: &BatchOptions,
        waiting: &mut VecDeque<usize>,
        active: &mut Sequences,
    ) -> Result<()> {
        while active.len() < batch.max_sequences
            && let Some(&index) = waiting.front()
        {
            let (prompt, all) = (&prompts[index], prompts.len());
            let refused = |why: String| Error::Value(format!("prompt {} of {all}: {why}", index + 1));
            let need = self.need(prompt.len(), options.max_new_tokens).map_err(|e| refused(e.to_string()))?;
            if need.cache_bytes > batch.cache_bytes {
                return Err(refused(format!(
                    "it needs {} bytes of keys and values for its {} tokens and up to {} new ones, and the limit is {} bytes: \
                     raise the limit, or ask for fewer new tokens",
                    need.cache_bytes,
                    prompt.len(),
                    need.most,
                    batch.cache_bytes
                )));
            }
            if active.held_bytes() + need.cache_bytes > batch.cache_bytes {
                break;
            }
            waiting.pop_front();
            active.join(index, prompt.clone(), options.clone())?;
        }
        Ok(())
    }
}
