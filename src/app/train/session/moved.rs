//! Whether a stage has learned anything: its first losses against its last.

use std::path::Path;

use serde_json::Value;

/// Fewer steps say nothing.
const FEWEST_STEPS: usize = 10;
/// A loss this low has nowhere to fall.
const LOW: f64 = 0.1;
/// Share of the first losses that must have gone.
const LEAST_FALL: f64 = 0.02;

/// Means of the first and of the last fifth, and how many steps each is of.
fn ends(losses: &[f64]) -> (f64, f64, usize) {
    let part = (losses.len() / 5).clamp(3, 50);
    let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
    (mean(&losses[..part]), mean(&losses[losses.len() - part..]), part)
}

fn judged(losses: &[f64]) -> Option<String> {
    if losses.len() < FEWEST_STEPS {
        return None;
    }
    let (first, last, part) = ends(losses);
    (first >= LOW && last > (1.0 - LEAST_FALL) * first)
        .then(|| format!("the training loss has hardly moved: {first:.4} over the first {part} steps, {last:.4} over the last {part}"))
}

/// A warning when the loss of a stage has not fallen, with what to try.
pub(super) fn warning(run: &Path, stage: usize, learning_rate: f64) -> Option<String> {
    let bytes = std::fs::read(run.join("metrics.jsonl")).ok()?;
    let rows = bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let of_stage = rows.filter(|row| row["stage"].as_u64() == Some(stage as u64));
    let losses: Vec<f64> = of_stage.filter_map(|row| row["loss"].as_f64()).collect();
    let tried = format!("the learning rate was {learning_rate:e} (2e-4 is usual with LoRA)");
    judged(&losses).map(|text| format!("{text}; {tried}: raise training.stage{stage}.learning_rate or its iterations"))
}

#[cfg(test)]
mod tests {
    use super::judged;

    #[test]
    fn only_a_loss_that_stays_is_warned_of() {
        let line =
            |n: usize, first: f64, last: f64| -> Vec<f64> { (0..n).map(|i| first + (last - first) * i as f64 / (n - 1) as f64).collect() };
        assert!(judged(&line(100, 2.3, 2.299)).is_some_and(|t| t.contains("2.2999") && t.contains("20 steps")));
        assert!(judged(&line(100, 2.3, 2.5)).is_some());
        assert_eq!(judged(&line(100, 2.3, 1.2)), None);
        assert_eq!(judged(&line(9, 2.3, 2.3)), None);
        assert_eq!(judged(&line(100, 0.05, 0.05)), None);
    }
}
