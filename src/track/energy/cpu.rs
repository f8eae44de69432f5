//! What processor and memory take: counters where the system lets them be read, else an estimate.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// Watts of a thread at full load, where the processor has no counters: CodeCarbon's figure.
const WATTS_PER_THREAD: f64 = 4.0;
/// Load that is assumed where the system does not tell.
const ASSUMED_LOAD: f64 = 0.5;
/// Bytes of a memory module; machines with more memory have more modules, up to eight.
const MODULE_BYTES: f64 = 16.0 * 1024.0 * 1024.0 * 1024.0;
const MOST_MODULES: f64 = 8.0;

/// Values and their mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    sum: f64,
    count: u64,
}

impl Spread {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    pub(super) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// A counter of microjoules that wraps around (Linux powercap).
#[derive(Debug)]
struct Counter {
    path: PathBuf,
    last: u64,
    range: u64,
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Counter {
    fn open(zone: &Path) -> Option<Self> {
        let path = zone.join("energy_uj");
        Some(Self { last: number(&path)?, range: number(&zone.join("max_energy_range_uj"))?, path })
    }

    /// Joules since the last call.
    fn taken(&mut self) -> f64 {
        let Some(now) = number(&self.path) else { return 0.0 };
        let microjoules = if now >= self.last { now - self.last } else { self.range.saturating_sub(self.last) + now };
        self.last = now;
        microjoules as f64 / 1e6
    }
}

/// RAPL zones of this machine: packages, and the memory behind them.
fn counters(root: &Path) -> (Vec<Counter>, Vec<Counter>) {
    let (mut packages, mut dram) = (Vec::new(), Vec::new());
    let zones = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path());
    // `intel-rapl-mmio` counts the same packages again.
    for zone in zones.filter(|z| z.file_name().is_some_and(|n| n.to_string_lossy().starts_with("intel-rapl:"))) {
        match fs::read_to_string(zone.join("name")).unwrap_or_default().trim() {
            "dram" => dram.extend(Counter::open(&zone)),
            name if name.starts_with("package-") => packages.extend(Counter::open(&zone)),
            _ => {}
        }
    }
    (packages, dram)
}

/// Joules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    pub(super) cpu: f64,
    /// Where there is a counter for it.
    pub(super) dram: Option<f64>,
}

/// The machine's processors.
#[derive(Debug)]
pub(super) struct Processor {
    packages: Vec<Counter>,
    dram: Vec<Counter>,
    threads: f64,
    times: Option<Times>,
    pub(super) load: Spread,
}

/// Ticks of all threads, and those of them in which nothing was done.
#[derive(Debug, Clone, Copy)]
struct Times {
    all: u64,
    idle: u64,
}

/// From /proc/stat: user nice system idle iowait irq softirq steal ...
fn times(text: &str) -> Option<Times> {
    let ticks: Vec<u64> = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).take(8).collect();
    Some(Times { all: ticks.iter().sum(), idle: ticks.get(3)? + ticks.get(4)? })
}

fn times_now() -> Option<Times> {
    times(&fs::read_to_string("/proc/stat").ok()?)
}

impl Processor {
    pub(super) fn new() -> Self {
        let (packages, dram) = counters(Path::new("/sys/class/powercap"));
        let threads = thread_count() as f64;
        Self { packages, dram, threads, times: times_now(), load: Spread::default() }
    }

    /// How its energy is known.
    pub(super) fn source(&self) -> &'static str {
        match (self.packages.is_empty(), self.times) {
            (false, _) => "rapl",
            (true, Some(_)) => "estimated from load",
            (true, None) => "estimated",
        }
    }

    /// Joules of the last seconds.
    pub(super) fn taken(&mut self, seconds: f64) -> Taken {
        let now = times_now();
        let busy = self.times.zip(now).and_then(|(before, now)| {
            let all = now.all.saturating_sub(before.all);
            (all > 0).then(|| 1.0 - now.idle.saturating_sub(before.idle) as f64 / all as f64)
        });
        self.times = now.or(self.times);
        busy.into_iter().for_each(|share| self.load.add(share));
        let load = busy.or(self.load.mean()).unwrap_or(ASSUMED_LOAD);
        let estimate = self.threads * WATTS_PER_THREAD * load * seconds;
        let sum = |all: &mut Vec<Counter>| all.iter_mut().map(Counter::taken).sum::<f64>();
        let cpu = if self.packages.is_empty() { estimate } else { sum(&mut self.packages) };
        let dram = (!self.dram.is_empty()).then(|| sum(&mut self.dram));
        Taken { cpu, dram }
    }
}

/// Threads of the machine, whatever this process may use of them.
pub(super) fn thread_count() -> usize {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let of_system = text.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    if of_system > 0 { of_system } else { thread::available_parallelism().map_or(1, usize::from) }
}

/// Bytes by name in /proc/meminfo.
pub(super) fn meminfo(name: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kb| kb * 1024.0)
}

/// Share of the memory that is in use.
pub(super) fn memory_in_use() -> Option<f64> {
    Some(1.0 - meminfo("MemAvailable")? / meminfo("MemTotal")?)
}

/// Modules that the memory is taken to be made of.
pub(super) fn memory_modules() -> f64 {
    let bytes = meminfo("MemTotal").unwrap_or(MODULE_BYTES);
    (bytes / MODULE_BYTES).ceil().clamp(1.0, MOST_MODULES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_and_other_zones_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let zone = |name: &str, kind: &str, value: &str| {
            let zone = dir.path().join(name);
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("name"), format!("{kind}\n")).unwrap();
            fs::write(zone.join("energy_uj"), value).unwrap();
            fs::write(zone.join("max_energy_range_uj"), "1000000000").unwrap();
            zone
        };
        let package = zone("intel-rapl:0", "package-0", "999000000");
        let memory = zone("intel-rapl:0:1", "dram", "5000000");
        zone("intel-rapl:0:0", "core", "7");
        zone("intel-rapl-mmio:0", "package-0", "7");
        let (mut packages, mut dram) = counters(dir.path());
        assert_eq!((packages.len(), dram.len()), (1, 1));
        fs::write(package.join("energy_uj"), "2000000").unwrap();
        fs::write(memory.join("energy_uj"), "5500000").unwrap();
        assert_eq!((packages[0].taken(), dram[0].taken()), (3.0, 0.5));
        assert_eq!(packages[0].taken(), 0.0);
    }

    #[test]
    fn load_is_what_is_not_idle() {
        let t = times("cpu  100 0 50 800 50 0 0 0 9 9\ncpu0 1\n").unwrap();
        assert_eq!((t.all, t.idle), (1000, 850));
        assert!(times("intr 1").is_none());
    }
}
