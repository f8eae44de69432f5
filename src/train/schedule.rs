//! The learning rate of each step: warm-up, then constant, linear or cosine.

use serde::{Deserialize, Serialize};

pub use crate::config::Decay;

/// ```text
///   lr  ^      ____
///  peak |     /    \___        step 1 is peak/warmup, step `warmup` is the peak,
///       |    /         \___    the last step stands one step before the floor
///       |   /              \_
///       +--/-----------------> step
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The shape after warm-up.
    pub decay: Decay,
    /// The highest learning rate.
    pub peak: f64,
    /// Steps over which it rises; 0 begins at the peak.
    pub warmup_steps: u64,
    /// All steps, warm-up included.
    pub total_steps: u64,
    /// The floor, as a share of the peak.
    pub floor: f64,
}

impl Schedule {
    /// The learning rate of a step, counted from 1. No step has a rate of zero unless the peak is zero.
    pub fn lr(&self, step: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps.max(1) as f64;
        }
        let falling = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let gone = ((step - self.warmup_steps - 1) as f64 / falling as f64).min(1.0);
        let height = match self.decay {
            Decay::Constant => return self.peak,
            Decay::Linear => 1.0 - gone,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
        };
        self.peak * (self.floor + (1.0 - self.floor) * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay, warmup_steps: u64) -> Schedule {
        Schedule { decay, peak: 2.0, warmup_steps, total_steps: 10, floor: 0.0 }
    }

    #[test]
    fn rises_then_stays() {
        let s = schedule(Decay::Constant, 4);
        let lrs: Vec<f64> = (1..=10).map(|i| s.lr(i)).collect();
        assert_eq!(lrs, [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn falls_in_a_line() {
        let s = schedule(Decay::Linear, 0);
        for i in 1..=10 {
            assert!((s.lr(i) - 2.0 * (11 - i) as f64 / 10.0).abs() < 1e-12);
        }
        assert_eq!(s.lr(99), 0.0);
    }

    #[test]
    fn falls_along_a_cosine() {
        let s = schedule(Decay::Cosine, 2);
        assert_eq!(s.lr(1), 1.0);
        assert_eq!(s.lr(2), 2.0);
        assert_eq!(s.lr(3), 2.0);
        assert!((s.lr(7) - 1.0).abs() < 1e-12);
        assert!(s.lr(10) > 0.0 && s.lr(10) < s.lr(9));
    }

    #[test]
    fn keeps_the_floor() {
        let s = Schedule { floor: 0.1, ..schedule(Decay::Cosine, 0) };
        assert!((s.lr(1000) - 0.2).abs() < 1e-12);
    }
}
