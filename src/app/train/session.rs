//! One session of a run: from gathered materials to a finished or stopped run.

mod inputs;
mod judged;
mod moved;
mod record;
mod samples;
mod verdicts;

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;
use serde_json::json;
use tallow_kernels::device;

use self::record::Record;
use super::result;
use super::{TrainReport, TrainRequest};
use crate::app::device::Chosen;
use crate::app::load::check_vocabulary;
use crate::app::ready::{self, Until};
use crate::app::{jobs, outcome, plan, prepare};
use crate::base::atomic;
use crate::base::clock::now_utc;
use crate::base::error::Fault;
use crate::base::panics;
use crate::config::{Method, RunConfig, Said};
use crate::data::{Sampler, TextTokenizer};
use crate::model::weights::weight_hash;
use crate::model::{Decoder, LoadOptions};
use crate::runs::{BaseModelRecord, Journal, Manifest, RunFolder, Status};
use crate::train::{
    End, Evaluation, Event, MemoryPlan, Observer, Outcome, Resume, Sampled, Sft, TrainConfig, Trainer, checkpoint, evaluation_passes,
};

/// What a run needs before it may have a folder.
pub(super) struct Materials {
    tokenizer: TextTokenizer,
    data: prepare::Prepared,
    base: BaseModelRecord,
    plan: MemoryPlan,
    /// Steps of an epoch of each stage.
    epoch_steps: [Option<f64>; 2],
}

impl Materials {
    /// Finds the model, reads the data, plans the memory; the settings with every number settled, and what they need.
    /// `earlier` is the plan by which a run that goes on has trained.
    pub(super) fn gather(
        config: &RunConfig,
        said: Option<&Said>,
        earlier: Option<&MemoryPlan>,
        observer: &mut dyn Observer,
    ) -> Result<(RunConfig, Self), Fault> {
        // Rows that are read and tokenised leave gaps, which huge pages would keep resident.
        tallow_kernels::alloc::prefer_small_pages();
        let mut doing = |what: &str| observer.event(&Event::doing(what));
        let mut ready = ready::ready(config, said, Until::Trainable, plan::Room::Here, &mut doing)?;
        if let Some(earlier) = earlier {
            let warning = ready.go_on_by(earlier)?;
            ready.warnings.extend(warning);
        }
        let mut data = ready.data.ok_or_else(|| Fault::new("config_invalid", "no dataset is named"))?;
        data.warnings = ready.warnings;
        observer.event(&Event::Data { record: Box::new(data.record.clone()) });
        data.warnings.iter().for_each(|w| observer.event(&Event::warning("data", w.as_str())));
        observer.event(&Event::Plan { plan: Box::new(ready.plan.clone()) });
        let revision = config.base_model.local_path.is_none().then(|| config.base_model.revision.clone());
        let base = BaseModelRecord {
            id: ready.base.name,
            revision,
            architecture: ready.base.spec.architecture.clone(),
            parameters: ready.base.spec.num_parameters(),
            weight_hash: weight_hash(&ready.base.path)?,
            files: inputs::model_files(&ready.base.path)?,
            path: ready.base.path,
        };
        samples::check(config, &ready.tokenizer, ready.base.spec.max_positions)?;
        let (tokenizer, plan, epoch_steps) = (ready.tokenizer, ready.plan, ready.epoch_steps);
        let materials = Self { tokenizer, data, base, plan, epoch_steps };
        verdicts::check(&ready.config, &materials)?;
        Ok((ready.config, materials))
    }
}

/// Trains in `folder`; whatever ends it also stands in the manifest.
pub(super) fn train(
    request: &TrainRequest,
    config: &RunConfig,
    folder: &RunFolder,
    materials: Materials,
    observer: &mut dyn Observer,
) -> Result<TrainReport, Fault> {
    let _lock = folder.lock()?;
    let manifest = Manifest::read(&folder.manifest_path())?;
    inputs::refuse_changed(&manifest, &materials)?;
    let mut journal = Journal::open(folder.path())?;
    // What was told before there was a folder.
    journal.event(&Event::Data { record: Box::new(materials.data.record.clone()) });
    materials.data.warnings.iter().for_each(|w| journal.event(&Event::warning("data", w.as_str())));
    journal.event(&Event::Plan { plan: Box::new(materials.plan.clone()) });
    let mut record = Record::new(journal, manifest, folder, observer);
    record.event(&Event::Run { path: folder.path().to_path_buf() });
    let chosen = Chosen::of(config)?;
    let ticket = turn(&chosen, config, request, folder, &mut record)?;
    let mut session = Session { request, config, folder, materials, device: Device::Cpu, record };
    if ticket.is_none() && !request.has_turn {
        return session.stopped(None);
    }
    session.started()?;
    session.record.track(&chosen.name());
    let result = match panics::caught(|| {
        session.device = chosen.open()?;
        session.stages()
    }) {
        Err(fault) if fault.code == "cancelled" && request.stop.is_requested() => session.stopped(None),
        result => result.map_err(|fault| session.explained(fault)),
    };
    session.record.end_meter();
    if let Err(fault) = &result {
        let status = if fault.code == "diverged" { Status::Diverged } else { Status::Failed };
        session.record.manifest.fail(status, fault);
    }
    // The fault itself matters more than one that keeps it from being written down.
    let written = session.write_manifest();
    let result = result.and_then(|report| {
        written?;
        Ok(TrainReport { energy: session.record.manifest.energy.clone(), ..report })
    });
    if let Some(fault) = session.record.journal.failure() {
        session.record.event(&Event::warning("journal", format!("a line of the journal is missing: {fault}")));
    }
    session.record.end_tracking();
    result
}

