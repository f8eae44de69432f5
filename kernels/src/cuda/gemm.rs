//! Matrix products by cuBLAS: row-major in the caller's words, column-major in the library's.

use candle_core::{DType, Device};

use super::memory::Span;
use crate::{Error, Result};

/// One operand: `[rows, cols]` of the product as written, or stored the other way round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) span: Span,
    pub(crate) dtype: DType,
    pub(crate) transposed: bool,
}

impl Side {
    pub(crate) fn new(span: Span, dtype: DType) -> Self {
        Self { span, dtype, transposed: false }
    }
    /// The stored matrix, transposed.
    pub(crate) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// `c [m, n] = alpha * a [m, k] * b [k, n] + beta * c`, accumulated in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemm {
    pub(crate) op: &'static str,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
}

/// The same as the library takes it: the column-major `C [m, n] = alpha * op(A) * op(B) + beta * C`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the emulator's products do not fail"))]
    pub(crate) op: &'static str,
    pub(crate) transpose: [bool; 2],
    pub(crate) m: i32,
    pub(crate) n: i32,
    pub(crate) k: i32,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) a: Span,
    pub(crate) b: Span,
    pub(crate) c: Span,
    /// Of A and B; of C.
    pub(crate) dtypes: [DType; 2],
    pub(crate) ld: [i32; 3],
}

impl Gemm {
    /// Launches it.
    ///
    /// # Safety
    /// The spans must be allocated memory of this device and `c` apart from the others.
    pub(crate) unsafe fn launch(&self, device: &Device, a: Side, b: Side, c: Side) -> Result<()> {
        if self.m == 0 || self.n == 0 {
            return Ok(());
        }
        let columns = self.columns(a, b, c)?;
        super::launch::count();
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(d) => {
                // SAFETY: the caller's promise; the sizes were checked against the spans.
                unsafe { super::driver::gemm(&columns, d) }
            }
            #[cfg(emulator)]
            Device::Cpu => {
                // SAFETY: as above.
                unsafe { super::emulator::gemm(&columns) }
            }
            _ => Err(Error::NoKernel { op: self.op, device: format!("{:?}", device.location()) }),
        }
    }

    /// A row-major matrix is its transpose in columns, so the product is `Cᵀ = Bᵀ Aᵀ`: the sides change places.
    fn columns(&self, a: Side, b: Side, c: Side) -> Result<Columns> {
        let Self { op, m, n, k, .. } = *self;
        if a.dtype != b.dtype {
            return Err(Error::Dtype { op, what: "operands", got: b.dtype, want: a.dtype.as_str() });
        }
        for (what, side, elements) in [("left side", a, m * k), ("right side", b, k * n), ("result", c, m * n)] {
            let want = elements * side.dtype.size_in_bytes();
            if side.span.bytes < want || c.transposed {
                return Err(Error::Shape { op, what, got: format!("{} bytes", side.span.bytes), want: format!("{want} bytes") });
            }
        }
        let int = |x: usize| i32::try_from(x).map_err(|_| Error::Value { op, message: format!("{x} rows or columns are too many") });
        let stored = |side: &Side, rows: usize, cols: usize| int(if side.transposed { rows } else { cols });
        Ok(Columns {
            op,
            transpose: [b.transposed, a.transposed],
            m: int(n)?,
            n: int(m)?,
            k: int(k)?,
            alpha: self.alpha,
            beta: self.beta,
            a: b.span,
            b: a.span,
            c: c.span,
            dtypes: [a.dtype, c.dtype],
            ld: [stored(&b, k, n)?, stored(&a, m, k)?, int(n)?],
        })
    }
}
