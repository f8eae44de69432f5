//! A run's folder there, kept up to date here.
//!
//! While the run is under way, files whose size or time has changed are fetched. `job.json` comes
//! last: a state stands here only when what it speaks of is here. At the end every file's hash is
//! compared.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::app::jobs::{ELSEWHERE, JobRecord, State, hold};
use crate::base::atomic::{self, AtomicDir};
use crate::base::error::Fault;
use crate::base::hash::sha256_file;
use crate::cloud::ssh::{Host, quoted};
use crate::runs::{RunFolder, RunLock};

pub(super) const MANIFEST: &str = "run-manifest.json";
const JOB: &str = "job.json";
/// Files that are each machine's own.
const OWN: &str = r"\( -name '.tallow-tmp-*' -o -name '*.lock' -o -name job.stop \) -prune -o -type f";
/// What is done with each of them to know its content.
const HASHES: &str = "-exec sha256sum -- {} +";
/// Rounds of comparing hashes at the end.
const ROUNDS: usize = 5;

/// A command of `find` that does not mind a file that goes while it looks: checkpoints are pruned under way.
fn tolerant(command: &str) -> String {
    format!("{command}; [ $? -le 1 ]")
}

/// The mirror of one run.
#[derive(Debug)]
pub(super) struct Mirror<'a> {
    host: &'a Host,
    /// The job's folder there.
    folder: &'a str,
    /// The run's folder there.
    there: String,
    here: PathBuf,
    map: &'a [(String, PathBuf)],
    /// Size and time of what is here, as the other machine tells them.
    seen: HashMap<String, String>,
    /// Hashes of what is here, as it was sent.
    hashes: HashMap<String, String>,
    /// Held so that nobody here takes the run for one without a worker.
    held: Option<(Option<std::fs::File>, RunLock)>,
}

impl<'a> Mirror<'a> {
    pub(super) fn new(host: &'a Host, folder: &'a str, there: &str, here: &Path, map: &'a [(String, PathBuf)]) -> Self {
        let (seen, hashes) = (HashMap::new(), HashMap::new());
        Self { host, folder, there: there.to_owned(), here: here.to_path_buf(), map, seen, hashes, held: None }
    }

    /// Makes the run's folder here, marked as a run elsewhere, and takes its locks.
    fn open(&mut self) -> Result<(), Fault> {
        if self.held.is_some() {
            return Ok(());
        }
        if !self.here.is_dir() {
            let folder = AtomicDir::new(&self.here)?;
            self.host.fetch(&self.there, &[MANIFEST.into()], folder.path())?;
            self.mapped(&folder.path().join(MANIFEST))?;
            atomic::write_file(&folder.path().join(ELSEWHERE), self.host.target.as_bytes())?;
            folder.commit()?;
        }
        let run = RunFolder::open(&self.here)?;
        if !self.here.join(ELSEWHERE).is_file() {
            return Err(Fault::new("already_exists", format!("{} is a run of this machine", self.here.display()))
                .hint("give the run elsewhere another name"));
        }
        self.held = Some((hold(&run)?, run.lock()?));
        self.know()
    }

    /// What an earlier follower has fetched is not fetched again.
    fn know(&mut self) -> Result<(), Fault> {
        for (name, hash) in self.listed_hashes(&tolerant(HASHES))? {
            let local = self.here.join(&name);
            if name != MANIFEST && name != JOB && local.is_file() && sha256_file(&local)? == hash {
                self.hashes.insert(name, hash);
            }
        }
        Ok(())
    }

    fn listed_hashes(&self, command: &str) -> Result<Vec<(String, String)>, Fault> {
        let script = format!("cd {} && {{ find . {OWN} {command}; }}", quoted(&self.there));
        let text = self.host.run(&script)?;
        text.lines()
            .map(|l| l.split_once("  ").map_or_else(|| Err(strange(l)), |(hash, name)| Ok((plain(name)?, hash.to_owned()))))
            .collect()
    }

