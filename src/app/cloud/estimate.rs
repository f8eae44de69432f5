//! What a run will cost on a rented GPU: the time of its steps there, times the price.
//!
//! The time of a step is measured where a run of this project with the same model and the same steps
//! was on such a GPU. Otherwise it is reckoned: the operations of a step over a share of what the
//! GPU's tensor cores give at most by its maker's data sheet. That is an estimate, and says so.

use std::path::Path;

use serde::Serialize;

use super::remote::{self, Job};
use super::{Cloud, Offer, RentRequest, memory_for};
use crate::app::configure;
use crate::app::jobs::{Pace, WorkAhead, seconds_of};
use crate::app::plan::PlanReport;
use crate::app::train::configuration_of;
use crate::base::error::Fault;
use crate::cloud::{self, Estimate};
use crate::config::{Method, RunConfig};
use crate::runs::{DatasetRecord, RunFolder};

/// Where a time comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "basis")]
pub enum Basis {
    /// A run of this project on such a GPU.
    Measured {
        /// The run.
        run_id: String,
    },
    /// Seconds a step that whoever asks has given.
    Given,
    /// Operations over a share of the GPU's peak.
    Reckoned {
        /// Dense bf16 at most by the data sheet, in 10^12 operations a second.
        peak_tflops: f64,
        /// The share of it that is taken for reached.
        share: f64,
    },
    /// Nothing is known of such a GPU, or of the rows.
    Unknown,
}

/// What a run takes on a type of GPU.
#[derive(Debug, Clone, Serialize)]
pub struct RunCost {
    /// The type.
    pub gpu: String,
    /// Optimiser steps of all stages.
    pub steps: u64,
    /// Seconds of the steps with evaluations and checkpoints; `None` where nothing is known.
    pub seconds: Option<f64>,
    /// Where that comes from.
    #[serde(flatten)]
    pub basis: Basis,
    /// What it comes to.
    #[serde(flatten)]
    pub costs: Estimate,
}

/// Share of a GPU's peak that a step is taken to reach.
const SHARE: f64 = 0.3;

/// Words of a GPU's name, and what its tensor cores give at most in dense bf16 with sums in f32, in
/// 10^12 operations a second, from NVIDIA's data sheets. The first that fits holds.
const PEAKS: [(&str, f64); 33] = [
    ("B200", 2250.0),
    ("H200", 989.0),
    ("H100 NVL", 835.0),
    ("H100 PCIe", 756.0),
    ("H100", 989.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("RTX PRO 6000", 503.8),
    ("RTX 6000 Ada", 364.2),
    ("RTX 5000 Ada", 261.1),
    ("RTX 4000 Ada", 106.9),
    ("RTX 4000 SFF Ada", 76.7),
    ("RTX 2000 Ada", 48.0),
    ("RTX A6000", 154.8),
    ("RTX A5000", 111.1),
    ("RTX A4500", 94.6),
    ("RTX A4000", 76.7),
    ("RTX A2000", 32.0),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10", 125.0),
    ("L4", 121.0),
    ("RTX 5090", 209.5),
    ("RTX 5080", 112.6),
    ("RTX 4090", 165.2),
    ("RTX 4080 SUPER", 104.4),
    ("RTX 4080", 97.5),
    ("RTX 4070 Ti", 80.2),
    ("RTX 3090 Ti", 80.0),
    ("RTX 3090", 71.0),
    ("RTX 3080 Ti", 68.2),
    ("RTX 3080", 59.5),
];

/// The peak of a type, in 10^12 operations a second; `None` for one that is not known.
fn peak_tflops(gpu: &str) -> Option<f64> {
    let words: Vec<String> = gpu.split([' ', '-']).map(str::to_lowercase).collect();
    let fits = |name: &str| {
        let wanted: Vec<String> = name.split(' ').map(str::to_lowercase).collect();
        // `NVIDIA H100 80GB HBM3` has no more words of its own; `H100 PCIe` may be `H100 80GB PCIe`.
        wanted.iter().all(|w| words.contains(w))
    };
    PEAKS.iter().find(|(name, _)| fits(name)).map(|(_, peak)| *peak)
}

/// What is known of a run before it is rented for.
struct Ahead<'a> {
    config: &'a RunConfig,
    data: Option<&'a DatasetRecord>,
    plan: &'a PlanReport,
    jobs: Vec<Job>,
}

