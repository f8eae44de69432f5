//! How sure a figure is: bootstrap intervals, and a paired test of two systems on the same rows.
//!
//! - Interval: rows are drawn again with replacement, and the middle 95 % of the figures is given
//!   (Efron's percentile bootstrap). Two systems are drawn together.
//! - Test: approximate randomisation. For each row a coin decides whether the two systems' results
//!   change places; p is the share of such exchanges whose difference is at least the real one
//!   (Noreen, 1989). It needs no assumption on how results are spread.

use serde::Serialize;

use super::metric::Table;
use crate::data::Rng;

/// Resamplings, of each kind.
pub const DRAWS: usize = 1000;

/// A figure and the middle 95 % of what resampled rows give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// On all rows.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Two systems on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// Second minus first.
    pub difference: Figure,
    /// Probability of a difference at least this large if the two were alike.
    pub p: f64,
}

impl Figure {
    /// From a value and what resamplings gave; figures that are none (a resampling without words)
    /// are left out.
    fn of(value: f64, mut draws: Vec<f64>) -> Self {
        draws.retain(|d| d.is_finite());
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws.get(((draws.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(value);
        Self { value, low: at(0.025), high: at(0.975) }
    }
}

/// The row numbers of one resampling.
fn drawn(rows: usize, random: &mut Rng) -> Vec<usize> {
    (0..rows).map(|_| random.below(rows as u64) as usize).collect()
}

/// The interval of a figure that is computed from row numbers.
pub fn interval_of(rows: usize, seed: u64, figure: impl Fn(&[usize]) -> f64) -> Figure {
    let mut random = Rng::for_parts(&[seed, 11, rows as u64]);
    let all: Vec<usize> = (0..rows).collect();
    let draws = if rows == 0 { Vec::new() } else { (0..DRAWS).map(|_| figure(&drawn(rows, &mut random))).collect() };
    Figure::of(figure(&all), draws)
}

/// The interval of a table's figure.
pub fn interval(table: &Table, seed: u64) -> Figure {
    interval_of(table.rows.len(), seed, |rows| table.over(rows.iter().copied()))
}

/// Second against first.
///
/// # Panics
/// When the tables have different numbers of rows.
pub fn paired(first: &Table, second: &Table, seed: u64) -> Paired {
    let n = first.rows.len();
    assert_eq!(n, second.rows.len(), "paired tables have the same rows");
    let gap = |rows: &[usize]| second.over(rows.iter().copied()) - first.over(rows.iter().copied());
    let difference = interval_of(n, seed, gap);
    let mut random = Rng::for_parts(&[seed, 12, n as u64]);
    let tables = [first, second];
    let mut as_large = 0;
    for _ in 0..DRAWS {
        let mut sums = [0, 1].map(|i: usize| vec![0.0; tables[i].rows.first().map_or(2, Vec::len)]);
        for row in 0..n {
            let side = random.below(2) as usize;
            for (to, table) in [side, 1 - side].into_iter().zip(tables) {
                sums[to].iter_mut().zip(&table.rows[row]).for_each(|(s, x)| *s += x);
            }
        }
        let gap = second.metric.value(&sums[1]) - first.metric.value(&sums[0]);
        // The same sum in another order may differ in its last digits. Where there is nothing to
        // measure, there is no difference to find.
        if !difference.value.is_finite() || gap.abs() >= difference.value.abs() - 1e-12 {
            as_large += 1;
        }
    }
    Paired { difference, p: f64::from(as_large + 1) / (DRAWS + 1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(share: f64, n: usize, seed: u64) -> Vec<f64> {
        let mut random = Rng::for_parts(&[seed, 77]);
        (0..n).map(|_| f64::from(u8::from(random.unit() < share))).collect()
    }

    /// An interval holds the truth in about 95 of 100 cases, and the test rejects what is alike in
    /// about 5 of 100.
    #[test]
    fn intervals_and_tests_keep_their_promise() {
        let (mut held, mut rejected) = (0, 0);
        for seed in 0..200 {
            let (a, b) = (Table::given("x", &coins(0.3, 120, seed)), Table::given("x", &coins(0.3, 120, seed + 1000)));
            let figure = interval(&a, seed);
            held += usize::from(figure.low <= 0.3 && 0.3 <= figure.high);
            rejected += usize::from(paired(&a, &b, seed).p < 0.05);
        }
        assert!((178..=199).contains(&held), "held {held} of 200");
        assert!((1..=22).contains(&rejected), "rejected {rejected} of 200");
    }

    #[test]
    fn finds_a_difference_and_repeats_itself() {
        let (a, b) = (Table::given("x", &coins(0.2, 200, 1)), Table::given("x", &coins(0.5, 200, 2)));
        let found = paired(&a, &b, 5);
        assert!(found.p < 0.01 && found.difference.low > 0.0, "{found:?}");
        assert_eq!(found, paired(&a, &b, 5));
        let same = paired(&a, &a, 5);
        assert_eq!((same.difference.value, same.p), (0.0, 1.0));
        assert!(interval(&Table::given("x", &[]), 1).value.is_nan());
        // Rows that hold nothing to measure give no figure, and no difference.
        let order = crate::eval::Metric::Tool(crate::eval::ToolMetric::Order);
        let nothing = Table { metric: order, rows: vec![vec![0.0, 0.0]; 5] };
        let compared = paired(&nothing, &nothing, 5);
        assert!(compared.difference.value.is_nan() && compared.p == 1.0, "{compared:?}");
    }
}
