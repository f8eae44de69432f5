//! Progress for people: bars on a terminal, plain lines otherwise, nothing with --quiet or --json.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How talkative the program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// Bars that redraw.
    Bars,
    /// One line now and then.
    Lines,
    /// Nothing.
    Silent,
}

impl Talk {
    /// What fits the flags and where stderr goes.
    pub fn choose(json: bool, quiet: bool) -> Self {
        match (json || quiet, std::io::stderr().is_terminal()) {
            (true, _) => Talk::Silent,
            (false, true) => Talk::Bars,
            (false, false) => Talk::Lines,
        }
    }
}

/// A line on stderr.
pub fn line(text: &str) {
    let mut err = std::io::stderr().lock();
    // A closed stderr must not stop a run.
    let _ = writeln!(err, "{text}");
}

/// One task with a known number of steps.
#[derive(Debug)]
pub struct Progress {
    talk: Talk,
    bar: ProgressBar,
    /// What is counted.
    unit: &'static str,
    /// When the last plain line came, and for which position.
    last_line: Option<(Instant, u64)>,
}

impl Progress {
    /// Starts at 0 of `total`.
    pub fn start(talk: Talk, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(total),
            if talk == Talk::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("  {bar:32} {pos}/{len} {msg}  [{elapsed_precise} < {eta_precise}]") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self { talk, bar, unit: "step", last_line: None }
    }

    /// Says what is counted, where it is not steps.
    #[must_use]
    pub fn counting(mut self, unit: &'static str) -> Self {
        let template = format!("  {{bar:32}} {{pos}} of {{len}} {unit} {{msg}}  [{{elapsed_precise}} < {{eta_precise}}]");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style.progress_chars("━╸─"));
        }
        self.unit = unit;
        self
    }

    /// Sets the position and the words beside it. Plain lines come at most every two seconds, and at the end.
    pub fn set(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        let total = self.bar.length().unwrap_or(0);
        let due = self.last_line.is_none_or(|(at, told)| told != position && (at.elapsed() >= Duration::from_secs(2) || position >= total));
        if self.talk == Talk::Lines && due {
            line(&match self.unit {
                "step" => format!("  step {position}/{total}  {message}"),
                unit => format!("  {position} of {total} {unit} {message}"),
            });
            self.last_line = Some((Instant::now(), position));
        }
    }

    /// A line above the bar.
    pub fn note(&self, text: &str) {
        match self.talk {
            Talk::Bars => self.bar.suspend(|| line(text)),
            Talk::Lines => line(text),
            Talk::Silent => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
