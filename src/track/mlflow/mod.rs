//! MLflow by its REST interface: one run, and where there are two stages a nested run for each.
//!
//! What was sent stands in the cursor, and what is about to be sent is written there first. After a
//! failure whose outcome is not known (a time-out, a kill), the server is asked what it has. So
//! nothing is sent twice and nothing is left out. A step that a killed run makes again keeps the
//! figures of its first making: MLflow cannot take a metric back.
//! Source: mlflow.org/docs/latest/rest-api.html.

mod api;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::api::Api;
pub use self::api::{Address, Credentials};
use super::cursor::Cursor;
use super::facts::{Facts, Standing, in_words};
use super::feed::{Taken, Tracker};
use super::row::{Place, Row};
use crate::base::error::Fault;
use crate::base::hash::sha256_file;

/// Most metrics, parameters and tags of one call.
const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
/// Longest value that every server takes.
const MOST_VALUE: usize = 500;
/// Longest value of a tag.
const MOST_TAG: usize = 5000;
/// What a run is found again by, should the answer to its creation be lost.
const MARK: &str = "tallow.mark";

/// A run at the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Remote {
    /// Its mark, chosen before it is made.
    mark: String,
    id: Option<String>,
    artifacts: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    server: String,
    experiment: String,
    experiment_id: Option<String>,
    run: Remote,
    stages: BTreeMap<usize, Remote>,
    /// Parameters and tags are there.
    described: bool,
    /// Rows up to here are there.
    sent: Option<Place>,
    /// Rows up to here may be there.
    tried: Option<Place>,
    /// Files by name, with the SHA-256 of what was sent.
    files: BTreeMap<String, String>,
    /// Whether results were sent and the answer is missing.
    results_tried: bool,
    /// Results that are there.
    results: BTreeMap<String, f64>,
    /// How the server says that the run stands; it is made as running.
    status: Option<String>,
}

/// The tracker.
#[derive(Debug)]
pub struct Mlflow {
    api: Api,
    cursor: Cursor<Memory>,
    facts: Facts,
}

impl Mlflow {
    /// Takes the tracker's cursor. The server is not asked yet.
    ///
    /// # Errors
    /// As `Cursor::take`; `config_tracker` for another server or experiment than before.
    pub fn open(facts: Facts, address: &Address, experiment: &str) -> Result<Self, Fault> {
        let mut cursor: Cursor<Memory> = Cursor::take(&facts.folder, "mlflow")?;
        let m = &mut cursor.value;
        if m.server != address.url || m.experiment != experiment {
            // Another place knows nothing of this run.
            *m = Memory { server: address.url.clone(), experiment: experiment.to_owned(), ..Memory::default() };
        }
        Ok(Self { api: Api::new(address), cursor, facts })
    }

    fn experiment(&mut self) -> Result<String, Fault> {
        if let Some(id) = &self.cursor.value.experiment_id {
            return Ok(id.clone());
        }
        let name = self.cursor.value.experiment.clone();
        let id = match self.api.experiment(&name)? {
            Some(id) => id,
            // Somebody may have made it in this moment.
            None => match self.api.post("experiments/create", &json!({ "name": name })) {
                Ok(answer) => text(&answer, "/experiment_id")?,
                Err(fault) => self.api.experiment(&name)?.ok_or(fault)?,
            },
        };
        self.cursor.value.experiment_id = Some(id.clone());
        self.cursor.write()?;
        Ok(id)
    }

    fn remote(&mut self, stage: Option<usize>) -> &mut Remote {
        match stage {
            None => &mut self.cursor.value.run,
            Some(n) => self.cursor.value.stages.entry(n).or_default(),
        }
    }

