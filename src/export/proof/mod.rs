//! The proof: logits of what was written against those of the live model, on prompts that nothing was trained on.

pub mod bounds;
mod tensors;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;

pub use bounds::{Bounds, EXACT};
pub use tensors::{Allowed, LostBlocks, WorstTensor};

use super::Merged;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::weights::TensorSource;
use crate::model::{DecoderSpec, stream_logits};

/// Texts of several kinds, so that a proof does not rest on one.
const TEXTS: [&str; 6] = [
    "The capital of France is Paris, and the river that runs through it is called the",
    "fn main() {\n    let total: u32 = (1..=10).map(|n| n * n).sum();\n    assert_eq!(total, 385);\n}\n",
    "Question: If a train covers 120 kilometres in 1.5 hours, how fast does it go?\nAnswer:",
    "Es war einmal ein kleines Mädchen, dem war Vater und Mutter gestorben. 2024-05-17, 18:30 Uhr.",
    "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"unit\": \"celsius\"}}",
    "Once upon a time, in a village at the edge of a dark wood, there lived a miller who had three sons.",
];

/// Longest prompt in tokens.
const LONGEST: usize = 96;

/// Prompts as packed ids.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// All ids, end to end.
    pub ids: Vec<u32>,
    /// Where each begins, and the end.
    pub cu_seqlens: Vec<u32>,
}

impl Prompts {
    /// The built-in texts and those given, one of them as a chat where there is a template; none longer than `longest`.
    ///
    /// # Errors
    /// When the tokenizer refuses a text, or nothing is left of all texts.
    pub fn new(tokenizer: &TextTokenizer, more: &[String], longest: usize) -> Result<Self, Fault> {
        let mut all: Vec<Vec<u32>> = Vec::new();
        for text in more.iter().map(String::as_str).chain(TEXTS) {
            all.push(tokenizer.encode(text, true)?);
        }
        if tokenizer.chat_template().is_some() {
            let message = serde_json::json!({"role": "user", "content": "Name three primary colours, and say which mix to green."});
            // A template may refuse a lone user message; the plain texts are then proof enough.
            let none = serde_json::Value::Null;
            if let Ok(prompt) = crate::data::prompt_of(tokenizer, &[message], &none, &serde_json::Map::new()) {
                all.push(prompt.ids);
            }
        }
        let mut prompts = Self { ids: Vec::new(), cu_seqlens: vec![0] };
        for ids in all.iter().map(|ids| &ids[..ids.len().min(longest.min(LONGEST))]).filter(|ids| !ids.is_empty()) {
            prompts.ids.extend_from_slice(ids);
            prompts.cu_seqlens.push(prompts.ids.len() as u32);
        }
        if prompts.ids.is_empty() {
            return Err(Fault::new("export_no_prompts", "the tokenizer makes no tokens of any prompt"));
        }
        Ok(prompts)
    }
}

/// How far an export is from the live model.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Proof {
    /// Prompts compared.
    pub prompts: usize,
    /// Positions compared.
    pub tokens: usize,
    /// Largest difference of a logit.
    pub max_abs: f64,
    /// The same in standard deviations of the live model's logits.
    pub max_abs_relative: f64,
    /// Mean KL divergence of the next token's distribution from the live model's, in nats.
    pub mean_kl: f64,
    /// The largest at one position.
    pub max_kl: f64,
    /// Share of positions whose likeliest token is the same.
    pub same_top: f64,
    /// Positions where the live model's first choice is at least twice as likely as its second.
    pub clear: usize,
    /// Share of those whose likeliest token is the same.
    pub same_clear_top: f64,
    /// What was allowed.
    pub bounds: Bounds,
    /// Where it is worse than such exports usually are, with figures.
    pub warnings: Vec<String>,
    /// The matrix that lost most, of those compared element by element.
    pub worst_tensor: Option<WorstTensor>,
    /// Blocks that a large element has emptied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_blocks: Option<LostBlocks>,
}

/// How good an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As such exports usually are.
    Good,
    /// Within what is allowed, but worse than such exports usually are.
    Weak,
}

impl Proof {
    /// Compares what was written with the live model.
    ///
    /// # Errors
    /// `export_proof_failed` when it is further away than `bounds`; otherwise when a tensor cannot be read.
    pub fn of(live: &Merged, spec: &DecoderSpec, written: &dyn TensorSource, prompts: &Prompts, bounds: Bounds) -> Result<Self, Fault> {
        let mut proof = Self::measure(live, spec, written, prompts, bounds)?;
        proof.judge()?;
        Ok(proof)
    }

    /// The same without judging it: where tensors are compared, too, a wrong one is the better reason.
    ///
    /// # Errors
    /// When a tensor cannot be read, or logits are no numbers.
    pub fn measure(
        live: &Merged,
        spec: &DecoderSpec,
        written: &dyn TensorSource,
        prompts: &Prompts,
        bounds: Bounds,
    ) -> Result<Self, Fault> {
        let want = live.live_logits(&prompts.ids, &prompts.cu_seqlens)?;
        let got = stream_logits(spec, written, None, &prompts.ids, &prompts.cu_seqlens)?;
        Self::of_logits(&want, &got, prompts, bounds)
    }

    /// Compares logits `[tokens, vocab]`.
    ///
    /// # Errors
    /// `export_proof_failed` when they are further apart than `bounds`.
    pub fn compare(want: &Tensor, got: &Tensor, prompts: &Prompts, bounds: Bounds) -> Result<Self, Fault> {
        let mut proof = Self::of_logits(want, got, prompts, bounds)?;
        proof.judge()?;
        Ok(proof)
    }

