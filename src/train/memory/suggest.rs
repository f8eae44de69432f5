//! What would fit, where a request does not: each setting alone, then together.

use candle_core::DType;

use super::{MemoryRequest, best};
use crate::model::{LoraConfig, Policy, Quantization, Trainable};
use crate::train::optimiser::OptimizerKind;

/// Settings that would make the run fit, as a configuration names them. The ones that change least come first.
pub(super) fn fits(r: &MemoryRequest) -> Vec<String> {
    let mut found = Vec::new();
    let mut offer = |r: &MemoryRequest, words: &str| {
        if let Some(length) = longest_that_fits(r) {
            let shorter = (length < r.longest).then(|| format!("max_seq_length {length}"));
            let all: Vec<&str> = [words, shorter.as_deref().unwrap_or("")].into_iter().filter(|w| !w.is_empty()).collect();
            found.push(all.join(" and "));
        }
    };
    let free = MemoryRequest { policy: None, tokens_per_pass: None, ..r.clone() };
    if r.tokens_per_pass.is_some() {
        offer(&MemoryRequest { tokens_per_pass: None, ..r.clone() }, "fewer tokens in a pass (left to the plan)");
    }
    if r.policy.is_some_and(|p| p != Policy::Recompute) {
        offer(&free, "gradient_checkpointing true");
    }
    offer(r, "");
    if r.optimizer != OptimizerKind::AdamW8bit {
        offer(&MemoryRequest { optimizer: OptimizerKind::AdamW8bit, ..free.clone() }, "optimizer adamw8bit");
    }
    if r.compute_dtype == DType::F32 {
        offer(&MemoryRequest { compute_dtype: DType::BF16, ..free.clone() }, "compute dtype bf16");
    }
    let lora =
        Trainable::Lora(LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, use_rslora: false, target_modules: vec!["all-linear".into()] });
    let full = *r.trainable == Trainable::Full;
    let (free, method) = if full { (MemoryRequest { trainable: &lora, ..free.clone() }, "method lora") } else { (free, "") };
    if full {
        offer(&free, method);
    }
    if r.quantization != Quantization::Nf4 {
        let words = if full { "method lora and quantization nf4" } else { "quantization nf4" };
        offer(&MemoryRequest { quantization: Quantization::Nf4, ..free.clone() }, words);
        let words = words.to_owned() + " and compute dtype bf16";
        if r.compute_dtype == DType::F32 {
            offer(&MemoryRequest { quantization: Quantization::Nf4, compute_dtype: DType::BF16, ..free }, &words);
        }
    }
    // What needs no shorter rows comes first.
    found.sort_by_key(|w| w.contains("max_seq_length"));
    found.dedup();
    found
}

/// The longest rows with which it fits: as they are, or a multiple of 128 no shorter than that.
fn longest_that_fits(r: &MemoryRequest) -> Option<usize> {
    let rows = r.window_tokens.div_ceil(r.longest.max(1));
    let at = |longest: usize| best(&MemoryRequest { longest, window_tokens: longest * rows, ..r.clone() }).is_ok();
    if best(r).is_ok() {
        return Some(r.longest);
    }
    // Longer rows never take less, so the border is found by halving.
    let (mut low, mut high) = (0, r.longest.div_ceil(128));
    while low + 1 < high {
        let middle = low.midpoint(high);
        if at(middle * 128) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low * 128)
}
