//! What was rented, on disk, before it is asked for.
//!
//! ```text
//!   intended ──> made ──> ended
//!       └── no pod of this name, and the note is old: ended
//! ```
//! One file an entry, named after its tag, which is also in the pod's name. Whoever looks at the
//! ledger brings it up to date: a pod whose maker was killed before it could note the id is found
//! by its name, and one that is beyond its caps is terminated.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::clock::{ServiceClock, written};
use super::kinds::{Pod, PodStatus};
use super::money::disk_price_hour;
use super::pods;
use crate::base::atomic;
use crate::base::error::Fault;

/// Another folder for the ledger.
pub const LEDGER_VARIABLE: &str = "TALLOW_CLOUD_STATE";

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is about to be asked for.
    Intended,
    /// It is there.
    Made,
    /// It is gone.
    Ended,
}

/// What ends a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Caps {
    /// Hours after which it is terminated.
    pub max_hours: Option<f64>,
    /// US dollars after which it is terminated.
    pub max_cost: Option<f64>,
}

impl Caps {
    /// The hours that both caps leave at a price an hour; `None`: no cap.
    pub fn hours_at(&self, price_hour: f64) -> Option<f64> {
        let by_cost = self.max_cost.filter(|_| price_hour > 0.0).map(|c| c / price_hour);
        match (self.max_hours, by_cost) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Something rented.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its tag.
    pub tag: String,
    /// The pod's name.
    pub name: String,
    /// How far it is.
    pub stage: Stage,
    /// The pod, once it is known.
    pub pod_id: Option<String>,
    /// US dollars an hour, as far as known, without its disk.
    pub price_hour: f64,
    /// Container disk in GB.
    #[serde(default)]
    pub disk_gb: u32,
    /// What ends it.
    pub caps: Caps,
    /// When it was asked for, by the service's clock, UTC.
    pub created_at: String,
    /// Whether it was made for one piece of work, so that it has no use without it.
    pub for_one_job: bool,
    /// The record of that work.
    #[serde(default)]
    pub job: Option<PathBuf>,
    /// Why it ended.
    #[serde(default)]
    pub end: Option<String>,
    /// When that was noted, UTC.
    #[serde(default)]
    pub ended_at: Option<String>,
}

impl Entry {
    /// Hours from when it was asked for to its end, or to `now` by the service's clock.
    pub fn hours(&self, now: Timestamp) -> f64 {
        let end = self.ended_at.as_ref().and_then(|at| at.parse().ok()).unwrap_or(now);
        let since = self.created_at.parse::<Timestamp>().map(|t| end.duration_since(t).as_secs_f64());
        since.unwrap_or(0.0).max(0.0) / 3600.0
    }

    /// US dollars an hour with its disk.
    pub fn cost_hour(&self) -> f64 {
        self.price_hour + disk_price_hour(self.disk_gb)
    }
}

/// What is noted of a wish for a pod.
#[derive(Debug, Clone, Default)]
pub struct Intended {
    /// What ends it.
    pub caps: Caps,
    /// US dollars an hour, without its disk.
    pub price_hour: f64,
    /// Container disk in GB.
    pub disk_gb: u32,
    /// Whether it has no use without the work that it is made for.
    pub for_one_job: bool,
    /// The record of that work.
    pub job: Option<PathBuf>,
}

/// Hours after which a wish that no pod came of is given up.
const WISH_HOURS: f64 = 0.25;

/// The folder of entries.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
    clock: ServiceClock,
}

