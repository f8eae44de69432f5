//! Products with few rows, as decoding makes them: dot products along the rows of the weight, which is read once and never
//! packed. Each sum has an order of its own that no number of threads changes.

use super::operand::Operand;
use super::rows::Rows;
use crate::quant::{BLOCK, CODEBOOK};
use crate::real::Real;
use crate::simd::{sum2, wide};
use crate::view::SharedMut;

/// The most rows of x.
pub(crate) const MOST: usize = 4;
/// Elements of the weight that are worth a task of their own: a few microseconds.
const TASK: usize = 1 << 15;

/// Where the sums go: `y = alpha * sum` or `y += alpha * sum`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Into {
    pub alpha: f32,
    pub add: bool,
}

/// Whether [`product`] takes it.
pub(crate) fn suits(tokens: usize, w: &Rows, width: usize) -> bool {
    tokens <= MOST && width > 0 && (!matches!(w, Rows::Nf4 { .. }) || width.is_multiple_of(BLOCK))
}

/// `y = x Wᵀ` for x `[tokens, width]`, at most [`MOST`] rows, W `[n, width]`, y `[tokens, n]`.
pub(crate) fn product<X: Real, Y: Real>(x: &[X], tokens: usize, w: Rows, n: usize, width: usize, y: &mut [Y], into: Into) {
    assert!(suits(tokens, &w, width) && x.len() == tokens * width && y.len() == tokens * n, "few rows: shapes");
    assert!(Operand::along(w, n, width).valid(), "few rows: the weight");
    let y = SharedMut::new(y);
    let sink = |token: usize, row: usize, sum: f32| {
        // SAFETY: each row of the weight is one task's, so element (token, row) is too; it lies in y.
        let out = unsafe { y.slice(token * n + row, 1) };
        out[0] = Y::down(if into.add { out[0].up() + into.alpha * sum } else { into.alpha * sum });
    };
    #[cfg(target_arch = "x86_64")]
    if super::packed::available() {
        let x = super::dots::Prepared::new(x, tokens, &w, width);
        return in_tasks(n, width, |first, count| x.rows(w, first, count, sink));
    }
    in_tasks(n, width, |first, count| {
        let mut row = vec![0f32; width];
        for r in first..first + count {
            for token in 0..tokens {
                sink(token, r, dot_row(&x[token * width..][..width], &w, r, &mut row));
            }
        }
    });
}

/// Runs `work(first row, rows)` over `n` rows of `width`, in parallel where there is enough of it: in equal parts, two for
/// each thread at most.
fn in_tasks(n: usize, width: usize, work: impl Fn(usize, usize) + Sync) {
    let tasks = (n * width / TASK).clamp(1, 2 * rayon::current_num_threads());
    let rows = n.div_ceil(tasks).next_multiple_of(4);
    if n <= rows {
        return work(0, n);
    }
    crate::pool::each(n.div_ceil(rows), |i| work(i * rows, rows.min(n - i * rows)));
}

fn dot_row<T: Real>(x: &[T], w: &Rows, row: usize, buffer: &mut [f32]) -> f32 {
    let at = row * x.len();
    match w {
        Rows::F32(w) => dot(x, &w[at..at + x.len()]),
        Rows::Bf16(w) => dot(x, &w[at..at + x.len()]),
        Rows::Nf4 { codes, scales } => {
            for (b, (out, codes)) in buffer.chunks_mut(BLOCK).zip(codes[at / 2..].chunks(BLOCK / 2)).enumerate() {
                nf4_block(out, codes, scales.get(at / BLOCK + b));
            }
            dot(x, buffer)
        }
        Rows::Q8 { codes, scales } => {
            let scales = &scales[row * x.len().div_ceil(BLOCK)..];
            for ((out, codes), scale) in buffer.chunks_mut(BLOCK).zip(codes[at..at + x.len()].chunks(BLOCK)).zip(scales) {
                q8_block(out, codes, *scale);
            }
            dot(x, buffer)
        }
    }
}

wide! {
    fn dot<T: Real, W: Real>(x: &[T], w: &[W]) -> f32 {
        sum2(x, w, |x, w| x.up() * w.up())
    }

    fn nf4_block(out: &mut [f32], codes: &[u8], scale: f32) {
        for (pair, code) in out.chunks_exact_mut(2).zip(codes) {
            pair[0] = CODEBOOK[usize::from(code >> 4)] * scale;
            pair[1] = CODEBOOK[usize::from(code & 15)] * scale;
        }
    }

    fn q8_block(out: &mut [f32], codes: &[u8], scale: f32) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = f32::from(*code as i8) * scale;
        }
    }
}
