//! The whole of metrics.jsonl as curves, stage by stage.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::error::Fault;

/// What a curve shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Loss of a step.
    Loss,
    /// Loss on the validation rows.
    EvalLoss,
    /// Share of the validation rows' tokens that are predicted right.
    EvalAccuracy,
    /// Learning rate.
    LearningRate,
    /// Norm of the gradients before clipping.
    GradNorm,
    /// Tokens through the model a second.
    TokensPerSecond,
    /// Largest resident size so far, in bytes.
    PeakRssBytes,
}

#[derive(Deserialize)]
struct Row {
    stage: usize,
    step: u64,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    eval_accuracy: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    tokens_per_second: Option<f64>,
    peak_rss_bytes: Option<f64>,
}

/// Step and value.
pub type Point = (f64, f64);

/// A run's curves. A stage's steps count from 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    stages: BTreeMap<usize, BTreeMap<Figure, Vec<Point>>>,
}

impl Curves {
    /// Reads a run's rows; a line that is no row is left out.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(run: &Path) -> Result<Self, Fault> {
        let path = run.join("metrics.jsonl");
        let fail = |e: std::io::Error| Fault::io("read", &path, &e);
        match File::open(&path) {
            Ok(file) => Self::from_lines(BufReader::with_capacity(1 << 20, file)).map_err(fail),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(fail(e)),
        }
    }

    /// Reads rows; a line that is no row is left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn from_lines(mut lines: impl BufRead) -> std::io::Result<Self> {
        let (mut curves, mut line) = (Self::default(), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 {
            crate::base::cancel::checkpoint();
            if let Ok(row) = serde_json::from_slice::<Row>(&line) {
                curves.add(&row);
            }
            line.clear();
        }
        Ok(curves)
    }

    fn add(&mut self, row: &Row) {
        let stage = self.stages.entry(row.stage).or_default();
        let figures = [
            (Figure::Loss, row.loss),
            (Figure::EvalLoss, row.eval_loss),
            (Figure::EvalAccuracy, row.eval_accuracy),
            (Figure::LearningRate, row.learning_rate),
            (Figure::GradNorm, row.grad_norm),
            (Figure::TokensPerSecond, row.tokens_per_second),
            (Figure::PeakRssBytes, row.peak_rss_bytes),
        ];
        for (figure, value) in figures {
            if let Some(value) = value.filter(|v| v.is_finite()) {
                stage.entry(figure).or_default().push((row.step as f64, value));
            }
        }
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The numbers of the stages that have rows.
    pub fn stages(&self) -> impl Iterator<Item = usize> + '_ {
        self.stages.keys().copied()
    }

    /// A curve of one stage, by its own steps.
    pub fn of(&self, stage: usize, figure: Figure) -> &[Point] {
        self.stages.get(&stage).and_then(|s| s.get(&figure)).map_or(&[], Vec::as_slice)
    }

    /// Steps of the stages before this one: where it begins when they stand one after another.
    pub fn begin(&self, stage: usize) -> f64 {
        let last = |figures: &BTreeMap<Figure, Vec<Point>>| figures.values().filter_map(|p| p.last()).map(|p| p.0).fold(0.0, f64::max);
        self.stages.range(..stage).map(|(_, figures)| last(figures)).sum()
    }
}

/// Exponential moving average with weight `smoothing` (0 to below 1) on what came before, corrected
/// for its beginning as Adam corrects its moments.
pub fn smoothed(points: &[Point], smoothing: f64) -> Vec<Point> {
    let (mut sum, mut weight) = (0.0, 0.0);
    let mean = |&(x, y): &Point| {
        sum = smoothing * sum + (1.0 - smoothing) * y;
        weight = smoothing * weight + (1.0 - smoothing);
        (x, sum / weight)
    };
    points.iter().map(mean).collect()
}

/// At most `most` points that look like all of them (largest triangle in three buckets, Steinarsson
/// 2013): first and last stay, and of each bucket the point that stands out most.
pub fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most || most < 3 {
        let step = points.len().div_ceil(most.max(1)).max(1);
        return points.iter().step_by(step).copied().collect();
    }
    let (buckets, inner) = (most - 2, points.len() - 2);
    let edge = |i: usize| 1 + i * inner / buckets;
    let mut kept = vec![points[0]];
    for i in 0..buckets {
        let (from, to) = (edge(i), edge(i + 1));
        let next = &points[to..edge(i + 2).min(points.len()).max(to + 1)];
        let mean = |f: fn(&Point) -> f64| next.iter().map(f).sum::<f64>() / next.len() as f64;
        let (cx, cy) = (mean(|p| p.0), mean(|p| p.1));
        let (ax, ay) = kept[kept.len() - 1];
        let area = |p: &Point| ((ax - cx) * (p.1 - ay) - (ax - p.0) * (cy - ay)).abs();
        let best = points[from..to].iter().max_by(|a, b| area(a).total_cmp(&area(b)));
        kept.extend(best);
    }
    kept.push(points[points.len() - 1]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_ends_order_and_what_stands_out() {
        for n in [3usize, 10, 57, 1000, 100_000] {
            let spike = n / 2;
            let points: Vec<Point> = (0..n).map(|i| (i as f64, if i == spike { 100.0 } else { (i as f64).sin() })).collect();
            for most in [3, 4, 7, 50, 200] {
                let thin = thinned(&points, most);
                assert_eq!(thin.len(), n.min(most), "{n} to {most}");
                assert!(thin.windows(2).all(|w| w[0].0 < w[1].0), "{n} to {most}");
                assert_eq!((thin[0], thin[thin.len() - 1]), (points[0], points[n - 1]));
                assert!(thin.contains(&points[spike]), "{n} to {most}: the spike is gone");
            }
        }
        assert_eq!(thinned(&[(1.0, 2.0)], 200), [(1.0, 2.0)]);
        assert!(thinned(&[], 5).is_empty() && thinned(&[(1.0, 1.0), (2.0, 2.0)], 1).len() == 1);
    }

    #[test]
    fn smoothing_begins_at_the_first_value_and_keeps_a_constant() {
        let points: Vec<Point> = (0..50).map(|i| (f64::from(i), 3.0)).collect();
        assert!(smoothed(&points, 0.9).iter().all(|p| (p.1 - 3.0).abs() < 1e-12));
        assert_eq!(smoothed(&[(1.0, 2.0), (2.0, 4.0)], 0.0), [(1.0, 2.0), (2.0, 4.0)]);
    }

    #[test]
    fn all_rows_are_read_and_stages_stand_one_after_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::from("{\"stage\":1,\"st\n");
        for (stage, steps) in [(1, 4000), (2, 3000)] {
            for step in 1..=steps {
                text += &format!("{{\"stage\":{stage},\"step\":{step},\"loss\":{},\"time\":\"x\"}}\n", 1.0 / f64::from(step));
            }
        }
        text += "{\"stage\":2,\"step\":3000,\"eval_loss\":0.5}\n{\"stage\":2,\"step\":30";
        std::fs::write(dir.path().join("metrics.jsonl"), text).unwrap();
        let curves = Curves::read(dir.path()).unwrap();
        assert_eq!((curves.of(1, Figure::Loss).len(), curves.of(2, Figure::Loss).len()), (4000, 3000));
        assert_eq!((curves.begin(1), curves.begin(2)), (0.0, 4000.0));
        assert_eq!(curves.of(2, Figure::EvalLoss), [(3000.0, 0.5)]);
    }
}
