//! The machine that a run ran on, as the manifest tells it.

use serde::{Deserialize, Serialize};

/// What a reader needs to judge times and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// Processor model, where the system tells.
    pub cpu_model: Option<String>,
    /// Threads that may run at once.
    pub cpu_count: usize,
    /// Memory of the machine in bytes, where the system tells.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        Self {
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            cpu_model: proc_value("/proc/cpuinfo", "model name"),
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: proc_value("/proc/meminfo", "MemTotal").and_then(|v| Some(v.strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)),
        }
    }
}

/// `name : value` of a file under /proc; `None` on other systems.
fn proc_value(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.split(':').next().is_some_and(|n| n.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
