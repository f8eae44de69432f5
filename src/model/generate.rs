//! Generating: the prompt in chunks, then token by token with a KV cache; many prompts at once in
//! `batch.rs`, over sequences that come and go (`sequences.rs`).

mod batch;
mod sequences;

use std::time::Instant;

use super::decoder::Decoder;
use super::error::{Error, Result};
use super::seed::{Random, derive, stream};
pub use batch::{Answer, Answers, BatchFigures, BatchOptions};
pub use sequences::{Moved, Need, Passed, Sequences};

/// How the next token is chosen, and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// At most this many.
    pub max_new_tokens: usize,
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// Only the most likely tokens that together have this probability; 1 is all.
    pub top_p: f64,
    /// Seed of the choice.
    pub seed: u64,
    /// Token ids that end the text; they are not returned.
    pub stop: Vec<u32>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self { max_new_tokens: 256, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() }
    }
}

/// What an answer is held to.
pub trait Hold: std::fmt::Debug + Send {
    /// The tokens that may come next, as bits: token `i` is bit `i % 32` of word `i / 32`; those beyond it may not.
    ///
    /// # Errors
    /// In words, when that cannot be said.
    fn mask(&mut self) -> std::result::Result<Vec<u32>, String>;

    /// Hears which one came.
    ///
    /// # Errors
    /// In words, when it could not follow.
    fn took(&mut self, token: u32) -> std::result::Result<(), String>;
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// `stop_token`, `max_new_tokens` or `cancelled`.
    pub stop_reason: &'static str,
    /// Seconds for the prompt.
    pub prompt_seconds: f64,
    /// New tokens a second, without the prompt; 0 when fewer than two were made.
    pub tokens_per_second: f64,
}

/// Tokens of a prompt that go through the model at once.
const PROMPT_CHUNK: usize = 512;

/// Generates from one model.
#[derive(Debug, Clone, Copy)]
pub struct Generator<'a> {
    decoder: &'a Decoder,
}

impl<'a> Generator<'a> {
    /// From this model.
    pub fn new(decoder: &'a Decoder) -> Self {
        Self { decoder }
    }

    /// Continues `prompt`. `on_token` gets each new token and may end it by returning false.
    ///
    /// # Errors
    /// When the prompt is empty or holds an unknown id, an option is out of range, or the model's output is not finite.
    pub fn run(&self, prompt: &[u32], options: &SamplingOptions, on_token: &mut dyn FnMut(u32) -> bool) -> Result<Generation> {
        if prompt.is_empty() {
            return Err(Error::Value("the prompt is empty".into()));
        }
        let mut sampler = Sampler::new(options)?;
        let started = Instant::now();
        let mut cache = self.decoder.new_cache(prompt.len() + options.max_new_tokens)?;
        let mut logits = Vec::new();
        // Chunk by chunk: a long prompt can be cancelled, and its activations stay small.
        for chunk in prompt.chunks(PROMPT_CHUNK) {
            crate::base::cancel::checkpoint();
            logits = self.decoder.next_logits(chunk, &mut cache)?;
        }
        let prompt_seconds = started.elapsed().as_secs_f64();
        let decoding = Instant::now();
        let mut tokens = Vec::new();
        let stop_reason = loop {
            if tokens.len() == options.max_new_tokens {
                break "max_new_tokens";
            }
            let token = sampler.choose(&logits)?;
            if options.stop.contains(&token) {
                break "stop_token";
            }
            tokens.push(token);
            if !on_token(token) {
                break "cancelled";
            }
            if tokens.len() < options.max_new_tokens {
                logits = self.decoder.next_logits(&[token], &mut cache)?;
            }
        };
        let passes = cache.len() - prompt.len();
        let tokens_per_second = if passes > 0 { passes as f64 / decoding.elapsed().as_secs_f64() } else { 0.0 };
        Ok(Generation { tokens, stop_reason, prompt_seconds, tokens_per_second })
    }
}

