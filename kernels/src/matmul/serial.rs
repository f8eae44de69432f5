//! Products on the calling thread, for kernels that cut their work themselves.

use super::cpu::{Mat, gemm_f32, with_buffers};
use super::operand::Operand;
#[cfg(target_arch = "x86_64")]
use super::packed;
use super::reach::Reach;
use super::rows::Rows;
use crate::cpu::elementwise::convert;
use crate::real::Real;

/// `c = alpha * a b` (+ c): c `[a.breadth, b.breadth]` with rows `ldc` apart. Sums are f32; `bf` allows products in bf16.
pub(crate) fn product<T: Real>(a: Operand, b: Operand, c: &mut [T], ldc: usize, bf: bool, alpha: f32, add: bool) {
    product_within(a, b, c, ldc, bf, alpha, add, Reach::All);
}

/// [`product`] as far as is needed; what is not needed may be computed all the same.
pub(crate) fn product_within<T: Real>(a: Operand, b: Operand, c: &mut [T], ldc: usize, bf: bool, alpha: f32, add: bool, reach: Reach) {
    let (m, n) = (a.breadth(), b.breadth());
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= ldc && (m - 1) * ldc + n <= c.len(), "product: output size");
    #[cfg(target_arch = "x86_64")]
    if packed::available() {
        packed::serial(&a, &b, c, ldc, bf, alpha, add, reach);
        return;
    }
    let _ = (bf, reach);
    with_buffers(|[ab, bb, cb]| {
        let (am, bm) = (matrix(&a, true), matrix(&b, false));
        let (a, b) = (widened(&a, ab), widened(&b, bb));
        super::cpu::sized(cb, m * n);
        gemm_f32(cb, Mat::dense(m, n), a, am, b, bm, alpha, 0.0);
        for (row, sums) in c.chunks_mut(ldc).zip(cb.chunks(n)) {
            if add { crate::cpu::elementwise::add_to(&mut row[..n], sums) } else { convert(sums, &mut row[..n]) }
        }
    });
}

/// How the operand stands in the product.
fn matrix(x: &Operand, left: bool) -> Mat {
    let m = Mat::strided(x.count, x.width, x.stride);
    if x.down == left { m.t() } else { m }
}

/// Dense rows in f32: borrowed, or widened into the buffer.
fn widened<'a>(x: &Operand<'a>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
    match x.rows {
        Rows::F32(x) => x,
        Rows::Bf16(rows) => {
            let reach = if x.count == 0 { 0 } else { (x.count - 1) * x.stride + x.width };
            super::cpu::sized(buffer, reach);
            convert(&rows[..reach], buffer);
            buffer
        }
        _ => unreachable!("products on one thread take dense operands"),
    }
}
