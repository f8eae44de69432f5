//! One way from settings to a run that can start: model, tokenizer, data, batches, steps, memory. Training, `configure`
//! and `plan` all take it, so that they say the same.
//!
//! ```text
//!   base model -> length within its context -> tokenizer -> data -> rows a batch -> steps of the epochs -> memory
//! ```
//!
//! What the settings leave open (`batch_size: auto`, `num_epochs`) is a number afterwards: the manifest holds what ran.

use std::path::{Path, PathBuf};

use super::load;
use super::plan::{self, Room};
use super::prepare::{self, Lengths, Prepared};
use crate::base::error::Fault;
use crate::config::{BatchSize, Method, RunConfig, Said};
use crate::data::{Dataset, Sampler, SamplerOptions, TextTokenizer};
use crate::model::weights::weight_files;
use crate::model::{DecoderSpec, Policy};
use crate::train::{MemoryPlan, MemoryRequest, predict};

/// Rows a step that `batch_size: auto` is cut from, unless `global_batch_size` says otherwise.
const GLOBAL_BATCH: usize = 16;

/// How far a run is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All that training needs: a Hub model is downloaded whole.
    Trainable,
    /// All that is needed to predict: of a Hub model everything but its weights, and files of rows may be missing.
    Planned,
}

/// The base model.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// As the settings name it.
    pub(super) name: String,
    /// Its folder or GGUF file.
    pub(super) path: PathBuf,
    /// Its architecture.
    pub(super) spec: DecoderSpec,
}

/// A run that can start.
#[derive(Debug)]
pub(super) struct Ready {
    /// The settings with every number settled.
    pub(super) config: RunConfig,
    pub(super) base: Base,
    pub(super) tokenizer: TextTokenizer,
    /// `None` only where a plan may do without.
    pub(super) data: Option<Prepared>,
    /// How long its rows are.
    pub(super) lengths: Lengths,
    pub(super) plan: MemoryPlan,
    /// Steps of an epoch of each stage's rows, where the data is there.
    pub(super) epoch_steps: [Option<f64>; 2],
    /// What a plan did without, and training cannot.
    pub(super) absent: Vec<String>,
    /// What a person should know, the data's own first.
    pub(super) warnings: Vec<String>,
}

impl Ready {
    /// Keeps to the plan by which the run has trained: passes of other lengths add up in another order. Where that
    /// no longer fits, a warning.
    ///
    /// # Errors
    /// As [`plan::with_request`].
    pub(super) fn go_on_by(&mut self, earlier: &MemoryPlan) -> Result<Option<String>, Fault> {
        let (policy, tokens) = (earlier.policy, earlier.tokens_per_pass);
        let ask = |request: &MemoryRequest| predict(request, policy, tokens);
        let mut plan = plan::with_request(&self.config, &self.base.spec, self.lengths, Room::Here, ask)?;
        if !plan.fits || plan.evaluation_tokens < earlier.evaluation_tokens {
            return Ok(Some(format!(
                "the plan by which the run trained ({tokens} tokens in a pass) does not fit into the memory that is free now: \
                 with another plan figures can differ in their last digits from those of a run that was never stopped"
            )));
        }
        plan.evaluation_tokens = earlier.evaluation_tokens;
        self.plan = plan;
        Ok(None)
    }
}

/// Makes a run ready. `said` tells what the user set; `doing` hears what takes a while.
///
/// # Errors
/// A model, data or settings that cannot be used; a plan that does not fit.
pub(super) fn ready(
    config: &RunConfig,
    said: Option<&Said>,
    until: Until,
    room: Room,
    doing: &mut dyn FnMut(&str),
) -> Result<Ready, Fault> {
    let mut config = config.clone();
    let (mut warnings, mut absent) = (Vec::new(), Vec::new());
    let (name, path, spec) = prepare::base_model(&config, until == Until::Trainable)?;
    if config.training.method == Method::Full && crate::model::gguf::is_gguf(&path) {
        return Err(Fault::new("config_invalid", format!("training.method is full, and {} is a GGUF file", path.display()))
            .hint("set training.method: lora, or name a model folder: all weights are saved beside its config and tokenizer"));
    }
    warnings.extend(spec.remarks.iter().cloned());
    warnings.extend(clamp_length(&mut config, said, &spec));
    let mut tokenizer = load::tokenizer_at(&path)?;
    if until == Until::Planned && crate::model::hub::model_of(&path).is_none() && !crate::model::gguf::is_gguf(&path) {
        absent.extend(weight_files(&path).err().map(|e| format!("the weights are not there: {e}")));
    }
    let data = match missing(&config).filter(|_| until == Until::Planned) {
        Some(file) => {
            let length = config.training.max_seq_length;
            absent.push(format!("{} is not there: rows are taken to have {length} tokens each", file.display()));
            None
        }
        None => {
            doing("reading and tokenising the data");
            Some(prepare::data(&config, &mut tokenizer)?)
        }
    };
    if let Some(data) = &data {
        warnings.extend(data.warnings.iter().cloned());
    }
    let lengths = data.as_ref().map_or_else(|| Lengths::unknown(config.training.max_seq_length), Prepared::lengths);
    settle_batches(&mut config, &spec, lengths, room)?;
    let mut epoch_steps = [None, None];
    if let Some(data) = &data {
        epoch_steps = [Some(steps_of_epoch(&config, 1, &data.train)?), None];
        if let Some(own) = &data.stage2 {
            epoch_steps[1] = Some(steps_of_epoch(&config, 2, &own.train)?);
        }
    }
    settle_steps(&mut config, epoch_steps);
    let plan = plan::for_run(&config, &spec, lengths, room)?;
    Ok(Ready { config, base: Base { name, path, spec }, tokenizer, data, lengths, plan, epoch_steps, absent, warnings })
}

