//! GEGLU with the tanh form of GELU (arXiv 2002.05202, 1606.08415): `gelu(gate) * up`, forward and backward.
//!
//! ```text
//!   gelu(x) = x/2 * (1 + tanh(u)),  u = sqrt(2/pi) * (x + 0.044715 x^3)
//! ```
//!
//! `(1 + tanh(u)) / 2` is `1 / (1 + exp(-2u))`, which loses nothing where tanh is near -1, with the
//! exponential of `cpu::activation`, so that loops vectorise.

use candle_core::Tensor;

use crate::{Error, Result, backend};

pub(crate) const CUBE: f32 = 0.044_715;

fn check(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Err(Error::Shape { op, what: "up", got: format!("{:?}", b.dims()), want: format!("{:?}", a.dims()) });
    }
    Ok(())
}

/// `gelu(gate) * up`, both `[tokens, inter]`.
///
/// # Errors
/// On shapes that differ, dtypes without a kernel, or a device other than the CPU.
pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    const OP: &str = "geglu";
    check(OP, gate, up)?;
    backend::of(OP, gate)?.geglu(OP, gate, up)
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
    backend::of(OP, gate)?.geglu_backward_inplace(OP, dact, gate, up)
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
    use candle_core::{DType, Device, Var};

    use super::*;

    fn values(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Errors are at most twice those of the exact result rounded to the dtype, plus what the exponential allows.
    #[test]
    fn output_and_gradients_are_those_of_the_reference() {
        for (dtype, allowed) in [(DType::F32, 4e-6), (DType::BF16, 8e-3)] {
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