    /// One round: asks, fetches what has changed, says how the run stands.
    pub(super) fn round(&mut self) -> Result<State, Fault> {
        let look = format!("{0}/tallow --json remote-agent look {0} >/dev/null 2>&1", quoted(self.folder));
        let list = tolerant("-printf '%s %T@ %p\\n'");
        let text = self.host.run(&format!("{look}; cd {} && {{ find . {OWN} {list}; }}", quoted(&self.there)))?;
        self.open()?;
        let (mut changed, mut there) = (Vec::new(), HashSet::new());
        for line in text.lines() {
            let (stamp, name) = line.split_once(" ./").ok_or_else(|| strange(line))?;
            let name = plain(name)?;
            if name != JOB && self.seen.get(&name).is_none_or(|s| s != stamp) {
                self.seen.insert(name.clone(), stamp.to_owned());
                if !self.hashes.contains_key(&name) || grows(&name) {
                    changed.push(name.clone());
                }
            }
            there.insert(name);
        }
        if let Err(fault) = self.take(&changed) {
            // What did not come is fetched in the next round.
            changed.iter().for_each(|name| drop(self.seen.remove(name)));
            return Err(fault);
        }
        self.drop_pruned(&there);
        let stage = self.staging();
        self.host.fetch(&self.there, &[JOB.into()], &stage)?;
        let bytes = std::fs::read(stage.join(JOB)).map_err(|e| Fault::io("read", &stage.join(JOB), &e))?;
        let record: JobRecord = serde_json::from_slice(&bytes).map_err(|_| strange(JOB))?;
        if !record.state.is_active() {
            self.complete()?;
        }
        atomic::write_file(&self.here.join(JOB), &bytes)?;
        Ok(record.state)
    }

    /// Removes checkpoints here that were pruned there.
    fn drop_pruned(&mut self, there: &HashSet<String>) {
        let kept: HashSet<&str> = there.iter().filter_map(|name| checkpoint(name)).collect();
        let all = self.hashes.keys().filter_map(|name| checkpoint(name));
        let gone: HashSet<String> = all.filter(|folder| !kept.contains(folder)).map(str::to_owned).collect();
        for folder in &gone {
            let _ = std::fs::remove_dir_all(self.here.join(folder));
        }
        let is_gone = |name: &str| checkpoint(name).is_some_and(|folder| gone.contains(folder));
        self.hashes.retain(|name, _| !is_gone(name));
        self.seen.retain(|name, _| !is_gone(name));
    }

    fn staging(&self) -> PathBuf {
        self.here.join(format!("{}mirror", atomic::TEMPORARY_PREFIX))
    }

    /// Fetches files into a temporary folder, then puts each in its place; a checkpoint as a whole.
    fn take(&mut self, names: &[String]) -> Result<(), Fault> {
        let stage = self.staging();
        let _ = std::fs::remove_dir_all(&stage);
        let mut checkpoints: HashMap<&str, Vec<(String, String)>> = HashMap::new();
        let got = self.host.fetch(&self.there, names, &stage)?;
        for (name, hash) in &got {
            if let Some(folder) = checkpoint(name).filter(|folder| !self.here.join(folder).exists()) {
                checkpoints.entry(folder).or_default().push((name.clone(), hash.clone()));
                continue;
            }
            if name == MANIFEST {
                self.mapped(&stage.join(name))?;
            }
            self.place(&stage, name)?;
            self.hashes.insert(name.clone(), hash.clone());
        }
        for (folder, files) in checkpoints {
            let wanted: Vec<&String> = names.iter().filter(|name| checkpoint(name) == Some(folder)).collect();
            if files.len() < wanted.len() {
                // It was pruned while it came.
                wanted.into_iter().for_each(|name| drop(self.seen.remove(name)));
                continue;
            }
            self.place(&stage, folder)?;
            self.hashes.extend(files);
        }
        Ok(())
    }

    /// Moves a file or a folder from the temporary folder to its place.
    fn place(&self, stage: &Path, name: &str) -> Result<(), Fault> {
        let (from, to) = (stage.join(name), self.here.join(name));
        if let Some(folder) = to.parent() {
            atomic::create_dir_all(folder)?;
        }
        std::fs::rename(&from, &to).map_err(|e| Fault::io("write", &to, &e))
    }