/// Rows are never longer than the model's context.
fn clamp_length(config: &mut RunConfig, said: Option<&Said>, spec: &DecoderSpec) -> Option<String> {
    let asked = config.training.max_seq_length;
    if asked <= spec.max_positions {
        return None;
    }
    config.training.max_seq_length = spec.max_positions;
    let origin = said.filter(|s| s.is_said("training.max_seq_length"))?.origin("training.max_seq_length");
    let context = spec.max_positions;
    Some(format!("{origin}: `training.max_seq_length`: {asked} is more than the model's context of {context} tokens, which is taken"))
}

/// The first file of rows that the settings name and that is not there.
fn missing(config: &RunConfig) -> Option<&Path> {
    let d = &config.dataset;
    let second = d.stage2_path.as_ref().filter(|_| config.training.num_stages == 2);
    let all = [d.path.as_ref(), d.train_path.as_ref(), d.validation_path.as_ref(), d.test_path.as_ref(), second];
    all.into_iter().flatten().map(PathBuf::as_path).find(|p| !p.exists())
}

/// Tokens that a row of a batch can have.
fn row_tokens(config: &RunConfig, longest: usize) -> usize {
    let most = config.training.max_seq_length;
    if config.training.packing { most } else { longest.min(most) }
}

/// `batch_size: auto`: the most rows that one pass has room for, as a divisor of the global batch; the rest of the
/// global batch is accumulated.
fn settle_batches(config: &mut RunConfig, spec: &DecoderSpec, lengths: Lengths, room: Room) -> Result<(), Fault> {
    let t = &config.training;
    if ![t.stage1.batch_size, t.stage2.batch_size].iter().any(|b| b.is_auto()) {
        return Ok(());
    }
    let global = t.global_batch_size.unwrap_or(GLOBAL_BATCH);
    let fit = largest_batch(config, spec, lengths, room, global)?;
    let rows = (1..=fit.max(1)).rev().find(|n| global.is_multiple_of(*n)).unwrap_or(1);
    config.training.gradient_accumulation = global / rows;
    for stage in [&mut config.training.stage1, &mut config.training.stage2] {
        if stage.batch_size.is_auto() {
            stage.batch_size = BatchSize::Rows(rows);
        }
    }
    Ok(())
}

/// The most rows, up to `most`, that fit in one pass; 0 when not even one does.
///
/// # Errors
/// As [`plan::with_request`].
pub(super) fn largest_batch(config: &RunConfig, spec: &DecoderSpec, lengths: Lengths, room: Room, most: usize) -> Result<usize, Fault> {
    let row = row_tokens(config, lengths.longest).max(1);
    plan::with_request(config, spec, lengths, room, |request| {
        let policies = match request.policy {
            Some(policy) => vec![policy],
            None => vec![Policy::KeepAll, Policy::Minimal, Policy::Recompute],
        };
        let fits = |rows: usize| {
            let tokens = rows * row;
            let mut request = request.clone();
            request.window_tokens = request.window_tokens.max(tokens);
            policies.iter().any(|policy| predict(&request, *policy, tokens).fits)
        };
        // More rows never take less memory: the border is found by halving.
        let (mut low, mut high) = (0, most + 1);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    })
}

/// How batches of a stage are drawn.
pub(super) fn sampler_options(config: &RunConfig, stage: usize) -> SamplerOptions {
    let t = &config.training;
    SamplerOptions {
        batch_size: prepare::stage(config, stage).batch_size.rows(),
        pack_to: t.packing.then_some(t.max_seq_length),
        seed: t.seed.wrapping_add(stage as u64 - 1),
        order: t.order,
        ..SamplerOptions::default()
    }
}

/// Optimiser steps that go once over a dataset.
fn steps_of_epoch(config: &RunConfig, stage: usize, dataset: &Dataset) -> Result<f64, Fault> {
    let batches = Sampler::new(dataset, sampler_options(config, stage))?.batches_in_epoch();
    Ok(batches as f64 / config.training.gradient_accumulation.max(1) as f64)
}

/// Steps of the epochs that are asked for, with the warm-up within them.
fn settle_steps(config: &mut RunConfig, epoch_steps: [Option<f64>; 2]) {
    let t = &mut config.training;
    for (stage, steps) in [&mut t.stage1, &mut t.stage2].into_iter().zip(epoch_steps) {
        let (Some(epochs), Some(steps)) = (stage.num_epochs, steps) else { continue };
        stage.iterations = (epochs * steps).ceil().clamp(1.0, 1e9) as u64;
        if stage.warmup_steps >= stage.iterations {
            stage.warmup_steps = stage.iterations / 10;
        }
    }
}
