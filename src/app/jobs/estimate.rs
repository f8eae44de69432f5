//! How long a run will still take, from what its steps, evaluations and checkpoints have taken so far.
//!
//! ```text
//!   elapsed  ├─ step ─┼─ step ─┼─ step ─┼── evaluation, checkpoint ──┼─ step ─┤
//!                 └──── gaps between rows ────┘      └ what a gap has beyond its own step
//! ```

use super::rows::Step;
use crate::config::RunConfig;
use crate::runs::DatasetRecord;

/// Steps that the time of a step is taken from: the newest.
const TIMED_STEPS: usize = 200;

/// A token forward alone beside a token of a training step: the pass back to the adapters takes about as long as the
/// one forward, and part of what it needs is made again.
const FORWARD_SHARE: f64 = 0.4;

/// What there is to do in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Steps of each stage; 0 for a second one that there is not.
    pub steps: [u64; 2],
    /// Rows a step of each stage.
    pub batch: [usize; 2],
    /// Steps between evaluations; 0: only at the end.
    pub eval_steps: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub save_steps: u64,
    /// Tokens of each stage's validation rows; 0: no evaluations.
    pub validation_tokens: [u64; 2],
    /// Tokens of the test rows that judge what each stage gave; 0: nothing is judged.
    pub test_tokens: [u64; 2],
}

impl Work {
    /// That of settings and their data.
    pub fn of(config: &RunConfig, data: &DatasetRecord) -> Self {
        let t = &config.training;
        let two = t.num_stages == 2;
        let tokens = |part: &Option<crate::runs::PartRecord>| part.as_ref().map_or(0, |p| p.tokens);
        let second = data.stage2.as_ref();
        let test = if config.evaluation.enabled { [tokens(&data.test), second.map_or(0, |s| tokens(&s.test))] } else { [0, 0] };
        Self {
            steps: [t.stage1.iterations, if two { t.stage2.iterations } else { 0 }],
            batch: [t.stage1.batch_size.rows(), t.stage2.batch_size.rows()],
            eval_steps: t.eval_steps,
            save_steps: t.save_steps,
            validation_tokens: [tokens(&data.validation), second.map_or(0, |s| tokens(&s.validation))],
            // The second stage is judged by both stages' rows, where it has rows of its own.
            test_tokens: [test[0], if two && test[1] > 0 { test[0] + test[1] } else { 0 }],
        }
    }

    fn evaluates_after(&self, stage: usize, step: u64) -> bool {
        self.validation_tokens[stage - 1] > 0 && due(self.eval_steps, step, self.steps[stage - 1])
    }

    fn saves_after(&self, stage: usize, step: u64) -> bool {
        due(self.save_steps, step, self.steps[stage - 1])
    }
}

fn due(every: u64, step: u64, last: u64) -> bool {
    step == last || (every > 0 && step.is_multiple_of(every))
}

