//! Which trials end early, by their first evaluations beside those of the others.

use serde::{Deserialize, Serialize};

/// An evaluation: after which step, and its cost (lower is better).
pub type Point = (u64, f64);

/// How poor trials are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// All go to their end.
    Off,
    /// Those that are worse than the median of the others at the same step (Golovin et al. 2017).
    Median,
    /// At steps 1, 3, 9, ... times the first evaluation's, those that are not in the best third
    /// (ASHA, Li et al. 2020).
    Asha,
}

/// Others that must have come as far before anything ends.
const LEAST_OTHERS: usize = 4;
/// Of so many one goes on at each rung.
const REDUCTION: u64 = 3;

/// The lowest cost up to a step; `None` for a curve that does not reach it.
fn best_until(curve: &[Point], step: u64) -> Option<f64> {
    if curve.last()?.0 < step {
        return None;
    }
    curve.iter().take_while(|(s, _)| *s <= step).map(|(_, cost)| *cost).min_by(f64::total_cmp)
}

/// Whether the trial with these evaluations is to end after the last of them.
pub fn is_poor(rule: Prune, own: &[Point], others: &[&[Point]]) -> bool {
    let Some(&(step, _)) = own.last() else { return false };
    match rule {
        Prune::Off => false,
        Prune::Median => {
            let mut costs: Vec<f64> = others.iter().filter_map(|c| best_until(c, step)).collect();
            costs.sort_by(f64::total_cmp);
            let n = costs.len();
            n >= LEAST_OTHERS && best_until(own, step).is_some_and(|mine| mine > f64::midpoint(costs[(n - 1) / 2], costs[n / 2]))
        }
        Prune::Asha => {
            let Some(rung) = rung(own) else { return false };
            let Some(mine) = best_until(own, rung) else { return false };
            let costs: Vec<f64> = others.iter().filter_map(|c| best_until(c, rung)).collect();
            let better = costs.iter().filter(|cost| **cost < mine).count();
            costs.len() >= LEAST_OTHERS && better >= ((costs.len() + 1) / REDUCTION as usize).max(1)
        }
    }
}

/// The rung that the last evaluation has reached, where the one before it had not.
fn rung(own: &[Point]) -> Option<u64> {
    let (first, last) = (own.first()?.0.max(1), own.last()?.0);
    let before = if own.len() > 1 { own[own.len() - 2].0 } else { 0 };
    let mut rung = first;
    while rung.saturating_mul(REDUCTION) <= last {
        rung *= REDUCTION;
    }
    (rung > before).then_some(rung)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(cost: f64, evaluations: u64) -> Vec<Point> {
        (1..=evaluations).map(|i| (10 * i, cost)).collect()
    }

    fn poor(rule: Prune, own: &[Point], others: &[Vec<Point>]) -> bool {
        is_poor(rule, own, &others.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn the_median_of_those_that_came_as_far_decides() {
        let others: Vec<Vec<Point>> = [1.0, 2.0, 3.0, 4.0].map(|c| flat(c, 5)).into();
        assert!(poor(Prune::Median, &flat(2.6, 1), &others));
        assert!(!poor(Prune::Median, &flat(2.4, 1), &others));
        assert!(!poor(Prune::Off, &flat(9.0, 5), &others));
        assert!(!poor(Prune::Median, &[], &others));
        // Three are too few, and so are four of which one did not come as far.
        assert!(!poor(Prune::Median, &flat(9.0, 1), &others[..3]));
        let mut shorter = others.clone();
        shorter[0].truncate(1);
        assert!(!poor(Prune::Median, &flat(9.0, 2), &shorter) && poor(Prune::Median, &flat(9.0, 1), &shorter));
        // One that was good before is judged by that.
        assert!(!poor(Prune::Median, &[(10, 1.5), (20, 9.0)], &others));
    }

    #[test]
    fn at_a_rung_the_best_third_goes_on() {
        let others: Vec<Vec<Point>> = [1.0, 2.0, 3.0, 4.0, 5.0].map(|c| flat(c, 9)).into();
        // Six with this one: two go on.
        for (cost, evaluations, ends) in [(1.5, 1, false), (2.5, 1, true), (2.5, 2, false), (2.5, 3, true), (9.0, 4, false), (2.5, 9, true)]
        {
            assert_eq!(poor(Prune::Asha, &flat(cost, evaluations), &others), ends, "{cost} after {evaluations}");
        }
        assert!(!poor(Prune::Asha, &flat(9.0, 1), &others[..3]));
    }

    #[test]
    fn the_best_of_all_never_ends_early() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..500 {
            let n = rng.usize(..12);
            let curve =
                |rng: &mut fastrand::Rng, least: f64| -> Vec<Point> { (1..=rng.u64(1..8)).map(|i| (i * 5, least + rng.f64())).collect() };
            let others: Vec<Vec<Point>> = (0..n).map(|_| curve(&mut rng, 1.0)).collect();
            let own = curve(&mut rng, 0.0);
            for rule in [Prune::Median, Prune::Asha] {
                assert!(!poor(rule, &own, &others), "seed {seed}: {rule:?} {own:?} {others:?}");
            }
        }
    }
}
