//! The curves of a run for a picture: every row of metrics.jsonl, made few enough to draw.
//!
//! ```text
//!   metrics.jsonl ──> columns, remembered ──> the asked range in at most N points
//!                     (new rows are added)    and its moving mean
//! ```
//! Points are left out by their extremes: of each bucket of neighbours the lowest and the highest
//! stay, so that no spike is lost. What is drawn is always a value that there was. The moving mean is
//! taken over the means of such buckets: the line is as calm for a long run as for a short one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, LazyLock, Mutex};

use serde::{Deserialize, Serialize};

use super::rows::{Mark, Memory, manifest, remember, remembered};
use crate::base::cancel;
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// Which part of the curves, and how fine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvesRequest {
    /// Most points of a series.
    pub points: usize,
    /// First and last step, counted over all stages; `None` is the whole run.
    pub from: Option<u64>,
    /// As `from`.
    pub to: Option<u64>,
    /// Weight of what came before in a moving mean, from 0 (none) to less than 1.
    pub smooth: f64,
}

/// One curve. The n-th of both columns belong together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// `loss`, `learning_rate`, `grad_norm`, `tokens_per_second`, `peak_rss_bytes`, `eval_loss` or
    /// `eval_accuracy`; with `_smooth` at its end where it is the moving mean of one of them.
    pub name: String,
    /// Steps, counted over all stages, ascending.
    pub x: Vec<u64>,
    /// Values, rounded to `f32`: they are for a picture.
    pub y: Vec<f32>,
}

/// The curves of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curves {
    /// Rows of steps that there are.
    pub steps: usize,
    /// The first and the last step; `None` without any.
    pub span: Option<(u64, u64)>,
    /// Where a second stage begins: the last step of the first one.
    pub second_stage: Option<u64>,
    /// Those that hold at least one value in the range.
    pub series: Vec<Series>,
}

/// A row of metrics.jsonl. A value that was not finite was written as null.
#[derive(Deserialize)]
struct Row {
    stage: u64,
    step: u64,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    tokens_per_second: Option<f64>,
    peak_rss_bytes: Option<f64>,
    eval_loss: Option<f64>,
    eval_accuracy: Option<f64>,
    samples: Option<serde::de::IgnoredAny>,
}

const NAMES: [&str; 7] = ["loss", "learning_rate", "grad_norm", "tokens_per_second", "peak_rss_bytes", "eval_loss", "eval_accuracy"];
/// Those of them that are also given as a moving mean.
const SMOOTHED: [usize; 3] = [0, 2, 3];

/// A value of a series: its step over all stages, whether it is the second stage's, and itself.
type Point = (u64, bool, f64);

/// All rows, by series.
#[derive(Debug, Clone, Default)]
struct Columns {
    series: [Vec<Point>; NAMES.len()],
    steps: usize,
}

impl Columns {
    /// Takes whole lines; what does not parse is no row. `before` is the steps of the first stage.
    fn take(&mut self, lines: &[u8], before: u64) {
        for line in lines.split(|b| *b == b'\n') {
            cancel::checkpoint();
            let Ok(row) = serde_json::from_slice::<Row>(line) else { continue };
            let second = row.stage == 2;
            let step = row.step + if second { before } else { 0 };
            self.steps += usize::from(row.eval_loss.is_none() && row.samples.is_none());
            let values =
                [row.loss, row.learning_rate, row.grad_norm, row.tokens_per_second, row.peak_rss_bytes, row.eval_loss, row.eval_accuracy];
            for (series, value) in self.series.iter_mut().zip(values) {
                // A file that was put together by hand may go back; a curve does not.
                let ascends = series.last().is_none_or(|(last, ..)| *last < step);
                if let (Some(value), true) = (value, ascends) {
                    series.push((step, second, value));
                }
            }
        }
    }
}

/// Rows, and how far the file has been read.
type Known = (Arc<Columns>, u64);
/// Runs whose rows are remembered: a row takes 168 bytes.
const REMEMBERED: usize = 16;
static MEMORY: Memory<Known> = LazyLock::new(Mutex::default);

