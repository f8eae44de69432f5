//! Progress for people: bars on a terminal, plain lines otherwise, nothing with --quiet or --json.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::base::progress::Moment;
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

/// Text on stderr without an end of line, as before something is typed.
pub fn mark(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// One task with a known number of steps.
#[derive(Debug)]
pub struct Progress {
    talk: Talk,
    bar: ProgressBar,
    /// What is counted.
    unit: &'static str,
    /// When the first position came, and which it was.
    begun: Instant,
    first: Option<u64>,
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
        Self { talk, bar, unit: "step", begun: Instant::now(), first: None, last_line: None }
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
        if self.first.is_none() {
            (self.begun, self.first) = (Instant::now(), Some(position));
        }
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        let total = self.bar.length().unwrap_or(0);
        let due = self.last_line.is_none_or(|(at, told)| told != position && (at.elapsed() >= Duration::from_secs(2) || position >= total));
        if self.talk == Talk::Lines && due {
            line(&match self.unit {
                "step" => format!("  step {position}/{total}  {message}{}", self.left(position, total)),
                unit => format!("  {position} of {total} {unit} {message}"),
            });
            self.last_line = Some((Instant::now(), position));
        }
    }

    /// The time that is left, from the pace so far; nothing at the ends.
    fn left(&self, position: u64, total: u64) -> String {
        let done = position.saturating_sub(self.first.unwrap_or(position));
        if done == 0 || position >= total {
            return String::new();
        }
        let seconds = self.begun.elapsed().as_secs_f64() / done as f64 * (total - position) as f64;
        format!("  {} left", super::style::duration(seconds))
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

/// Bars of work that reports how far it is, one at a time.
#[derive(Debug)]
pub struct Bars {
    talk: Talk,
    now: RefCell<Option<(String, Progress)>>,
}

impl Bars {
    /// None yet.
    pub fn new(talk: Talk) -> Self {
        Self { talk, now: RefCell::new(None) }
    }

    /// Shows a moment. What is over is taken away; what is over at once was never shown.
    pub fn show(&self, moment: Moment) {
        let mut now = self.now.borrow_mut();
        if now.as_ref().is_some_and(|(what, _)| what != moment.what)
            && let Some((_, bar)) = now.take()
        {
            bar.finish();
        }
        if moment.done >= moment.total {
            if let Some((_, mut bar)) = now.take() {
                bar.set(moment.done, moment.what);
                bar.finish();
            }
            return;
        }
        let start = || (moment.what.to_owned(), Progress::start(self.talk, moment.total).counting(moment.unit));
        now.get_or_insert_with(start).1.set(moment.done, moment.what);
    }
}
