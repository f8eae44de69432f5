//! Hyperparameter search: trials as ordinary runs, one after another or some at once, the search
//! itself in a folder that says everything.
//!
//! ```text
//!   PROJECT/searches/NAME/search.json   what varies, and all trials; written at each change
//!                        /best.yaml     a configuration with the best settings
//!                        /search.svg, .png   values by trial, importance, parallel coordinates
//!   PROJECT/runs/NAME-007-<time>/       the run of trial 7
//! ```
//! Going on after a kill: a trial that was under way is resumed (its run is known by its name even
//! where the record does not name it yet), those that have ended stay as they are, and the next
//! settings depend on nothing but the record. With trials at once they depend on which of them have
//! ended by then. How many train at once, within the memory that their plans ask for, is the
//! device's queue's to say.

mod best;
mod report;
mod trial;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub(super) use report::shares;
pub use report::{Row, SearchReport, Standing, Winner};

use super::train::configuration_of;
use crate::base::atomic;
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::base::hash::{sha256_bytes, sha256_file};
use crate::config::{Resolved, RunConfig, keys};
use crate::runs::{Project, is_name_letter};
use crate::search::{Domain, Method, Metric, Prune, Record, Settings, Space, State, Trial, propose};
use crate::train::Event;

/// Settings that flags stand for: the flag, the key, the value.
pub type Flags = Vec<(String, String, Value)>;

/// A request to search, or to go on with a search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// A configuration file or a project folder; `None`: flags say everything.
    pub config: Option<PathBuf>,
    /// `key=value` overrides of all trials.
    pub set: Vec<String>,
    /// Settings of all trials that flags stand for.
    pub flags: Flags,
    /// Its name; one that exists goes on.
    pub name: String,
    /// What varies; `None`: as the search has it.
    pub space: Option<Space>,
    /// `None`: as the search has it, else TPE.
    pub method: Option<Method>,
    /// `None`: as the search has it, else the median.
    pub prune: Option<Prune>,
    /// `None`: as the search has it, else the loss.
    pub metric: Option<Metric>,
    /// `None`: as the search has it, else 0.
    pub seed: Option<u64>,
    /// Trials in all; `None`: as the search has it, else 20.
    pub trials: Option<u64>,
    /// Trials at once, at least 1.
    pub parallel: usize,
    /// Stops after the step at hand; the search can go on later.
    pub stop: Cancel,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Told<'a> {
    /// A trial begins, or goes on; so many are wanted.
    Begun(&'a Trial, u64),
    /// The run of the trial of this number tells something.
    Event(u64, &'a Event),
    /// It has ended; the best so far.
    Ended(&'a Trial, Option<&'a Trial>),
}

/// Trials where nobody says how many.
const TRIALS: u64 = 20;
/// The file that asks a search of another process to stop.
const STOP: &str = "search.stop";
const LOCK: &str = "search.lock";

/// Who hears of a search, from all of its threads.
pub type Heard<'a> = dyn FnMut(Told<'_>) + Send + 'a;

/// What the threads of a search change, one at a time.
struct Table<'a> {
    record: &'a mut Record,
    heard: &'a mut Heard<'a>,
    /// Trials that a thread is at.
    taken: BTreeSet<usize>,
}

type Shared<'a> = Mutex<Table<'a>>;

fn open<'t, 'a>(table: &'t Shared<'a>) -> MutexGuard<'t, Table<'a>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all trials of a search share.
struct Bench<'a> {
    request: &'a SearchRequest,
    project: Project,
    resolved: Resolved,
    folder: PathBuf,
    stop: Cancel,
}

