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
    /// Where the steps of a row begin and how many lie between two rows, if the micro-kernels can read them where they are: whole
    /// rows of pairs of bf16, or of f32, one after the other so that a few of them share the cache's sets evenly.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn steps_along<const BF: bool>(&self, row: usize) -> Option<(*const i32, usize)> {
        let dense = !self.down && self.stride == self.width;
        match self.rows {
            Rows::Bf16(x) if BF && dense && self.width.is_multiple_of(2) => Some((x[row * self.width..].as_ptr().cast(), self.width / 2)),
            Rows::F32(x) if !BF && dense => Some((x[row * self.width..].as_ptr().cast(), self.width)),
            _ => None,
        }
    }
    /// The same for tiles of bf16, which also read rows that lie apart, as those of a head: but not
    /// where the rows share few of the first-level cache's sets.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn pairs_along(&self, row: usize) -> Option<(*const i32, usize)> {
        let near = self.stride == self.width || !self.stride.is_multiple_of(256);
        match self.rows {
            Rows::Bf16(x) if !self.down && near && self.stride.is_multiple_of(2) => {
                Some((x[row * self.stride..].as_ptr().cast(), self.stride / 2))
            }
            _ => None,
        }
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
