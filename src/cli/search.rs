//! `tallow search`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::args::SettingsArgs;
use super::progress::{Progress, Talk, line};
use super::run::Desk;
use super::show::table;
use super::style::Paint;
use crate::app::search::{self, SearchReport, SearchRequest, Standing, Told};
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::base::files;
use crate::config::{RunConfig, yaml_value};
use crate::mcp::roots::Roots;
use crate::search::{Method, Metric, Prune, Space, Trial};
use crate::track::in_words;
use crate::train::Event;

/// How settings are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// Where good trials lie densely, after some at random.
    Tpe,
    /// Each trial by itself.
    Random,
    /// The points of a grid.
    Grid,
}

/// Which trials end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PruneName {
    /// None.
    Off,
    /// Those worse than the median of the others at the same step.
    Median,
    /// At steps 1, 3, 9, ... times the first evaluation's, all but the best third.
    Asha,
}

/// What trials are judged by, on the validation rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricName {
    /// Mean loss; lower is better.
    Loss,
    /// Share of tokens that are predicted right.
    Accuracy,
}

/// `tallow search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What to train.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// A setting that varies: lr=log:1e-5..1e-3, lora.rank=4,8,16, lora.dropout=0..0.2
    /// (repeatable).
    #[arg(long, value_name = "KEY=VALUES")]
    pub space: Vec<String>,
    /// The same in a YAML file.
    #[arg(long, value_name = "FILE", conflicts_with = "space")]
    pub space_file: Option<PathBuf>,
    #[arg(long, hide = true, conflicts_with_all = ["space", "space_file"])]
    pub space_json: Option<String>,
    /// Name of the search; one that exists goes on.
    #[arg(long, default_value = "search")]
    pub name: String,
    /// Trials in all, the one with the configuration's own settings among them; 20 for a new
    /// search.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub trials: Option<u64>,
    /// Trials at once, where their planned memory and the device's queue allow it
    /// (TALLOW_JOBS_AT_ONCE). Proposals then depend on which trials have ended.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub parallel: u64,
    /// How settings are chosen; tpe for a new search.
    #[arg(long, value_enum)]
    pub method: Option<MethodName>,
    /// Which trials end early; median for a new search.
    #[arg(long, value_enum)]
    pub prune: Option<PruneName>,
    /// What trials are judged by; loss for a new search.
    #[arg(long, value_enum)]
    pub metric: Option<MetricName>,
    /// What proposals are drawn from; 0 for a new search.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folders below which all paths of the settings must lie.
    #[arg(long, hide = true)]
    pub root: Vec<PathBuf>,
}

fn space(a: &SearchArgs) -> Result<Option<Space>, Fault> {
    if let Some(path) = &a.space_file {
        let text = files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
        let in_file = |f: Fault| Fault { message: format!("{}: {}", path.display(), f.message), ..f };
        return Space::from_value(&yaml_value(&text)).map(Some).map_err(in_file);
    }
    if let Some(text) = &a.space_json {
        let tree: Value = serde_json::from_str(text).map_err(|e| Fault::new("bad_space", format!("the space is no JSON: {e}")))?;
        return Space::from_value(&tree).map(Some);
    }
    if a.space.is_empty() { Ok(None) } else { Space::from_arguments(&a.space).map(Some) }
}

/// Does what the arguments say.
pub(super) fn run(desk: &Desk, a: SearchArgs, stop: Cancel, noted: &(dyn Fn(&Event) + Sync)) -> Result<u8, Fault> {
    let space = space(&a)?;
    let roots = if a.root.is_empty() { None } else { Some(Roots::new(&a.root)?) };
    let allow = |config: &RunConfig| roots.as_ref().map_or(Ok(()), |roots| roots.settings(config));
    let (config, set, flags) = super::run::settings_of(a.settings, false)?;
    let request = SearchRequest {
        config,
        set,
        flags,
        name: a.name,
        space,
        method: a.method.map(|m| match m {
            MethodName::Tpe => Method::Tpe,
            MethodName::Random => Method::Random,
            MethodName::Grid => Method::Grid,
        }),
        prune: a.prune.map(|p| match p {
            PruneName::Off => Prune::Off,
            PruneName::Median => Prune::Median,
            PruneName::Asha => Prune::Asha,
        }),
        metric: a.metric.map(|m| match m {
            MetricName::Loss => Metric::Loss,
            MetricName::Accuracy => Metric::Accuracy,
        }),
        seed: a.seed,
        trials: a.trials,
        parallel: a.parallel as usize,
        stop,
    };
    let bars = desk.talk == Talk::Bars && request.parallel == 1;
    let mut shown = Shown { talk: desk.talk, paint: Paint::for_stderr(), bars, progress: None, wanted: 0 };
    let report = search::run(&request, &allow, &mut |told| {
        if let Told::Event(_, event) = &told {
            noted(event);
        }
        shown.hear(&told);
    })?;
    desk.give(&report, || text(&report, desk.paint))
}

