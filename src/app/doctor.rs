//! What this machine and this build can do, and what to fix.

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

/// Looks at build, processor, memory, the embedded model, the Hub's settings and what an MCP client will find.
pub fn run() -> DoctorReport {
    let machine = Machine::this();
    let findings = vec![build(), processor(), memory(&machine), gpu(), embedded(), hub(), mcp()];
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
    let features = cpu_features();
    let message = if features.is_empty() { "portable kernels".to_owned() } else { features.join(", ") };
    if cfg!(target_arch = "x86_64") && !features.contains(&"avx2") {
        return finding("processor", "note", format!("{message}: no AVX2"), Some("training will be slow on this processor"));
    }
    finding("processor", "ok", message, None)
}

/// Instruction sets that matter for the kernels.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("avx512bf16", std::arch::is_x86_feature_detected!("avx512bf16")),
            ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        vec!["neon"]
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        Vec::new()
    }
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

fn embedded() -> Finding {
    let load = || -> Result<u64, Fault> {
        let folder = models::resolve(models::EMBEDDED, None)?;
        let decoder = crate::model::Decoder::load(&folder, &crate::model::LoadOptions::default())?;
        Ok(decoder.spec().num_parameters())
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

/// Whether a client's `command: tallow` finds this program.
fn mcp() -> Finding {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|p| std::env::split_paths(&p).collect::<Vec<_>>());
    let name = format!("tallow{}", std::env::consts::EXE_SUFFIX);
    let found = on_path.map(|dir| dir.join(&name)).find(|p| p.is_file());
    let own = std::env::current_exe().ok();
    let real = |p: &std::path::Path| p.canonicalize().ok();
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
