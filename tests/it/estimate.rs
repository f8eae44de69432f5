//! The time that a run will still take, told from a run that was recorded on a busy machine.

use tallow::app::jobs::{Rows, WorkAhead, seconds_left};

/// 60 steps of a 15M model; evaluations of 7887 tokens after every 15, each as long as six steps; checkpoints after every 7.
const RECORDED: &str = include_str!("recorded/metrics.jsonl");
/// When its training was over, in seconds.
const END: f64 = 22.575_450_627;

#[test]
fn from_the_tenth_step_on_it_is_within_a_quarter() {
    let work =
        WorkAhead { steps: [60, 0], batch: [2, 2], eval_steps: 15, save_steps: 7, validation_tokens: [7887, 0], test_tokens: [0, 0] };
    let mut rows = Rows::default();
    let mut told = 0;
    for line in RECORDED.lines() {
        rows.take(line.as_bytes());
        let steps: Vec<_> = rows.steps.iter().copied().collect();
        let Some(last) = steps.last().filter(|s| s.step >= 10) else { continue };
        let (left, truly) = (seconds_left(&steps, &work).unwrap(), END - last.elapsed_seconds);
        assert!((left / truly - 1.0).abs() < 0.25, "after step {}: {left:.1} s were told, {truly:.1} s it took", last.step);
        told += 1;
    }
    assert!(told > 50, "{told}");
}