/// What things take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// A step with what lies between it and the next.
    pub step: f64,
    /// An evaluation of the validation rows, and the checkpoint that may follow it.
    pub evaluation: f64,
    /// A checkpoint alone.
    pub checkpoint: f64,
    /// A token that only goes forward.
    pub forward_token: f64,
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// From rows of one stage; `None` before the second step.
pub fn pace(steps: &[Step], work: &Work) -> Option<Pace> {
    let stage = steps.last()?.stage;
    let of_stage: Vec<&Step> = steps.iter().filter(|s| s.stage == stage).collect();
    let (mut plain, mut evaluations, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    for pair in of_stage.windows(2).filter(|p| p[1].step == p[0].step + 1) {
        let gap = pair[1].elapsed_seconds - pair[0].elapsed_seconds;
        let own = pair[1].tokens as f64 / pair[1].tokens_per_second;
        if work.evaluates_after(stage, pair[0].step) {
            evaluations.push((gap - own).max(0.0));
            plain.push(own);
        } else if work.saves_after(stage, pair[0].step) {
            checkpoints.push((gap - own).max(0.0));
            plain.push(own);
        } else {
            plain.push(gap);
        }
    }
    let newest = &plain[plain.len().saturating_sub(TIMED_STEPS)..];
    let step = mean(newest)?;
    let tokens = mean(&of_stage.iter().map(|s| s.tokens as f64).collect::<Vec<_>>())?;
    let measured = mean(&evaluations);
    let guessed = FORWARD_SHARE * step / tokens.max(1.0);
    let validation = work.validation_tokens[stage - 1];
    let forward_token = measured.filter(|_| validation > 0).map_or(guessed, |e| e / validation as f64);
    let evaluation = measured.unwrap_or(guessed * validation as f64);
    Some(Pace { step, evaluation, checkpoint: mean(&checkpoints).unwrap_or(0.0), forward_token })
}

/// Multiples of `every` from `first` to `last`; none of 0.
fn multiples(every: u64, first: u64, last: u64) -> u64 {
    if every == 0 || last < first { 0 } else { last / every - (first - 1) / every }
}

impl Work {
    /// Evaluations, and checkpoints without one, after the steps of a stage from `first` on.
    fn left(&self, stage: usize, first: u64) -> (u64, u64) {
        let last = self.steps[stage - 1];
        let (e, s) = (self.eval_steps, self.save_steps);
        if last < first {
            return (0, 0);
        }
        if self.validation_tokens[stage - 1] == 0 {
            return (0, multiples(s, first, last - 1) + 1);
        }
        let both = if e == 0 || s == 0 { 0 } else { multiples(s / gcd(s, e) * e, first, last - 1) };
        (multiples(e, first, last - 1) + 1, multiples(s, first, last - 1) - both)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Seconds from the newest row until the run is over; `None` before the second step.
pub fn seconds_left(steps: &[Step], work: &Work) -> Option<f64> {
    let newest = steps.last()?;
    let pace = pace(steps, work)?;
    let of_stage = |stage: usize, done: u64| {
        // What a second stage takes a step is known once it is there.
        let size = work.batch[stage - 1] as f64 / work.batch[newest.stage - 1].max(1) as f64;
        // What is due after the newest step is still to come.
        let (evaluations, checkpoints) = work.left(stage, done.max(1));
        let steps = work.steps[stage - 1].saturating_sub(done) as f64 * pace.step * size;
        let evaluation =
            if stage == newest.stage { pace.evaluation } else { pace.forward_token * work.validation_tokens[stage - 1] as f64 };
        let judged = work.test_tokens[stage - 1] as f64 * pace.forward_token;
        steps + evaluations as f64 * evaluation + checkpoints as f64 * pace.checkpoint + judged
    };
    let next = if newest.stage == 1 && work.steps[1] > 0 { of_stage(2, 0) } else { 0.0 };
    Some(of_stage(newest.stage, newest.step) + next)
}

/// Seconds of a whole run at the pace of another one like it.
pub fn seconds_of(work: &Work, pace: &Pace) -> f64 {
    let of_stage = |stage: usize| {
        let size = work.batch[stage - 1] as f64 / work.batch[0].max(1) as f64;
        let (evaluations, checkpoints) = work.left(stage, 1);
        let forward = evaluations * work.validation_tokens[stage - 1] + work.test_tokens[stage - 1];
        work.steps[stage - 1] as f64 * pace.step * size + forward as f64 * pace.forward_token + checkpoints as f64 * pace.checkpoint
    };
    of_stage(1) + if work.steps[1] > 0 { of_stage(2) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work =
        Work { steps: [100, 0], batch: [2, 2], eval_steps: 10, save_steps: 4, validation_tokens: [50, 0], test_tokens: [20, 0] };

    /// Rows of a run whose step takes 1 s, an evaluation 5 s and a checkpoint 2 s, in truth.
    fn made(work: &Work, most: u64) -> (Vec<Step>, f64) {
        let (mut elapsed, mut rows) = (0.0, Vec::new());
        for step in 1..=work.steps[0] {
            elapsed += 1.0;
            rows.push(Step {
                stage: 1,
                step,
                loss: 1.0,
                learning_rate: 0.1,
                tokens: 30,
                tokens_per_second: 30.0,
                elapsed_seconds: elapsed,
                peak_rss_bytes: 0,
            });
            if work.evaluates_after(1, step) {
                elapsed += 5.0;
            } else if work.saves_after(1, step) {
                elapsed += 2.0;
            }
        }
        let end = elapsed + work.test_tokens[0] as f64 * 0.1;
        let left = end - rows[most as usize - 1].elapsed_seconds;
        rows.truncate(most as usize);
        (rows, left)
    }

    #[test]
    fn what_is_left_is_counted_as_the_trainer_does_it() {
        for work in [WORK, Work { eval_steps: 0, ..WORK }, Work { save_steps: 0, ..WORK }, Work { eval_steps: 7, save_steps: 5, ..WORK }] {
            for first in [1, 10, 35, 99, 100, 101] {
                let steps = first..=work.steps[0];
                let evaluations = steps.clone().filter(|s| work.evaluates_after(1, *s)).count() as u64;
                let checkpoints = steps.filter(|s| work.saves_after(1, *s) && !work.evaluates_after(1, *s)).count() as u64;
                assert_eq!(work.left(1, first), (evaluations, checkpoints), "{work:?} from {first}");
            }
        }
    }

    #[test]
    fn a_steady_run_is_known_to_its_end() {
        for most in [13, 40, 99, 100] {
            let (rows, left) = made(&WORK, most);
            let told = seconds_left(&rows, &WORK).unwrap();
            assert!((told - left).abs() < 1e-6, "after {most}: {told} and {left}");
        }
        // Another run at this pace takes as long as this one, within what the checkpoints after evaluations are.
        let whole = made(&WORK, 1).1 + 1.0;
        let told = seconds_of(&WORK, &pace(&made(&WORK, 99).0, &WORK).unwrap());
        assert!((told - whole).abs() < 1e-6, "{told} and {whole}");
        assert_eq!(seconds_left(&made(&WORK, 1).0, &WORK), None);
        // Before the first evaluation it is reckoned from what a step takes a token.
        let (rows, _) = made(&WORK, 9);
        let pace = pace(&rows, &WORK).unwrap();
        assert!((pace.step - 1.0).abs() < 1e-9 && (pace.evaluation - 50.0 * FORWARD_SHARE / 30.0).abs() < 1e-9, "{pace:?}");
    }
}
