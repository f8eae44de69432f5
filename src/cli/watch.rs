//! A run as it goes, for people.

use super::progress::{Progress, Talk, line};
use super::style::{Paint, bytes, count};
use crate::runs::DatasetRecord;
use crate::train::{Event, MemoryPlan, Observer};

/// Shows what happens on stderr.
pub struct Watch {
    talk: Talk,
    paint: Paint,
    progress: Option<Progress>,
    steps: u64,
    /// Steps of an epoch.
    epoch_steps: Option<f64>,
}

impl Watch {
    /// Nothing is shown until something happens.
    pub fn new(talk: Talk) -> Self {
        Self { talk, paint: Paint::for_stderr(), progress: None, steps: 0, epoch_steps: None }
    }

    fn say(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.note(text),
            None if self.talk == Talk::Silent => {}
            None => line(text),
        }
    }

    fn titled(&self, title: &str, text: &str) {
        self.say(&format!("{} {text}", self.paint.dim(&format!("{title:<9}"))));
    }

    fn data(&self, record: &DatasetRecord) {
        let part = |p: &crate::runs::PartRecord| match p.left_out {
            0 => format!("{} rows", count(p.rows as u64)),
            left => format!("{} of {} rows ({left} left out)", count(p.used_rows as u64), count(p.rows as u64)),
        };
        let others = [("validation", &record.validation), ("test", &record.test)];
        let others: String = others.iter().filter_map(|(name, p)| Some(format!(", {name} {}", part(p.as_ref()?)))).collect();
        let (tokens, trained) = (count(record.train.tokens), count(record.train.trained_tokens));
        self.titled("data", &format!("train {} ({tokens} tokens, {trained} of them trained){others}", part(&record.train)));
        if let Some(second) = &record.stage2 {
            let others = [("validation", &second.validation), ("test", &second.test)];
            let others: String = others.iter().filter_map(|(name, p)| Some(format!(", {name} {}", part(p.as_ref()?)))).collect();
            let text = format!(
                "train {} and {} replayed of stage 1 ({:.1} % of an epoch){others}",
                part(&second.train),
                count(second.replayed as u64),
                100.0 * second.replayed_share
            );
            self.titled("stage 2", &text);
        }
    }

    fn plan(&self, plan: &MemoryPlan) {
        let policy = super::show::policy(plan.policy);
        let text = format!("peak {} of {} available; {policy}", bytes(plan.peak_bytes), bytes(plan.budget));
        self.titled("memory", &text);
    }

    fn end(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Doing { what } => self.titled("", &self.paint.dim(what)),
            Event::Data { record } => self.data(record),
            Event::Plan { plan } => self.plan(plan),
            Event::Run { path } => self.titled("run", &path.display().to_string()),
            Event::Stage { total_steps, epoch_steps, .. } => (self.steps, self.epoch_steps) = (*total_steps, *epoch_steps),
            Event::Judged { what, rows, evaluation } => {
                let text = format!(
                    "{what} on {rows}: loss {:.4}, perplexity {:.3}, token accuracy {:.1} %",
                    evaluation.loss,
                    evaluation.perplexity,
                    100.0 * evaluation.accuracy
                );
                self.titled("test", &text);
            }
            Event::Started { total_steps, trainable_parameters, .. } => {
                self.titled("train", &format!("{} steps, {} trained values", count(*total_steps), count(*trainable_parameters)));
                self.progress = Some(Progress::start(self.talk, *total_steps));
            }
            Event::Resumed { step, path } => self.titled("resume", &format!("after step {step}, from {}", path.display())),
            Event::Warning { message, .. } => self.titled("warning", &self.paint.yellow(message)),
            Event::Step { step, loss, lr, tokens_per_second, .. } => {
                let total = self.steps;
                let progress = self.progress.get_or_insert_with(|| Progress::start(self.talk, total));
                let epoch = self.epoch_steps.map(|e| format!("epoch {:.2}  ", *step as f64 / e)).unwrap_or_default();
                progress.set(*step, &format!("{epoch}loss {loss:.4}  lr {lr:.2e}  {} tokens/s", count(*tokens_per_second as u64)));
            }
            Event::Eval { step, loss, perplexity, accuracy, best, .. } => {
                let best = if *best { self.paint.green("  best so far") } else { String::new() };
                let accuracy = 100.0 * accuracy;
                self.titled(
                    "validate",
                    &format!("step {step}: loss {loss:.4}, perplexity {perplexity:.3}, token accuracy {accuracy:.1} %{best}"),
                );
            }
            Event::Samples { samples, .. } => {
                let line = |text: &str| -> String { text.replace('\n', " ").chars().take(90).collect() };
                samples.iter().for_each(|s| self.titled("sample", &format!("{} {}", self.paint.dim(&line(&s.prompt)), line(&s.text))));
            }
            Event::Checkpoint { .. } => {}
            Event::EarlyStop { best_step, best_loss, .. } => {
                self.titled("early", &format!("stop: the best validation loss was {best_loss:.4} at step {best_step}"));
                self.end();
            }
            Event::Stopped { .. } | Event::Diverged { .. } | Event::Finished { .. } => self.end(),
        }
    }
}
