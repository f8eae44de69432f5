//! The queue of a device: numbered tickets, each locked by the worker that waits or works. The lowest has its turn.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::atomic;
use crate::base::error::Fault;
use crate::train::StopFlag;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A place in the queue; the device is free for the next one when it is dropped, or when its process ends.
#[derive(Debug)]
pub struct Ticket {
    dir: PathBuf,
    path: PathBuf,
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

impl Ticket {
    /// Takes the next number.
    pub(super) fn take(dir: &Path) -> Result<Self, Fault> {
        atomic::create_dir_all(dir)?;
        let _gate = gate(dir)?;
        sweep(dir);
        let number = tickets(dir).last().map_or(1, |(n, _)| n + 1);
        let path = dir.join(format!("{number:012}.ticket"));
        let fail = |e: &std::io::Error| Fault::io("write", &path, e);
        let file = File::options().create_new(true).append(true).open(&path).map_err(|e| fail(&e))?;
        file.lock().map_err(|e| fail(&e))?;
        Ok(Self { dir: dir.to_path_buf(), path, _lock: file })
    }

    /// Whether nobody is before it.
    pub(super) fn is_first(&self) -> Result<bool, Fault> {
        let ahead = |dir: &Path| tickets(dir).first().is_some_and(|(_, first)| *first != self.path);
        if !ahead(&self.dir) {
            return Ok(true);
        }
        let _gate = gate(&self.dir)?;
        sweep(&self.dir);
        Ok(!ahead(&self.dir))
    }

    /// Waits until nobody is before it, and tells how many there are whenever that changes; false when `stop` was raised
    /// first.
    pub(super) fn wait(&self, stop: &StopFlag, told: &mut dyn FnMut(usize)) -> Result<bool, Fault> {
        let mut last = None;
        while !self.is_first()? {
            if stop.is_requested() {
                return Ok(false);
            }
            let before = tickets(&self.dir).iter().filter(|(_, path)| *path < self.path).count();
            if before > 0 && last.replace(before) != Some(before) {
                told(before);
            }
            std::thread::sleep(LOOK);
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
pub fn turn(device: &str, stop: &StopFlag, told: &mut dyn FnMut(usize)) -> Result<Option<Ticket>, Fault> {
    let ticket = Ticket::take(&queue_dir(device))?;
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

    #[test]
    fn first_come_first_served_and_the_dead_make_way() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = [(); 3].map(|()| Ticket::take(dir.path()).unwrap());
        let firsts = |all: [&Ticket; 2]| all.map(|t| t.is_first().unwrap());
        assert!(a.is_first().unwrap());
        assert_eq!(firsts([&b, &c]), [false, false]);
        drop(a);
        assert_eq!(firsts([&b, &c]), [true, false]);
        // A killed worker leaves its ticket, but not its lock.
        let path = b.path.clone();
        drop(b);
        fs::write(&path, b"").unwrap();
        assert!(c.is_first().unwrap());
        assert!(!path.exists());
    }
}
