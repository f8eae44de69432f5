//! The loop: window, step, event, evaluation, checkpoint; until done, stopped or diverged.

use std::path::PathBuf;
use std::time::Instant;

use tallow_kernels::alloc::peak_rss_bytes;

use super::checkpoint::{self, Best, Saved, State};
use super::config::{Resume, TrainConfig};
use super::diagnosis::{Diagnosis, Scene, Symptom, diagnose, first_bad_parameter};
use super::error::{Result, TrainError};
use super::evaluate::evaluate;
use super::event::{Event, Observer, Sample};
use super::objective::{Objective, Sft};
use super::optimiser::Optimizer;
use super::source::Batches;
use super::step::{StepSettings, mix, train_step};
use super::window::passes;
use crate::data::PackedBatch;
use crate::model::{Decoder, Grads};

/// Batches without a labelled token that are passed over before the run gives up.
const MAX_EMPTY_BATCHES: u64 = 10_000;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Finished,
    /// It was asked to.
    Stopped,
    /// The validation loss stopped falling.
    Early,
}

/// What a loop gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// Steps done, those before a resume included.
    pub step: u64,
    /// Steps made in this session.
    pub made: u64,
    /// Loss of the last step made here.
    pub last_loss: Option<f64>,
    /// Best evaluation.
    pub best: Option<Best>,
    /// Newest checkpoint.
    pub last_checkpoint: Option<PathBuf>,
    /// Checkpoint of the best evaluation.
    pub best_checkpoint: Option<PathBuf>,
    /// Tokens through the model.
    pub tokens: u64,
    /// Tokens trained.
    pub trained_tokens: u64,
    /// Sequences trained, where all sessions have counted them.
    pub sequences: Option<u64>,
    /// Seconds of training, earlier sessions included.
    pub seconds: f64,
    /// Largest resident size of the process.
    pub peak_rss: u64,
}

/// Lets the model answer prompts; the words say why it could not.
type Answer<'a> = Box<dyn FnMut(&Decoder) -> std::result::Result<Vec<Sample>, String> + 'a>;

