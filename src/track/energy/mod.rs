//! Energy and CO2 of a run.
//!
//! ```text
//!   NVML counter of the run's GPU ─┐
//!   RAPL counters, or an estimate ─┼─> Meter, every few seconds ─> track/energy.json ─> emissions.csv
//!   memory by its size ────────────┘                                (one session a line)
//! ```
//! The processor and the memory are those of the whole machine, as CodeCarbon's mode `machine` has
//! them; the GPU is the one that the run uses. Energies include the data centre's overhead (PUE).

mod cpu;
mod csv_file;
mod gpu;
mod grid;
mod record;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use grid::{ATTRIBUTION, Country, country};
pub use record::{Energies, Session, Sessions, Total, known};

use self::cpu::{Processor, Spread};
use self::gpu::Gpu;
use crate::base::error::Fault;

/// Between samples.
const BETWEEN: Duration = Duration::from_secs(5);
/// Between writes: what a killed run forgets at most.
const BETWEEN_WRITES: Duration = Duration::from_secs(15);
const JOULES_PER_KWH: f64 = 3.6e6;
/// What a memory module takes, in watts, as CodeCarbon has it.
const WATTS_PER_MODULE: f64 = 5.0;

/// What a meter is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The run's id.
    pub run_id: String,
    /// Name in the emissions file.
    pub project: String,
    /// Whose grid.
    pub country: Country,
    /// Power usage effectiveness: all energy of the data centre for each unit that the machine takes.
    pub pue: f64,
    /// Model of the processor.
    pub cpu_model: Option<String>,
    /// The number of the CUDA device that the run uses.
    pub cuda: Option<usize>,
    /// Where the emissions file of all runs lies.
    pub folder: std::path::PathBuf,
}

#[derive(Debug)]
struct State {
    processor: Processor,
    gpu: Option<Gpu>,
    modules: f64,
    last: Instant,
    /// 0 before the first.
    stage: usize,
    sessions: Sessions,
    gpu_load: Spread,
    memory_load: Spread,
    written: Instant,
}

impl State {
    /// Adds what was taken since the last sample.
    fn sample(&mut self, pue: f64) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let taken = self.processor.taken(seconds);
        let gpu = self.gpu.as_mut().map_or(0.0, |gpu| gpu.taken(seconds, &mut self.gpu_load));
        let ram = taken.dram.unwrap_or(self.modules * WATTS_PER_MODULE * seconds);
        let kwh = |joules: f64| joules * pue / JOULES_PER_KWH;
        let new = Energies { cpu_kwh: kwh(taken.cpu), gpu_kwh: kwh(gpu), ram_kwh: kwh(ram) };
        if let Some(share) = cpu::memory_in_use() {
            self.memory_load.add(share);
        }
        let (stage, cpu_load) = (self.stage, self.processor.load);
        let Some(session) = self.sessions.last_mut() else { return };
        session.seconds += seconds;
        session.energies.add(&new);
        session.stages.entry(stage).or_default().add(&new);
        session.cpu_percent = cpu_load.mean().map(|l| 100.0 * l);
        session.gpu_percent = self.gpu_load.mean().map(|l| 100.0 * l);
        session.ram_percent = self.memory_load.mean().map(|l| 100.0 * l);
    }
}

/// Measures a session of a run, from its start until it is ended.
#[derive(Debug)]
pub struct Meter {
    plan: Plan,
    run: std::path::PathBuf,
    state: Arc<Mutex<State>>,
    stop: Option<(SyncSender<()>, JoinHandle<()>)>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Begins a session.
    ///
    /// # Errors
    /// When the run's folder cannot be read or written, or the system gives no thread.
    pub fn start(plan: Plan, run: &Path) -> Result<Self, Fault> {
        let gpu = plan.cuda.and_then(Gpu::open);
        let processor = Processor::new();
        let mut sessions = Sessions::read(run)?;
        sessions.begin(&plan, &processor, gpu.as_ref());
        sessions.write(run)?;
        let state = State {
            processor,
            gpu,
            modules: cpu::memory_modules(),
            last: Instant::now(),
            stage: 0,
            sessions,
            gpu_load: Spread::default(),
            memory_load: Spread::default(),
            written: Instant::now(),
        };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = sync_channel::<()>(0);
        let (shared, pue, folder) = (Arc::clone(&state), plan.pue, run.to_path_buf());
        let work = move || {
            while matches!(stopped.recv_timeout(BETWEEN), Err(RecvTimeoutError::Timeout)) {
                let mut state = locked(&shared);
                state.sample(pue);
                if state.written.elapsed() >= BETWEEN_WRITES {
                    state.written = Instant::now();
                    let sessions = state.sessions.clone();
                    drop(state);
                    // A full disk is told at the end.
                    let _ = sessions.write(&folder);
                }
            }
        };
        let thread = thread::Builder::new().name("track-energy".into()).spawn(work);
        let thread = thread.map_err(|e| Fault::new("energy", format!("no thread: {e}")))?;
        Ok(Self { plan, run: run.to_path_buf(), state, stop: Some((stop, thread)) })
    }

    /// What follows belongs to this stage.
    pub fn stage(&self, number: usize) {
        let mut state = locked(&self.state);
        state.sample(self.plan.pue);
        state.stage = number;
    }

    /// What all sessions of the run have taken so far.
    pub fn so_far(&self) -> Total {
        let mut state = locked(&self.state);
        state.sample(self.plan.pue);
        state.sessions.total()
    }

    /// Ends the session, and writes the emissions files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn end(mut self) -> Result<Total, Fault> {
        self.halt();
        let mut state = locked(&self.state);
        state.sample(self.plan.pue);
        state.sessions.write(&self.run)?;
        csv_file::write_run(&self.run, &state.sessions)?;
        csv_file::add_to(&self.plan.folder, &state.sessions)?;
        Ok(state.sessions.total())
    }

    fn halt(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            // It holds nothing that a panic could have broken.
            let _ = thread.join();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.halt();
    }
}
