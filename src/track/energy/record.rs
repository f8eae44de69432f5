//! What was measured, session by session: `track/energy.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Plan;
use super::cpu::{self, Processor};
use super::gpu::Gpu;
use crate::base::atomic;
use crate::base::clock::now_utc;
use crate::base::error::Fault;

/// Energy by part, in kilowatt hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Energies {
    /// Processors.
    pub cpu_kwh: f64,
    /// The run's GPU.
    pub gpu_kwh: f64,
    /// Memory.
    pub ram_kwh: f64,
}

impl Energies {
    /// All parts together.
    pub fn kwh(&self) -> f64 {
        self.cpu_kwh + self.gpu_kwh + self.ram_kwh
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.cpu_kwh += other.cpu_kwh;
        self.gpu_kwh += other.gpu_kwh;
        self.ram_kwh += other.ram_kwh;
    }
}

/// A process that worked on the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Unique among the sessions of all runs.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// Name in the emissions file.
    pub project: String,
    /// UTC.
    pub started_at: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Of the whole session, PUE included.
    pub energies: Energies,
    /// Of each stage; 0 is what came before the first.
    pub stages: BTreeMap<usize, Energies>,
    /// How the processor's energy is known: `rapl`, or an estimate.
    pub cpu_source: String,
    /// How the GPU's energy is known.
    pub gpu_source: Option<String>,
    /// The country's code and name.
    pub country: (String, String),
    /// Of its grid.
    pub grams_per_kwh: f64,
    /// Power usage effectiveness.
    pub pue: f64,
    /// Model of the processor.
    pub cpu_model: Option<String>,
    /// Threads of the machine.
    pub cpu_count: usize,
    /// Model of the GPU.
    pub gpu_model: Option<String>,
    /// Bytes of the machine.
    pub ram_bytes: Option<f64>,
    /// Mean load of the machine.
    pub cpu_percent: Option<f64>,
    /// Mean load of the GPU.
    pub gpu_percent: Option<f64>,
    /// Mean share of the memory in use.
    pub ram_percent: Option<f64>,
}

impl Session {
    /// Kilograms of CO2 equivalents.
    pub fn kg(&self) -> f64 {
        self.energies.kwh() * self.grams_per_kwh / 1000.0
    }
}

/// What a run took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// Kilowatt hours.
    pub kwh: f64,
    /// Kilograms of CO2 equivalents.
    pub kg: f64,
    /// Kilowatt hours of each stage.
    pub stages: BTreeMap<usize, f64>,
    /// The newest session's country.
    pub country: String,
    /// Of its grid.
    pub grams_per_kwh: f64,
    /// How it is known, in words.
    pub source: String,
}

/// What a run took so far, as a process that works on it wrote it last; `None` where nothing is known.
pub fn known(run: &Path) -> Option<Total> {
    // A pipe would hold the reader up.
    const MOST_BYTES: u64 = 4 << 20;
    std::fs::metadata(path(run)).ok().filter(|data| data.is_file() && data.len() <= MOST_BYTES)?;
    Sessions::read(run).ok().filter(|s| !s.sessions.is_empty()).map(|s| s.total())
}

fn path(run: &Path) -> PathBuf {
    run.join("track").join("energy.json")
}

/// All sessions of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// Oldest first.
    pub sessions: Vec<Session>,
}

impl Sessions {
    /// Those of a run; none where nothing was measured.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn read(run: &Path) -> Result<Self, Fault> {
        let path = path(run);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Fault::io("read", &path, &e)),
        };
        serde_json::from_str(&text).map_err(|e| Fault::new("energy", format!("{}:{}: {e}", path.display(), e.line())))
    }

    pub(super) fn write(&self, run: &Path) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("energy", e.to_string()))?;
        atomic::write_file(&path(run), text.as_bytes())
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Session> {
        self.sessions.last_mut()
    }

    pub(super) fn begin(&mut self, plan: &Plan, processor: &Processor, gpu: Option<&Gpu>) {
        let started_at = now_utc();
        self.sessions.push(Session {
            id: format!("{}-{}-{}", plan.run_id, self.sessions.len() + 1, std::process::id()),
            run_id: plan.run_id.clone(),
            project: plan.project.clone(),
            started_at,
            seconds: 0.0,
            energies: Energies::default(),
            stages: BTreeMap::new(),
            cpu_source: processor.source().into(),
            gpu_source: gpu.map(|g| g.source().to_owned()),
            country: (plan.country.iso.clone(), plan.country.name.clone()),
            grams_per_kwh: plan.country.grams_per_kwh,
            pue: plan.pue,
            cpu_model: plan.cpu_model.clone(),
            cpu_count: cpu::thread_count(),
            gpu_model: gpu.map(|g| g.name.clone()),
            ram_bytes: cpu::meminfo("MemTotal"),
            cpu_percent: None,
            gpu_percent: None,
            ram_percent: None,
        });
    }

    /// All sessions together.
    pub fn total(&self) -> Total {
        let mut total = Total::default();
        for s in &self.sessions {
            total.kwh += s.energies.kwh();
            total.kg += s.kg();
            for (stage, energies) in &s.stages {
                *total.stages.entry(*stage).or_default() += energies.kwh();
            }
        }
        if let Some(last) = self.sessions.last() {
            total.country.clone_from(&last.country.0);
            total.grams_per_kwh = last.grams_per_kwh;
            let gpu = last.gpu_source.as_ref().map(|s| format!("GPU: {s}, ")).unwrap_or_default();
            total.source = format!("{gpu}processor: {}, memory: by its size", last.cpu_source);
        }
        total
    }
}