fn columns(run: &RunFolder) -> Result<Arc<Columns>, Fault> {
    let path = run.path().join("metrics.jsonl");
    let fail = |e: std::io::Error| Fault::io("read", &path, &e);
    let before = manifest(run)?.config.training.stage1.iterations;
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::default()),
        Err(e) => return Err(fail(e)),
    };
    let mark = Mark::of(&file.metadata().map_err(fail)?);
    let (mut columns, from) = match remembered(&MEMORY, &path) {
        Some((at, (columns, _))) if at == mark => return Ok(columns),
        // Appended to.
        Some((at, (columns, read))) if at.file == mark.file && at.length <= mark.length => (columns, read),
        _ => (Arc::default(), 0),
    };
    file.seek(SeekFrom::Start(from)).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(mark.length - from).read_to_end(&mut bytes).map_err(fail)?;
    // The last line may still be written: it is read again when it is whole.
    bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
    Arc::make_mut(&mut columns).take(&bytes, before);
    remember(&MEMORY, &path, mark, (columns.clone(), from + bytes.len() as u64), REMEMBERED);
    Ok(columns)
}

/// The curves of a run, of all its stages.
///
/// # Errors
/// When the manifest or metrics.jsonl cannot be read.
pub fn curves(run: &RunFolder, request: &CurvesRequest) -> Result<Curves, Fault> {
    let columns = columns(run)?;
    let loss = &columns.series[0];
    let (from, to) = (request.from.unwrap_or(0), request.to.unwrap_or(u64::MAX));
    let mut series = Vec::new();
    let in_range = |points: &[Point]| {
        let begin = points.partition_point(|p| p.0 < from);
        begin..points.partition_point(|p| p.0 <= to).max(begin)
    };
    let mut add = |name: String, points: &[Point]| {
        if !points.is_empty() {
            series.push(Series { name, x: points.iter().map(|p| p.0).collect(), y: points.iter().map(|p| p.2 as f32).collect() });
        }
    };
    for (i, points) in columns.series.iter().enumerate() {
        let range = in_range(points);
        let width = range.len().div_ceil((request.points / 2).max(2)).max(1);
        add(NAMES[i].to_owned(), &extremes(&points[range], request.points));
        if request.smooth > 0.0 && SMOOTHED.contains(&i) {
            // Over the whole run, so that a zoom does not begin anew.
            let smooth = moving_mean(&means(points, width), request.smooth);
            add(format!("{}_smooth", NAMES[i]), &smooth[in_range(&smooth)]);
        }
    }
    let begun = loss.iter().find(|p| p.1).map(|first| first.0 - 1);
    Ok(Curves { steps: columns.steps, span: loss.first().zip(loss.last()).map(|(a, b)| (a.0, b.0)), second_stage: begun, series })
}

/// The mean of each bucket of so many neighbours, at its last step. No bucket spans two stages.
fn means(points: &[Point], width: usize) -> Vec<Point> {
    let stages = points.chunk_by(|a, b| a.1 == b.1);
    let mean = |bucket: &[Point]| {
        let last = bucket[bucket.len() - 1];
        (last.0, last.1, bucket.iter().map(|p| p.2).sum::<f64>() / bucket.len() as f64)
    };
    stages.flat_map(|stage| stage.chunks(width).map(mean)).collect()
}

/// Exponential moving mean without the pull towards 0 at its beginning (the correction of Adam's moments, Kingma and Ba
/// 2015, section 3). Every stage begins anew.
fn moving_mean(points: &[Point], weight: f64) -> Vec<Point> {
    let weight = weight.clamp(0.0, 0.9999);
    let (mut sum, mut of, mut stage) = (0.0, 0.0, None);
    let next = |p: &Point| {
        if stage != Some(p.1) {
            (sum, of, stage) = (0.0, 0.0, Some(p.1));
        }
        // A value that is not finite would stay in the mean for ever.
        if p.2.is_finite() {
            sum = weight * sum + (1.0 - weight) * p.2;
            of = weight * of + (1.0 - weight);
        }
        (p.0, p.1, sum / of)
    };
    points.iter().map(next).collect()
}

