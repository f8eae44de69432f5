//! What a process that reads foreign files may do: the system itself refuses the rest, where it can.
//!
//! On Linux (5.13 and later) Landlock limits which files it can open: those below the roots, the caches, and what the
//! system's own libraries need. A symbolic link that is swapped after a path was judged leads nowhere then. On every
//! Unix its processor time, memory and priority are limited, and it leaves no core dump.

use std::path::PathBuf;

use crate::app::models;
use crate::base::atomic;
use crate::model::hub;

/// Files that libraries of the system read: name resolution, certificates, time zones, what the machine is.
#[cfg(target_os = "linux")]
const SYSTEM: [&str; 29] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/driver",
    "/proc/stat",
    "/proc/self",
    "/proc/sys",
    "/proc/version",
    "/run/systemd/resolve",
    "/sys/devices",
    "/sys/fs/cgroup",
];

/// Folders that it may write to.
fn writable(roots: &[PathBuf]) -> Vec<PathBuf> {
    // The access token lies beside the Hub's cache, not in it.
    let caches = [models::cache_root(), hub::cache_folder()];
    for folder in &caches {
        // A rule needs a folder that exists. What cannot be made cannot be written either.
        let _ = atomic::create_dir_all(folder);
    }
    roots.iter().cloned().chain(caches).chain(["/dev".into()]).collect()
}

/// Limits what can be opened to the roots, the caches and the system's own files. Before any thread is started.
#[cfg(target_os = "linux")]
pub(super) fn files(roots: &[PathBuf]) {
    use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, path_beneath_rules};
    let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let readable: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).chain(std::env::split_paths(&libraries)).collect();
    let abi = ABI::V5;
    // A kernel without it refuses here; then the judgement of paths alone holds.
    let _ = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(Ruleset::create)
        .and_then(|r| r.add_rules(path_beneath_rules(writable(roots), AccessFs::from_all(abi))))
        .and_then(|r| r.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi))))
        .and_then(landlock::RulesetCreated::restrict_self);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn files(roots: &[PathBuf]) {
    // Other systems have nothing like it; the folders are made all the same.
    let _ = writable(roots);
}

/// Limits processor time and memory, and lets what is more urgent on the machine go before.
#[cfg(unix)]
pub(super) fn resources(cpu_seconds: u64, memory_bytes: u64, nice: i32) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // The signal of the soft limit tells the server what happened; the hard one would only kill.
    let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most.saturating_add(5)) };
    for (what, most) in [(Resource::Cpu, cpu_seconds), (Resource::Data, memory_bytes), (Resource::Core, 0)] {
        // A system that does not know one of them does without it.
        let _ = setrlimit(what, limit(most));
    }
    let _ = rustix::process::nice(nice);
}

#[cfg(not(unix))]
pub(super) fn resources(_: u64, _: u64, _: i32) {}