    /// Compares all hashes until they agree, and removes here what is no longer there.
    fn complete(&mut self) -> Result<(), Fault> {
        for _ in 0..ROUNDS {
            let there: HashMap<String, String> = self.listed_hashes(HASHES)?.into_iter().filter(|(name, _)| name != JOB).collect();
            let differs = |(name, hash): &(&String, &String)| self.hashes.get(*name) != Some(*hash) || !self.here.join(name).is_file();
            let missing: Vec<String> = there.iter().filter(differs).map(|(name, _)| name.clone()).collect();
            if missing.is_empty() {
                self.drop_pruned(&there.into_keys().collect());
                let _ = std::fs::remove_dir_all(self.staging());
                return Ok(());
            }
            self.take(&missing)?;
        }
        Err(Fault::new("remote_damaged", "files of the run arrive damaged again and again")
            .hint("check the connection, then attach to the job again"))
    }

    /// Writes paths of the other machine in a manifest as what they stand for here.
    fn mapped(&self, path: &Path) -> Result<(), Fault> {
        let text = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
        atomic::write_file(path, mapped(&text, self.map)?.as_bytes())
    }
}

/// A manifest with other paths.
pub(super) fn mapped(manifest: &[u8], map: &[(String, PathBuf)]) -> Result<String, Fault> {
    let mut value: Value = serde_json::from_slice(manifest).map_err(|_| strange(MANIFEST))?;
    map_strings(&mut value, map);
    serde_json::to_string_pretty(&value).map_err(|e| Fault::new("internal", e.to_string()))
}

/// Files that are appended to, or written anew, while the run goes on.
fn grows(name: &str) -> bool {
    name.ends_with(".jsonl") || name.ends_with(".log") || name.ends_with(".json")
}

/// The folder of the checkpoint that a file belongs to.
fn checkpoint(name: &str) -> Option<&str> {
    let start = name.find("/checkpoints/step-")? + "/checkpoints/".len();
    let length = name[start..].find('/')?;
    Some(&name[..start + length])
}

/// Writes paths as what they stand for elsewhere: each that is, or is below, the first of a pair
/// becomes the second.
fn map_strings(value: &mut Value, map: &[(String, PathBuf)]) {
    match value {
        Value::String(s) => {
            let below = |(from, to): &(String, PathBuf)| {
                let rest = s.strip_prefix(from.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", to.display()))
            };
            if let Some(new) = map.iter().find_map(below) {
                *s = new;
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|v| map_strings(v, map)),
        Value::Object(all) => all.values_mut().for_each(|v| map_strings(v, map)),
        _ => {}
    }
}

fn strange(what: &str) -> Fault {
    let what: String = what.chars().filter(|c| !c.is_control()).take(200).collect();
    Fault::new("remote_answer", format!("the other machine's answer makes no sense: {what}")).hint("its `find` must be GNU's")
}

/// A name below the run's folder; one that leads outside is refused.
fn plain(name: &str) -> Result<String, Fault> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let normal = Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if normal && !name.is_empty() && !name.contains(['\n', '\\']) { Ok(name.to_owned()) } else { Err(strange(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_outside_are_refused() {
        assert_eq!(plain("./stage1/checkpoints/step-1/a.json").unwrap(), "stage1/checkpoints/step-1/a.json");
        for bad in ["../x", "/etc/passwd", "a/../../x", "", "./", "a\nb"] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_of_a_checkpoint_are_known() {
        assert_eq!(checkpoint("stage1/checkpoints/step-4/a/b.json"), Some("stage1/checkpoints/step-4"));
        for other in ["stage1/checkpoints/step-4", "final-model/x", "checkpoints.json"] {
            assert_eq!(checkpoint(other), None, "{other}");
        }
    }

    #[test]
    fn paths_of_there_become_those_of_here() {
        let map = [("/r/project/data".to_owned(), PathBuf::from("/my/rows")), ("/r/project".to_owned(), PathBuf::from("/my/project"))];
        let mut value = serde_json::json!({"a": ["/r/project/data/x", "/r/projects"], "b": {"c": "/r/project"}, "d": "/other"});
        map_strings(&mut value, &map);
        assert_eq!(value, serde_json::json!({"a": ["/my/rows/x", "/r/projects"], "b": {"c": "/my/project"}, "d": "/other"}));
    }
}