/// One training loop over a model and a source of batches.
pub struct Trainer<'a> {
    model: &'a mut Decoder,
    data: &'a mut dyn Batches,
    validation: Vec<PackedBatch>,
    /// At every so many evaluations.
    samples: Option<(u64, Answer<'a>)>,
    objective: Box<dyn Objective + 'a>,
    config: TrainConfig,
    observer: &'a mut dyn Observer,
    optimizer: Optimizer,
    grads: Grads,
    state: State,
    last_checkpoint: Option<PathBuf>,
    last_loss: Option<f64>,
    clock: Instant,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("state", &self.state).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<'a> Trainer<'a> {
    /// A loop at its beginning. The model already has its adapter, or its weights made trainable.
    ///
    /// # Errors
    /// When nothing is trainable, a setting cannot be used, or there is no memory for gradients and optimiser.
    pub fn new(model: &'a mut Decoder, data: &'a mut dyn Batches, config: TrainConfig, observer: &'a mut dyn Observer) -> Result<Self> {
        if model.params().is_empty() {
            return Err(TrainError::NothingToTrain);
        }
        if config.gradient_accumulation == 0 {
            return Err(TrainError::Setting("gradient_accumulation must be at least 1".into()));
        }
        tallow_kernels::alloc::prefer_small_pages();
        let optimizer = Optimizer::new(model.params(), config.optimizer)?;
        let grads = model.zero_grads()?;
        let state = State::new(data.cursor(), config.seed, config.config_hash.clone());
        let objective = Box::new(Sft);
        let (last_checkpoint, last_loss, clock) = (None, None, Instant::now());
        let (validation, samples) = (Vec::new(), None);
        Ok(Self {
            model,
            data,
            validation,
            samples,
            objective,
            config,
            observer,
            optimizer,
            grads,
            state,
            last_checkpoint,
            last_loss,
            clock,
        })
    }

    /// Evaluates these passes every `eval_steps`, and at the end.
    pub fn with_validation(mut self, passes: Vec<PackedBatch>) -> Self {
        self.validation = passes;
        self
    }

    /// Lets the model answer prompts at every so many evaluations (above 0), and at the end.
    pub fn with_samples(mut self, every: u64, answer: impl FnMut(&Decoder) -> std::result::Result<Vec<Sample>, String> + 'a) -> Self {
        self.samples = Some((every.max(1), Box::new(answer)));
        self
    }

    /// Minimises another objective than [`Sft`].
    pub fn with_objective(mut self, objective: impl Objective + 'a) -> Self {
        self.objective = Box::new(objective);
        self
    }

    /// Runs to the end, to a stop, or to divergence. When asked to stop it finishes the step and writes a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] with a diagnosis, before anything is changed by the step that saw it; checkpoints that
    /// cannot be written; a resume that does not fit; the model's own.
    pub fn run(&mut self) -> Result<Outcome> {
        self.resume()?;
        self.clock = Instant::now();
        let begun = self.state.seconds;
        let (first, total_steps) = (self.state.step, self.config.total_steps);
        let trainable_parameters = self.model.params().elements();
        self.observer.event(&Event::Started { step: first, total_steps, trainable_parameters });
        // What was due after the step that a resume stands on, and was broken off.
        let mut end = if first > 0 { self.after_step()? } else { None };
        while end.is_none() {
            let made = self.state.step - first;
            if self.state.step >= total_steps {
                end = Some(End::Finished);
            } else if self.config.stop.is_requested() || self.config.stop_after.is_some_and(|most| made >= most) {
                end = Some(End::Stopped);
            } else {
                self.step(begun)?;
                end = self.after_step()?;
            }
        }
        self.finish(end.unwrap_or(End::Stopped), first, begun)
    }

    fn resume(&mut self) -> Result<()> {
        let saved = match (&self.config.resume, &self.config.checkpoint_dir) {
            (Resume::No, _) => return Ok(()),
            (Resume::From(path), _) => Some(checkpoint::verify(path)?),
            (Resume::Latest, None) => None,
            (Resume::Latest, Some(dir)) => {
                let (saved, skipped) = checkpoint::latest(dir)?;
                for s in skipped {
                    let message = format!("{} is damaged and skipped: {}", s.path.display(), s.reason);
                    self.observer.event(&Event::Warning { code: "checkpoint_skipped".into(), message });
                }
                saved
            }
        };
        let Some(Saved { path, state }) = saved else { return Ok(()) };
        if state.config_hash != self.config.config_hash {
            return Err(TrainError::ConfigChanged { path, found: state.config_hash, now: self.config.config_hash.clone() });
        }
        self.data.seek(&state.cursor)?;
        let saved = Saved { path, state };
        checkpoint::restore(&saved, self.model, &mut self.optimizer)?;
        self.observer.event(&Event::Resumed { step: saved.state.step, path: saved.path.clone() });
        self.state = saved.state;
        self.last_checkpoint = Some(saved.path);
        Ok(())
    }

    /// The passes of the next step.
    fn window(&mut self) -> Result<Vec<PackedBatch>> {
        let mut batches = Vec::with_capacity(self.config.gradient_accumulation);
        let mut weight = 0.0;
        let mut tried = 0;
        while batches.len() < self.config.gradient_accumulation || weight <= 0.0 {
            let batch = self.data.next_batch();
            tried += 1;
            weight += self.objective.weight(&batch);
            batches.push(batch);
            if weight <= 0.0 && tried >= MAX_EMPTY_BATCHES {
                return Err(TrainError::NoTargets { batches: tried });
            }
            if weight <= 0.0 && batches.len() == self.config.gradient_accumulation {
                batches.clear();
            }
        }
        Ok(passes(&batches, self.config.max_tokens_per_pass, self.objective.sequences_together()))
    }

    fn step(&mut self, begun: f64) -> Result<()> {
        let start = Instant::now();
        let step = self.state.step + 1;
        let window = self.window()?;
        let dropout_seed = self.config.dropout.then(|| mix(self.config.seed, step));
        let lr = self.config.schedule.lr(step);
        let settings = StepSettings { lr, max_grad_norm: self.config.max_grad_norm, policy: self.config.policy, dropout_seed };
        let out = train_step(self.model, &mut self.optimizer, &*self.objective, &window, &mut self.grads, &settings)?;
        if let Some(symptom) = out.symptom {
            return Err(self.diverged(step, symptom, out.loss, out.grad_norm, lr));
        }
        let tokens: u64 = window.iter().map(|p| p.tokens() as u64).sum();
        let trained_tokens: u64 = window.iter().map(PackedBatch::target_tokens).sum();
        let sequences: u64 = window.iter().map(|p| p.sequences() as u64).sum();
        let state = &mut self.state;
        state.step = step;
        state.cursor = self.data.cursor();
        state.tokens += tokens;
        state.trained_tokens += trained_tokens;
        state.sequences = state.sequences.map(|s| s + sequences);
        state.seconds = begun + self.clock.elapsed().as_secs_f64();
        self.last_loss = Some(out.loss);
        self.observer.event(&Event::Step {
            step,
            loss: out.loss,
            lr,
            grad_norm: out.grad_norm,
            sequences,
            tokens,
            trained_tokens,
            tokens_per_second: tokens as f64 / start.elapsed().as_secs_f64().max(1e-9),
            elapsed: state.seconds,
            peak_rss: peak_rss_bytes(),
        });
        Ok(())
    }

    fn diverged(&mut self, step: u64, symptom: Symptom, loss: f64, grad_norm: f64, lr: f64) -> TrainError {
        let scene = Scene { step, symptom, loss, grad_norm, lr, last_checkpoint: self.last_checkpoint.clone() };
        let diagnosis: Diagnosis = diagnose(scene, self.model.params(), Some(&self.grads));
        self.observer.event(&Event::Diverged { diagnosis: diagnosis.clone() });
        TrainError::Diverged(Box::new(diagnosis))
    }

    /// Evaluation and checkpoint where they are due, and whether the run ends here: early, or because a stop broke the
    /// evaluation off. Then it is made after a resume, even after the last step: the best step depends on it.
    fn after_step(&mut self) -> Result<Option<End>> {
        let step = self.state.step;
        let last = step == self.config.total_steps;
        let due = |every: u64| last || (every > 0 && step.is_multiple_of(every));
        let (save_due, look_due) = (due(self.config.save_steps), due(self.config.eval_steps));
        let eval_due = look_due && !self.validation.is_empty();
        let mut better = false;
        if look_due && self.state.evaluated_step != step {
            if eval_due {
                match self.evaluate()? {
                    Some(best) => better = best,
                    None => return Ok(Some(End::Stopped)),
                }
            }
            self.sample(last);
        }
        if save_due || better {
            self.save()?;
        }
        Ok((!last && eval_due && self.is_stale()).then_some(End::Early))
    }

    fn is_stale(&mut self) -> bool {
        let (Some(early), Some(best)) = (self.config.early_stopping, self.state.best) else { return false };
        let stale = self.state.evaluations_without_gain >= early.patience;
        if stale {
            self.observer.event(&Event::EarlyStop { step: self.state.step, best_step: best.step, best_loss: best.loss });
        }
        stale
    }

    /// One evaluation; true when it is the best so far, `None` when a stop request broke it off.
    fn evaluate(&mut self) -> Result<Option<bool>> {
        let stop = self.config.stop.clone();
        let step = self.state.step;
        let e = match evaluate(self.model, &*self.objective, &self.validation, || !stop.is_requested()) {
            Ok(Some(e)) => e,
            Ok(None) => return Ok(None),
            Err(TrainError::NotFinite { value, .. }) => {
                let lr = self.config.schedule.lr(step);
                return Err(self.diverged(step, Symptom::Evaluation, value, f64::NAN, lr));
            }
            Err(e) => return Err(e),
        };
        let min_delta = self.config.early_stopping.map_or(0.0, |s| s.min_delta);
        let gain = self.state.best.is_none_or(|b| e.loss < b.loss - min_delta);
        let best = self.state.best.is_none_or(|b| e.loss < b.loss);
        self.state.evaluated_step = step;
        self.state.evaluations_without_gain = if gain { 0 } else { self.state.evaluations_without_gain + 1 };
        if best {
            self.state.best = Some(Best { step, loss: e.loss });
        }
        let (loss, perplexity, accuracy, tokens) = (e.loss, e.perplexity, e.accuracy, e.tokens);
        self.observer.event(&Event::Eval { step, loss, perplexity, accuracy, tokens, best });
        Ok(Some(best))
    }

    /// Lets the model answer the prompts where that is due. An answer that fails is no reason to end the run.
    fn sample(&mut self, last: bool) {
        let Some((every, answer)) = &mut self.samples else { return };
        let step = self.state.step;
        // Without validation rows nothing else notes that this step has been looked at.
        self.state.evaluated_step = step;
        let number = step / self.config.eval_steps.max(1);
        if !last && !number.is_multiple_of(*every) {
            return;
        }
        match answer(self.model) {
            Ok(samples) => self.observer.event(&Event::Samples { step, samples }),
            Err(message) => self.observer.event(&Event::warning("samples", format!("step {step}: no samples: {message}"))),
        }
    }

    /// Writes a checkpoint, unless this step's is already there, and prunes old ones.
    fn save(&mut self) -> Result<()> {
        let Some(dir) = self.config.checkpoint_dir.clone() else { return Ok(()) };
        let step = self.state.step;
        let here = checkpoint::folder(&dir, step);
        if step == 0 || self.last_checkpoint.as_ref() == Some(&here) {
            return Ok(());
        }
        if first_bad_parameter(self.model.params()).is_some() {
            let lr = self.config.schedule.lr(step);
            return Err(self.diverged(step, Symptom::Parameter, self.last_loss.unwrap_or(f64::NAN), f64::NAN, lr));
        }
        let path = checkpoint::save(&dir, self.model, &self.optimizer, &self.state)?;
        let best: Vec<u64> = self.state.best.iter().map(|b| b.step).collect();
        checkpoint::prune(&dir, step, self.config.keep_checkpoints, &best)?;
        self.last_checkpoint = Some(path.clone());
        self.observer.event(&Event::Checkpoint { step, path });
        Ok(())
    }

    fn finish(&mut self, end: End, first: u64, begun: f64) -> Result<Outcome> {
        self.save()?;
        self.state.seconds = begun + self.clock.elapsed().as_secs_f64();
        let (step, seconds) = (self.state.step, self.state.seconds);
        if end == End::Stopped {
            self.observer.event(&Event::Stopped { step, checkpoint: self.last_checkpoint.clone() });
        } else {
            self.restore_best()?;
            self.observer.event(&Event::Finished { step, elapsed: seconds });
        }
        Ok(Outcome {
            end,
            step,
            made: step - first,
            last_loss: self.last_loss,
            best: self.state.best,
            last_checkpoint: self.last_checkpoint.clone(),
            best_checkpoint: self.best_checkpoint(),
            tokens: self.state.tokens,
            trained_tokens: self.state.trained_tokens,
            sequences: self.state.sequences,
            seconds,
            peak_rss: peak_rss_bytes(),
        })
    }

    fn best_checkpoint(&self) -> Option<PathBuf> {
        let path = checkpoint::folder(self.config.checkpoint_dir.as_ref()?, self.state.best?.step);
        path.is_dir().then_some(path)
    }

    fn restore_best(&mut self) -> Result<()> {
        let Some(best) = self.state.best.filter(|b| self.config.restore_best && b.step != self.state.step) else { return Ok(()) };
        match self.best_checkpoint() {
            Some(path) => {
                checkpoint::verify(&path)?;
                checkpoint::restore_parameters(&path, self.model)
            }
            None => {
                let message = format!("the best values (step {}) have no checkpoint; the last ones are kept", best.step);
                self.observer.event(&Event::Warning { code: "best_not_saved".into(), message });
                Ok(())
            }
        }
    }
}
