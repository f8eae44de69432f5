//! RMSNorm (arXiv 1910.07467) and LayerNorm (arXiv 1607.06450) over the rows of `[rows, d]`, forward and backward.
//!
//! The forward pass returns what the backward pass needs besides x: `rstd` (and the mean for LayerNorm), f32 `[rows]`.

use candle_core::{DType, Tensor};

use crate::{Error, Result, backend};

/// The width of the rows.
fn width(x: &Tensor) -> Result<usize> {
    Ok(x.dims2()?.1)
}

/// A vector `[d]` of f32 or bf16 as an f32 tensor.
fn in_f32(op: &'static str, what: &'static str, v: &Tensor, d: usize) -> Result<Tensor> {
    if v.dims() != [d] {
        return Err(Error::Shape { op, what, got: format!("{:?}", v.dims()), want: format!("[{d}]") });
    }
    Ok(v.to_dtype(DType::F32)?)
}

fn same(op: &'static str, what: &'static str, t: &Tensor, like: &Tensor) -> Result<()> {
    if t.dims() != like.dims() || t.dtype() != like.dtype() {
        let show = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
        return Err(Error::Shape { op, what, got: show(t), want: show(like) });
    }
    Ok(())
}

/// `y = x * rstd * weight`, `rstd = 1/sqrt(mean(x²) + eps)`. Returns (y in x's dtype, rstd f32 `[rows]`).
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    const OP: &str = "rms_norm";
    let d = width(x)?;
    backend::of(OP, x)?.rms_norm(OP, x, &in_f32(OP, "weight", weight, d)?, eps)
}

/// `sum = x + residual`, then RMSNorm of the sum, in one pass. Returns (sum, y, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn add_rms_norm(x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "add_rms_norm";
    let d = width(x)?;
    same(OP, "residual", residual, x)?;
    backend::of(OP, x)?.add_rms_norm(OP, x, residual, &in_f32(OP, "weight", weight, d)?, eps)
}

/// `x += residual` in place, then RMSNorm of x; one pass on a GPU. Returns (y, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn add_inplace_rms_norm(x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    const OP: &str = "add_inplace_rms_norm";
    let d = width(x)?;
    same(OP, "residual", residual, x)?;
    backend::of(OP, x)?.add_inplace_rms_norm(OP, x, residual, &in_f32(OP, "weight", weight, d)?, eps)
}

/// The gradient of [`rms_norm`] with respect to x, plus `residual` where given; `dw` f32 `[d]` is added to in place.
///
/// # Errors
/// As [`rms_norm`].
pub fn rms_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
) -> Result<Tensor> {
    const OP: &str = "rms_norm_backward";
    let d = width(x)?;
    check_backward(OP, dy, x, residual)?;
    backend::of(OP, x)?.rms_norm_backward(OP, dy, x, &in_f32(OP, "weight", weight, d)?, rstd, residual, dw)
}

/// `y = (x - mean) * rstd * weight + bias`; weight and bias may be absent. Returns (y, mean, rstd).
///
/// # Errors
/// As [`rms_norm`].
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "layer_norm";
    let d = width(x)?;
    let f32s = |what, v: Option<&Tensor>| v.map(|v| in_f32(OP, what, v, d)).transpose();
    let (weight, bias) = (f32s("weight", weight)?, f32s("bias", bias)?);
    backend::of(OP, x)?.layer_norm(OP, x, weight.as_ref(), bias.as_ref(), eps)
}

/// The gradient of [`layer_norm`] with respect to x, plus `residual` where given; `dw` and `db` f32 `[d]` are added to.
///
/// # Errors
/// As [`rms_norm`].
pub fn layer_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
) -> Result<Tensor> {
    const OP: &str = "layer_norm_backward";
    let d = width(x)?;
    check_backward(OP, dy, x, residual)?;
    let w = weight.map(|w| in_f32(OP, "weight", w, d)).transpose()?;
    backend::of(OP, x)?.layer_norm_backward(OP, dy, x, w.as_ref(), mean, rstd, residual, dw, db)
}

fn check_backward(op: &'static str, dy: &Tensor, x: &Tensor, residual: Option<&Tensor>) -> Result<()> {
    same(op, "dy", dy, x)?;
    residual.map_or(Ok(()), |r| same(op, "residual", r, x))
}
