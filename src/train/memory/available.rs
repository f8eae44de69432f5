//! How much memory this process may still take.

use std::path::{Path, PathBuf};

/// Bytes that this process can take in addition to what it has.
///
/// Linux: `MemAvailable`, or what is left of a control group's limit (v2 or v1, at any level above the process) where
/// that is less. Elsewhere: three quarters of the machine's memory, since what others use is not told without special
/// calls; where even that is unknown, there is no limit.
pub fn available_memory() -> u64 {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemAvailable:"));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_left(Path::new("/sys/fs/cgroup"), &groups);
    let other = || tallow_kernels::alloc::physical_bytes().map(|b| b / 4 * 3);
    [system.or_else(other), group].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// A field of /proc/meminfo, in bytes.
fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|n| n * 1024)
}

/// What the tightest control group above this process still allows. `groups` is /proc/self/cgroup.
fn group_left(root: &Path, groups: &str) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (base, limit, usage) = match controllers {
            "" => (root.to_path_buf(), "memory.max", "memory.current"),
            c if c.split(',').any(|c| c == "memory") => (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
            _ => continue,
        };
        // Inside a container the path may name a group that is not visible: its root is then the limit that counts.
        let mut at: PathBuf = base.join(path.trim_start_matches('/'));
        loop {
            if let Some(left) = left(&at, limit, usage) {
                least = Some(least.map_or(left, |l: u64| l.min(left)));
            }
            if at == base || !at.pop() || !at.starts_with(&base) {
                break;
            }
        }
    }
    least
}

/// Limit less usage of one group. Pages of files count as usage but are given up when memory is wanted.
fn left(group: &Path, limit: &str, usage: &str) -> Option<u64> {
    let number = |file: &str| std::fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let field = |name: &str| stat.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok());
    let files = field("total_inactive_file").or_else(|| field("inactive_file")).unwrap_or(0);
    // Without a limit v2 says `max`, v1 a number near 2^63.
    let limit = number(limit).filter(|l| *l < 1 << 60)?;
    Some(limit.saturating_sub(number(usage)?.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some() {
        assert!(available_memory() > 1 << 20);
        assert_eq!(kib("MemTotal: 3 kB\nMemAvailable:   2048 kB\n", "MemAvailable:"), Some(2 << 20));
    }

    #[test]
    fn the_tightest_group_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1000\n");
        write("a/memory.current", "700\n");
        write("a/memory.stat", "anon 1\ninactive_file 200\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "100\n");
        assert_eq!(group_left(dir.path(), "0::/a/b\n"), Some(500));
        assert_eq!(group_left(dir.path(), "0::/\n"), None);
        write("memory/x/memory.limit_in_bytes", "400\n");
        write("memory/x/memory.usage_in_bytes", "150\n");
        assert_eq!(group_left(dir.path(), "5:cpu,memory:/x\n0::/a/b\n"), Some(250));
        assert_eq!(group_left(dir.path(), "5:memory:/gone\n"), None);
    }
}