/// Waits for a turn at the device, in the order in which runs came (see `jobs::queue`).
fn turn(
    device: &Chosen,
    config: &RunConfig,
    request: &TrainRequest,
    folder: &RunFolder,
    record: &mut Record,
) -> Result<Option<jobs::Ticket>, Fault> {
    if request.has_turn {
        return Ok(None);
    }
    jobs::turn(&device.name(), &jobs::claim(folder, config), &request.stop, &mut |before| {
        let text = format!("waiting for the device: {} before this run: {}", before.len(), before.join(", "));
        record.event(&Event::doing(text));
    })
}

struct Session<'a> {
    request: &'a TrainRequest,
    config: &'a RunConfig,
    folder: &'a RunFolder,
    materials: Materials,
    device: Device,
    record: Record<'a>,
}

impl Session<'_> {
    fn write_manifest(&self) -> Result<(), Fault> {
        self.folder.write_manifest(&self.record.manifest)
    }

    /// The manifest of a run that is under way.
    fn started(&mut self) -> Result<(), Fault> {
        let (manifest, materials) = (&mut self.record.manifest, &self.materials);
        manifest.status = Status::Running;
        manifest.started_at.get_or_insert_with(now_utc);
        (manifest.finished_at, manifest.error) = (None, None);
        manifest.base_model = Some(materials.base.clone());
        manifest.tokenizer_hash = Some(materials.tokenizer.sha256().to_owned());
        manifest.chat_template = Some(materials.data.template.clone());
        manifest.dataset = materials.data.record.clone();
        // Checkpoints are served with it before there is a final model.
        let own = self.folder.path().join(crate::app::load::RUN_TOKENIZER);
        atomic::create_dir_all(&own)?;
        materials.tokenizer.save(&own)?;
        self.write_manifest()
    }

    /// An out-of-memory with what takes how much, and what the last checkpoint is good for.
    fn explained(&self, fault: Fault) -> Fault {
        if fault.code != "out_of_memory" {
            return fault;
        }
        let plan = &self.materials.plan;
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let parts: Vec<String> = plan.parts.iter().map(|p| format!("{} {}", p.name, mib(p.bytes))).collect();
        let now = device::memory(&self.device).ok().flatten();
        let now =
            now.map(|m| format!("; this run holds {}, {} are free of {}", mib(m.used), mib(m.free), mib(m.total))).unwrap_or_default();
        let message = format!("{}: the plan was {} ({}){now}", fault.message, mib(plan.peak_bytes), parts.join(", "));
        let kept = self.record.manifest.stages.iter().any(|s| s.last_checkpoint.is_some());
        let resume = format!("the last checkpoint is whole: `{}`", self.request.resume_command(self.folder));
        let hint = fault.hint.unwrap_or_default();
        Fault::new("out_of_memory", message).hint(if kept { format!("{hint}; {resume}") } else { hint })
    }

    fn stages(&mut self) -> Result<TrainReport, Fault> {
        self.record.event(&Event::doing("loading the base model"));
        let options = LoadOptions { device: self.device.clone(), ..prepare::load_options(self.config) };
        let path = &self.materials.base.path;
        let mut model = self.request.stop.within(|| Ok(Decoder::load(path, &options)?))?;
        check_vocabulary(&self.materials.tokenizer, &model)?;
        match self.config.training.method {
            Method::Full => model.enable_full_finetuning()?,
            Method::Lora => model.add_lora(&prepare::lora(self.config), self.config.training.seed)?,
        }
        let stages = self.config.training.num_stages;
        for number in 1..=stages {
            self.judge_base(number, &model)?;
        }
        let base = self.base_figures(stages);
        let mut steps_left = self.request.stop_after;
        for number in 1..=stages {
            if self.is_done(number) {
                self.restore_stage(number, &mut model)?;
            } else {
                let outcome = self.stage(number, &mut model, steps_left)?;
                if outcome.end == End::Stopped {
                    return self.stopped(base);
                }
                steps_left = steps_left.map(|n| n.saturating_sub(outcome.made));
                if number < stages {
                    self.judge_stage(number, &model)?;
                }
                self.save_stage(number, &model)?;
            }
            if number < stages {
                self.decide(number)?;
            }
            if number < stages && self.request.until_stage == Some(number) {
                return self.stopped(base);
            }
        }
        self.finished(&model, base)
    }

    fn is_done(&self, number: usize) -> bool {
        self.record.manifest.stages.get(number - 1).is_some_and(|s| s.adapters.is_some())
    }

    /// Takes up what a finished stage gave: the checkpoint that its values came from, verified.
    fn restore_stage(&self, number: usize, model: &mut Decoder) -> Result<(), Fault> {
        let record = &self.record.manifest.stages[number - 1];
        let best = record.best_checkpoint.as_ref().filter(|_| restores_best(self.config));
        let gone = || {
            let message = format!("{}: stage {number} is done, but its checkpoint is not recorded", self.folder.path().display());
            Fault::new("checkpoints_unreadable", message).hint("start a new run")
        };
        let path = best.or(record.last_checkpoint.as_ref()).ok_or_else(gone)?;
        let saved = checkpoint::verify(&self.folder.path().join(path))?;
        Ok(checkpoint::restore_parameters(&saved.path, model)?)
    }

    fn stage(&mut self, number: usize, model: &mut Decoder, stop_after: Option<u64>) -> Result<Outcome, Fault> {
        let settings = prepare::stage(self.config, number);
        let epoch_steps = self.materials.epoch_steps[number - 1];
        self.record.event(&Event::Stage { number, total_steps: settings.iterations, epoch_steps });
        let data = &self.materials.data;
        let (dataset, validation) = match (number, &data.stage2) {
            (2, Some(own)) => (&own.train, &own.validation),
            _ => (&data.train, &data.validation),
        };
        self.expect_checkpoints(number)?;
        let summary = self.folder.stage(number).join("training-data").join("dataset.json");
        write_json(&summary, &json!({"counts": dataset.counts, "fingerprint": dataset.fingerprint, "left_out": dataset.problems}))?;
        let record = self.record.stage(number, settings.iterations);
        record.peak_memory.predicted_bytes = Some(self.materials.plan.peak_bytes);
        record.memory_plan = serde_json::to_value(&self.materials.plan).ok();

        let options = ready::sampler_options(self.config, number);
        let mut source = Sampled { dataset, sampler: Sampler::new(dataset, options)? };
        let validation =
            validation.as_ref().map(|rows| evaluation_passes(rows, self.materials.plan.evaluation_tokens, &Sft)).unwrap_or_default();
        let train_config = TrainConfig { stop_after, ..loop_config(self.config, self.request, self.folder, &self.materials.plan, number) };
        device::reset_peak(&self.device)?;
        let mut trainer = Trainer::new(model, &mut source, train_config, &mut self.record)?.with_validation(validation);
        if let Some(answer) = samples::answer(self.config, &self.materials.tokenizer, &self.materials.base.path) {
            trainer = trainer.with_samples(self.config.evaluation.sample_every, answer);
        }
        let outcome = trainer.run()?;
        drop(trainer);
        let unmoved = (outcome.end != End::Stopped).then(|| moved::warning(self.folder.path(), number, settings.learning_rate));
        if let Some(message) = unmoved.flatten() {
            self.record.event(&Event::warning("loss_not_moved", message));
        }
        self.note_outcome(number, &outcome)?;
        Ok(outcome)
    }

    /// A stage whose checkpoints are all gone does not silently begin again.
    fn expect_checkpoints(&self, number: usize) -> Result<(), Fault> {
        let recorded = self.record.manifest.stages.get(number - 1).and_then(|s| s.last_checkpoint.as_ref());
        let dir = self.folder.checkpoints(number);
        let any = std::fs::read_dir(&dir).is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.path().is_dir())));
        match recorded.filter(|_| !any) {
            None => Ok(()),
            Some(path) => {
                let message = format!("{} was written, and {} holds no checkpoint any more", path.display(), dir.display());
                Err(Fault::new("checkpoints_unreadable", message).hint("bring the checkpoints back from a copy, or start a new run"))
            }
        }
    }

    fn note_outcome(&mut self, number: usize, outcome: &Outcome) -> Result<(), Fault> {
        let relative = |p: &PathBuf| self.folder.relative(p);
        let record = &mut self.record.manifest.stages[number - 1];
        record.iterations_done = outcome.step;
        record.last_loss = outcome.last_loss.or(record.last_loss);
        record.best_step = outcome.best.map(|b| b.step);
        record.best_loss = outcome.best.map(|b| b.loss);
        record.best_checkpoint = outcome.best_checkpoint.as_ref().map(relative);
        record.last_checkpoint = outcome.last_checkpoint.as_ref().map(relative);
        record.wall_seconds = outcome.seconds;
        record.tokens = outcome.tokens;
        record.trained_tokens = outcome.trained_tokens;
        record.sequences = outcome.sequences;
        let on_gpu = device::memory(&self.device)?.map(|m| m.peak);
        record.peak_memory.measured_bytes = Some(on_gpu.unwrap_or(outcome.peak_rss));
        record.peak_memory.peak_rss_bytes = Some(outcome.peak_rss);
        self.record.measure_energy();
        self.write_manifest()
    }

    fn save_stage(&mut self, number: usize, model: &Decoder) -> Result<(), Fault> {
        let target = self.folder.stage(number).join("adapters");
        result::save(model, &self.materials.tokenizer, &target)?;
        self.record.manifest.stages[number - 1].adapters = Some(self.folder.relative(&target));
        self.write_manifest()
    }

    fn stopped(&mut self, base: Option<Evaluation>) -> Result<TrainReport, Fault> {
        self.record.manifest.status = Status::Stopped;
        self.record.manifest.finished_at = Some(now_utc());
        self.write_manifest()?;
        let command = self.request.resume_command(self.folder);
        Ok(TrainReport { resume_command: Some(command), ..self.report(Status::Stopped, base, None, None) })
    }

    fn finished(&mut self, model: &Decoder, base: Option<Evaluation>) -> Result<TrainReport, Fault> {
        let tuned = self.judge_stage(self.config.training.num_stages, model)?;
        let target = self.folder.path().join("final-model");
        // What the last stage gave is what the run gave.
        result::again(&self.folder.stage(self.config.training.num_stages).join("adapters"), &target)?;
        self.decide(self.config.training.num_stages)?;
        self.record.manifest.status = Status::Finished;
        self.record.manifest.finished_at = Some(now_utc());
        self.write_manifest()?;
        Ok(self.report(Status::Finished, base, tuned, Some(target)))
    }

    fn report(&self, status: Status, base: Option<Evaluation>, tuned: Option<Evaluation>, model: Option<PathBuf>) -> TrainReport {
        let (run_id, run, stages) = (self.folder.id(), self.folder.path().to_path_buf(), self.record.manifest.stages.clone());
        let kept = outcome::kept(self.folder);
        let verdicts = self.record.manifest.verdicts.clone();
        TrainReport { run_id, run, status, stages, base, tuned, kept, verdicts, model, uploaded: None, energy: None, resume_command: None }
    }
}