#[derive(Debug)]
struct Sampler {
    temperature: f64,
    top_p: f64,
    random: Random,
}

impl Sampler {
    fn new(o: &SamplingOptions) -> Result<Self> {
        if !o.temperature.is_finite() || o.temperature < 0.0 {
            return Err(Error::Value(format!("temperature {} must be 0 or above", o.temperature)));
        }
        if !(o.top_p > 0.0 && o.top_p <= 1.0) {
            return Err(Error::Value(format!("top_p {} must be above 0 and at most 1", o.top_p)));
        }
        Ok(Self { temperature: o.temperature, top_p: o.top_p, random: Random::new(derive(o.seed, stream("sampling"))) })
    }

    fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        self.choose_among(logits, &|_| true)
    }

    /// The same among some of the tokens.
    fn choose_held(&mut self, logits: &[f32], hold: &mut dyn Hold) -> Result<u32> {
        let mask = hold.mask().map_err(Error::Value)?;
        let allowed = |i: usize| mask.get(i / 32).is_some_and(|word| word >> (i % 32) & 1 == 1);
        let token = self.choose_among(logits, &allowed)?;
        hold.took(token).map_err(Error::Value)?;
        Ok(token)
    }

    fn choose_among(&mut self, logits: &[f32], allowed: &dyn Fn(usize) -> bool) -> Result<u32> {
        let first = (0..logits.len()).find(|i| allowed(*i));
        let mut best = first.ok_or_else(|| Error::Value("no token of the model may follow".into()))?;
        for (i, v) in logits.iter().enumerate() {
            if !v.is_finite() {
                return Err(Error::Value(format!("the model's output is not finite (logit {i} is {v})")));
            }
            if *v > logits[best] && allowed(i) {
                best = i;
            }
        }
        if self.temperature == 0.0 {
            return Ok(best as u32);
        }
        let top = f64::from(logits[best]);
        let some = logits.iter().enumerate().filter(|(i, _)| allowed(*i));
        let mut weights: Vec<(u32, f64)> = some.map(|(i, v)| (i as u32, ((f64::from(*v) - top) / self.temperature).exp())).collect();
        let mut total: f64 = weights.iter().map(|w| w.1).sum();
        if self.top_p < 1.0 {
            weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let (mut kept, mut sum) = (0, 0.0);
            while kept < weights.len() && sum < self.top_p * total {
                sum += weights[kept].1;
                kept += 1;
            }
            weights.truncate(kept.max(1));
            total = weights.iter().map(|w| w.1).sum();
        }
        let mut left = self.random.uniform() * total;
        for (token, weight) in &weights {
            left -= weight;
            if left < 0.0 {
                return Ok(*token);
            }
        }
        Ok(weights.last().map_or(best as u32, |w| w.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(temperature: f64, top_p: f64) -> [usize; 4] {
        let mut s = Sampler::new(&SamplingOptions { temperature, top_p, ..Default::default() }).unwrap();
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        let mut n = [0; 4];
        for _ in 0..10_000 {
            n[s.choose(&logits).unwrap() as usize] += 1;
        }
        n
    }

    #[test]
    fn samples_by_probability_and_cuts_the_tail() {
        assert_eq!(counts(0.0, 1.0), [10_000, 0, 0, 0]);
        let n = counts(1.0, 1.0);
        assert!((4800..5200).contains(&n[0]) && (2800..3200).contains(&n[1]) && n[3] > 350, "{n:?}");
        let n = counts(1.0, 0.7);
        assert!(n[2] == 0 && n[3] == 0 && (6000..6500).contains(&n[0]), "{n:?}");
    }

    #[test]
    fn refuses_what_is_not_finite() {
        let mut s = Sampler::new(&SamplingOptions::default()).unwrap();
        assert!(s.choose(&[0.0, f32::NAN]).is_err());
        assert!(Sampler::new(&SamplingOptions { top_p: 0.0, ..Default::default() }).is_err());
    }
}
