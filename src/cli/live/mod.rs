//! `tallow runs watch`: a run on the terminal as it goes, read from its folder alone.

mod draw;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::draw::{Look, Point, Snapshot};
use super::run::Desk;
use super::style::{bytes, count, duration};
use crate::app::jobs::{self, Curves, CurvesRequest, State};
use crate::base::error::Fault;
use crate::runs::{self, RunFolder};

/// `tallow runs watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run folder, its name under the project, or `latest`.
    #[arg(default_value = "latest")]
    pub run: String,
    /// The project folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
    /// End when the run does.
    #[arg(long)]
    pub until_end: bool,
}

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a key is waited for at most.
const KEY: Duration = Duration::from_millis(100);
/// Points of a curve: more than a terminal has columns of dots.
const POINTS: usize = 600;
/// Bytes of the log's end that are read.
const LOG_BYTES: u64 = 16 << 10;

/// Shows the run until a key ends it; the run goes on.
pub(super) fn run(desk: &Desk, a: &WatchArgs) -> Result<u8, Fault> {
    let run = runs::find(&a.project, &a.run)?;
    if desk.json || !std::io::stdout().is_terminal() {
        return Err(Fault::new("usage", "a live view needs a terminal").hint(format!("`tallow runs show {}` says how it stands", run.id())));
    }
    let mut shown = snapshot(&run)?;
    let failed = |e: std::io::Error| Fault::new("io", format!("the terminal cannot be used: {e}"));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = watch(&mut terminal, &run, &mut shown, a.until_end);
    ratatui::restore();
    result?;
    desk.give(&serde_json::json!({}), || format!("{}  {}, step {}/{}", shown.run, shown.state, shown.done, shown.total))
}

fn watch(terminal: &mut ratatui::DefaultTerminal, run: &RunFolder, shown: &mut Snapshot, until_end: bool) -> Result<(), Fault> {
    let failed = |e: std::io::Error| Fault::new("io", format!("the terminal cannot be used: {e}"));
    let mut look = Look::default();
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| draw::draw(frame, shown, look)).map_err(failed)?;
        if until_end && shown.has_ended {
            return Ok(());
        }
        if event::poll(KEY).map_err(failed)?
            && let Event::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
        {
            let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            match key.code {
                _ if is_interrupt => return Ok(()),
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('l') => look.is_log = !look.is_log,
                _ => {}
            }
        }
        if looked.elapsed() >= LOOK {
            *shown = snapshot(run)?;
            looked = Instant::now();
        }
    }
}

/// A run as it stands now.
fn snapshot(run: &RunFolder) -> Result<Snapshot, Fault> {
    let p = jobs::progress(run)?;
    let curves = jobs::curves(run, &CurvesRequest { points: POINTS, from: None, to: None, smooth: 0.8 })?;
    let is_bad = p.state == State::Failed;
    let reason = p.reason.as_ref().filter(|_| is_bad).map(|r| format!(": {}", r.message)).unwrap_or_default();
    let stage = if curves.second_stage.is_some() { format!(", stage {}", p.stage) } else { String::new() };
    let last = |name: &str| curves.series.iter().find(|s| s.name == name).and_then(|s| s.y.last()).copied();
    let number = |value: Option<f64>, decimals: usize| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.decimals$}"));
    let best = points(&curves, "eval_loss").into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    let figures = vec![
        ("loss", number(p.metrics.train_loss, 4)),
        ("validation", number(p.metrics.validation_loss, 4)),
        ("best", best.map_or_else(|| "-".to_owned(), |(step, loss)| format!("{loss:.4} at {step:.0}"))),
        ("accuracy", last("eval_accuracy").map_or_else(|| "-".to_owned(), |a| format!("{:.1} %", 100.0 * a))),
        ("learning rate", p.metrics.learning_rate.map_or_else(|| "-".to_owned(), |lr| format!("{lr:.2e}"))),
        ("gradient norm", number(last("grad_norm").map(f64::from), 3)),
        ("tokens/s", p.metrics.tokens_per_second.map_or_else(|| "-".to_owned(), |t| count(t as u64))),
        ("peak memory", p.metrics.peak_memory_bytes.map_or_else(|| "-".to_owned(), bytes)),
        ("CO2", p.carbon_kg.map_or_else(|| "-".to_owned(), |kg| format!("{:.3} g", 1e3 * kg))),
    ];
    Ok(Snapshot {
        run: p.run_id,
        state: format!("{}{stage}{reason}", p.state.name()),
        is_bad,
        has_ended: !p.state.is_active() && p.state != State::NotStarted,
        done: p.done,
        total: p.total,
        left: p.seconds_left.filter(|_| p.state.is_active()).map(duration),
        loss: points(&curves, "loss_smooth"),
        validation: points(&curves, "eval_loss"),
        figures,
        log: log(run),
    })
}

fn points(curves: &Curves, name: &str) -> Vec<Point> {
    let series = curves.series.iter().find(|s| s.name == name);
    series.map(|s| s.x.iter().zip(&s.y).map(|(x, y)| (*x as f64, f64::from(*y))).collect()).unwrap_or_default()
}

/// The newest lines of the log, without the time of each.
fn log(run: &RunFolder) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(run.path().join("training.log"))?;
        let from = file.metadata()?.len().saturating_sub(LOG_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    // A log that is not there yet has no lines.
    let text = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split_once("  ").map_or(line, |(_, words)| words).replace(char::is_control, " ")).collect()
}