impl Ledger {
    /// That of this user.
    ///
    /// # Errors
    /// When the system names no home.
    pub fn of_user() -> Result<Self, Fault> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let state = || {
            var("XDG_STATE_HOME")
                .or_else(|| Some(var("HOME").or_else(|| var("USERPROFILE"))?.join(".local/state")))
                .map(|d| d.join("tallow/cloud"))
        };
        let folder = var(LEDGER_VARIABLE).or_else(state);
        let folder =
            folder.ok_or_else(|| Fault::new("io", "no home folder is known").hint("set HOME, or TALLOW_CLOUD_STATE to a folder"))?;
        Ok(Self::at(&folder))
    }

    /// In a folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), clock: ServiceClock::default() }
    }

    /// The same with the clock of the service.
    #[must_use]
    pub fn by(self, clock: &ServiceClock) -> Self {
        Self { clock: clock.clone(), ..self }
    }

    /// Now, by the service's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Taken by the one process that keeps the caps; `None` where another one does.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn watched_alone(&self) -> Result<Option<std::fs::File>, Fault> {
        atomic::create_dir_all(&self.folder)?;
        let path = self.folder.join("watch.lock");
        let file = std::fs::File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, tag: &str) -> PathBuf {
        self.folder.join(format!("{tag}.json"))
    }

    /// Writes an entry whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, entry: &Entry) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(entry).map_err(|e| Fault::new("internal", e.to_string()))?;
        atomic::write_file(&self.path(&entry.tag), text.as_bytes())
    }

    /// Notes the wish for a pod; nothing may be asked for before.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn intend(&self, tag: &str, wish: Intended) -> Result<Entry, Fault> {
        let Intended { caps, price_hour, disk_gb, for_one_job, job } = wish;
        let entry = Entry {
            tag: tag.to_owned(),
            name: pods::name_of(tag),
            stage: Stage::Intended,
            pod_id: None,
            price_hour,
            disk_gb,
            caps,
            created_at: written(self.now()),
            for_one_job,
            job,
            end: None,
            ended_at: None,
        };
        self.write(&entry)?;
        Ok(entry)
    }

    /// Notes the pod that came of a wish.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn made(&self, entry: &mut Entry, pod: &Pod) -> Result<(), Fault> {
        (entry.stage, entry.pod_id) = (Stage::Made, Some(pod.id.clone()));
        if pod.cost > 0.0 {
            entry.price_hour = pod.cost;
        }
        self.write(entry)
    }

    /// Notes an end.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn ended(&self, entry: &mut Entry, why: &str) -> Result<(), Fault> {
        (entry.stage, entry.end, entry.ended_at) = (Stage::Ended, Some(why.to_owned()), Some(written(self.now())));
        self.write(entry)
    }

    /// All entries, oldest first. A file that cannot be read is named, and left.
    ///
    /// # Errors
    /// When one is damaged: what it stood for may still cost money.
    pub fn entries(&self) -> Result<Vec<Entry>, Fault> {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path());
        let mut all = Vec::new();
        for path in files.filter(|p| p.extension().is_some_and(|e| e == "json")) {
            let bytes = std::fs::read(&path).map_err(|e| Fault::io("read", &path, &e))?;
            let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| {
                Fault::new("cloud_ledger_damaged", format!("{}: {e}", path.display()))
                    .hint("look in the console of RunPod for the pod tallow-(name of the file), then remove the file")
            })?;
            all.push(entry);
        }
        all.sort_by(|a, b| (&a.created_at, &a.tag).cmp(&(&b.created_at, &b.tag)));
        Ok(all)
    }

    /// The entry of a pod that is known here.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn of_pod(&self, id: &str) -> Result<Option<Entry>, Fault> {
        Ok(self.entries()?.into_iter().find(|e| e.pod_id.as_deref() == Some(id)))
    }

    /// Brings the ledger up to date with the service, and ends what is beyond its caps or has no
    /// use any more: `is_wanted` says of an entry made for one piece of work whether somebody still
    /// works on it. What was done, in words.
    ///
    /// # Errors
    /// When the service refuses or the folder cannot be written; what was done until then is
    /// written down.
    pub fn tidy(&self, client: &Client, is_wanted: &dyn Fn(&Entry) -> bool) -> Result<Vec<String>, Fault> {
        let mut done = Vec::new();
        let open: Vec<Entry> = self.entries()?.into_iter().filter(|e| e.stage != Stage::Ended).collect();
        if open.is_empty() {
            return Ok(done);
        }
        let there = pods::list(client)?;
        for mut entry in open {
            let is_own = |p: &&Pod| p.name == entry.name || entry.pod_id.as_ref() == Some(&p.id);
            // A wish that was sent twice may have been carried out twice.
            let own: Vec<&Pod> = there.iter().filter(|p| p.status != PodStatus::Terminated).filter(is_own).collect();
            let Some(pod) = own.first() else {
                // A wish that was sent a moment ago may still become a pod.
                if entry.stage == Stage::Made || entry.hours(self.now()) > WISH_HOURS {
                    self.ended(&mut entry, "the service knows no such pod")?;
                    done.push(format!("{}: gone", entry.name));
                }
                continue;
            };
            if entry.stage == Stage::Intended {
                self.made(&mut entry, pod)?;
                done.push(format!("{}: found again as pod {}", entry.name, pod.id));
            }
            let price = if pod.cost > 0.0 { pod.cost } else { entry.price_hour } + disk_price_hour(entry.disk_gb);
            let beyond = entry.caps.hours_at(price).is_some_and(|most| entry.hours(self.now()) >= most);
            let stopped = matches!(pod.status, PodStatus::Exited | PodStatus::Error);
            let why = match beyond {
                true => "beyond its cap",
                // The disk of its container is lost, and paid for.
                false if entry.for_one_job && stopped => "it has stopped",
                false if entry.for_one_job && !is_wanted(&entry) => "nobody works with it any more",
                false => continue,
            };
            for pod in &own {
                pods::terminate(client, &pod.id)?;
            }
            self.ended(&mut entry, why)?;
            done.push(format!("{}: pod {} terminated, {why}", entry.name, pod.id));
        }
        Ok(done)
    }
}
