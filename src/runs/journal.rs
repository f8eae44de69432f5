//! What a run writes down while it runs: events.jsonl, metrics.jsonl and training.log, each line flushed as it happens.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::atomic;
use crate::base::clock;
use crate::base::error::Fault;
use crate::train::{Event, Observer};

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    /// The stage that events belong to; 0 before the first.
    stage: usize,
    events: File,
    metrics: File,
    log: File,
    metrics_path: PathBuf,
    /// The first line that could not be written; the run goes on, and is told at its end.
    failure: Option<Fault>,
}

fn append(path: &Path) -> Result<File, Fault> {
    File::options().create(true).append(true).open(path).map_err(|e| Fault::io("open", path, &e))
}

/// Opens a file of lines. What a killed process left of its last line is cut off, so that the next
/// line does not continue it.
fn append_lines(path: &Path) -> Result<File, Fault> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Fault::io("read", path, &e)),
    };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let file = append(path)?;
    if whole < bytes.len() {
        file.set_len(whole as u64).map_err(|e| Fault::io("cut", path, &e))?;
    }
    Ok(file)
}

impl Journal {
    /// Opens the files of a run's folder for appending.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(run: &Path) -> Result<Self, Fault> {
        let metrics_path = run.join("metrics.jsonl");
        Ok(Self {
            stage: 0,
            events: append_lines(&run.join("events.jsonl"))?,
            metrics: append_lines(&metrics_path)?,
            log: append_lines(&run.join("training.log"))?,
            metrics_path,
            failure: None,
        })
    }

    /// The first line that could not be written.
    pub fn failure(&mut self) -> Option<Fault> {
        self.failure.take()
    }

    /// Writes an event down.
    pub fn record(&mut self, event: &Event) {
        let result = self.try_record(event);
        if let Err(fault) = result
            && self.failure.is_none()
        {
            self.failure = Some(fault);
        }
    }

    /// A line for people.
    pub fn note(&mut self, text: &str) {
        // The log is the least of the three: a full disk shows in the others.
        let _ = writeln!(self.log, "{}  {text}", clock::now_utc());
    }

    fn try_record(&mut self, event: &Event) -> Result<(), Fault> {
        match event {
            Event::Stage { number, .. } => self.stage = *number,
            Event::Started { step, .. } => self.cut_metrics(*step)?,
            _ => {}
        }
        let mut value = serde_json::to_value(event).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            if self.stage > 0 {
                fields.insert("stage".into(), json!(self.stage));
            }
            fields.insert("time".into(), json!(clock::now_utc()));
        }
        let fail = |e: std::io::Error| Fault::io("write to", &self.metrics_path.with_file_name("events.jsonl"), &e);
        // One write a line, so that a killed process leaves at most one line unfinished.
        self.events.write_all(format!("{value}\n").as_bytes()).map_err(fail)?;
        let now = value["time"].clone();
        if let Some(row) = metrics_row(event, self.stage, now) {
            self.metrics.write_all(format!("{row}\n").as_bytes()).map_err(|e| Fault::io("write to", &self.metrics_path, &e))?;
        }
        if let Some(text) = in_words(event) {
            self.note(&text);
        }
        Ok(())
    }

    /// Leaves only the rows of earlier stages and of steps up to `step`: what a resume makes again is not told twice.
    fn cut_metrics(&mut self, step: u64) -> Result<(), Fault> {
        // Bytes, not text: a line that a broken disk spoilt is left out, and the others stay.
        let bytes = fs::read(&self.metrics_path).map_err(|e| Fault::io("read", &self.metrics_path, &e))?;
        let stays = |line: &&[u8]| match serde_json::from_slice::<Value>(line) {
            Ok(row) => row["stage"].as_u64() < Some(self.stage as u64) || row["step"].as_u64() <= Some(step),
            Err(_) => false,
        };
        let kept: Vec<u8> = bytes.split_inclusive(|b| *b == b'\n').filter(stays).flatten().copied().collect();
        if kept != bytes {
            atomic::write_file(&self.metrics_path, &kept)?;
            self.metrics = append(&self.metrics_path)?;
        }
        Ok(())
    }
}

impl Observer for Journal {
    fn event(&mut self, event: &Event) {
        self.record(event);
    }
}

fn metrics_row(event: &Event, stage: usize, time: Value) -> Option<Value> {
    let mut row = match event {
        Event::Step { step, loss, lr, grad_norm, sequences, tokens, trained_tokens, tokens_per_second, elapsed, peak_rss } => json!({
            "stage": stage, "step": step, "loss": loss, "learning_rate": lr, "grad_norm": grad_norm, "sequences": sequences, "tokens": tokens,
            "trained_tokens": trained_tokens, "tokens_per_second": tokens_per_second, "elapsed_seconds": elapsed, "peak_rss_bytes": peak_rss,
        }),
        Event::Eval { step, loss, perplexity, accuracy, tokens, best } => json!({
            "stage": stage, "step": step, "eval_loss": loss, "eval_perplexity": perplexity, "eval_accuracy": accuracy,
            "eval_tokens": tokens, "best": best,
        }),
        Event::Samples { step, samples } => json!({ "stage": stage, "step": step, "samples": samples }),
        _ => return None,
    };
    row["time"] = time;
    Some(row)
}

