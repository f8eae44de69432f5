//! The comparison of tensors, element by element.

use candle_core::DType;
use rayon::prelude::*;
use serde::Serialize;

use super::{Proof, failed};
use crate::base::error::Fault;
use crate::export::{Importance, Merged};
use crate::model::weights::TensorSource;

/// What a tensor's form allows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Allowed {
    /// Root of the mean squared error, over that of the values.
    pub error: f64,
    /// Neighbouring elements that share a scale; 0 or 1 where each number stands alone.
    pub block: usize,
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

/// Blocks in which one large element has cost all others.
#[derive(Debug, Clone, Serialize)]
pub struct LostBlocks {
    /// How many.
    pub blocks: usize,
    /// Of how many.
    pub of: usize,
    /// The tensor of the largest such element.
    pub tensor: String,
    /// Where in the tensor it is.
    pub element: usize,
    /// The element.
    pub value: f64,
    /// Root of the mean square of its neighbours.
    pub beside: f64,
}

/// A share of the squared error of a block's smaller elements beyond which nothing is left of them.
const NOTHING_LEFT: f64 = 0.8;
/// Blocks whose smaller elements are this much smaller than those of the other blocks hardly count.
const HARDLY_COUNTS: f64 = 0.25;
/// An element this many times its neighbours is no weight that a trained model has.
const NO_WEIGHT: f64 = 1e4;

impl Proof {
    /// Compares every tensor element by element; `allowed` says what a tensor's form allows. Where
    /// the quantiser weighed its errors, they are weighed here.
    ///
    /// # Errors
    /// `export_proof_failed` naming the tensor that is further away.
    pub fn tensors(
        &mut self,
        live: &Merged,
        written: &dyn TensorSource,
        allowed: &dyn Fn(&str) -> Allowed,
        importance: Option<&Importance>,
    ) -> Result<(), Fault> {
        for t in live.spec().tensors() {
            let Allowed { error: bound, block } = allowed(&t.name);
            let (mut wrong, mut all) = (0.0, 0.0);
            let width = if t.shape.len() > 1 { t.shape[1] } else { 1 };
            let weights = importance.and_then(|w| w.of(&t.name));
            let weigh = |i: usize, v: f32| weights.map_or(1.0, |w| f64::from(w[i % w.len()])) * f64::from(v).powi(2);
            live.runs(&t.name, &t.shape, |from, want| -> Result<(), Fault> {
                let got = match t.shape.as_slice() {
                    [_, _] => written.rows(&t.name, from, want.len() / width.max(1))?,
                    _ => written.float(&t.name, DType::F32)?.flatten_all()?.to_vec1::<f32>()?,
                };
                let sum = |f: &(dyn Fn(usize) -> f64 + Sync)| (0..want.len()).into_par_iter().with_min_len(1 << 16).map(f).sum::<f64>();
                wrong += sum(&|i| weigh(i, want[i] - got[i]));
                all += sum(&|i| weigh(i, want[i]));
                if t.shape.len() == 2 && block > 1 && width.is_multiple_of(block) {
                    self.count_lost(&t.name, from * width, block, &Pair { want: &want, got: &got, weights });
                }
                Ok(())
            })?;
            live.base().release(&t.name);
            self.judge_lost(&t.name)?;
            let relative_error = if wrong == 0.0 { 0.0 } else { (wrong / all).sqrt() };
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
        self.warn_of_lost();
        Ok(())
    }

    /// Counts blocks whose largest element left nothing of the others. The error of a whole tensor
    /// does not show them: the largest element makes its denominator.
    fn count_lost(&mut self, name: &str, from: usize, block: usize, pair: &Pair) {
        let blocks: Vec<Rest> = (0..pair.want.len() / block).into_par_iter().map(|i| pair.rest(i * block, block)).collect();
        let usual = blocks.iter().map(|b| b.rms).sum::<f64>() / blocks.len().max(1) as f64;
        let lost = |b: &&Rest| b.lost && b.rms >= HARDLY_COUNTS * usual;
        let seen = self.lost_blocks.get_or_insert_with(|| LostBlocks {
            blocks: 0,
            of: 0,
            tensor: String::new(),
            element: 0,
            value: 0.0,
            beside: 1.0,
        });
        seen.of += blocks.len();
        for b in blocks.iter().filter(lost) {
            seen.blocks += 1;
            if b.peak.abs() / b.rms > seen.value.abs() / seen.beside {
                (seen.value, seen.beside, seen.element) = (b.peak, b.rms, from + b.at);
                name.clone_into(&mut seen.tensor);
            }
        }
    }

    /// Refuses an element that is no weight of a trained model.
    fn judge_lost(&self, name: &str) -> Result<(), Fault> {
        let Some(lost) = self.lost_blocks.as_ref().filter(|l| l.tensor == name && l.value.abs() > NO_WEIGHT * l.beside) else {
            return Ok(());
        };
        let row = format!("element {} of `{name}` is {:.3e} beside values of about {:.1e}", lost.element, lost.value, lost.beside);
        let fault = failed(format!("{row}; under one scale nothing is left of its neighbours"));
        Err(fault.hint("a weight like this means a damaged model or a training that diverged; bf16 and f32 keep it as it is"))
    }

    fn warn_of_lost(&mut self) {
        self.lost_blocks.take_if(|l| l.blocks == 0);
        if let Some(l) = &self.lost_blocks {
            let most = format!("most in `{}`: {:.3e} beside values of about {:.1e}", l.tensor, l.value, l.beside);
            let text = format!("in {} of {} blocks one large weight leaves nothing of the others ({most})", l.blocks, l.of);
            self.warnings.push(text);
        }
    }
}

/// Values, what was read back, and how much each column counts.
struct Pair<'a> {
    want: &'a [f32],
    got: &'a [f32],
    weights: Option<&'a [f32]>,
}

/// A block without its largest element.
struct Rest {
    peak: f64,
    at: usize,
    rms: f64,
    lost: bool,
}

impl Pair<'_> {
    fn rest(&self, from: usize, block: usize) -> Rest {
        let want = &self.want[from..from + block];
        let at = want.iter().enumerate().fold(0, |best, (i, v)| if v.abs() > want[best].abs() { i } else { best });
        let (mut all, mut wrong, mut plain) = (0.0, 0.0, 0.0);
        for i in (0..block).filter(|i| *i != at) {
            let weight = self.weights.map_or(1.0, |w| f64::from(w[(from + i) % w.len()]));
            all += weight * f64::from(want[i]).powi(2);
            wrong += weight * f64::from(want[i] - self.got[from + i]).powi(2);
            plain += f64::from(want[i]).powi(2);
        }
        let rms = (plain / (block - 1) as f64).sqrt();
        Rest { peak: f64::from(want[at]), at: from + at, rms, lost: rms > 0.0 && wrong > NOTHING_LEFT * all }
    }
}
