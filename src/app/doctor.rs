//! What this machine and this build can do, and what to fix.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::models;
use crate::base::error::Fault;
use crate::runs::Machine;

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// `ok`, `note` or `problem`.
    pub state: &'static str,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// All findings.
#[derive(Debug, Clone, Serialize)]
pub struct DoctorReport {
    /// The program's version.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: Option<&'static str>,
    /// The machine.
    pub machine: Machine,
    /// Findings.
    pub findings: Vec<Finding>,
}

fn finding(name: &'static str, state: &'static str, message: impl Into<String>, hint: Option<&str>) -> Finding {
    Finding { name, state, message: message.into(), hint: hint.map(str::to_owned) }
}

/// Looks at build, processor, memory, the embedded model, the Hub's settings, what an MCP client will find, and
/// what killed processes left here.
pub fn run() -> DoctorReport {
    let machine = Machine::this();
    let mut findings = vec![build(), processor(), memory(&machine), embedded(), gpu(), hub(), mcp(), mcp_file(Path::new(".mcp.json"))];
    findings.extend(left_overs());
    DoctorReport { version: env!("CARGO_PKG_VERSION"), commit: option_env!("TALLOW_GIT_COMMIT"), machine, findings }
}

/// Findings about processor and memory alone.
pub fn machine_findings() -> Vec<Finding> {
    vec![processor(), memory(&Machine::this())]
}

fn build() -> Finding {
    if cfg!(debug_assertions) {
        return finding("build", "note", "a debug build: slow", Some("build with --release"));
    }
    finding("build", "ok", "a release build", None)
}

fn gpu() -> Finding {
    match super::device::available() {
        Ok(all) if !all.is_empty() => {
            let show = |g: &super::device::Gpu| {
                format!(
                    "{} {}, compute capability {}, {:.0} GiB",
                    g.device,
                    g.name,
                    g.compute_capability,
                    g.memory_bytes as f64 / (1u64 << 30) as f64
                )
            };
            finding("gpu", "ok", all.iter().map(show).collect::<Vec<_>>().join("; "), None)
        }
        Ok(_) => finding("gpu", "note", "no GPU of compute capability 8.0 (Ampere) or later", None),
        Err(why) if cfg!(feature = "cuda") => {
            finding("gpu", "note", why, Some("training runs on the CPU; check the NVIDIA driver with nvidia-smi"))
        }
        Err(why) => finding("gpu", "note", why, Some("for NVIDIA GPUs: cargo build --release --features cuda")),
    }
}

fn processor() -> Finding {
    let isa = tallow_kernels::isa::isa();
    let message = isa.to_string();
    if let Some(value) = tallow_kernels::isa::unknown_limit() {
        let known = tallow_kernels::isa::LIMITS.join(", ");
        let message = format!("TALLOW_ISA={value} is not known and limits nothing; {message}");
        return finding("processor", "problem", message, Some(&format!("set it to one of {known}, or unset it")));
    }
    if cfg!(target_arch = "x86_64") && isa.vectors == tallow_kernels::isa::Vectors::Portable {
        return finding("processor", "note", message, Some("without AVX2 training is slow"));
    }
    finding("processor", "ok", message, None)
}

fn memory(machine: &Machine) -> Finding {
    let free = crate::train::available_memory();
    let gib = |b: u64| b as f64 / f64::from(1 << 30);
    let total = machine.memory_bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{:.1} GiB", gib(b)));
    let message = format!("{:.1} GiB free of {total}", gib(free));
    if free < 1 << 30 {
        return finding("memory", "problem", message, Some("close other programs: training needs room"));
    }
    finding("memory", "ok", message, None)
}

/// Loads the embedded model, once in a process: a server is asked for this often, and by many at once.
fn embedded() -> Finding {
    static LOADED: Mutex<Option<u64>> = Mutex::new(None);
    let load = || -> Result<u64, Fault> {
        let folder = models::resolve(models::EMBEDDED, None)?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parameters) = *loaded {
            return Ok(parameters);
        }
        let decoder = crate::model::Decoder::load(&folder, &crate::model::LoadOptions::default())?;
        Ok(*loaded.insert(decoder.spec().num_parameters()))
    };
    match load() {
        Ok(parameters) => finding("embedded model", "ok", format!("{:.1} M parameters", parameters as f64 / 1e6), None),
        Err(fault) => finding("embedded model", "problem", fault.message, fault.hint.as_deref()),
    }
}

