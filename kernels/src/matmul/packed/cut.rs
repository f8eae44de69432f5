//! How a packed product is cut in blocks: rows and columns of a block, steps of a depth block.

use super::super::micro::{MR, NR};
use super::super::tiles;
use super::{COLUMNS, PANELS, STEPS, SUMS};

/// What a kind of micro-kernel asks of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grain {
    /// Rows of a tile.
    pub(super) rows: usize,
    /// The most rows of a block, a multiple of them.
    pub(super) most: usize,
    /// Packing an element of the right side costs as much as this many more rows.
    pack: usize,
    /// Bringing one of the left side costs as much as this many columns.
    left: usize,
}

/// The vector micro-kernels.
pub(super) const VECTORS: Grain = Grain { rows: MR, most: 1032, pack: 16, left: 3 };
/// AMX, which multiplies several times as fast and packs no faster.
pub(super) const TILES: Grain = Grain { rows: tiles::MR, most: 4096, pack: 128, left: 16 };

/// Rows and columns of a block, steps of a depth block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
}

/// Cuts `n` in parts of at most `most`, even, each a multiple of `unit`.
fn part(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

impl Cut {
    /// For `m` rows and `n` columns over `steps` steps on so many threads: the one that takes
    /// least time, counted in multiplications.
    pub(super) fn new(grain: Grain, m: usize, n: usize, steps: usize, threads: usize) -> Self {
        // Attention's tiles come by here thousands of times in a step: no search where one block
        // is all.
        if let (1, Some(cut)) = (threads, Self::whole(grain, m, n, steps)) {
            return cut;
        }
        let unit = grain.rows;
        let mut best = (usize::MAX, Self { rows: unit, columns: NR, depth: 16 });
        let mut columns = 0;
        for tried in (1..=COLUMNS / NR).map(|parts| part(n, COLUMNS / parts / NR * NR, NR)) {
            if std::mem::replace(&mut columns, tried) == tried {
                continue;
            }
            let depth = part(steps, (PANELS / (2 * columns / NR) / 16 * 16).min(STEPS), 16);
            let waiting = (SUMS / columns / unit * unit).min(grain.most);
            let most = if depth >= steps { grain.most } else { waiting };
            let mut rows = 0;
            for tried in (0..8).map(|halved| part(m, (most >> halved).max(unit), unit)) {
                if std::mem::replace(&mut rows, tried) == tried {
                    continue;
                }
                let cut = Self { rows, columns, depth };
                let cost = cut.cost(grain, m, n, steps, threads);
                if cost < best.0 {
                    best = (cost, cut);
                }
            }
        }
        best.1
    }

    /// All of it as one block, if it fits.
    fn whole(grain: Grain, m: usize, n: usize, steps: usize) -> Option<Self> {
        let (columns, depth) = (n.next_multiple_of(NR), steps.next_multiple_of(16).max(16));
        let rows = m.next_multiple_of(grain.rows);
        let panels = columns / NR * depth * 2;
        let fits = rows <= grain.most && columns <= COLUMNS && depth <= STEPS && panels <= PANELS;
        fits.then_some(Self { rows, columns, depth })
    }

    /// What the busiest thread does for one step: sums and packing.
    fn cost(&self, grain: Grain, m: usize, n: usize, steps: usize, threads: usize) -> usize {
        // Sums that wait are fetched and put back.
        let waiting = if self.depth < steps { self.rows * self.columns * 24 / self.depth.max(1) } else { 0 };
        let block = (self.rows + grain.pack) * (self.columns + grain.left) + waiting;
        (m.div_ceil(self.rows) * n.div_ceil(self.columns)).div_ceil(threads) * block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_fits_the_buffers() {
        for grain in [VECTORS, TILES] {
            let unit = grain.rows;
            for m in [1, 5, 12, 13, 170, 516, 2048, 5000] {
                for n in [1, 16, 33, 192, 576, 1700, 49152] {
                    for steps in [1, 16, 17, 288, 768, 769, 1024, 24576] {
                        for threads in [1, 2, 3, 16] {
                            let cut = Cut::new(grain, m, n, steps, threads);
                            let shape = format!("{m} x {n} x {steps} on {threads}: {cut:?}");
                            let whole = cut.rows.is_multiple_of(unit) && cut.columns.is_multiple_of(NR);
                            assert!(whole && cut.depth.is_multiple_of(16), "{shape}");
                            assert!(cut.rows > 0 && cut.rows <= grain.most, "{shape}");
                            assert!((NR..=COLUMNS).contains(&cut.columns), "{shape}");
                            let panels = cut.columns / NR * cut.depth * 2;
                            assert!(cut.depth <= STEPS && panels <= PANELS, "{shape}");
                            let waiting = if cut.depth < steps { cut.rows } else { unit };
                            assert!(waiting * cut.columns <= SUMS, "{shape}");
                        }
                    }
                }
            }
        }
        // Nobody is left without work where there is enough of it, and one thread takes a small
        // product whole.
        for grain in [VECTORS, TILES] {
            let cut = Cut::new(grain, 2048, 576, 288, 2);
            assert_eq!(2048_usize.div_ceil(cut.rows) * 576_usize.div_ceil(cut.columns) % 2, 0, "{cut:?}");
            let whole = Cut { rows: 96, columns: 192, depth: 32 };
            assert_eq!(Cut::new(grain, 96, 192, 32, 1), whole);
        }
    }
}
