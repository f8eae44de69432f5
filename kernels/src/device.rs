//! Devices: which there are, opening one, and its memory.

use candle_core::Device;

use crate::{Error, Result};

/// A GPU that this build can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number, as in `cuda:0`.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability, as (9, 0).
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub total_bytes: u64,
}

/// A device's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What this process can still take, pages that its pool keeps included.
    pub free: u64,
    /// What the device has.
    pub total: u64,
    /// What tensors hold now.
    pub used: u64,
    /// The most they held since the start or [`reset_peak`].
    pub peak: u64,
}

/// Lowest compute capability that the kernels are compiled for.
pub const LOWEST_CAPABILITY: (i32, i32) = (8, 0);

/// Loads NVIDIA's libraries, which the program does without until a GPU is asked for.
///
/// # Errors
/// In words: which library or function is missing, or that the driver is too old for this build.
#[cfg(late_cuda)]
pub fn cuda_libraries() -> Result<()> {
    crate::cuda::libraries::ready()
}

/// GPUs that the driver shows, or why there are none. Nothing is allocated on them.
///
/// # Errors
/// When the build has no CUDA, there is no driver, or the driver shows no device.
pub fn gpus() -> Result<Vec<GpuInfo>> {
    #[cfg(feature = "cuda")]
    {
        #[cfg(late_cuda)]
        cuda_libraries()?;
        let count = crate::cuda::driver::count()?;
        let one = |ordinal| {
            let (name, capability, total_bytes) = crate::cuda::driver::identity(ordinal)?;
            Ok(GpuInfo { ordinal, name, capability, total_bytes })
        };
        let all: Vec<GpuInfo> = (0..count).map(one).collect::<Result<_>>()?;
        if all.is_empty() {
            return Err(Error::Cuda { op: "devices", message: "the driver shows no device".into() });
        }
        Ok(all)
    }
    #[cfg(not(feature = "cuda"))]
    Err(Error::Cuda { op: "devices", message: "this program is built without CUDA".into() })
}

/// Opens a GPU: one stream for all work, memory that stays with the process. The same device again on later calls.
///
/// # Errors
/// When the build has no CUDA, or the device cannot be used.
pub fn cuda(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    crate::variants::check()?;
    let all = gpus()?;
    let Some(gpu) = all.iter().find(|g| g.ordinal == ordinal) else {
        return Err(Error::Cuda { op: "devices", message: format!("there is no device {ordinal}: the driver shows {}", all.len()) });
    };
    if gpu.capability < LOWEST_CAPABILITY {
        let (major, minor) = gpu.capability;
        let message = format!("{} has compute capability {major}.{minor}; the kernels need 8.0 (Ampere) or later", gpu.name);
        return Err(Error::Cuda { op: "devices", message });
    }
    #[cfg(feature = "cuda")]
    return crate::cuda::driver::device(ordinal);
    #[cfg(not(feature = "cuda"))]
    Err(Error::Cuda { op: "devices", message: "this program is built without CUDA".into() })
}

/// True where this thread's operations on tensors of the device are launched rather than computed here: on a GPU, and on the
/// emulator, which is on for one thread.
pub fn launches(device: &Device) -> bool {
    #[cfg(emulator)]
    if crate::cuda::emulator::is_on() {
        return true;
    }
    !matches!(device, Device::Cpu)
}

/// Kernels and matrix products that this thread has launched on GPUs and on the emulator.
pub fn launch_count() -> u64 {
    #[cfg(any(feature = "cuda", emulator))]
    return crate::cuda::launch::counted();
    #[cfg(not(any(feature = "cuda", emulator)))]
    0
}

/// The memory of a GPU; `None` for the CPU.
///
/// # Errors
/// The driver's own.
pub fn memory(device: &Device) -> Result<Option<DeviceMemory>> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => {
            let [free, total, used, peak] = crate::cuda::driver::memory(d)?;
            Ok(Some(DeviceMemory { free, total, used, peak }))
        }
        _ => Ok(None),
    }
}

/// The most bytes in use at once since the start or [`reset_peak`]: a GPU's tensors, or this process's allocations.
///
/// # Errors
/// The driver's own.
pub fn peak_bytes(device: &Device) -> Result<u64> {
    Ok(memory(device)?.map_or_else(crate::alloc::peak_bytes, |m| m.peak))
}

/// Starts the peak again from what is in use now.
///
/// # Errors
/// The driver's own.
pub fn reset_peak(device: &Device) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => crate::cuda::driver::reset_peak(d),
        _ => {
            crate::alloc::reset_peak();
            Ok(())
        }
    }
}

/// Waits until all work that was queued on the device is done.
///
/// # Errors
/// The error of any of that work.
pub fn synchronize(device: &Device) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => crate::cuda::driver::synchronize(d),
        _ => Ok(()),
    }
}
