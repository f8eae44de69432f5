//! CPU products: fixed tiles, one thread each, f32 accumulation.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::few;
use super::operand::Operand;
#[cfg(target_arch = "x86_64")]
use super::packed;
use super::rows::{Rows, with_rows};
use crate::Result;
use crate::cpu::elementwise::{add_to, convert};
use crate::real::{Real, by_dtype};
use crate::unwritten::unwritten;
use crate::view::{SharedMut, read, write};
use crate::weight::Weight;

/// Output rows of a forward tile, and reduction rows of a backward step.
pub(super) const ROWS_OUT: usize = 192;
/// Tokens of a tile.
pub(super) const ROWS_TOKENS: usize = 512;

/// A strided f32 matrix for [`gemm_f32`].
#[derive(Clone, Copy)]
pub(crate) struct Mat {
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl Mat {
    /// Row-major `rows x cols`.
    pub(crate) fn dense(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: cols, col_stride: 1 }
    }
    /// Rows of a wider matrix.
    pub(crate) fn strided(rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { rows, cols, row_stride, col_stride: 1 }
    }
    /// The transpose, as a view.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }
    fn reach(self) -> usize {
        if self.rows == 0 || self.cols == 0 { 0 } else { (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride + 1 }
    }
}

/// `c = beta*c + alpha * a b` on this thread, f32.
pub(crate) fn gemm_f32(c: &mut [f32], cm: Mat, a: &[f32], am: Mat, b: &[f32], bm: Mat, alpha: f32, beta: f32) {
    assert!(cm.reach() <= c.len() && am.reach() <= a.len() && bm.reach() <= b.len(), "gemm operand out of range");
    assert!(cm.rows == am.rows && cm.cols == bm.cols && am.cols == bm.rows, "gemm shapes");
    // SAFETY: every index the product touches lies below `reach`, which was checked against the slices above.
    unsafe { gemm_raw(c.as_mut_ptr(), cm, a, am, b, bm, alpha, beta) }
}

/// The same, writing through a pointer whose tile belongs to this thread.
///
/// # Safety
/// `c` must be valid for the elements of `cm`, and no other thread may touch them.
unsafe fn gemm_raw(c: *mut f32, cm: Mat, a: &[f32], am: Mat, b: &[f32], bm: Mat, alpha: f32, beta: f32) {
    // SAFETY: the caller's promise for `c`; `a` and `b` are checked by their slices in the callers.
    unsafe {
        gemm::gemm(
            cm.rows,
            cm.cols,
            am.cols,
            c,
            cm.col_stride as isize,
            cm.row_stride as isize,
            beta != 0.0,
            a.as_ptr(),
            am.col_stride as isize,
            am.row_stride as isize,
            b.as_ptr(),
            bm.col_stride as isize,
            bm.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Rows of x in f32: borrowed or widened into the buffer.
fn widened<'a, T: Real>(x: &'a [T], buffer: &'a mut Vec<f32>) -> &'a [f32] {
    if let Some(x) = as_f32(x) {
        return x;
    }
    sized(buffer, x.len());
    convert(x, buffer);
    buffer
}

fn as_f32<T: Real>(x: &[T]) -> Option<&[f32]> {
    let any: &dyn std::any::Any = &x.as_ptr();
    // SAFETY: the pointer's own type says that T is f32; length and lifetime are x's.
    any.downcast_ref::<*const f32>().map(|&p| unsafe { std::slice::from_raw_parts(p, x.len()) })
}

thread_local! {
    static BUFFERS: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Makes a buffer `n` long without the room to spare that a growing vector takes; its content is overwritten anyway.
pub(crate) fn sized(buffer: &mut Vec<f32>, n: usize) {
    if buffer.capacity() < n {
        *buffer = unwritten(n);
    }
    buffer.resize(n, 0.0);
}

/// Runs `f` with this thread's three reusable buffers. Not re-entrant: `f` must not enter rayon.
pub(crate) fn with_buffers<R>(f: impl FnOnce(&mut [Vec<f32>; 3]) -> R) -> R {
    BUFFERS.with_borrow_mut(f)
}

fn tiles(rows: usize, row_tile: usize, cols: usize, col_tile: usize) -> impl IndexedParallelIterator<Item = (usize, usize)> {
    let across = cols.div_ceil(col_tile);
    (0..rows.div_ceil(row_tile) * across).into_par_iter().map(move |i| (i / across * row_tile, i % across * col_tile)).with_max_len(1)
}

pub(crate) fn forward(op: &'static str, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
    by_dtype!(op, "x", x, T => forward_typed::<T>(op, x, w, tokens))
}

fn forward_typed<T: Real>(op: &'static str, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
    let (n, k) = (w.out_features(), w.in_features());
    let mut y = unwritten::<T>(tokens * n);
    let done = read::<T, _>(op, "x", x, |x| {
        with_rows(op, w, |w| {
            let suits = few::suits(tokens, &w, k);
            if suits {
                few::product(x, tokens, w, n, k, &mut y, few::Into { alpha: 1.0, add: false });
            }
            suits
        })
    })??;
    if done {
        return Ok(Tensor::from_vec(y, (tokens, n), &Device::Cpu)?);
    }
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        read::<T, _>(op, "x", x, |x| {
            with_rows(op, w, |w| {
                let (a, b) = (Operand::along(Rows::of(x), tokens, k), Operand::along(w, n, k));
                packed::product(&a, &b, None, &mut y, T::DTYPE == DType::BF16, 1.0, false);
            })
        })??;
        return Ok(Tensor::from_vec(y, (tokens, n), &Device::Cpu)?);
    }
    let shared = SharedMut::new(&mut y);
    read::<T, _>(op, "x", x, |x| {
        with_rows(op, w, |rows| {
            tiles(tokens, ROWS_TOKENS, n, ROWS_OUT).for_each(|(t0, n0)| {
                let (t, nn) = (ROWS_TOKENS.min(tokens - t0), ROWS_OUT.min(n - n0));
                with_buffers(|[wb, xb, yb]| {
                    let wf = rows.unpack(n0, nn, k, wb);
                    let xf = widened(&x[t0 * k..(t0 + t) * k], xb);
                    sized(yb, t * nn);
                    gemm_f32(yb, Mat::dense(t, nn), xf, Mat::dense(t, k), wf, Mat::dense(nn, k).t(), 1.0, 0.0);
                    for (i, row) in yb.chunks(nn).enumerate() {
                        // SAFETY: the tile (t0.., n0..) is this thread's alone and lies in y.
                        let out = unsafe { shared.slice((t0 + i) * n + n0, nn) };
                        convert(row, out);
                    }
                });
            });
        })
    })??;
    Ok(Tensor::from_vec(y, (tokens, n), &Device::Cpu)?)
}

/// `y = x Wᵀ + a b` for a second pair of operands, where [`super::folds`] says so.
#[cfg(target_arch = "x86_64")]
pub(crate) fn forward_more<T: Real>(op: &'static str, x: &Tensor, w: &Weight, more: (Operand, Operand)) -> Result<Tensor> {
    let (tokens, n, k) = (x.dim(0)?, w.out_features(), w.in_features());
    let mut y = unwritten::<T>(tokens * n);
    read::<T, _>(op, "x", x, |x| {
        with_rows(op, w, |w| {
            let (a, b) = (Operand::along(Rows::of(x), tokens, k), Operand::along(w, n, k));
            packed::product(&a, &b, Some(more), &mut y, T::DTYPE == DType::BF16, 1.0, false);
        })
    })??;
    Ok(Tensor::from_vec(y, (tokens, n), &Device::Cpu)?)
}

/// `dx = dy W + a b`, returned, or added to `onto`; as [`forward_more`].
#[cfg(target_arch = "x86_64")]
pub(crate) fn backward_input_more<T: Real>(
    op: &'static str,
    dy: &Tensor,
    w: &Weight,
    more: (Operand, Operand),
    onto: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    let (tokens, n, k) = (dy.dim(0)?, w.out_features(), w.in_features());
    let work = |dx: &mut [T], add: bool| {
        read::<T, _>(op, "dy", dy, |dy| {
            with_rows(op, w, |w| {
                let (a, b) = (Operand::along(Rows::of(dy), tokens, n), Operand::down(w, n, k));
                packed::product(&a, &b, Some(more), dx, T::DTYPE == DType::BF16, 1.0, add);
            })
        })?
    };
    if let Some(dx) = onto {
        write::<T, _>(op, "dx", dx, |dx| work(dx, true))??;
        return Ok(None);
    }
    let mut dx = unwritten::<T>(tokens * k);
    work(&mut dx, false)?;
    Ok(Some(Tensor::from_vec(dx, (tokens, k), &Device::Cpu)?))
}

/// Without packed kernels nothing is summed in one, see [`super::folds`].
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn forward_more<T: Real>(op: &'static str, _: &Tensor, _: &Weight, _: (Operand, Operand)) -> Result<Tensor> {
    Err(crate::Error::Value { op, message: "no packed kernels on this processor".into() })
}

/// As [`forward_more`].
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn backward_input_more<T: Real>(
    op: &'static str,
    _: &Tensor,
    _: &Weight,
    _: (Operand, Operand),
    _: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    Err(crate::Error::Value { op, message: "no packed kernels on this processor".into() })
}

pub(crate) fn backward_input(op: &'static str, dy: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor> {
    by_dtype!(op, "dy", dy, T => {
        let k = w.in_features();
        let mut dx = unwritten::<T>(tokens * k);
        read::<T, _>(op, "dy", dy, |dy| input_tiles(op, dy, w, tokens, &mut dx, false))??;
        Ok(Tensor::from_vec(dx, (tokens, k), &Device::Cpu)?)
    })
}

pub(crate) fn backward_input_add(op: &'static str, dy: &Tensor, w: &Weight, tokens: usize, dx: &Tensor) -> Result<()> {
    by_dtype!(op, "dy", dy, T => {
        read::<T, _>(op, "dy", dy, |dy| write::<T, _>(op, "dx", dx, |dx| input_tiles(op, dy, w, tokens, dx, true)))??
    })
}

/// Columns of dx that a tile covers.
pub(super) const COLS_IN: usize = 768;

fn input_tiles<T: Real>(op: &'static str, dy: &[T], w: &Weight, tokens: usize, dx: &mut [T], add: bool) -> Result<()> {
    let (n, k) = (w.out_features(), w.in_features());
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        return with_rows(op, w, |w| {
            let (a, b) = (Operand::along(Rows::of(dy), tokens, n), Operand::down(w, n, k));
            packed::product(&a, &b, None, dx, T::DTYPE == DType::BF16, 1.0, add);
        });
    }
    let shared = SharedMut::new(dx);
    with_rows(op, w, |rows| {
        tiles(tokens, ROWS_TOKENS, k, COLS_IN).for_each(|(t0, k0)| {
            let (t, kk) = (ROWS_TOKENS.min(tokens - t0), COLS_IN.min(k - k0));
            with_buffers(|[wb, db, acc]| {
                let dyf = widened(&dy[t0 * n..(t0 + t) * n], db);
                sized(acc, t * kk);
                for n0 in (0..n).step_by(ROWS_OUT) {
                    let nn = ROWS_OUT.min(n - n0);
                    let wf = rows.unpack(n0, nn, k, wb);
                    let beta = if n0 == 0 { 0.0 } else { 1.0 };
                    let (a, b) = (Mat::strided(t, nn, n), Mat::strided(nn, kk, k));
                    gemm_f32(acc, Mat::dense(t, kk), &dyf[n0..], a, &wf[k0..], b, 1.0, beta);
                }
                for (i, row) in acc.chunks(kk).enumerate() {
                    // SAFETY: the tile (t0.., k0..) is this thread's alone and lies in dx.
                    let out = unsafe { shared.slice((t0 + i) * k + k0, kk) };
                    if add { add_to(out, row) } else { convert(row, out) }
                }
            });
        });
    })
}

pub(crate) fn backward_weight(op: &'static str, dy: &Tensor, x: &Tensor, dw: &Tensor, tokens: usize, n: usize, k: usize) -> Result<()> {
    by_dtype!(op, "dy", dy, D => by_dtype!(op, "x", x, X => {
        read::<D, _>(op, "dy", dy, |dy| read::<X, _>(op, "x", x, |x| {
            write::<f32, _>(op, "dw", dw, |dw| weight_product(dy, x, dw, tokens, n, k))
        }))??
    }))
}

/// `dw += dyᵀ x`.
fn weight_product<D: Real, X: Real>(dy: &[D], x: &[X], dw: &mut [f32], tokens: usize, n: usize, k: usize) {
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        let (a, b) = (Operand::down(Rows::of(dy), tokens, n), Operand::down(Rows::of(x), tokens, k));
        packed::product(&a, &b, None, dw, D::DTYPE == DType::BF16 && X::DTYPE == DType::BF16, 1.0, true);
        return;
    }
    let (mut dyb, mut xb) = (Vec::new(), Vec::new());
    let (dy, x) = (widened(dy, &mut dyb), widened(x, &mut xb));
    dw.par_chunks_mut(32 * k).enumerate().for_each(|(i, chunk)| {
        let rows = chunk.len() / k;
        let a = Mat::strided(tokens, rows, n).t();
        gemm_f32(chunk, Mat::dense(rows, k), &dy[i * 32..], a, x, Mat::dense(tokens, k), 1.0, 1.0);
    });
}