/// Searches until all trials have ended, or to a stop. `allow` sees the settings first.
///
/// # Errors
/// A configuration or a space that cannot be used; a search of this name with other settings; what
/// keeps a trial from being trained, but for divergence and lack of memory, which end that trial
/// alone.
pub fn run(request: &SearchRequest, allow: &dyn Fn(&RunConfig) -> Result<(), Fault>, heard: &mut Heard<'_>) -> Result<SearchReport, Fault> {
    let (project, resolved) = configuration_of(request.config.as_deref(), &request.set, &request.flags)?;
    allow(&resolved.config)?;
    let folder = folder(&project.root, &request.name)?;
    let known = Record::read(&folder)?;
    let mut record = settle(request, &resolved, known)?;
    watched(&resolved.config)?;
    check_space(request, &record.space)?;
    atomic::create_dir_all(&folder)?;
    let _lock = lock(&folder)?;
    // Another process may have gone on with it meanwhile.
    if let Some(now) = Record::read(&folder)? {
        record.trials = now.trials;
        record.exhausted = now.exhausted && record.exhausted;
    }
    atomic::sweep(&folder);
    let asked = folder.join(STOP);
    let _ = std::fs::remove_file(&asked);
    let stop = request.stop.or_when(move || asked.exists());
    record.write(&folder)?;
    let bench = Bench { request, project, resolved, folder, stop };
    let result = bench.trials(&mut record, &mut |told| heard(told));
    // What is known is shown also where the next trial could not be trained.
    let shown = bench.show(&record);
    result?;
    shown?;
    Ok(report::of(&record, &bench.folder, Standing::of(&record, false)))
}

/// How a search of a project stands; `None` where there is none of this name.
///
/// # Errors
/// When its file cannot be read.
pub fn status(root: &Path, name: &str) -> Result<Option<SearchReport>, Fault> {
    let folder = folder(root, name)?;
    let record = Record::read(&folder)?;
    Ok(record.map(|record| report::of(&record, &folder, Standing::of(&record, is_busy(&folder)))))
}

/// Asks a search to stop after the step at hand; false where none is under way.
///
/// # Errors
/// When its folder cannot be written.
pub fn stop(root: &Path, name: &str) -> Result<bool, Fault> {
    let folder = folder(root, name)?;
    let busy = is_busy(&folder);
    if busy {
        atomic::write_file(&folder.join(STOP), b"stop")?;
    }
    Ok(busy)
}

/// Whether a process works on the search in a folder.
pub fn is_busy(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The folder of a search.
///
/// # Errors
/// For a name that is no folder's.
pub fn folder(root: &Path, name: &str) -> Result<PathBuf, Fault> {
    let fits = !name.is_empty() && name.len() <= 100 && !name.starts_with(['.', '-']) && name.chars().all(is_name_letter);
    if !fits {
        let message = format!("`{}` is no name for a search", name.escape_debug());
        return Err(Fault::new("bad_name", message).hint("use letters, digits, - and _"));
    }
    Ok(root.join("searches").join(name))
}

fn lock(folder: &Path) -> Result<File, Fault> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
    // One that only looks whether the lock is held, holds it for a moment.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(Fault::io("lock", &path, &e)),
        }
    }
    Err(Fault::new("search_busy", format!("{}: another process is at this search", folder.display()))
        .hint("wait for it or stop it, or give another name"))
}

/// The record to go on with: that on disk, where nothing else was asked for than it says, or a new
/// one.
fn settle(request: &SearchRequest, resolved: &Resolved, known: Option<Record>) -> Result<Record, Fault> {
    let Some(mut record) = known else {
        let space = request.space.clone().ok_or_else(|| {
            Fault::new("bad_space", format!("there is no search `{}` yet, and no space for a new one", request.name))
                .hint("say what may vary, for example lr=log:1e-5..1e-3")
        })?;
        let base = base(&resolved.config, &space)?;
        let (method, prune) = (request.method.unwrap_or(Method::Tpe), request.prune.unwrap_or(Prune::Median));
        let (metric, seed) = (request.metric.unwrap_or(Metric::Loss), request.seed.unwrap_or(0));
        let mut record = Record::new(&request.name, space, method, prune, metric, seed, base);
        record.wanted = request.trials.unwrap_or(TRIALS);
        return Ok(record);
    };
    let mut other = Vec::new();
    let mut differs = |what: &'static str, differs: bool| other.extend(differs.then_some(what));
    differs("the space", request.space.as_ref().is_some_and(|s| *s != record.space));
    differs("the method", request.method.is_some_and(|m| m != record.method));
    differs("the pruning", request.prune.is_some_and(|p| p != record.prune));
    differs("the metric", request.metric.is_some_and(|m| m != record.metric));
    differs("the seed", request.seed.is_some_and(|s| s != record.seed));
    differs("the configuration or its rows", base(&resolved.config, &record.space)? != record.base);
    if !other.is_empty() {
        let message = format!("the search `{}` has begun with other values of {}", request.name, other.join(", "));
        return Err(Fault::new("search_differs", message).hint("its trials could not be compared with new ones: give another name"));
    }
    record.wanted = request.trials.unwrap_or(record.wanted);
    // More whole numbers may be tried than the grid had: the next proposal finds out.
    record.exhausted &= request.trials.is_none();
    Ok(record)
}

