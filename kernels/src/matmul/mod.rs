//! Products with a linear layer's weight, in every form the weight can be held.
//!
//! `y = x Wᵀ` forward, `dx = dy W` backward, `dW += dyᵀ x` where the weight trains. On the CPU the output is cut in
//! tiles, each worked by one thread from start to end, so results do not depend on the number of threads. A quantised or
//! bf16 weight is unpacked one block at a time into a thread's own buffer: the whole matrix never exists in f32.
//!
//! With AVX-512 everything runs on the packed kernels (`packed`, `pack`, `micro`, `thin`, and `tiles`
//! for AMX); elsewhere on the gemm crate (`cpu`). Which is fastest is measured, see [`crate::isa`].
//! Up to four rows, as in decoding, are dot products along the stored rows of the weight (`few`, `dots`).
//! `serial` is the product on one thread that attention and LoRA are made of.

pub(crate) mod cpu;
#[cfg(target_arch = "x86_64")]
mod dots;
pub(crate) mod few;
#[cfg(target_arch = "x86_64")]
mod micro;
mod operand;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod packed;
mod reach;
pub mod reference;
mod rows;
mod serial;
#[cfg(target_arch = "x86_64")]
mod thin;
#[cfg(target_arch = "x86_64")]
mod tiles;

use candle_core::{DType, Tensor};

use crate::weight::Weight;
use crate::{Error, Result, backend};

fn rows_of(op: &'static str, what: &'static str, x: &Tensor, width: usize) -> Result<usize> {
    match x.dims() {
        [rows, w] if *w == width => Ok(*rows),
        got => Err(Error::Shape { op, what, got: format!("{got:?}"), want: format!("[tokens, {width}]") }),
    }
}

/// Bytes of a thread's buffers for the products of a weight `[out, in]` with `tokens` rows, forward and backward.
/// A thread keeps its buffers, each as large as the largest it has needed; those of the packed kernels have one size.
pub fn thread_bytes(tokens: usize, out: usize, inp: usize, activations: DType, dense_f32: bool) -> [u64; 3] {
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        return packed::thread_bytes();
    }
    let rows = tokens.min(cpu::ROWS_TOKENS);
    let weight = if dense_f32 { 0 } else { cpu::ROWS_OUT.min(out) * inp };
    let widened = if activations == DType::F32 { 0 } else { rows * out.max(inp) };
    [weight, widened, rows * cpu::ROWS_OUT.min(out).max(cpu::COLS_IN.min(inp))].map(|n| 4 * n as u64)
}

/// True where every product of dense rows runs on the packed kernels, and none on the general ones.
pub(crate) fn all_packed() -> bool {
    #[cfg(target_arch = "x86_64")]
    return packed::available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Bytes that a thread keeps besides [`thread_bytes`]: the general product's own packing buffers, its share of the
/// second-level cache and a panel of the right side.
pub fn pack_bytes() -> u64 {
    if all_packed() { 0 } else { 2 << 20 }
}

/// Bytes that [`matmul_backward_weight`] needs while it works: both operands in f32, where they have to be widened.
pub fn weight_gradient_bytes(tokens: usize, out: usize, inp: usize, activations: DType) -> u64 {
    if all_packed() || activations == DType::F32 { 0 } else { 4 * (tokens * (out + inp)) as u64 }
}

/// `y = x Wᵀ`: x `[tokens, in]` f32 or bf16, y `[tokens, out]` in x's dtype; accumulated in f32.
///
/// # Errors
/// On shapes that do not fit, dtypes without a kernel, or a device without one.
pub fn matmul(x: &Tensor, w: &Weight) -> Result<Tensor> {
    const OP: &str = "matmul";
    let tokens = rows_of(OP, "x", x, w.in_features())?;
    backend::of(OP, x)?.matmul(OP, x, w, tokens)
}

/// `dx = dy W`: dy `[tokens, out]`, dx `[tokens, in]` in dy's dtype; accumulated in f32.
///
/// # Errors
/// As [`matmul`].
pub fn matmul_backward_input(dy: &Tensor, w: &Weight) -> Result<Tensor> {
    const OP: &str = "matmul_backward_input";
    let tokens = rows_of(OP, "dy", dy, w.out_features())?;
    backend::of(OP, dy)?.matmul_backward_input(OP, dy, w, tokens)
}

/// `dx += dy W`, in place.
///
/// # Errors
/// As [`matmul`].
pub fn matmul_backward_input_add(dy: &Tensor, w: &Weight, dx: &Tensor) -> Result<()> {
    const OP: &str = "matmul_backward_input_add";
    let tokens = rows_of(OP, "dy", dy, w.out_features())?;
    if rows_of(OP, "dx", dx, w.in_features())? != tokens {
        return Err(Error::Shape { op: OP, what: "dx", got: format!("{:?}", dx.dims()), want: format!("[{tokens}, ..]") });
    }
    if dx.dtype() != dy.dtype() {
        return Err(Error::Dtype { op: OP, what: "dx", got: dx.dtype(), want: "the dtype of dy" });
    }
    backend::of(OP, dy)?.matmul_backward_input_add(OP, dy, w, tokens, dx)
}

/// `dW += dyᵀ x`, in place: dy `[tokens, out]`, x `[tokens, in]`, dW f32 `[out, in]`.
///
/// # Errors
/// As [`matmul`].
pub fn matmul_backward_weight(dy: &Tensor, x: &Tensor, dw: &Tensor) -> Result<()> {
    const OP: &str = "matmul_backward_weight";
    let (out, inp) = dw.dims2()?;
    let tokens = rows_of(OP, "dy", dy, out)?;
    if rows_of(OP, "x", x, inp)? != tokens {
        return Err(Error::Shape { op: OP, what: "x", got: format!("{:?}", x.dims()), want: format!("[{tokens}, {inp}]") });
    }
    if dw.dtype() != DType::F32 {
        return Err(Error::Dtype { op: OP, what: "dw", got: dw.dtype(), want: "f32" });
    }
    backend::of(OP, dy)?.matmul_backward_weight(OP, dy, x, dw)
}

/// Whether a second product with a reduction of this length can be summed with one of a weight before it is written.
pub(crate) fn folds(depth: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return packed::available() && packed::short(depth);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = depth;
        false
    }
}

pub(crate) use cpu::{backward_input_more, forward_more};
#[cfg(target_arch = "x86_64")]
pub(crate) use micro::Place;
pub(crate) use operand::Operand;
pub(crate) use reach::Reach;
pub(crate) use rows::Rows;
pub(crate) use serial::{product, product_within};
#[cfg(target_arch = "x86_64")]
pub(crate) use tiles::Tiles;

/// Rows that a tile of the packed products has: work on activations is cut in multiples of it.
pub(crate) fn tile_rows(activations: DType) -> usize {
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        return packed::tile_rows(activations == DType::BF16);
    }
    let _ = activations;
    12
}

/// Whether the products of a few rows with a bf16 and with an NF4 weight are faster by the bf16 dot
/// product, which the processor has.
pub(crate) fn faster_dots() -> (bool, bool) {
    #[cfg(target_arch = "x86_64")]
    return (dots::pairs_are_faster(dots::Timed::Bf16), dots::pairs_are_faster(dots::Timed::Nf4));
    #[cfg(not(target_arch = "x86_64"))]
    (false, false)
}
