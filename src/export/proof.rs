//! The proof: logits of what was written against those of the live model, on prompts that nothing was trained on.

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::{Importance, Merged};
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

/// What may at most separate an export from the live model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bounds {
    /// Mean KL divergence of the next token's distribution, in nats, for logits with a standard deviation of at most 1;
    /// times its square beyond.
    pub kl: f64,
    /// Largest difference of a logit, in standard deviations of the live model's logits.
    pub max_abs: f64,
}

/// For exports that lose nothing.
pub const EXACT: Bounds = Bounds { kl: 1e-6, max_abs: 0.005 };

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
    /// What was allowed for logits as large as these.
    pub bounds: Bounds,
    /// The matrix that lost most, of those compared element by element.
    pub worst_tensor: Option<WorstTensor>,
}

/// A matrix after reading back.
#[derive(Debug, Clone, Serialize)]
pub struct WorstTensor {
    /// Its name.
    pub name: String,
    /// Root of the mean squared error, over that of the values.
    pub relative_error: f64,
    /// What its type allows.
    pub bound: f64,
}

impl Proof {
    /// Compares what was written with the live model.
    ///
    /// # Errors
    /// `export_proof_failed` when it is further away than `bounds`; otherwise when a tensor cannot be read.
    pub fn of(live: &Merged, spec: &DecoderSpec, written: &dyn TensorSource, prompts: &Prompts, bounds: Bounds) -> Result<Self, Fault> {
        let want = live.live_logits(&prompts.ids, &prompts.cu_seqlens)?;
        let got = stream_logits(spec, written, None, &prompts.ids, &prompts.cu_seqlens)?;
        Self::compare(&want, &got, prompts, bounds)
    }

    /// Compares logits `[tokens, vocab]`.
    ///
    /// # Errors
    /// `export_proof_failed` when they are further apart than `bounds`.
    pub fn compare(want: &Tensor, got: &Tensor, prompts: &Prompts, bounds: Bounds) -> Result<Self, Fault> {
        if want.dims() != got.dims() {
            return Err(failed(format!("its logits have shape {:?}, the live model's {:?}", got.dims(), want.dims())));
        }
        let row = |i: usize| Ok(Row::of(&want.get(i)?.to_vec1::<f32>()?, &got.get(i)?.to_vec1::<f32>()?));
        let rows: Vec<Row> = (0..want.dim(0)?).into_par_iter().map(row).collect::<Result<_, Fault>>()?;
        let n = rows.len() as f64;
        let spread = (rows.iter().map(|r| r.variance).sum::<f64>() / n).sqrt().max(f64::MIN_POSITIVE);
        // Errors of the logits grow with them, and the divergence with their square.
        let bounds = Bounds { kl: bounds.kl * spread.powi(2).max(1.0), ..bounds };
        let max_abs = rows.iter().map(|r| r.max_abs).fold(0.0, worse);
        let proof = Self {
            prompts: prompts.cu_seqlens.len() - 1,
            tokens: rows.len(),
            max_abs,
            max_abs_relative: max_abs / spread,
            mean_kl: rows.iter().map(|r| r.kl).sum::<f64>() / n,
            max_kl: rows.iter().map(|r| r.kl).fold(0.0, worse),
            same_top: rows.iter().filter(|r| r.same_top).count() as f64 / n,
            bounds,
            worst_tensor: None,
        };
        // Written so that a NaN fails.
        let within = proof.mean_kl <= bounds.kl && proof.max_abs_relative <= bounds.max_abs;
        if within {
            return Ok(proof);
        }
        Err(failed(format!(
            "mean KL {:.3e} (at most {:.1e}), largest logit difference {:.3e}, {:.3e} of their spread (at most {:.1e}), over {} positions",
            proof.mean_kl, bounds.kl, proof.max_abs, proof.max_abs_relative, bounds.max_abs, proof.tokens
        )))
    }
}

impl Proof {
    /// Compares every tensor element by element; `allowed` gives the relative error that a tensor may have. Where the
    /// quantiser weighed its errors, they are weighed here.
    ///
    /// # Errors
    /// `export_proof_failed` naming the tensor that is further away.
    pub fn tensors(
        &mut self,
        live: &Merged,
        written: &dyn TensorSource,
        allowed: &dyn Fn(&str) -> f64,
        importance: Option<&Importance>,
    ) -> Result<(), Fault> {
        for t in live.spec().tensors() {
            let (mut wrong, mut all) = (0.0, 0.0);
            let weights = importance.and_then(|w| w.of(&t.name));
            let weigh = |i: usize, v: f32| weights.map_or(1.0, |w| f64::from(w[i % w.len()])) * f64::from(v).powi(2);
            live.runs(&t.name, &t.shape, |from, want| -> Result<(), Fault> {
                let width = if t.shape.len() > 1 { t.shape[1] } else { 1 };
                let got = match t.shape.as_slice() {
                    [_, _] => written.rows(&t.name, from, want.len() / width.max(1))?,
                    _ => written.float(&t.name, DType::F32)?.flatten_all()?.to_vec1::<f32>()?,
                };
                let sum = |f: &(dyn Fn(usize) -> f64 + Sync)| (0..want.len()).into_par_iter().with_min_len(1 << 16).map(f).sum::<f64>();
                wrong += sum(&|i| weigh(i, want[i] - got[i]));
                all += sum(&|i| weigh(i, want[i]));
                Ok(())
            })?;
            live.base().release(&t.name);
            let relative_error = if wrong == 0.0 { 0.0 } else { (wrong / all).sqrt() };
            let bound = allowed(&t.name);
            let within = relative_error <= bound; // false for a NaN
            if !within {
                return Err(failed(format!(
                    "tensor `{}` reads back with a relative error of {relative_error:.3e} (at most {bound:.1e})",
                    t.name
                )));
            }
            if self.worst_tensor.as_ref().is_none_or(|w| w.relative_error < relative_error) {
                self.worst_tensor = Some(WorstTensor { name: t.name, relative_error, bound });
            }
        }
        Ok(())
    }
}

fn failed(message: String) -> Fault {
    Fault::new("export_proof_failed", format!("the export does not compute what the live model computes: {message}"))
        .hint("nothing was left behind; choose a format with more bits, or report this with the model's name")
}

/// The larger, or NaN where one is.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

struct Row {
    kl: f64,
    max_abs: f64,
    variance: f64,
    same_top: bool,
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
            max_abs: want.iter().zip(got).map(|(w, g)| f64::from(w - g).abs()).fold(0.0, worse),
            variance: want.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n,
            same_top: top(want) == top(got),
        }
    }
}

fn top(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best })
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let peak = logits.iter().map(|v| f64::from(*v)).fold(f64::NEG_INFINITY, worse);
    let total = logits.iter().map(|v| (f64::from(*v) - peak).exp()).sum::<f64>().ln() + peak;
    logits.iter().map(|v| f64::from(*v) - total).collect()
}
