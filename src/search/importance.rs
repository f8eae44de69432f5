//! How much each setting mattered: functional analysis of variance of a random forest (Hutter,
//! Hoos, Leyton-Brown 2014).
//!
//! A forest of regression trees learns the trials' ranks from their places in the unit cube. A tree
//! is boxes with values, so the mean over all other settings is exact: `m_d(x) = sum of value *
//! volume / width_d over the boxes that hold x`. The importance of a setting is the variance of
//! `m_d` as a share of the tree's own, the mean over the trees. What only settings together explain
//! belongs to none of them, so the shares sum to at most 1. Ranks stand in for costs: one trial
//! that diverged would otherwise be all the variance.

use super::draw::Draw;

/// Trees of the forest.
const TREES: u64 = 64;
/// Trials that must have ended: of fewer nothing can be said.
const LEAST: usize = 8;
/// Trials of a box that is not divided further.
const LEAF: usize = 2;

/// A part of the unit cube and the mean rank in it.
#[derive(Debug, Clone)]
struct Cell {
    low: Vec<f64>,
    high: Vec<f64>,
    value: f64,
}

/// The share of each setting, from the places of all trials and their ranks; `None` where there are
/// too few, or none differs from the others. A trial with a setting that lies nowhere is left out.
pub fn importance(places: &[Vec<Option<f64>>], ranks: &[usize]) -> Option<Vec<f64>> {
    let rows: Vec<(Vec<f64>, f64)> = places
        .iter()
        .zip(ranks)
        .filter_map(|(row, rank)| Some((row.iter().copied().collect::<Option<Vec<f64>>>()?, *rank as f64)))
        .collect();
    let settings = rows.first()?.0.len();
    if rows.len() < LEAST {
        return None;
    }
    let (mut shares, mut counted) = (vec![0.0; settings], 0.0);
    for tree in 0..TREES {
        let mut random = Draw::of(&[tree, rows.len() as u64]);
        let drawn: Vec<&(Vec<f64>, f64)> = (0..rows.len()).map(|_| &rows[random.below(rows.len())]).collect();
        let mut cells = Vec::new();
        divide(drawn, vec![0.0; settings], vec![1.0; settings], &mut random, &mut cells);
        if let Some(own) = of_tree(&cells, settings) {
            shares.iter_mut().zip(own).for_each(|(sum, share)| *sum += share);
            counted += 1.0;
        }
    }
    (counted > 0.0).then(|| shares.into_iter().map(|s| s / counted).collect())
}

fn volume(cell: &Cell) -> f64 {
    cell.low.iter().zip(&cell.high).map(|(l, h)| h - l).product()
}

fn of_tree(cells: &[Cell], settings: usize) -> Option<Vec<f64>> {
    let mean: f64 = cells.iter().map(|c| c.value * volume(c)).sum();
    let variance: f64 = cells.iter().map(|c| (c.value - mean).powi(2) * volume(c)).sum();
    if variance <= 1e-12 {
        return None;
    }
    let share = |d: usize| {
        let mut edges: Vec<f64> = cells.iter().flat_map(|c| [c.low[d], c.high[d]]).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let part = |pair: &[f64]| {
            let x = f64::midpoint(pair[0], pair[1]);
            let inside = cells.iter().filter(|c| c.low[d] <= x && x < c.high[d]);
            let m: f64 = inside.map(|c| c.value * volume(c) / (c.high[d] - c.low[d])).sum();
            (m - mean).powi(2) * (pair[1] - pair[0])
        };
        edges.windows(2).map(part).sum::<f64>() / variance
    };
    Some((0..settings).map(share).collect())
}

/// Sum of squares about the mean.
fn spread(sum: f64, squares: f64, n: usize) -> f64 {
    squares - sum * sum / n as f64
}

