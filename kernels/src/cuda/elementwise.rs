//! Launchers of `elementwise.cu`.

use candle_core::{DType, Tensor};

use super::activation::lanes;
use super::launch::Kernel;
use super::memory::{Span, copy, span};
use super::suffix;
use crate::Result;

/// `out = a + b`; out may be a.
pub(crate) fn add(op: &'static str, a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let (n, dtype) = (a.elem_count(), a.dtype());
    let name = format!("add_{}", suffix(op, "a", a)?);
    let args = [span(op, "a", a, dtype)?.into(), span(op, "b", b, dtype)?.into(), span(op, "out", out, dtype)?.into(), (n as u64).into()];
    // SAFETY: three tensors of n elements; an element is read before it is written.
    unsafe { Kernel::over(op, "elementwise", name, n, lanes(a)).launch(a.device(), &args) }
}

/// `y += bias`, bias f32.
pub(crate) fn add_bias(op: &'static str, y: &Tensor, bias: &Tensor) -> Result<()> {
    let (rows, n) = y.dims2()?;
    let name = format!("add_bias_{}", suffix(op, "y", y)?);
    let args = [span(op, "y", y, y.dtype())?.into(), span(op, "bias", bias, DType::F32)?.into(), (rows as u64).into(), (n as u64).into()];
    // SAFETY: y has rows * n elements and the bias n.
    unsafe { Kernel::over(op, "elementwise", name, rows * n, 1).launch(y.device(), &args) }
}

pub(crate) fn sum_rows_add(op: &'static str, dy: &Tensor, db: &Tensor) -> Result<()> {
    let (rows, n) = dy.dims2()?;
    let name = format!("sum_rows_add_{}", suffix(op, "dy", dy)?);
    let args = [span(op, "dy", dy, dy.dtype())?.into(), span(op, "db", db, DType::F32)?.into(), (rows as u64).into(), (n as u64).into()];
    let kernel = Kernel { block: [32, 8, 1], ..Kernel::new(op, "elementwise", name, n.div_ceil(32), 32) };
    // SAFETY: dy has rows * n elements and db n; each column has one thread that writes it.
    unsafe { kernel.launch(dy.device(), &args) }
}

/// `t *= factor`, f32.
pub(crate) fn scale(op: &'static str, t: &Tensor, factor: f32) -> Result<()> {
    let n = t.elem_count();
    let args = [span(op, "tensor", t, DType::F32)?.into(), factor.into(), (n as u64).into()];
    // SAFETY: the tensor has n elements.
    unsafe { Kernel::over(op, "elementwise", "scale_f32", n, 4).launch(t.device(), &args) }
}

pub(crate) fn zero(op: &'static str, t: &Tensor) -> Result<()> {
    let to = span(op, "tensor", t, t.dtype())?;
    // SAFETY: the tensor's own bytes.
    unsafe { super::memory::fill_zero(op, t.device(), to) }
}

/// Copies the rows of src into dst from element `at` on.
pub(crate) fn write_rows(op: &'static str, dst: &Tensor, at: usize, src: &Tensor) -> Result<()> {
    let (from, to) = (span(op, "src", src, src.dtype())?, span(op, "dst", dst, src.dtype())?);
    let skip = at * src.dtype().size_in_bytes();
    let to = Span { address: to.address + skip as u64, bytes: to.bytes - skip };
    // SAFETY: the caller has checked that the rows lie within dst; two tensors of a model are apart.
    unsafe { copy(op, dst.device(), from, to) }
}

/// Writes a dense f32 or bf16 matrix into `to` in the other of the two types.
pub(crate) fn convert(op: &'static str, from: &Tensor, to: Span) -> Result<()> {
    let n = from.elem_count();
    let name = if from.dtype() == DType::F32 { "convert_f32_bf16" } else { "convert_bf16_f32" };
    let args = [span(op, "weight", from, from.dtype())?.into(), to.into(), (n as u64).into()];
    // SAFETY: n elements each; the caller gives room for them.
    unsafe { Kernel::over(op, "elementwise", name, n, 4).launch(from.device(), &args) }
}