/// An event as a line for people.
fn in_words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Doing { what } => what.clone(),
        Event::Data { record } => {
            let rows = |part: &Option<crate::data::PartRecord>| part.as_ref().map_or(0, |p| p.rows);
            format!("data: {} rows to train, {} to validate, {} to test", record.train.rows, rows(&record.validation), rows(&record.test))
        }
        Event::Plan { plan } => format!("memory plan: peak {} of {} bytes", plan.peak_bytes, plan.budget),
        Event::Run { .. } => return None,
        Event::Stage { number, total_steps, .. } => format!("stage {number}: {total_steps} steps"),
        Event::Judged { what, rows, evaluation: e } => {
            format!("{what} on {rows}: loss {:.4}  perplexity {:.3}  accuracy {:.4}", e.loss, e.perplexity, e.accuracy)
        }
        Event::Started { step, total_steps, trainable_parameters } => {
            format!("training from step {step} to {total_steps}, {trainable_parameters} trained values")
        }
        Event::Resumed { step, path } => format!("resumed after step {step} from {}", path.display()),
        Event::Warning { code, message } => format!("warning {code}: {message}"),
        Event::Step { step, loss, lr, grad_norm, tokens_per_second, .. } => {
            format!("step {step}  loss {loss:.4}  lr {lr:.3e}  grad norm {grad_norm:.3}  {tokens_per_second:.0} tokens/s")
        }
        Event::Eval { step, loss, perplexity, accuracy, best, .. } => {
            let best = if *best { "  (best)" } else { "" };
            format!("evaluation after step {step}: loss {loss:.4}  perplexity {perplexity:.3}  accuracy {accuracy:.4}{best}")
        }
        Event::Samples { step, samples } => {
            let one = |s: &crate::train::Sample| format!("{:?} -> {:?}", s.prompt, s.text);
            format!("samples after step {step}: {}", samples.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Event::Checkpoint { path, .. } => format!("checkpoint {}", path.display()),
        Event::Stopped { step, .. } => format!("stopped on request after step {step}"),
        Event::EarlyStop { step, best_step, best_loss } => {
            format!("early stop after step {step}: best loss {best_loss:.4} at step {best_step}")
        }
        Event::Diverged { diagnosis } => format!("diverged: {diagnosis}"),
        Event::Finished { step, elapsed } => format!("finished {step} steps in {elapsed:.1} s of training"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Event {
        Event::Step {
            step,
            loss: 1.0,
            lr: 0.1,
            grad_norm: 1.0,
            sequences: 1,
            tokens: 1,
            trained_tokens: 1,
            tokens_per_second: 1.0,
            elapsed: 1.0,
            peak_rss: 1,
        }
    }

    fn stage(number: usize) -> Event {
        Event::Stage { number, total_steps: 9, epoch_steps: None }
    }

    fn started(step: u64) -> Event {
        Event::Started { step, total_steps: 9, trainable_parameters: 1 }
    }

    fn steps(dir: &Path) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
        let row = |l: &str| serde_json::from_str::<Value>(l).unwrap();
        text.lines().map(row).map(|r| (r["stage"].as_u64().unwrap(), r["step"].as_u64().unwrap())).collect()
    }

    #[test]
    fn a_resume_tells_no_step_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        [stage(1), started(0), step(1), step(2), step(3)].iter().for_each(|e| journal.record(e));
        // Killed in the middle of a line, and a line that a broken disk spoilt.
        let add = |name: &str, bytes: &[u8]| append(&dir.path().join(name)).unwrap().write_all(bytes).unwrap();
        add("metrics.jsonl", b"{\"stage\":1,\"step\":1,\"loss\":\xff\xfe}\n{\"stage\":1,\"st");
        add("events.jsonl", b"{\"event\":\"ste");
        let mut journal = Journal::open(dir.path()).unwrap();
        [stage(1), started(2), step(3), step(4)].iter().for_each(|e| journal.record(e));
        assert_eq!(steps(dir.path()), [(1, 1), (1, 2), (1, 3), (1, 4)]);
        let mut journal = Journal::open(dir.path()).unwrap();
        [stage(2), started(0), step(1)].iter().for_each(|e| journal.record(e));
        assert_eq!(steps(dir.path()), [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]);
        assert!(journal.failure().is_none());
        let events = fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        assert!(events.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()), "{events}");
        assert_eq!(events.lines().count(), 5 + 4 + 3);
    }
}
