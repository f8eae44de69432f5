//! The queue of a device: numbered tickets, each locked by the worker that waits or works. The lowest has its turn.
//!
//! Small jobs share the processor: a job whose planned memory is known starts beside those before it while all of them
//! together stay within a share of the machine's memory and its threads. A GPU is used by one job at a time.
//!
//! ```text
//!   $TALLOW_CACHE/queue/cpu/000000000007.ticket     who: the run's folder and the process
//!                                                   memory: bytes at the peak, or unknown
//! ```

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::memory_limit;
use crate::base::atomic;
use crate::base::cancel::Cancel;
use crate::base::error::Fault;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A place in the queue; the device is free for the next one when it is dropped, or when its process ends.
#[derive(Debug)]
pub struct Ticket {
    dir: PathBuf,
    path: PathBuf,
    bounds: Bounds,
    _lock: File,
}

/// Where the tickets of a device lie.
pub(super) fn queue_dir(device: &str) -> PathBuf {
    let safe: String = device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    crate::app::models::cache_root().join("queue").join(safe)
}

/// The tickets, lowest number first.
pub(super) fn tickets(dir: &Path) -> Vec<(u64, PathBuf)> {
    let number = |p: &Path| p.file_stem()?.to_str()?.parse::<u64>().ok().filter(|_| p.extension().is_some_and(|e| e == "ticket"));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<(u64, PathBuf)> = entries.filter_map(|p| Some((number(&p)?, p))).collect();
    all.sort();
    all
}

/// What a job says of itself to those who wait behind it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run, in words.
    pub who: String,
    /// Memory at its peak as planned; `None`: not known, so it shares with nobody.
    pub memory_bytes: Option<u64>,
}

/// How many jobs may use a device at once, and how much memory all of them together.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    jobs: usize,
    memory_bytes: u64,
}

/// Most jobs at once, whatever the machine is.
const MOST_JOBS: usize = 4;
/// Threads that a job beside others should have for itself.
const THREADS_EACH: usize = 2;
/// Share of the machine's memory that jobs beside each other may plan with.
const SHARE_OF_MEMORY: f64 = 0.6;

impl Bounds {
    /// Those of this machine. TALLOW_JOBS_AT_ONCE says another number of jobs.
    fn of(device: &str) -> Self {
        if device != "cpu" {
            return Self { jobs: 1, memory_bytes: 0 };
        }
        let machine = crate::runs::Machine::this();
        let said = std::env::var("TALLOW_JOBS_AT_ONCE").ok().and_then(|n| n.parse().ok());
        let jobs = said.unwrap_or((machine.cpu_count / THREADS_EACH).min(MOST_JOBS)).max(1);
        Self { jobs, memory_bytes: (machine.memory_bytes.unwrap_or(0) as f64 * SHARE_OF_MEMORY) as u64 }
    }

    /// Whether jobs with these plans may run at once.
    fn allow(&self, plans: &[Option<u64>]) -> bool {
        let sum = plans.iter().try_fold(0u64, |sum, plan| sum.checked_add((*plan)?));
        plans.len() <= 1 || (plans.len() <= self.jobs && sum.is_some_and(|sum| sum <= self.memory_bytes))
    }
}

/// The planned memory on a ticket.
fn memory(ticket: &Path) -> Option<u64> {
    fs::read_to_string(ticket).ok()?.lines().find_map(|l| l.strip_prefix("memory: "))?.parse().ok()
}

/// Who waits or works, in words; nothing where it cannot be read.
pub(super) fn holder(ticket: &Path) -> String {
    let text = fs::read_to_string(ticket).unwrap_or_default();
    let who = text.lines().find_map(|l| l.strip_prefix("who: ")).unwrap_or_default();
    who.chars().take(500).collect()
}

impl Ticket {
    /// Takes the next number of a device.
    pub(super) fn of(device: &str, claim: &Claim) -> Result<Self, Fault> {
        Self::take(&queue_dir(device), claim, Bounds::of(device))
    }

    fn take(dir: &Path, claim: &Claim, bounds: Bounds) -> Result<Self, Fault> {
        atomic::create_dir_all(dir)?;
        let _gate = gate(dir)?;
        sweep(dir);
        let number = tickets(dir).last().map_or(1, |(n, _)| n + 1);
        let path = dir.join(format!("{number:012}.ticket"));
        let fail = |e: &std::io::Error| Fault::io("write", &path, e);
        let mut file = File::options().create_new(true).append(true).open(&path).map_err(|e| fail(&e))?;
        file.lock().map_err(|e| fail(&e))?;
        let memory = claim.memory_bytes.map_or_else(|| "unknown".to_owned(), |b| b.to_string());
        let text = format!("who: {} (process {})\nmemory: {memory}\n", claim.who.replace('\n', " "), std::process::id());
        // At once, so that nobody reads a half of it.
        file.write_all(text.as_bytes()).map_err(|e| fail(&e))?;
        Ok(Self { dir: dir.to_path_buf(), path, bounds, _lock: file })
    }

