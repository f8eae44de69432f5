//! One side of a product: any stored form, rows apart, reduced along them or down them.

use super::rows::Rows;
use crate::real::Real;

/// A matrix `[count, width]` whose rows lie `stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) count: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    /// The reduction runs down the rows, not along them.
    pub(super) down: bool,
}

impl<'a> Operand<'a> {
    /// Reduced along its rows.
    pub(crate) fn along(rows: Rows<'a>, count: usize, width: usize) -> Self {
        Self { rows, count, width, stride: width, down: false }
    }
    /// Reduced down its columns.
    pub(crate) fn down(rows: Rows<'a>, count: usize, width: usize) -> Self {
        Self { rows, count, width, stride: width, down: true }
    }
    /// Activations `[count, width]`, reduced along their rows.
    pub(crate) fn of<T: Real>(x: &'a [T], count: usize, width: usize) -> Self {
        Self::along(Rows::of(x), count, width)
    }
    /// Reduced the other way.
    pub(crate) fn t(self) -> Self {
        Self { down: !self.down, ..self }
    }
    /// Rows of a wider dense matrix.
    pub(crate) fn stride(self, stride: usize) -> Self {
        assert!(matches!(self.rows, Rows::F32(_) | Rows::Bf16(_)) && stride >= self.width, "only dense rows lie apart");
        Self { stride, ..self }
    }
    /// Length of the reduction.
    pub(super) fn depth(&self) -> usize {
        if self.down { self.count } else { self.width }
    }
    /// Rows of the result, or its columns.
    pub(super) fn breadth(&self) -> usize {
        if self.down { self.width } else { self.count }
    }
    /// Whether all its elements lie within the storage.
    pub(super) fn valid(&self) -> bool {
        if self.count == 0 || self.width == 0 {
            return true;
        }
        let reach = (self.count - 1) * self.stride + self.width;
        match self.rows {
            Rows::F32(x) => reach <= x.len(),
            Rows::Bf16(x) => reach <= x.len(),
            _ => self.rows.holds(self.count, self.width),
        }
    }
}