fn hub() -> Finding {
    let options = crate::model::hub::HubOptions::from_env();
    let endpoint = options.endpoint.as_deref().unwrap_or("https://huggingface.co");
    let token = if options.token.is_some() { "with a token" } else { "without a token" };
    let mode = if options.offline { "offline: only the cache" } else { "online" };
    finding("hub", "ok", format!("{endpoint}, {token}, {mode}"), None)
}

/// What killed processes left in the working folder; nothing when there is nothing.
fn left_overs() -> Option<Finding> {
    let here = crate::base::atomic::abandoned(Path::new("out"));
    let first = here.first()?.display().to_string();
    let message = format!("{} half-made files or folders of killed processes here, such as {first}", here.len());
    Some(finding("left-overs", "note", message, Some("the next export into this folder removes them; rm -r does, too")))
}

/// A file on the PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH").into_iter().flat_map(|p| std::env::split_paths(&p).collect::<Vec<_>>());
    dirs.map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// Whether the `.mcp.json` of a folder starts a server that is there.
fn mcp_file(path: &Path) -> Finding {
    let Ok(text) = std::fs::read_to_string(path) else {
        let hint = "projects made by generate_fine_tuning_project or `tallow init` have one";
        return finding("mcp file", "note", "there is no .mcp.json in this folder", Some(hint));
    };
    let servers = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(file) => file["mcpServers"].as_object().cloned().unwrap_or_default(),
        Err(e) => return finding("mcp file", "problem", format!("{} is no JSON: {e}", path.display()), Some("clients will pass it over")),
    };
    let ours = |server: &serde_json::Value| {
        let first = server["args"].as_array().and_then(|a| a.first().cloned());
        first.is_some_and(|a| a == "mcp").then(|| server["command"].as_str().map(str::to_owned)).flatten()
    };
    let Some((name, command)) = servers.iter().find_map(|(name, server)| Some((name, ours(server)?))) else {
        let hint = r#"add "tallow": {"command": "tallow", "args": ["mcp", "--root", "."]}"#;
        return finding("mcp file", "problem", format!("{} has no server that is started with `tallow mcp`", path.display()), Some(hint));
    };
    if Path::new(&command).is_file() || on_path(&format!("{command}{}", std::env::consts::EXE_SUFFIX)).is_some() {
        return finding("mcp file", "ok", format!("{}: `{name}` starts {command}", path.display()), None);
    }
    let message = format!("{}: `{name}` starts `{command}`, which is not on the PATH", path.display());
    finding("mcp file", "problem", message, Some("write the program's full path there"))
}

/// Whether a client's `command: tallow` finds this program.
fn mcp() -> Finding {
    let found = on_path(&format!("tallow{}", std::env::consts::EXE_SUFFIX));
    let own = std::env::current_exe().ok();
    let real = |p: &Path| p.canonicalize().ok();
    match (&found, &own) {
        (Some(found), Some(own)) if real(found) == real(own) => {
            finding("mcp", "ok", format!("clients find {}", found.display()), Some("claude mcp add tallow -- tallow mcp"))
        }
        (Some(found), _) => finding(
            "mcp",
            "note",
            format!("`tallow` on the PATH is {}, not this program", found.display()),
            Some("give clients the full path of the one they shall start"),
        ),
        (None, own) => {
            let path = own.as_ref().map_or_else(|| "this program".to_owned(), |p| p.display().to_string());
            finding(
                "mcp",
                "note",
                format!("`tallow` is not on the PATH; clients need {path}"),
                Some("claude mcp add tallow -- /full/path/of/tallow mcp"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_clients_read_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".mcp.json");
        let check = |text: Option<&str>, state: &str, word: &str| {
            text.iter().for_each(|text| std::fs::write(&path, text).unwrap());
            let found = mcp_file(&path);
            assert!(found.state == state && found.message.contains(word), "{found:?}");
        };
        check(None, "note", "no .mcp.json");
        check(Some("{"), "problem", "no JSON");
        check(Some(r#"{"mcpServers": {"x": {"command": "y", "args": ["z"]}}}"#), "problem", "no server");
        check(Some(r#"{"mcpServers": {"tallow": {"command": "no-such-program", "args": ["mcp"]}}}"#), "problem", "not on the PATH");
        let own = std::env::current_exe().unwrap();
        let good = serde_json::json!({"mcpServers": {"t": {"command": own, "args": ["mcp", "--root", "."]}}}).to_string();
        check(Some(&good), "ok", "starts");
    }
}
