//! SwiGLU (arXiv 2002.05202): `silu(gate) * up`, forward and backward.

use candle_core::Tensor;

use crate::{Error, Result, backend};

fn check(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Err(Error::Shape { op, what: "up", got: format!("{:?}", b.dims()), want: format!("{:?}", a.dims()) });
    }
    Ok(())
}

/// `silu(gate) * up`, both `[tokens, inter]`.
///
/// # Errors
/// On shapes that differ, dtypes or devices without a kernel.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    const OP: &str = "swiglu";
    check(OP, gate, up)?;
    backend::of(OP, gate)?.swiglu(OP, gate, up)
}

/// `(dgate, dup)` from dact and the forward pass's gate and up.
///
/// # Errors
/// As [`swiglu`].
pub fn swiglu_backward(dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "swiglu_backward";
    check(OP, gate, up)?;
    check(OP, gate, dact)?;
    backend::of(OP, gate)?.swiglu_backward(OP, dact, gate, up)
}

/// The same in place: gate becomes dgate and up becomes dup, so that no further tensors of this width are needed. The two
/// must not share storage.
///
/// # Errors
/// As [`swiglu`].
pub fn swiglu_backward_inplace(dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
    const OP: &str = "swiglu_backward_inplace";
    check(OP, gate, up)?;
    check(OP, gate, dact)?;
    backend::of(OP, gate)?.swiglu_backward_inplace(OP, dact, gate, up)
}