/// Divides a box where that explains most, of a random part of the settings, until few trials are
/// in it.
fn divide(mut rows: Vec<&(Vec<f64>, f64)>, low: Vec<f64>, high: Vec<f64>, random: &mut Draw, out: &mut Vec<Cell>) {
    let settings = low.len();
    let value = rows.iter().map(|r| r.1).sum::<f64>() / rows.len() as f64;
    let mut best: Option<(f64, usize, f64)> = None;
    if rows.len() > LEAF {
        let tried = settings.div_ceil(2).max(settings.min(2));
        let mut order: Vec<usize> = (0..settings).collect();
        for i in 0..tried {
            order.swap(i, i + random.below(settings - i));
        }
        for &d in &order[..tried] {
            rows.sort_by(|a, b| a.0[d].total_cmp(&b.0[d]));
            let (all, all_squares) = rows.iter().fold((0.0, 0.0), |(s, q), r| (s + r.1, q + r.1 * r.1));
            let (mut sum, mut squares) = (0.0, 0.0);
            for i in 1..rows.len() {
                let y = rows[i - 1].1;
                (sum, squares) = (sum + y, squares + y * y);
                let (a, b) = (rows[i - 1].0[d], rows[i].0[d]);
                if a == b {
                    continue;
                }
                let left = spread(sum, squares, i) + spread(all - sum, all_squares - squares, rows.len() - i);
                if best.is_none_or(|(least, ..)| left < least) {
                    best = Some((left, d, f64::midpoint(a, b)));
                }
            }
        }
    }
    let Some((_, d, at)) = best else { return out.push(Cell { low, high, value }) };
    let (left, right): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| r.0[d] < at);
    let (mut middle_high, mut middle_low) = (high.clone(), low.clone());
    (middle_high[d], middle_low[d]) = (at, at);
    divide(left, low, middle_high, random, out);
    divide(right, middle_low, high, random, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(costs: &[f64]) -> Vec<usize> {
        costs.iter().map(|c| costs.iter().filter(|o| *o < c).count()).collect()
    }

    #[test]
    fn what_matters_most_comes_first_also_where_the_middle_is_best() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut first, rounds) = (0, 60);
        for _ in 0..rounds {
            let which = rng.usize(..3);
            let middle = 0.3 + 0.4 * rng.f64();
            let places: Vec<Vec<f64>> = (0..30).map(|_| (0..3).map(|_| rng.f64()).collect()).collect();
            let cost = |p: &Vec<f64>| 10.0 * (p[which] - middle).powi(2) + 0.2 * p[(which + 1) % 3];
            let costs: Vec<f64> = places.iter().map(cost).collect();
            let rows: Vec<Vec<Option<f64>>> = places.iter().map(|p| p.iter().copied().map(Some).collect()).collect();
            let shares = importance(&rows, &ranks(&costs)).unwrap();
            assert!(shares.iter().all(|s| (0.0..=1.0).contains(s)) && shares.iter().sum::<f64>() <= 1.0 + 1e-9, "seed {seed}: {shares:?}");
            first += usize::from((0..3).all(|d| shares[d] <= shares[which]));
        }
        assert!(first * 10 >= rounds * 9, "seed {seed}: found in {first} of {rounds}");
    }

    #[test]
    fn a_setting_alone_explains_all_of_what_depends_on_it() {
        let places: Vec<Vec<Option<f64>>> = (0..40).map(|i| vec![Some(f64::from(i) / 40.0)]).collect();
        let shares = importance(&places, &(0..40).collect::<Vec<_>>()).unwrap();
        assert!((shares[0] - 1.0).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn too_few_or_equal_trials_say_nothing() {
        let row = |x: f64| vec![Some(x), Some(0.5)];
        assert_eq!(importance(&[], &[]), None);
        assert_eq!(importance(&(0..7).map(|i| row(f64::from(i) / 7.0)).collect::<Vec<_>>(), &[0; 7]), None);
        assert_eq!(importance(&(0..20).map(|i| row(f64::from(i) / 20.0)).collect::<Vec<_>>(), &[3; 20]), None);
        let nowhere: Vec<Vec<Option<f64>>> = (0..20).map(|_| vec![None, Some(0.1)]).collect();
        assert_eq!(importance(&nowhere, &[0; 20]), None);
    }
}