/// Hash of what all trials share: settings that shape the result and do not vary, and the files of
/// rows.
fn base(config: &RunConfig, space: &Space) -> Result<String, Fault> {
    let mut tree = json!(config);
    for part in ["project", "output_dir", "carbon_tracking", "mlflow", "wandb", "tensorboard", "huggingface", "evaluation"] {
        tree.as_object_mut().map(|top| top.remove(part));
    }
    for p in &space.parameters {
        let (section, key) = p.key.rsplit_once('.').unwrap_or(("", &p.key));
        let inner = section.split('.').try_fold(&mut tree, |node, part| node.get_mut(part));
        inner.and_then(Value::as_object_mut).map(|map| map.remove(key));
    }
    let d = &config.dataset;
    let files = [&d.path, &d.train_path, &d.validation_path, &d.stage2_path];
    let hashes = files.into_iter().flatten().map(|path| sha256_file(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(sha256_bytes(format!("{tree} {hashes:?}").as_bytes()))
}

/// Refuses settings under which no validation row is watched.
fn watched(config: &RunConfig) -> Result<(), Fault> {
    let d = &config.dataset;
    let has_rows = if d.path.is_some() { d.validation_split > 0.0 } else { d.validation_path.is_some() };
    if has_rows {
        return Ok(());
    }
    Err(Fault::new("no_validation_rows", "a search judges its trials by validation rows, and the configuration has none")
        .hint("set dataset.validation_path, or dataset.path with dataset.validation_split above 0"))
}

/// Whether trials with different values of a key can be compared: it shapes training, and neither
/// the rows that are held out nor their tokens.
fn may_vary(key: &str) -> bool {
    const NEVER: [&str; 7] = [
        "training.objective",
        "training.num_stages",
        "training.max_seq_length",
        "training.seed",
        "training.save_steps",
        "training.keep_checkpoints",
        "training.eval_steps",
    ];
    let inside = key.starts_with("training.") || key.starts_with("lora.");
    (inside || ["base_model.quantization", "dataset.quality_threshold"].contains(&key)) && !NEVER.contains(&key)
}

/// Every end of a range and every choice must be a setting that can be used.
fn check_space(request: &SearchRequest, space: &Space) -> Result<(), Fault> {
    for p in &space.parameters {
        if !may_vary(&p.key) || !keys().iter().any(|k| k.path == p.key && k.acts) {
            return Err(Fault::new(
                "bad_space",
                format!("space: `{}` cannot vary: trials would do the same, or be judged differently", p.key),
            )
            .hint("settings below training and lora can vary, but for those that decide which rows or tokens are held out"));
        }
        let tried = match &p.domain {
            Domain::Choice(values) => values.clone(),
            range => vec![range.at(0.0), range.at(1.0)],
        };
        for value in tried {
            let mut flags = request.flags.clone();
            flags.push(("space".into(), p.key.clone(), value));
            configuration_of(request.config.as_deref(), &request.set, &flags)?;
        }
    }
    Ok(())
}

/// The configuration's own values of what varies.
fn own_settings(config: &RunConfig, space: &Space) -> Settings {
    let tree = json!(config);
    let known = keys();
    // A setting may be left out where it is the default.
    let default = |key: &str| known.iter().find(|k| k.path == key).and_then(|k| serde_json::from_str(k.default).ok());
    let at = |key: &str| {
        let own = key.split('.').fold(&tree, |node, part| &node[part]).clone();
        if own.is_null() { default(key).unwrap_or_default() } else { own }
    };
    space.parameters.iter().map(|p| (p.key.clone(), at(&p.key))).collect()
}

impl Bench<'_> {
    fn trials<'a>(&self, record: &'a mut Record, heard: &'a mut Heard<'a>) -> Result<(), Fault> {
        let table = Mutex::new(Table { record, heard, taken: BTreeSet::new() });
        // One that fails ends the others after the step at hand.
        let stop = self.stop.or_when(|| false);
        let work = || {
            let result = self.some_trials(&table, &stop);
            result.as_ref().err().iter().for_each(|_| stop.request());
            result
        };
        if self.request.parallel <= 1 {
            return work();
        }
        let broken = |_| Err(Fault::new("internal", "a thread of the search broke down"));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.request.parallel).map(|_| scope.spawn(work)).collect();
            let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap_or_else(broken)).collect();
            results.into_iter().collect()
        })
    }

    /// Trains trials until none is left, or to a stop.
    fn some_trials(&self, table: &Shared<'_>, stop: &Cancel) -> Result<(), Fault> {
        while !stop.is_requested() {
            let Some(index) = self.next(&mut open(table))? else { return Ok(()) };
            trial::train(self, table, index, stop)?;
            let Table { record, heard, .. } = &mut *open(table);
            record.write(&self.folder)?;
            if record.trials[index].state == State::Running {
                return Ok(());
            }
            heard(Told::Ended(&record.trials[index], record.best()));
        }
        Ok(())
    }

    /// The trial that was broken off, or a new one with the next settings; the first has the
    /// configuration's own.
    fn next(&self, table: &mut Table<'_>) -> Result<Option<usize>, Fault> {
        let Table { record, heard, taken } = table;
        let mut broken_off = (0..record.trials.len()).filter(|i| record.trials[*i].state == State::Running && !taken.contains(i));
        let index = match broken_off.next() {
            Some(index) => Some(index),
            None => self.propose(record)?,
        };
        if let Some(index) = index {
            taken.insert(index);
            heard(Told::Begun(&record.trials[index], record.wanted));
        }
        Ok(index)
    }

    /// A new trial.
    fn propose(&self, record: &mut Record) -> Result<Option<usize>, Fault> {
        let number = record.trials.len() as u64 + 1;
        if number > record.wanted {
            return Ok(None);
        }
        let settings = match number {
            1 => Some(own_settings(&self.resolved.config, &record.space)),
            _ => propose(&record.space, record.method, record.seed, number, &record.past())?,
        };
        let Some(settings) = settings else {
            record.exhausted = true;
            record.write(&self.folder)?;
            return Ok(None);
        };
        record.trials.push(Trial {
            number,
            state: State::Running,
            settings,
            run: None,
            value: None,
            steps: 0,
            curve: Vec::new(),
            reason: None,
        });
        record.write(&self.folder)?;
        Ok(Some(record.trials.len() - 1))
    }

    /// Writes the best settings and the picture.
    fn show(&self, record: &Record) -> Result<(), Fault> {
        if let Some(trial) = record.best() {
            best::write(&self.resolved, &self.project, record, trial, &self.folder.join(report::BEST))?;
        }
        if record.ended().next().is_some() {
            let picture = super::plot::SearchPicture::of(record);
            atomic::write_file(&self.folder.join(report::PICTURE), picture.svg()?.as_bytes())?;
            atomic::write_file(&self.folder.join(report::PICTURE).with_extension("png"), &picture.png()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_the_held_out_rows_alone_may_vary() {
        for key in ["training.stage1.learning_rate", "lora.rank", "training.early_stopping.patience", "base_model.quantization"] {
            assert!(may_vary(key) && keys().iter().any(|k| k.path == key), "{key}");
        }
        for key in ["training.seed", "dataset.path", "dataset.train_on", "output_dir", "base_model.model_id", "training.max_seq_length"] {
            assert!(!may_vary(key) && keys().iter().any(|k| k.path == key), "{key}");
        }
    }

    #[test]
    fn names_are_those_of_folders() {
        let root = Path::new("/p");
        assert_eq!(folder(root, "first_try-2").unwrap(), Path::new("/p/searches/first_try-2"));
        for bad in ["", "..", "a/b", ".x", "-x", "a b", "a\n"] {
            assert_eq!(folder(root, bad).unwrap_err().code, "bad_name", "{bad:?}");
        }
    }
}