    fn of_logits(want: &Tensor, got: &Tensor, prompts: &Prompts, bounds: Bounds) -> Result<Self, Fault> {
        if want.dims() != got.dims() {
            return Err(failed(format!("its logits have shape {:?}, the live model's {:?}", got.dims(), want.dims())));
        }
        let row = |i: usize| Ok(Row::of(&want.get(i)?.to_vec1::<f32>()?, &got.get(i)?.to_vec1::<f32>()?));
        let rows: Vec<Row> = (0..want.dim(0)?).into_par_iter().map(row).collect::<Result<_, Fault>>()?;
        let (n, broken) = (rows.len() as f64, |f: fn(&Row) -> bool| rows.iter().filter(|r| !f(r)).count());
        let (live, written) = (broken(|r| r.live_finite), broken(|r| r.written_finite));
        if live > 0 {
            let message = format!("the live model's logits are no numbers at {live} of {n} positions: there is nothing to compare with");
            return Err(Fault::new("export_model_broken", message)
                .hint("the model or its adapter is damaged, or its training diverged; try an earlier checkpoint"));
        }
        if written > 0 {
            return Err(failed(format!("its logits are no numbers at {written} of {n} positions: values overflow where it computes")));
        }
        let spread = (rows.iter().map(|r| r.variance).sum::<f64>() / n).sqrt().max(f64::MIN_POSITIVE);
        let max_abs = rows.iter().map(|r| r.max_abs).fold(0.0, f64::max);
        let clear = rows.iter().filter(|r| r.clear).count();
        Ok(Self {
            prompts: prompts.cu_seqlens.len() - 1,
            tokens: rows.len(),
            max_abs,
            max_abs_relative: max_abs / spread,
            mean_kl: rows.iter().map(|r| r.kl).sum::<f64>() / n,
            max_kl: rows.iter().map(|r| r.kl).fold(0.0, f64::max),
            same_top: rows.iter().filter(|r| r.same_top).count() as f64 / n,
            clear,
            same_clear_top: rows.iter().filter(|r| r.clear && r.same_top).count() as f64 / clear.max(1) as f64,
            bounds,
            ..Self::default()
        })
    }

    /// Good or weak.
    pub fn verdict(&self) -> Verdict {
        if self.warnings.is_empty() { Verdict::Good } else { Verdict::Weak }
    }

    /// Refuses what is beyond the bounds, and warns of what is unusual.
    ///
    /// # Errors
    /// `export_proof_failed` with the figures.
    pub fn judge(&mut self) -> Result<(), Fault> {
        let b = self.bounds;
        let enough = self.clear >= bounds::FEWEST_CLEAR;
        let clear = format!("the same likeliest token at {:.1} % of {} clear positions", 100.0 * self.same_clear_top, self.clear);
        // Written so that a NaN fails.
        let near = self.mean_kl <= b.kl && b.max_abs.is_none_or(|most| self.max_abs_relative <= most);
        if !near || (enough && self.same_clear_top < b.same_top) {
            let logit = b.max_abs.map_or(String::new(), |most| {
                format!("largest logit difference {:.3e} of their spread (at most {most:.1e}), ", self.max_abs_relative)
            });
            return Err(failed(format!(
                "mean KL {:.3e} nats (at most {:.1e}), {logit}{clear} (at least {:.0} %)",
                self.mean_kl,
                b.kl,
                100.0 * b.same_top
            )));
        }
        if self.mean_kl > b.usual_kl {
            self.warnings.push(format!(
                "mean KL {:.3} nats, where exports of this type usually stay below {}: its answers differ from the model's",
                self.mean_kl, b.usual_kl
            ));
        }
        if enough && self.same_clear_top < b.usual_same_top {
            self.warnings.push(format!("{clear}, where exports of this type usually have {:.0} %", 100.0 * b.usual_same_top));
        }
        Ok(())
    }
}

fn failed(message: String) -> Fault {
    Fault::new("export_proof_failed", format!("the export does not compute what the live model computes: {message}"))
        .hint("nothing was left behind; choose a format with more bits, or report this with the model's name")
}

struct Row {
    kl: f64,
    max_abs: f64,
    variance: f64,
    same_top: bool,
    /// Whether the live model's first choice is at least twice as likely as its second.
    clear: bool,
    live_finite: bool,
    written_finite: bool,
}

impl Row {
    fn of(want: &[f32], got: &[f32]) -> Self {
        let (p, q) = (log_probabilities(want), log_probabilities(got));
        let n = want.len() as f64;
        let mean = want.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let kl = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        Self {
            // Rounding may take it below zero; `max` would turn a NaN into 0.
            kl: if kl < 0.0 { 0.0 } else { kl },
            max_abs: want.iter().zip(got).map(|(w, g)| f64::from(w - g).abs()).fold(0.0, f64::max),
            variance: want.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n,
            same_top: top(want) == top(got),
            clear: lead(want) >= std::f64::consts::LN_2,
            live_finite: want.iter().all(|v| v.is_finite()),
            written_finite: got.iter().all(|v| v.is_finite()),
        }
    }
}

fn top(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best })
}

/// How far the largest logit is above the second.
fn lead(row: &[f32]) -> f64 {
    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for v in row.iter().map(|v| f64::from(*v)) {
        if v > first {
            (first, second) = (v, first);
        } else {
            second = second.max(v);
        }
    }
    first - second
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let peak = logits.iter().map(|v| f64::from(*v)).fold(f64::NEG_INFINITY, f64::max);
    let total = logits.iter().map(|v| (f64::from(*v) - peak).exp()).sum::<f64>().ln() + peak;
    logits.iter().map(|v| f64::from(*v) - total).collect()
}
