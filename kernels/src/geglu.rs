//! GEGLU with the tanh form of GELU (arXiv 2002.05202, 1606.08415): `gelu(gate) * up`, forward and backward.
//!
//! ```text
//!   gelu(x) = x/2 * (1 + tanh(u)),  u = sqrt(2/pi) * (x + 0.044715 x^3)
//! ```
//!
//! `(1 + tanh(u)) / 2` is `1 / (1 + exp(-2u))`, which loses nothing where tanh is near -1, with the
//! exponential of [`crate::activation`], so that loops vectorise.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::activation::exp;
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{no_kernel, on_known_device, read, write};
use crate::{Error, Result};

const CHUNK: usize = 8192;
/// sqrt(2/pi)
const C: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;

/// gelu(x) and its derivative.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let u = C * (x + CUBE * x * x * x);
    let share = 1.0 / (1.0 + exp(-2.0 * u));
    let inner = C * (1.0 + 3.0 * CUBE * x * x);
    (x * share, share + 2.0 * x * share * (1.0 - share) * inner)
}

wide! {
    fn forward_chunk<T: Real>(out: &mut [T], gate: &[T], up: &[T]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            *o = T::down(gelu(g.up()).0 * u.up());
        }
    }

    fn backward_chunk<T: Real>(gate: &mut [T], up: &mut [T], dact: &[T]) {
        for ((g, u), d) in gate.iter_mut().zip(up).zip(dact) {
            let ((y, dy), du, d) = (gelu(g.up()), u.up(), d.up());
            *g = T::down(d * du * dy);
            *u = T::down(d * y);
        }
    }
}

fn check(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Err(Error::Shape { op, what: "up", got: format!("{:?}", b.dims()), want: format!("{:?}", a.dims()) });
    }
    on_known_device(op, a)?;
    if crate::device::launches(a.device()) { Err(no_kernel(op, a)) } else { Ok(()) }
}

/// `gelu(gate) * up`, both `[tokens, inter]`.
///
/// # Errors
/// On shapes that differ, dtypes without a kernel, or a device other than the CPU.
pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    const OP: &str = "geglu";
    check(OP, gate, up)?;
    by_dtype!(OP, "gate", gate, T => {
        let mut out = unwritten::<T>(gate.elem_count());
        read::<T, _>(OP, "gate", gate, |g| read::<T, _>(OP, "up", up, |u| {
            out.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(u.par_chunks(CHUNK)).for_each(|((o, g), u)| forward_chunk(o, g, u));
        }))??;
        Ok(Tensor::from_vec(out, gate.dims(), &Device::Cpu)?)
    })
}

/// From the gradient of [`geglu`]'s output: gate becomes its gradient and up becomes its own, in place. The two must not
/// share storage.
///
/// # Errors
/// As [`geglu`].
pub fn geglu_backward_inplace(dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
    const OP: &str = "geglu_backward_inplace";
    check(OP, gate, up)?;
    check(OP, gate, dact)?;
    by_dtype!(OP, "gate", gate, T => {
        read::<T, _>(OP, "dact", dact, |d| write::<T, _>(OP, "gate", gate, |g| write::<T, _>(OP, "up", up, |u| {
            g.par_chunks_mut(CHUNK).zip(u.par_chunks_mut(CHUNK)).zip(d.par_chunks(CHUNK)).for_each(|((g, u), d)| backward_chunk(g, u, d));
        })))??
    })
}

/// The slow form over Candle tensors with a gradient, in f64.
///
/// # Errors
/// Candle's own.
pub fn reference(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let cube = gate.powf(3.0)?;
    let u = ((gate + (cube * f64::from(CUBE))?)? * (2.0 / std::f64::consts::PI).sqrt())?;
    let gelu = ((u.tanh()? + 1.0)? * (gate * 0.5)?)?;
    Ok((gelu * up)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;

    fn values(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Errors are at most twice those of the exact result rounded to the dtype, plus what the exponential allows.
    #[test]
    fn output_and_gradients_are_those_of_the_reference() {
        for (dtype, allowed) in [(DType::F32, 2e-6), (DType::BF16, 8e-3)] {
            let random = |spread: f32| Tensor::randn(0f32, spread, (33, 300), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let (gate, up, dact) = (random(3.0), random(1.0), random(1.0));
            let wide = |t: &Tensor| Var::from_tensor(&t.to_dtype(DType::F64).unwrap()).unwrap();
            let (g, u) = (wide(&gate), wide(&up));
            let want = reference(&g, &u).unwrap();
            let grads = (&want * dact.to_dtype(DType::F64).unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
            let near = |what: &str, got: &Tensor, want: &Tensor| {
                for (a, b) in values(got).iter().zip(values(want)) {
                    assert!((a - b).abs() <= allowed * b.abs().max(1.0), "{dtype:?} {what}: {a}, expected {b}");
                }
            };
            near("output", &geglu(&gate, &up).unwrap(), &want);
            geglu_backward_inplace(&dact, &gate, &up).unwrap();
            near("gate", &gate, grads.get(&g).unwrap());
            near("up", &up, grads.get(&u).unwrap());
        }
    }

    #[test]
    fn large_inputs_stay_finite() {
        let gate = Tensor::new(&[-1e4f32, -50.0, 0.0, 50.0, 1e4], &Device::Cpu).unwrap();
        let up = gate.ones_like().unwrap();
        let got = geglu(&gate, &up).unwrap().to_vec1::<f32>().unwrap();
        assert!(got[..2].iter().all(|y| y.abs() < 1e-30), "{got:?}");
        assert_eq!(got[2..], [0.0, 50.0, 1e4]);
    }
}