    /// The run at the server, or its nested run of a stage; made where there is none.
    fn run(&mut self, stage: Option<usize>) -> Result<String, Fault> {
        if let Some(id) = &self.remote(stage).id {
            return Ok(id.clone());
        }
        let experiment = self.experiment()?;
        let parent = stage.map(|_| self.run(None)).transpose()?;
        let mark = self.remote(stage).mark.clone();
        let found = if mark.is_empty() { None } else { self.api.marked(&experiment, &mark)? };
        let run = match found {
            Some(run) => run,
            None => {
                self.remote(stage).mark = mark_of(&self.facts, stage);
                self.cursor.write()?;
                let mark = self.remote(stage).mark.clone();
                let name = stage.map_or_else(|| self.facts.id.clone(), |n| format!("{} stage {n}", self.facts.id));
                let tags = [("mlflow.runName", Some(name.clone())), ("mlflow.parentRunId", parent), (MARK, Some(mark))];
                let tags: Vec<Value> = tags.into_iter().filter_map(|(key, value)| Some(json!({ "key": key, "value": value? }))).collect();
                let request = json!({
                    "experiment_id": experiment, "run_name": name, "start_time": self.facts.started_ms, "tags": tags,
                });
                self.api.post("runs/create", &request)?["run"].take()
            }
        };
        let id = text(&run, "/info/run_id")?;
        let artifacts = run.pointer("/info/artifact_uri").and_then(Value::as_str).map(str::to_owned);
        let remote = self.remote(stage);
        (remote.id, remote.artifacts) = (Some(id.clone()), artifacts);
        self.cursor.write()?;
        Ok(id)
    }

    /// Settings and tags. They may be sent again: the values are the same.
    fn describe(&mut self) -> Result<(), Fault> {
        if self.cursor.value.described {
            let goes_on = self.facts.standing == Standing::Running && self.cursor.value.status.as_deref().is_some_and(|s| s != "RUNNING");
            return if goes_on { self.standing(&self.facts.clone()) } else { Ok(()) };
        }
        let run = self.run(None)?;
        let params = self.facts.settings.iter().filter(|(_, v)| !v.is_null());
        let params: Vec<Value> = params.map(|(key, v)| json!({ "key": key, "value": short(&in_words(v), MOST_VALUE) })).collect();
        let tags = self.facts.tags.iter().map(|(key, v)| json!({ "key": format!("tallow.{key}"), "value": short(v, MOST_TAG) }));
        self.api.log(&run, json!({ "tags": tags.collect::<Vec<Value>>() }))?;
        for params in params.chunks(MOST_PARAMS) {
            self.api.log(&run, json!({ "params": params }))?;
        }
        self.cursor.value.described = true;
        self.cursor.write()
    }

    /// Metrics of rows that the server may have already, without those that it has.
    fn missing(&self, run: &str, rows: &[&Row]) -> Result<BTreeSet<(u64, String)>, Fault> {
        let mut wanted = BTreeSet::new();
        for row in rows {
            wanted.extend(row.figures.iter().map(|(name, _)| (row.place.1, name.clone())));
        }
        let names: BTreeSet<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
        for name in names {
            for (step, _) in self.api.history(run, &name)? {
                wanted.remove(&(step, name.clone()));
            }
        }
        Ok(wanted)
    }

