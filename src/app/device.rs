//! Where a run computes: what `device` in the configuration means on this machine.

use candle_core::Device;
use serde::Serialize;
use tallow_kernels::device::{GpuInfo, LOWEST_CAPABILITY, cuda, gpus};

use crate::base::error::Fault;
use crate::config::{DeviceChoice, RunConfig};

/// A device by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Cpu,
    /// The GPU of that number.
    Cuda(usize),
}

/// A GPU that can train.
#[derive(Debug, Clone, Serialize)]
pub struct Gpu {
    /// As the configuration names it: `cuda:0`.
    pub device: String,
    /// The card.
    pub name: String,
    /// Compute capability, as `9.0`.
    pub compute_capability: String,
    /// Its memory in bytes.
    pub memory_bytes: u64,
}

/// The GPUs that can train, or why there are none.
///
/// # Errors
/// In words, when the build or the machine has none.
pub fn available() -> Result<Vec<Gpu>, String> {
    let gpu = |g: GpuInfo| Gpu {
        device: format!("cuda:{}", g.ordinal),
        name: g.name,
        compute_capability: format!("{}.{}", g.capability.0, g.capability.1),
        memory_bytes: g.total_bytes,
    };
    Ok(gpus().map_err(|e| e.to_string())?.into_iter().filter(|g| g.capability >= LOWEST_CAPABILITY).map(gpu).collect())
}

impl Chosen {
    /// What the configuration says; `auto` is the first GPU that can train, else the CPU.
    ///
    /// # Errors
    /// When a device is named that this build or machine does not have.
    pub(super) fn of(config: &RunConfig) -> Result<Self, Fault> {
        Self::choose(config.device)
    }

    /// The same by its word.
    ///
    /// # Errors
    /// As [`Self::of`], and for a word that names no device.
    pub(super) fn named(word: &str) -> Result<Self, Fault> {
        let choice = DeviceChoice::parse(word);
        choice.map_or_else(|| Err(unavailable(word, "there is no device of this name")), Self::choose)
    }

    fn choose(choice: DeviceChoice) -> Result<Self, Fault> {
        let word = choice.to_string();
        let found =
            || gpus().map(|all| all.into_iter().filter(|g| g.capability >= LOWEST_CAPABILITY).map(|g| g.ordinal).collect::<Vec<_>>());
        match choice {
            DeviceChoice::Cpu => Ok(Self::Cpu),
            DeviceChoice::Auto => Ok(found().ok().and_then(|all| all.first().copied()).map_or(Self::Cpu, Self::Cuda)),
            DeviceChoice::Metal => Err(unavailable(&word, "there are no kernels for it in this version")),
            DeviceChoice::Cuda(ordinal) => match found() {
                Ok(all) if all.contains(&ordinal) => Ok(Self::Cuda(ordinal)),
                Ok(_) => Err(unavailable(&word, "there is no such GPU of compute capability 8.0 (Ampere) or later")),
                Err(e) => Err(unavailable(&word, &e.to_string())),
            },
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Cpu => "cpu".into(),
            Self::Cuda(n) => format!("cuda:{n}"),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(self) -> Result<Device, Fault> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(n) => cuda(n).map_err(|e| unavailable(&self.name(), &e.to_string())),
        }
    }
}

fn unavailable(word: &str, why: &str) -> Fault {
    let hint = if cfg!(feature = "cuda") {
        "`tallow doctor` lists what can train here; set device: cpu to train on the processor"
    } else {
        "set device: cpu (or auto); GPUs need a build with `cargo build --release --features cuda`"
    };
    Fault::new("device_unavailable", format!("device `{word}`: {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_refused_by_name() {
        let of = Chosen::named;
        assert_eq!(of("cpu").unwrap(), Chosen::Cpu);
        for word in ["cuda:99", "metal"] {
            let fault = of(word).unwrap_err();
            assert_eq!(fault.code, "device_unavailable");
            assert!(fault.message.contains(word) && fault.hint.is_some(), "{fault:?}");
        }
    }
}