/// Whether a stage ends with the values of its best evaluation.
fn restores_best(config: &RunConfig) -> bool {
    config.training.early_stopping.is_some()
}

fn loop_config(config: &RunConfig, request: &TrainRequest, folder: &RunFolder, plan: &MemoryPlan, number: usize) -> TrainConfig {
    let t = &config.training;
    let settings = prepare::stage(config, number);
    TrainConfig {
        total_steps: settings.iterations,
        gradient_accumulation: t.gradient_accumulation,
        max_tokens_per_pass: plan.tokens_per_pass,
        schedule: prepare::schedule(config, settings),
        optimizer: prepare::optimizer(config),
        max_grad_norm: (t.max_grad_norm > 0.0).then_some(t.max_grad_norm),
        policy: plan.policy,
        seed: t.seed.wrapping_add(number as u64 - 1),
        dropout: t.method == Method::Lora && config.lora.dropout > 0.0,
        checkpoint_dir: Some(folder.checkpoints(number)),
        save_steps: t.save_steps,
        keep_checkpoints: t.keep_checkpoints,
        eval_steps: t.eval_steps,
        early_stopping: t.early_stopping,
        restore_best: restores_best(config),
        // A new run has no checkpoints to take up.
        resume: Resume::Latest,
        config_hash: config.training_hash(),
        stop: request.stop.clone(),
        stop_after: None,
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Fault::new("io", format!("{}: {e}", path.display())))?;
    atomic::write_file(path, text.as_bytes())
}