/// At most `most` of the points (but always the first and the last): of each bucket the lowest and the highest.
fn extremes(points: &[Point], most: usize) -> Vec<Point> {
    let n = points.len();
    if n <= most.max(4) {
        return points.to_vec();
    }
    let buckets = most.max(4) / 2 - 1;
    let mut kept = vec![points[0]];
    let inner = &points[1..n - 1];
    for b in 0..buckets {
        let bucket = &inner[b * inner.len() / buckets..(b + 1) * inner.len() / buckets];
        let by_value = |a: &&Point, b: &&Point| a.2.total_cmp(&b.2);
        let (Some(low), Some(high)) = (bucket.iter().min_by(by_value), bucket.iter().max_by(by_value)) else { continue };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first);
        if second.0 > first.0 {
            kept.push(*second);
        }
    }
    kept.push(points[n - 1]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rng;

    fn seed() -> u64 {
        std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
    }

    #[test]
    fn what_is_kept_is_few_true_ordered_and_holds_the_extremes() {
        let seed = seed();
        let mut random = Rng::for_parts(&[seed]);
        for round in 0..300 {
            let n = random.below(3000) as usize;
            let most = 2 + random.below(400) as usize;
            let mut step = 0;
            let points: Vec<Point> = (0..n)
                .map(|_| {
                    step += 1 + random.below(3);
                    (step, false, random.below(1 << 20) as f64 / 1000.0 - 500.0)
                })
                .collect();
            let kept = extremes(&points, most);
            let told = format!("seed {seed} round {round}: {n} points, most {most}");
            assert!(kept.len() <= most.max(4).max(n.min(4)), "{told}: {}", kept.len());
            assert!(kept.windows(2).all(|w| w[0].0 < w[1].0), "{told}");
            assert!(kept.iter().all(|p| points.binary_search_by_key(&p.0, |q| q.0).is_ok_and(|i| points[i] == *p)), "{told}");
            assert_eq!((kept.first(), kept.last()), (points.first(), points.last()), "{told}");
            let border = |p: &[Point], f: fn(f64, f64) -> f64| p.iter().map(|p| p.2).reduce(f);
            assert_eq!(border(&kept, f64::min), border(&points, f64::min), "{told}");
            assert_eq!(border(&kept, f64::max), border(&points, f64::max), "{told}");
        }
    }

    #[test]
    fn means_are_of_all_values_and_of_one_stage() {
        let seed = seed();
        let mut random = Rng::for_parts(&[seed]);
        for _ in 0..100 {
            let (n, cut, width) = (random.below(200) as usize, random.below(200) as usize, 1 + random.below(40) as usize);
            let points: Vec<Point> = (0..n).map(|i| (i as u64, i >= cut, random.below(1000) as f64)).collect();
            let got = means(&points, width);
            let told = format!("seed {seed}: {n} points, stage of {cut}, buckets of {width}");
            let mut begin = 0;
            for mean in &got {
                let bucket = &points[begin..=mean.0 as usize];
                let sum: f64 = bucket.iter().map(|p| p.2).sum();
                assert!(bucket.len() <= width && bucket.iter().all(|p| p.1 == mean.1), "{told}");
                assert!((mean.2 - sum / bucket.len() as f64).abs() < 1e-9, "{told}");
                begin = mean.0 as usize + 1;
            }
            assert!(begin == n && got.len() <= n.div_ceil(width) + 1, "{told}: {} means", got.len());
        }
    }

    #[test]
    fn a_moving_mean_is_that_of_its_definition_in_each_stage() {
        let seed = seed();
        let mut random = Rng::for_parts(&[seed]);
        for _ in 0..50 {
            let (n, cut) = (2 + random.below(60) as usize, random.below(60) as usize);
            let weight = random.below(99) as f64 / 100.0;
            let points: Vec<Point> = (0..n).map(|i| (i as u64, i >= cut, random.below(1000) as f64)).collect();
            for (i, got) in moving_mean(&points, weight).iter().enumerate() {
                let begin = if i >= cut { cut } else { 0 };
                let weights = (begin..=i).map(|j| weight.powi((i - j) as i32));
                let of: f64 = weights.clone().sum();
                let wanted = weights.zip(&points[begin..=i]).map(|(w, p)| w * p.2).sum::<f64>() / of;
                assert!((got.2 - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "seed {seed}: {} and {wanted}", got.2);
            }
        }
    }
}
