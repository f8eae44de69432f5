//! Launchers of `norm.cu`.

use candle_core::{DType, Tensor};

use super::launch::Kernel;
use super::memory::{Span, empty, span};
use super::suffix;
use crate::Result;

/// Rows that one block takes where a warp is enough for a row.
const ROWS: usize = 8;

/// A kernel over rows: a warp a row for short ones, else a block a row.
fn over_rows(op: &'static str, name: String, rows: usize, d: usize) -> Kernel {
    match d {
        0..=1024 => Kernel { block: [32, ROWS as u32, 1], ..Kernel::new(op, "norm", name, rows.div_ceil(ROWS), 32) },
        1025..=4096 => Kernel::new(op, "norm", name, rows, 256),
        _ => Kernel::new(op, "norm", name, rows, 512),
    }
}

/// RMSNorm of x, or of x + residual; returns (sum where there is a residual, y, rstd). `weight` f32.
pub(crate) fn rms_norm(
    op: &'static str,
    x: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    eps: f64,
) -> Result<(Option<Tensor>, Tensor, Tensor)> {
    let sum = residual.map(|_| empty(x.shape(), x.dtype(), x.device())).transpose()?;
    let (y, rstd) = launch_rms_norm(op, x, residual, weight, sum.as_ref(), eps)?;
    Ok((sum, y, rstd))
}

/// `x += residual`, then its RMSNorm: a thread writes an element of the sum after it alone has read it.
pub(crate) fn add_inplace_rms_norm(op: &'static str, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    launch_rms_norm(op, x, Some(residual), weight, Some(x), eps)
}

fn launch_rms_norm(
    op: &'static str,
    x: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    sum: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (rows, d) = x.dims2()?;
    let (dtype, device) = (x.dtype(), x.device());
    let name = format!("rms_norm_{}", suffix(op, "x", x)?);
    let (y, rstd) = (empty((rows, d), dtype, device)?, empty(rows, DType::F32, device)?);
    let optional = |what, t: Option<&Tensor>| t.map(|t| span(op, what, t, dtype)).transpose();
    let args = [
        span(op, "x", x, dtype)?.into(),
        optional("residual", residual)?.into(),
        span(op, "weight", weight, DType::F32)?.into(),
        optional("sum", sum)?.into(),
        span(op, "y", &y, dtype)?.into(),
        span(op, "rstd", &rstd, DType::F32)?.into(),
        (rows as i32).into(),
        (d as i32).into(),
        (eps as f32).into(),
    ];
    // SAFETY: every matrix is [rows, d], the weight [d], rstd [rows].
    unsafe { over_rows(op, name, rows, d).launch(device, &args)? };
    Ok((y, rstd))
}

pub(crate) fn rms_norm_backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, d) = x.dims2()?;
    let (dtype, device) = (x.dtype(), x.device());
    let name = format!("rms_norm_backward_{}", suffix(op, "x", x)?);
    let dx = empty((rows, d), dtype, device)?;
    let args = [
        span(op, "dy", dy, dtype)?.into(),
        span(op, "x", x, dtype)?.into(),
        span(op, "weight", weight, DType::F32)?.into(),
        span(op, "rstd", rstd, DType::F32)?.into(),
        residual.map(|r| span(op, "residual", r, dtype)).transpose()?.into(),
        span(op, "dx", &dx, dtype)?.into(),
        (rows as i32).into(),
        (d as i32).into(),
    ];
    // SAFETY: every matrix is [rows, d], the weight [d], rstd [rows].
    unsafe { over_rows(op, name, rows, d).launch(device, &args)? };
    weight_grad(op, dy, x, None, rstd, dw, None)?;
    Ok(dx)
}

/// LayerNorm; returns (y, mean, rstd). Weight and bias f32.
pub(crate) fn layer_norm(
    op: &'static str,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, d) = x.dims2()?;
    let (dtype, device) = (x.dtype(), x.device());
    let name = format!("layer_norm_{}", suffix(op, "x", x)?);
    let y = empty((rows, d), dtype, device)?;
    let (mean, rstd) = (empty(rows, DType::F32, device)?, empty(rows, DType::F32, device)?);
    let args = [
        span(op, "x", x, dtype)?.into(),
        vector(op, weight)?.into(),
        vector(op, bias)?.into(),
        span(op, "y", &y, dtype)?.into(),
        span(op, "mean", &mean, DType::F32)?.into(),
        span(op, "rstd", &rstd, DType::F32)?.into(),
        (rows as i32).into(),
        (d as i32).into(),
        (eps as f32).into(),
    ];
    // SAFETY: every matrix is [rows, d], weight and bias [d] or absent, mean and rstd [rows].
    unsafe { over_rows(op, name, rows, d).launch(device, &args)? };
    Ok((y, mean, rstd))
}

pub(crate) fn layer_norm_backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    weight: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
    residual: Option<&Tensor>,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, d) = x.dims2()?;
    let (dtype, device) = (x.dtype(), x.device());
    let name = format!("layer_norm_backward_{}", suffix(op, "x", x)?);
    let dx = empty((rows, d), dtype, device)?;
    let args = [
        span(op, "dy", dy, dtype)?.into(),
        span(op, "x", x, dtype)?.into(),
        vector(op, weight)?.into(),
        span(op, "mean", mean, DType::F32)?.into(),
        span(op, "rstd", rstd, DType::F32)?.into(),
        residual.map(|r| span(op, "residual", r, dtype)).transpose()?.into(),
        span(op, "dx", &dx, dtype)?.into(),
        (rows as i32).into(),
        (d as i32).into(),
    ];
    // SAFETY: every matrix is [rows, d], the weight [d] or absent, mean and rstd [rows].
    unsafe { over_rows(op, name, rows, d).launch(device, &args)? };
    weight_grad(op, dy, x, Some(mean), rstd, dw, db)?;
    Ok(dx)
}

fn vector(op: &'static str, v: Option<&Tensor>) -> Result<Option<Span>> {
    v.map(|v| span(op, "weight", v, DType::F32)).transpose()
}

fn weight_grad(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    mean: Option<&Tensor>,
    rstd: &Tensor,
    dw: Option<&Tensor>,
    db: Option<&Tensor>,
) -> Result<()> {
    if dw.is_none() && db.is_none() {
        return Ok(());
    }
    let (rows, d) = x.dims2()?;
    let name = format!("norm_weight_grad_{}", suffix(op, "x", x)?);
    let args = [
        span(op, "dy", dy, x.dtype())?.into(),
        span(op, "x", x, x.dtype())?.into(),
        vector(op, mean)?.into(),
        span(op, "rstd", rstd, DType::F32)?.into(),
        vector(op, dw)?.into(),
        vector(op, db)?.into(),
        (rows as i32).into(),
        (d as i32).into(),
    ];
    let kernel = Kernel { block: [32, 8, 1], ..Kernel::new(op, "norm", name, d.div_ceil(32), 32) };
    // SAFETY: both matrices are [rows, d], mean and rstd [rows], dw and db [d] or absent; a column has one thread that writes it.
    unsafe { kernel.launch(x.device(), &args) }
}