/// A search as it goes: a bar for the trial, a line for each that has ended.
struct Shown {
    talk: Talk,
    paint: Paint,
    /// Whether there is a bar, which shows one trial at a time.
    bars: bool,
    progress: Option<Progress>,
    wanted: u64,
}

impl Shown {
    fn title(&self, number: u64) -> String {
        format!("trial {number}/{}", self.wanted)
    }

    fn say(&mut self, words: &str) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        if self.talk != Talk::Silent {
            line(words);
        }
    }

    fn hear(&mut self, told: &Told<'_>) {
        match told {
            Told::Begun(_, wanted) => self.wanted = *wanted,
            Told::Event(_, Event::Started { total_steps, .. }) if self.bars => {
                self.progress = Some(Progress::start(self.talk, *total_steps));
            }
            Told::Event(number, Event::Step { step, loss, .. }) => {
                let message = format!("{}  loss {loss:.4}", self.title(*number));
                self.progress.iter_mut().for_each(|p| p.set(*step, &message));
            }
            Told::Event(number, Event::Warning { code, message }) if ["tracker", "journal"].contains(&code.as_str()) => {
                let words = format!("{}: {message}", self.title(*number));
                self.say(&self.paint.yellow(&words));
            }
            Told::Event(..) => {}
            Told::Ended(trial, best) => {
                let words = self.ended(trial, *best);
                self.say(&words);
            }
        }
    }

    fn ended(&self, trial: &Trial, best: Option<&Trial>) -> String {
        let value = trial.value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        let settings: Vec<String> = trial.settings.iter().map(|(key, v)| format!("{}={}", short(key), in_words(v))).collect();
        let is_best = best.is_some_and(|b| b.number == trial.number);
        let mark = if is_best { self.paint.green("  best so far") } else { String::new() };
        let reason = trial.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
        format!("{}  {:<8} {value}  {}{mark}{reason}", self.title(trial.number), trial.state.name(), settings.join(" "))
    }
}

/// The last part of a key.
fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Trials that the table shows.
const SHOWN: usize = 30;

fn text(report: &SearchReport, paint: Paint) -> String {
    let keys: Vec<String> = report.trials.first().map(|t| t.settings.keys().cloned().collect()).unwrap_or_default();
    let mut order: Vec<&search::Row> = report.trials.iter().collect();
    let sign = if report.metric == Metric::Accuracy { -1.0 } else { 1.0 };
    let key = |r: &search::Row| (r.state as u8, sign * r.value.unwrap_or(f64::INFINITY));
    order.sort_by(|a, b| key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
    let rows: Vec<Vec<String>> = order
        .iter()
        .take(SHOWN)
        .map(|r| {
            let value = r.value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
            let settings = keys.iter().map(|key| r.settings.get(key).map_or_else(|| "-".to_owned(), in_words));
            [r.trial.to_string(), r.state.name().to_owned(), value, r.steps.to_string()].into_iter().chain(settings).collect()
        })
        .collect();
    let short_keys: Vec<&str> = keys.iter().map(|k| short(k)).collect();
    let twice = |k: &&str| short_keys.iter().filter(|other| other == &k).count() > 1;
    let heads = keys.iter().zip(&short_keys).map(|(key, short)| if twice(short) { key.as_str() } else { short });
    let metric = match report.metric {
        Metric::Loss => "loss",
        Metric::Accuracy => "accuracy",
    };
    let head: Vec<&str> = ["trial", "state", metric, "steps"].into_iter().chain(heads).collect();
    let mut out = table(paint, &head, &rows);
    if order.len() > SHOWN {
        out += &format!("  ... {} more in search.json\n", order.len() - SHOWN);
    }
    out + &below(report, paint)
}

/// What stands under the table.
fn below(report: &SearchReport, paint: Paint) -> String {
    let named = |name: &str, words: String| format!("{} {words}\n", paint.dim(&format!("{name:<12}")));
    let mut out = String::new();
    if let Some(shares) = &report.importance {
        let mut all: Vec<(&String, f64)> = shares.iter().map(|(key, v)| (key, v.as_f64().unwrap_or_default())).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let words: Vec<String> = all.iter().map(|(key, share)| format!("{} {:.0} %", short(key), 100.0 * share)).collect();
        out += &named("importance", words.join(", "));
    }
    if let Some(best) = &report.best {
        let own = report.own_value.filter(|_| best.trial != 1).map(|v| format!(", and {v:.4} with the configuration's own settings"));
        out += &named("best", format!("trial {}: {:.4}{}", best.trial, best.value, own.unwrap_or_default()));
        out += &named("train it", paint.bold(&format!("tallow train {}", best.config.display())));
    }
    if let Some(picture) = &report.picture {
        out += &named("picture", picture.display().to_string());
    }
    let status = report.status;
    if report.exhausted {
        out += &named("status", format!("finished after {} trials: every setting of the space has been tried", report.ended));
    } else if status == Standing::Stopped {
        out += &named("go on", format!("{} of {} trials have ended; give the same command again", report.ended, report.wanted));
    }
    out
}
