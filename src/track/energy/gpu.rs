//! What the run's NVIDIA GPU takes, by NVML. The library is loaded when it is asked for; without it
//! there is no GPU to measure.

use nvml_wrapper::Nvml;

use super::cpu::Spread;

/// A GPU.
#[derive(Debug)]
pub(super) struct Gpu {
    nvml: Nvml,
    index: u32,
    /// Millijoules since the driver was loaded, where the GPU counts them (Volta and newer).
    counter: Option<u64>,
    pub(super) name: String,
}

/// The number that the driver gives to a device which CUDA numbers so.
fn driver_index(cuda: usize, visible: Option<&str>) -> Option<u32> {
    match visible {
        None => u32::try_from(cuda).ok(),
        Some(list) => list.split(',').nth(cuda)?.trim().parse().ok(),
    }
}

impl Gpu {
    /// The GPU that CUDA gives this number, in the order of the bus.
    pub(super) fn open(cuda: usize) -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok().filter(|v| !v.is_empty());
        let count = nvml.device_count().ok()?;
        // The device on which this process is at work, where the driver tells; else by its number.
        let own = std::process::id();
        let is_own = |i: &u32| {
            let all = nvml.device_by_index(*i).and_then(|d| d.running_compute_processes()).unwrap_or_default();
            all.iter().any(|p| p.pid == own)
        };
        let index = (0..count).find(is_own).or_else(|| driver_index(cuda, visible.as_deref()))?;
        let (counter, name) = {
            let device = nvml.device_by_index(index).ok()?;
            (device.total_energy_consumption().ok(), device.name().unwrap_or_default())
        };
        Some(Self { nvml, index, counter, name })
    }

    /// How its energy is known.
    pub(super) fn source(&self) -> &'static str {
        if self.counter.is_some() { "nvml counter" } else { "nvml power" }
    }

    /// Joules of the last seconds.
    pub(super) fn taken(&mut self, seconds: f64, load: &mut Spread) -> f64 {
        let Ok(device) = self.nvml.device_by_index(self.index) else { return 0.0 };
        if let Ok(use_now) = device.utilization_rates() {
            load.add(f64::from(use_now.gpu) / 100.0);
        }
        match (self.counter, device.total_energy_consumption()) {
            (Some(before), Ok(now)) => {
                self.counter = Some(now);
                now.saturating_sub(before) as f64 / 1e3
            }
            _ => device.power_usage().map_or(0.0, |milliwatts| f64::from(milliwatts) / 1e3 * seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::driver_index;

    #[test]
    fn visible_devices_are_counted_among_themselves() {
        assert_eq!(driver_index(1, None), Some(1));
        assert_eq!(driver_index(1, Some("2, 5")), Some(5));
        assert_eq!(driver_index(2, Some("2,5")), None);
        assert_eq!(driver_index(0, Some("GPU-8932f937")), None);
    }
}
