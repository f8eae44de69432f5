//! What of a product need not be computed.

/// The part of a causal tile's product that is needed. Row i of the tile sees the columns up to `i + shift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of it.
    All,
    /// Elements of the result with `column > row + shift` may be left as they are.
    Result { shift: isize },
    /// Elements of the left side with `step > row + shift` are zero.
    Left { shift: isize },
    /// Elements of the left side with `row > step + shift` are zero.
    LeftDown { shift: isize },
}

#[cfg(target_arch = "x86_64")]
impl Reach {
    /// For the rows `row .. row + rows` of a product over `steps` steps of `per` elements: the first step, a multiple of 16, the
    /// end of the steps and that of the columns.
    #[inline(always)]
    pub(super) fn of(self, row: usize, rows: usize, steps: usize, per: usize) -> (usize, usize, usize) {
        let end = |shift: isize| (row + rows).saturating_add_signed(shift);
        match self {
            Reach::All => (0, steps, usize::MAX),
            Reach::Result { shift } => (0, steps, end(shift)),
            Reach::Left { shift } => (0, end(shift).div_ceil(per).min(steps), usize::MAX),
            Reach::LeftDown { shift } => ((row.saturating_add_signed(-shift) / per / 16 * 16).min(steps), steps, usize::MAX),
        }
    }
}