    /// Whether it may start: nobody is before it, or all before it and itself may run at once.
    pub(super) fn has_turn(&self) -> Result<bool, Fault> {
        let fits = || {
            let up_to_me = tickets(&self.dir).into_iter().map(|(_, path)| path).filter(|path| *path <= self.path);
            self.bounds.allow(&up_to_me.map(|path| memory(&path)).collect::<Vec<_>>())
        };
        if fits() {
            return Ok(true);
        }
        let _gate = gate(&self.dir)?;
        sweep(&self.dir);
        Ok(fits())
    }

    /// Waits for its turn, and tells who is before it whenever that changes; false when `stop` was raised first.
    pub(super) fn wait(&self, stop: &Cancel, told: &mut dyn FnMut(&[String])) -> Result<bool, Fault> {
        let (mut last, mut waited) = (None, false);
        while !self.has_turn()? {
            if stop.is_requested() {
                return Ok(false);
            }
            let before: Vec<PathBuf> = tickets(&self.dir).into_iter().map(|(_, path)| path).filter(|path| *path < self.path).collect();
            if !before.is_empty() && last.as_ref() != Some(&before) {
                told(&before.iter().map(|path| holder(path)).collect::<Vec<_>>());
                last = Some(before);
            }
            waited = true;
            std::thread::sleep(LOOK);
        }
        if waited {
            // What was before it has given its memory back.
            memory_limit::renew();
        }
        Ok(true)
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Takes a place in the device's queue and waits for its turn; `None` when `stop` was raised first.
///
/// # Errors
/// When the queue cannot be written.
pub fn turn(device: &str, claim: &Claim, stop: &Cancel, told: &mut dyn FnMut(&[String])) -> Result<Option<Ticket>, Fault> {
    let ticket = Ticket::of(device, claim)?;
    Ok(ticket.wait(stop, told)?.then_some(ticket))
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What is left behind is swept by the next one: its lock is free.
        let _ = fs::remove_file(&self.path);
    }
}

/// Tickets are made, and dead ones removed, by one process at a time.
fn gate(dir: &Path) -> Result<File, Fault> {
    let path = dir.join("gate.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
    file.lock().map_err(|e| Fault::io("lock", &path, &e))?;
    Ok(file)
}

/// Removes the tickets whose workers are gone. Behind the gate.
fn sweep(dir: &Path) {
    for (_, path) in tickets(dir) {
        let Ok(file) = File::open(&path) else { continue };
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Bounds = Bounds { jobs: 1, memory_bytes: u64::MAX };

    fn claim(who: &str, memory_bytes: Option<u64>) -> Claim {
        Claim { who: who.into(), memory_bytes }
    }

    #[test]
    fn first_come_first_served_and_the_dead_make_way() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|who| Ticket::take(dir.path(), &claim(who, Some(1)), ALONE).unwrap());
        assert_eq!(holder(&a.path), format!("a (process {})", std::process::id()));
        let turns = |all: [&Ticket; 2]| all.map(|t| t.has_turn().unwrap());
        assert!(a.has_turn().unwrap());
        assert_eq!(turns([&b, &c]), [false, false]);
        drop(a);
        assert_eq!(turns([&b, &c]), [true, false]);
        // A killed worker leaves its ticket, but not its lock.
        let path = b.path.clone();
        drop(b);
        fs::write(&path, b"").unwrap();
        assert!(c.has_turn().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn small_jobs_run_beside_each_other_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { jobs: 3, memory_bytes: 100 };
        let take = |memory| Ticket::take(dir.path(), &claim("x", memory), bounds).unwrap();
        let turns = |all: &[&Ticket]| all.iter().map(|t| t.has_turn().unwrap()).collect::<Vec<_>>();
        let [a, b, c, d] = [Some(40), Some(50), Some(20), Some(5)].map(take);
        // The third does not fit, and the fourth does not overtake it.
        assert_eq!(turns(&[&a, &b, &c, &d]), [true, true, false, false]);
        drop(a);
        assert_eq!(turns(&[&b, &c, &d]), [true, true, true]);
        let e = take(Some(1));
        assert_eq!(turns(&[&e]), [false], "three at once are enough");
        drop((b, c, d));
        // A job that does not know what it takes is alone.
        let f = take(None);
        let g = take(Some(1));
        assert_eq!(turns(&[&e, &f, &g]), [true, false, false]);
        drop(e);
        assert_eq!(turns(&[&f, &g]), [true, false]);
    }
}