    fn send(&mut self, rows: &[&Row]) -> Result<(), Fault> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let stage = (self.facts.stages > 1).then_some(first.place.0);
        let run = self.run(stage)?;
        let m = &mut self.cursor.value;
        let is_unsure = m.tried > m.sent && m.tried >= Some(first.place);
        let missing = if is_unsure { Some(self.missing(&run, rows)?) } else { None };
        self.cursor.value.tried = Some(last.place).max(self.cursor.value.tried);
        self.cursor.write()?;
        let mut metrics = Vec::new();
        for row in rows {
            let is_missing = |name: &str| missing.as_ref().is_none_or(|all| all.contains(&(row.place.1, name.to_owned())));
            for (name, value) in row.figures.iter().filter(|(name, _)| is_missing(name)) {
                metrics.push(json!({ "key": name, "value": value, "timestamp": row.time_ms, "step": row.place.1 }));
            }
        }
        for metrics in metrics.chunks(MOST_METRICS) {
            self.api.log(&run, json!({ "metrics": metrics }))?;
        }
        self.cursor.value.sent = Some(last.place);
        self.cursor.write()
    }

    /// Results that are not there yet, or changed.
    fn results(&mut self, facts: &Facts) -> Result<(), Fault> {
        let known = &self.cursor.value.results;
        let is_new = |(name, value): &&(String, f64)| known.get(name) != Some(value);
        let new: Vec<(String, f64)> = facts.results.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let run = self.run(None)?;
        // The time is the run's end: it tells one ending of the run from another.
        let time = facts.ended_ms.unwrap_or(facts.started_ms);
        let mut metrics = Vec::new();
        for (name, value) in &new {
            let key = format!("result.{name}");
            let is_there = self.cursor.value.results_tried && self.api.history(&run, &key)?.iter().any(|(_, t)| *t == time as u64);
            if !is_there {
                metrics.push(json!({ "key": key, "value": value, "timestamp": time, "step": 0 }));
            }
        }
        self.cursor.value.results_tried = true;
        self.cursor.write()?;
        self.api.log(&run, json!({ "metrics": metrics }))?;
        self.cursor.value.results_tried = false;
        self.cursor.value.results.extend(new);
        self.cursor.write()
    }

    fn files(&mut self, facts: &Facts) -> Result<(), Fault> {
        let run = self.run(None)?;
        // A server that does not pass files on has them somewhere that only its clients can write.
        let is_passed_on = self.cursor.value.run.artifacts.as_ref().is_some_and(|uri| uri.starts_with("mlflow-artifacts:"));
        if !is_passed_on {
            return Ok(());
        }
        let experiment = self.experiment()?;
        for (name, path) in facts.files.iter().filter(|(_, path)| path.is_file()) {
            let hash = sha256_file(path)?;
            if self.cursor.value.files.get(name) != Some(&hash) {
                self.api.put_file(&experiment, &run, name, path)?;
                self.cursor.value.files.insert(name.clone(), hash);
                self.cursor.write()?;
            }
        }
        Ok(())
    }

    fn standing(&mut self, facts: &Facts) -> Result<(), Fault> {
        let status = match facts.standing {
            Standing::Running => "RUNNING",
            Standing::Finished => "FINISHED",
            Standing::Stopped => "KILLED",
            Standing::Failed => "FAILED",
        };
        let main = self.run(None)?;
        let nested = self.cursor.value.stages.values().filter_map(|r| r.id.clone());
        for id in nested.chain([main]).collect::<Vec<_>>() {
            let mut request = json!({ "run_id": id, "status": status });
            if let Some(end) = facts.ended_ms {
                request["end_time"] = json!(end);
            }
            self.api.post("runs/update", &request)?;
        }
        self.cursor.value.status = Some(status.to_owned());
        self.cursor.write()
    }
}

impl Tracker for Mlflow {
    fn name(&self) -> &'static str {
        "mlflow"
    }

    fn rows(&mut self, rows: &[Row], _: bool) -> Result<Taken, Fault> {
        self.describe()?;
        let sent = self.cursor.value.sent;
        let new: Vec<&Row> = rows.iter().filter(|row| sent.is_none_or(|sent| row.place > sent)).collect();
        for stage in new.chunk_by(|a, b| a.place.0 == b.place.0) {
            // A row has some ten figures.
            for rows in stage.chunks(MOST_METRICS / 10) {
                self.send(rows)?;
            }
        }
        Ok(Taken::All)
    }

    fn end(&mut self, facts: &Facts) -> Result<Taken, Fault> {
        self.describe()?;
        self.results(facts)?;
        self.files(facts)?;
        self.standing(facts)?;
        Ok(Taken::All)
    }

    fn reached(&self) -> Option<Place> {
        self.cursor.value.sent
    }
}

/// A word that no other run has.
fn mark_of(facts: &Facts, stage: Option<usize>) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let stage = stage.map_or_else(String::new, |n| format!("/stage{n}"));
    format!("{}{stage}/{now:x}-{}", facts.id, std::process::id())
}

/// The beginning of a text, at most so many bytes.
fn short(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn text(answer: &Value, pointer: &str) -> Result<String, Fault> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| Fault::new("mlflow", format!("the server's answer has no {pointer}")))
}

/// The folder's name where files of the run go at the server.
pub fn remote_name(run: &Path, file: &Path) -> String {
    file.strip_prefix(run).unwrap_or(file).components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