impl Ahead<'_> {
    fn steps(&self) -> u64 {
        self.plan.stages.iter().map(|s| s.steps).sum()
    }

    /// Tokens of a mean step of the first stage.
    fn tokens_a_step(&self) -> Option<f64> {
        let first = self.plan.stages.first()?;
        let tokens = self.data?.train.tokens as f64 * first.epochs? / first.steps.max(1) as f64;
        Some(tokens.min(self.plan.window_tokens as f64))
    }

    fn time_on(&self, gpu: &str, count: u32, given: Option<f64>) -> (Option<f64>, Basis) {
        if let Some(step) = given {
            return (Some(step * self.steps() as f64), Basis::Given);
        }
        let on_it = |job: &&Job| job.rent.as_ref().is_some_and(|r| r.gpu.as_deref() == Some(gpu) && r.wish.count == count);
        let rate = |job: &Job| {
            let run = RunFolder::open(&job.run_folder()?).ok()?;
            Some((configure::rate_of(&run, self.config, self.data?)?.seconds, run.id()))
        };
        if let Some((seconds, run_id)) = self.jobs.iter().rev().filter(on_it).find_map(rate) {
            return (Some(seconds), Basis::Measured { run_id });
        }
        let (Some(peak_tflops), Some(tokens), Some(data)) = (peak_tflops(gpu), self.tokens_a_step(), self.data) else {
            return (None, Basis::Unknown);
        };
        // Two operations a weight in each of: the forward pass, the gradient of the input, the pass
        // again, and after full training that of the weights. Tallow trains on one GPU of a pod.
        let passes = 3.0 + f64::from(u8::from(self.config.training.method == Method::Full));
        let token = 2.0 * self.plan.parameters as f64 * passes / (SHARE * peak_tflops * 1e12);
        let pace = Pace { step: token * tokens, evaluation: 0.0, checkpoint: 0.0, forward_token: token / passes };
        (Some(seconds_of(&WorkAhead::of(self.config, data), &pace)), Basis::Reckoned { peak_tflops, share: SHARE })
    }
}

/// What the run of a project takes on each candidate of an offer, and the same offer with the first
/// one's time. `step_seconds`: what a step takes, where somebody knows.
///
/// # Errors
/// When the settings cannot be read.
pub fn run_costs(
    config: &Path,
    set: &[String],
    plan: &PlanReport,
    wish: &RentRequest,
    offer: &Offer,
    step_seconds: Option<f64>,
) -> Result<Vec<RunCost>, Fault> {
    if step_seconds.is_some_and(|s| !s.is_finite() || s <= 0.0) {
        return Err(Fault::new("usage", "the seconds of a step are a number above 0").hint("give what a step took there"));
    }
    let (project, resolved) = configuration_of(Some(config), set, &[])?;
    let root = project.root.canonicalize().unwrap_or(project.root);
    let mut settings = resolved.config;
    // As runs that come back name it.
    if let Some(path) = &mut settings.base_model.local_path
        && let Ok(whole) = path.canonicalize()
    {
        *path = whole;
    }
    let ahead = Ahead { config: &settings, data: plan.data.as_ref(), plan, jobs: remote::jobs(&root).unwrap_or_default() };
    let cost = |fit: &cloud::Fit| {
        let (seconds, basis) = ahead.time_on(&fit.id, wish.count, step_seconds);
        let costs = cloud::estimate(fit.price_hour, wish.storage_hour(), seconds, wish.caps);
        RunCost { gpu: fit.id.clone(), steps: ahead.steps(), seconds, basis, costs }
    };
    Ok(offer.candidates.iter().map(cost).collect())
}

/// What is offered for a run, with what it takes on each candidate. `wish` gets the memory that the
/// run needs, and the time on the first candidate.
///
/// # Errors
/// As [`memory_for`] and [`super::offer`].
pub fn offer_for_run(
    cloud: &Cloud,
    config: &Path,
    set: &[String],
    wish: &mut RentRequest,
    step_seconds: Option<f64>,
) -> Result<(Offer, Vec<RunCost>), Fault> {
    let (bytes, plan) = memory_for(cloud, config, set, wish.count, wish.secure)?;
    wish.memory_bytes = bytes;
    let mut offer = super::offer(cloud, wish)?;
    let costs = run_costs(config, set, &plan, wish, &offer, step_seconds)?;
    if let Some(first) = costs.first() {
        (wish.seconds, offer.estimate) = (first.seconds, first.costs);
    }
    Ok((offer, costs))
}

impl Basis {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Measured { run_id } => format!("measured by {run_id} on such a pod"),
            Self::Given => "from the seconds a step that were given".to_owned(),
            Self::Reckoned { peak_tflops, share } => {
                format!("an estimate, reckoned at {:.0} % of its {peak_tflops:.0} TFLOPS; small models are slower", share * 100.0)
            }
            Self::Unknown => "the time is not known".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_known_by_the_words_of_their_names() {
        for (name, peak) in [
            ("NVIDIA H100 80GB HBM3", Some(989.0)),
            ("NVIDIA H100 PCIe", Some(756.0)),
            ("NVIDIA A100-SXM4-80GB", Some(312.0)),
            ("NVIDIA RTX A5000", Some(111.1)),
            ("NVIDIA RTX 6000 Ada Generation", Some(364.2)),
            ("NVIDIA GeForce RTX 3090 Ti", Some(80.0)),
            ("NVIDIA GeForce RTX 3090", Some(71.0)),
            ("NVIDIA L40S", Some(362.0)),
            ("NVIDIA L40", Some(181.0)),
            ("NVIDIA L4", Some(121.0)),
            ("Tesla V100-PCIE-16GB", None),
        ] {
            assert_eq!(peak_tflops(name), peak, "{name}");
        }
    }
}
