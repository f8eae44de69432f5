//! Where an operation runs, and how two runs of it are compared.

use candle_core::{DType, Device, Tensor};
use tallow_kernels::Result;
use tallow_kernels::lora::Dropout;

/// Somewhere an operation runs.
#[derive(Debug, Clone)]
pub enum Place {
    Cpu,
    /// The emulator, with an order of threads.
    #[cfg(emulator)]
    Emulated(u32),
    #[cfg(feature = "cuda")]
    Gpu(Device),
}

impl Place {
    /// Runs `f` with its operations going there.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        match self {
            #[cfg(emulator)]
            Self::Emulated(order) => tallow_kernels::emulator::emulated(*order, f),
            _ => f(),
        }
    }

    /// Where its tensors lie.
    pub fn device(&self) -> Device {
        match self {
            #[cfg(feature = "cuda")]
            Self::Gpu(d) => d.clone(),
            _ => Device::Cpu,
        }
    }

    /// The error that any kernel may have there, whatever luck the CPU had: in bf16 half a unit in the
    /// last place. In f32 the emulator differs by the order of sums. A GPU's functions (exp, rsqrt, cos)
    /// are good to two units in the last place and it fuses products with sums: 5e-6 of the largest
    /// value is 40 units, far below what TF32 or a wrong element would make.
    fn least_error(&self, dtype: DType) -> f64 {
        match (self, dtype) {
            (_, DType::BF16) => 0.5f64.powi(9),
            #[cfg(feature = "cuda")]
            (Self::Gpu(_), _) => 5e-6,
            _ => 1e-6,
        }
    }
}

/// Where launches are checked: the GPU that `TALLOW_TEST_DEVICE` names, twice, or else the emulator
/// under two orders of threads. All are of one kind, so their bits must be the same.
///
/// # Panics
/// When there is neither: a test must not pass without having launched anything.
pub fn places() -> Vec<Place> {
    if let Ok(name) = std::env::var("TALLOW_TEST_DEVICE") {
        return on_device(&name);
    }
    #[cfg(emulator)]
    return vec![Place::Emulated(0), Place::Emulated(3)];
    #[cfg(not(emulator))]
    panic!("nothing to launch on: this build has no emulator, and TALLOW_TEST_DEVICE names no GPU");
}

#[cfg(feature = "cuda")]
fn on_device(name: &str) -> Vec<Place> {
    let ordinal = name.strip_prefix("cuda:").and_then(|n| n.parse().ok());
    let ordinal = ordinal.unwrap_or_else(|| panic!("TALLOW_TEST_DEVICE is {name}, not cuda:N"));
    let device = tallow_kernels::device::cuda(ordinal).unwrap_or_else(|e| panic!("TALLOW_TEST_DEVICE={name}: {e}"));
    vec![Place::Gpu(device); 2]
}

#[cfg(not(feature = "cuda"))]
fn on_device(name: &str) -> Vec<Place> {
    panic!("TALLOW_TEST_DEVICE={name}, but this build has no CUDA: build with --features cuda");
}

/// Inputs of one run: the same numbers everywhere, in the run's dtype and on its device.
#[derive(Debug)]
pub struct Inputs {
    device: Device,
    /// The dtype of activations.
    pub dtype: DType,
    rounded: DType,
}

impl Inputs {
    /// For one run at that place.
    pub fn new(place: &Place, dtype: DType) -> Self {
        Self { device: place.device(), dtype, rounded: dtype }
    }

    /// Activations `dims`, which start after one row of their storage; their values are exact in the checked dtype.
    pub fn x(&self, dims: &[usize], seed: u64) -> Tensor {
        let mut wider = dims.to_vec();
        wider[0] += 1;
        let values = random(&wider, seed).to_dtype(self.rounded).unwrap().to_dtype(self.dtype).unwrap();
        values.to_device(&self.device).unwrap().narrow(0, 1, dims[0]).unwrap()
    }

    /// f32 values, whatever the activations are.
    pub fn f(&self, dims: &[usize], seed: u64) -> Tensor {
        random(dims, seed).to_device(&self.device).unwrap()
    }

    /// The run's device.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Numbers in [-1, 1) that look random and are the same everywhere.
pub fn random(dims: &[usize], seed: u64) -> Tensor {
    let d = Dropout { p: 0.5, seed };
    let value = |i: usize| (0..12).map(|k| if d.factor(i * 12 + k) > 0.0 { 0.5f32.powi(k as i32) } else { 0.0 }).sum::<f32>() - 1.0;
    let n = dims.iter().product();
    Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), dims, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference over the largest magnitude.
fn error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    got.iter().zip(want).map(|(a, b)| if a.is_finite() { (a - b).abs() / top } else { f64::INFINITY }).fold(0.0, f64::max)
}

/// Runs `f` on the CPU and wherever launches are checked, in f32 and bf16, and compares all the tensors it returns.
pub fn agree(what: &str, f: impl Fn(&Inputs) -> Result<Vec<Tensor>>) {
    for dtype in [DType::F32, DType::BF16] {
        agree_in(what, dtype, &f);
    }
}

/// The same in one dtype.
pub fn agree_in(what: &str, dtype: DType, f: impl Fn(&Inputs) -> Result<Vec<Tensor>>) {
    let run = |place: &Place, compute: DType| -> Vec<Vec<f64>> {
        let inputs = Inputs { device: place.device(), dtype: compute, rounded: dtype };
        let out = place.run(|| f(&inputs)).unwrap_or_else(|e| panic!("{what} {dtype:?} on {place:?}: {e}"));
        out.iter().map(values).collect()
    };
    let exact = run(&Place::Cpu, DType::F32);
    let plain = run(&Place::Cpu, dtype);
    let mut first: Option<Vec<Vec<f64>>> = None;
    for place in places() {
        let got = run(&place, dtype);
        for (i, ((got, plain), exact)) in got.iter().zip(&plain).zip(&exact).enumerate() {
            let least = place.least_error(dtype);
            let (e, allowed) = (error(got, exact), 2.0 * error(plain, exact).max(least));
            assert!(e <= allowed, "{what} {dtype:?} on {place:?}, result {i}: error {e:.3e}, the CPU's twice {allowed:.3e}");
        }
        let same = first.get_or_insert_with(|| got.clone());
        assert!(*same == got, "{what} {dtype:?}: another run gave other bits");
    }
}
