//! Launchers of `quant.cu`.

use candle_core::DType;

use super::launch::{Arg, Kernel, THREADS};
use super::memory::{Span, span};
use crate::quant::{Absmax, Nf4, Q8};
use crate::{Error, Result};

fn named(op: &'static str, base: &str, dtype: DType) -> Result<String> {
    match dtype {
        DType::F32 => Ok(format!("{base}_f32")),
        DType::BF16 => Ok(format!("{base}_bf16")),
        got => Err(Error::Dtype { op, what: "decoded weight", got, want: "f32 or bf16" }),
    }
}

/// Decodes the whole matrix into `to`, row-major in `dtype`.
pub(crate) fn nf4(op: &'static str, w: &Nf4, to: Span, dtype: DType) -> Result<()> {
    let (out, inp) = w.shape();
    let n = out * inp;
    let scales: [Arg; 5] = match w.absmax() {
        Absmax::Plain(t) => [span(op, "absmax", t, DType::F32)?.into(), None.into(), None.into(), None.into(), 0f32.into()],
        Absmax::Double { codes, nested_absmax, map, offset } => [
            None.into(),
            span(op, "absmax", codes, DType::U8)?.into(),
            span(op, "nested_absmax", nested_absmax, DType::F32)?.into(),
            span(op, "nested_quant_map", map, DType::F32)?.into(),
            (*offset).into(),
        ],
    };
    let [absmax, codes, nested, map, offset] = scales;
    let args = [span(op, "codes", w.codes(), DType::U8)?.into(), absmax, codes, nested, map, offset, to.into(), (n as u64).into()];
    let name = named(op, "nf4_dequantize", dtype)?;
    // A thread makes 8 elements 4 times.
    // SAFETY: codes and scales have the sizes that `Nf4` checked; the caller gives room for n elements.
    unsafe { Kernel::over(op, "quant", name, n, 32).launch(w.device(), &args) }
}

/// The same for 8-bit blocks.
pub(crate) fn q8(op: &'static str, w: &Q8, to: Span, dtype: DType) -> Result<()> {
    let (out, inp) = w.shape();
    let args = [
        span(op, "codes", w.codes(), DType::U8)?.into(),
        span(op, "scales", w.scales(), DType::F32)?.into(),
        to.into(),
        (out as i32).into(),
        (inp as i32).into(),
    ];
    let across = inp.div_ceil(8 * THREADS as usize).max(1);
    let kernel = Kernel::new(op, "quant", named(op, "q8_dequantize", dtype)?, across, THREADS);
    // SAFETY: codes and scales have the sizes of the matrix; the caller gives room for its elements.
    unsafe { Kernel { grid: [across as u32, out.min(65_535) as u32, 1], ..kernel }.launch(w.device(), &args) }
}
