//! Hyperparameter search, in a process that outlives the server.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::jobs;
use crate::app::search::{self, SearchReport};
use crate::base::error::Fault;
use crate::mcp::isolate::intern;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};
use crate::runs::Project;

// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Start,
    Status,
    Stop,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchIn {
    project_path: String,
    /// start (or go on), status, stop (it can go on). Default start.
    #[serde(default)]
    action: Action,
    /// For a new search: keys of the configuration, each with "log:1e-5..1e-3", "2..64" or a list
    /// of choices.
    space: Option<Map<String, Value>>,
    /// In all. Default 20.
    #[schemars(range(min = 1, max = 100_000))]
    trials: Option<u64>,
    /// At once, where their planned memory allows it. Default 1.
    #[schemars(range(min = 1, max = 64))]
    parallel: Option<u64>,
    /// On the validation rows. Default loss.
    metric: Option<Metric>,
    /// Default tpe.
    method: Option<Method>,
    /// Which trials end early. Default median.
    prune: Option<Prune>,
    seed: Option<u64>,
    /// Default search. One that exists goes on.
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Loss,
    Accuracy,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    Tpe,
    Random,
    Grid,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Prune {
    Off,
    Median,
    Asha,
}

impl SearchIn {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("search")
    }

    /// The same as arguments of the program.
    fn arguments(&self, project: &Project, shared: &Shared) -> Vec<String> {
        let mut all: Vec<String> = vec!["search".into(), project.config.display().to_string(), "--json".into()];
        let mut say = |flag: &str, value: String| all.extend([format!("--{flag}"), value]);
        say("name", self.name().to_owned());
        shared.roots.all().for_each(|root| say("root", root.display().to_string()));
        if let Some(space) = &self.space {
            say("space-json", Value::Object(space.clone()).to_string());
        }
        if let Some(trials) = self.trials {
            say("trials", trials.to_string());
        }
        if let Some(parallel) = self.parallel {
            say("parallel", parallel.to_string());
        }
        if let Some(seed) = self.seed {
            say("seed", seed.to_string());
        }
        let metric = self.metric.map(|m| match m {
            Metric::Loss => "loss",
            Metric::Accuracy => "accuracy",
        });
        let method = self.method.map(|m| match m {
            Method::Tpe => "tpe",
            Method::Random => "random",
            Method::Grid => "grid",
        });
        let prune = self.prune.map(|p| match p {
            Prune::Off => "off",
            Prune::Median => "median",
            Prune::Asha => "asha",
        });
        for (flag, word) in [("metric", metric), ("method", method), ("prune", prune)] {
            if let Some(word) = word {
                say(flag, word.to_owned());
            }
        }
        all
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TrialOut {
    /// 1 has the configuration's own settings.
    trial: u64,
    /// running, complete, pruned or failed.
    state: String,
    value: Option<f64>,
    run_id: Option<String>,
    settings: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchOut {
    name: String,
    /// running, stopped or finished.
    status: String,
    wanted: u64,
    ended: u64,
    best: Option<TrialOut>,
    /// A configuration with the best settings.
    best_config: Option<String>,
    /// With the configuration's own settings.
    own_value: Option<f64>,
    /// Share of the variance of the trials' ranks that each setting explains alone.
    importance: Option<Map<String, Value>>,
    /// The newest 50.
    trials: Vec<TrialOut>,
    picture: Option<String>,
}

const MOST_TRIALS: usize = 50;

impl From<SearchReport> for SearchOut {
    fn from(r: SearchReport) -> Self {
        let out = |t: &search::Row| TrialOut {
            trial: t.trial,
            state: t.state.name().to_owned(),
            value: t.value,
            run_id: t.run_id.clone(),
            settings: t.settings.clone(),
        };
        let best = r.best.as_ref().and_then(|best| r.trials.iter().find(|t| t.trial == best.trial));
        Self {
            name: r.search,
            status: r.status.name().to_owned(),
            wanted: r.wanted,
            ended: r.ended,
            best: best.map(out),
            best_config: r.best.map(|b| b.config.display().to_string()).filter(|path| std::path::Path::new(path).is_file()),
            own_value: r.own_value,
            importance: r.importance,
            trials: r.trials[r.trials.len().saturating_sub(MOST_TRIALS)..].iter().map(out).collect(),
            picture: r.picture.map(|p| p.display().to_string()),
        }
    }
}

/// search_hyperparameters
pub(super) struct Search;

impl Tool for Search {
    const NAME: &'static str = "search_hyperparameters";
    const TITLE: &'static str = "Search for better settings";
    const ABOUT: &'static str = "Train trials over a space of settings and keep the best; poor ones end early. It runs in \
        a process that outlives this server: ask again with action status. Trials are ordinary runs.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Wait;
    type In = SearchIn;
    type Out = SearchOut;

    fn call(input: SearchIn, shared: &Shared, call: &Call) -> Result<SearchOut, Fault> {
        let project = shared.roots.project(&input.project_path)?;
        let folder = shared.roots.allow(search::folder(&project.root, input.name())?)?;
        let none = || {
            Fault::new("search_not_found", format!("there is no search `{}` in this project", input.name())).hint("start one with a space")
        };
        let status = || search::status(&project.root, input.name())?.ok_or_else(none);
        match input.action {
            Action::Status => {}
            Action::Stop => {
                let known = status()?;
                if !search::stop(&project.root, input.name())? && known.ended < known.wanted {
                    return Err(Fault::new("not_running", "the search is not under way").hint("start goes on with it"));
                }
                until(call, &mut || !search::is_busy(&folder));
            }
            Action::Start => {
                if search::is_busy(&folder) {
                    return Err(Fault::new("search_busy", format!("the search `{}` is under way", input.name()))
                        .hint("action status shows how it stands"));
                }
                let before = search::status(&project.root, input.name())?.map_or(0, |r| r.trials.len());
                let began = || search::status(&project.root, input.name()).ok().flatten().is_some_and(|r| r.trials.len() > before);
                start(&input.arguments(&project, shared), call, &began)?;
            }
        }
        status().map(SearchOut::from)
    }
}

/// How long a start or a stop is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

fn until(call: &Call, done: &mut dyn FnMut() -> bool) {
    let begun = Instant::now();
    while !done() && begun.elapsed() < PATIENCE && call.pause(LOOK) {}
}

/// Starts the process and waits until a trial has begun, or for the end; an end by an error is that
/// error.
fn start(arguments: &[String], call: &Call, began: &dyn Fn() -> bool) -> Result<(), Fault> {
    let program = jobs::this_program()?;
    let mut command = Command::new(&program);
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // What ends the server's group (Ctrl-C, a closed terminal) does not end the search.
        command.process_group(0);
    }
    let child = command.spawn().map_err(|e| Fault::io("start", &program, &e))?;
    let ended = last_words(child);
    let mut said = None;
    until(call, &mut || {
        said = said.take().or_else(|| ended.try_recv().ok());
        said.is_some() || began()
    });
    match said {
        Some(words) => fault(&words).map_or(Ok(()), Err),
        None => Ok(()),
    }
}

/// Waits for the process on a thread of its own, so that it leaves no zombie; what it printed comes
/// when it ends.
fn last_words(mut child: Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut out) = child.stdout.take() {
            let _ = out.read_to_end(&mut bytes);
        }
        let status = child.wait();
        let mut words = String::from_utf8_lossy(&bytes).into_owned();
        if words.trim().is_empty() {
            let how = status.map_or_else(|e| e.to_string(), |s| s.to_string());
            words = serde_json::json!({"error": {"code": "internal", "message": format!("the search ended without a word ({how})")}})
                .to_string();
        }
        // Nobody may wait for it any more.
        let _ = sender.send(words);
    });
    receiver
}

/// The error that the program printed as JSON, where it did.
fn fault(words: &str) -> Option<Fault> {
    let value: Value = serde_json::from_str(words).ok()?;
    let text = |name: &str| value["error"][name].as_str().map(str::to_owned);
    Some(Fault { code: intern(&text("code")?), message: text("message")?, hint: text("hint") })
}
