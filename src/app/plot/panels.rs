//! What a picture shows: panels of lines, before anything is drawn.

use super::curves::{Curves, Figure, Point, smoothed, thinned};

/// A colour.
pub type Rgb = (u8, u8, u8);

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Behind the others.
    Faint,
    /// In full.
    Solid,
    /// Thin, with a dot at each point.
    Dotted,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Points from left to right.
    pub points: Vec<Point>,
    /// Its colour.
    pub colour: Rgb,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// A diagram.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What it shows.
    pub title: &'static str,
    /// Its lines, those behind first.
    pub lines: Vec<Line>,
    /// Whether the values stand on a logarithmic scale.
    pub is_log: bool,
}

/// How a picture is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Weight of what came before in the smoothed training loss; 0 to below 1.
    pub smoothing: f64,
    /// Loss on a logarithmic scale.
    pub is_log: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { smoothing: 0.9, is_log: false }
    }
}

/// Colours of stages, or of runs. They differ in lightness too.
pub const COLOURS: [Rgb; 8] =
    [(31, 99, 201), (217, 108, 6), (22, 135, 81), (196, 40, 71), (118, 74, 188), (0, 139, 153), (133, 94, 35), (90, 98, 110)];
/// Most points of a line: more than a picture has columns.
const MOST_POINTS: usize = 600;

const SIMPLE: [(&str, Figure, f64); 5] = [
    ("learning rate", Figure::LearningRate, 1.0),
    ("gradient norm", Figure::GradNorm, 1.0),
    ("tokens a second", Figure::TokensPerSecond, 1.0),
    ("peak memory, GiB", Figure::PeakRssBytes, 1.0 / (1u64 << 30) as f64),
    ("validation accuracy", Figure::EvalAccuracy, 1.0),
];

/// The panels of one run (a colour for each stage) or of several (a colour for each run).
pub fn panels(runs: &[&Curves], look: Look) -> Vec<Panel> {
    let mut loss = Panel { title: "loss: training (smoothed), validation (dots)", lines: Vec::new(), is_log: look.is_log };
    let mut others: Vec<Panel> = SIMPLE.map(|(title, ..)| Panel { title, lines: Vec::new(), is_log: false }).into();
    for (i, curves) in runs.iter().enumerate() {
        for stage in curves.stages() {
            let number = if runs.len() == 1 { stage - stage.min(1) } else { i };
            let colour = COLOURS[number % COLOURS.len()];
            let begin = curves.begin(stage);
            let placed = |points: &[Point], scale: f64| -> Vec<Point> {
                thinned(points, MOST_POINTS).into_iter().map(|(x, y)| (begin + x, y * scale)).collect()
            };
            let raw = curves.of(stage, Figure::Loss);
            // Every run's own noise would hide the others.
            if runs.len() == 1 {
                loss.lines.push(Line { points: placed(raw, 1.0), colour, stroke: Stroke::Faint });
            }
            loss.lines.push(Line { points: placed(&smoothed(raw, weight(look.smoothing, raw.len())), 1.0), colour, stroke: Stroke::Solid });
            loss.lines.push(Line { points: placed(curves.of(stage, Figure::EvalLoss), 1.0), colour, stroke: Stroke::Dotted });
            for (panel, (_, figure, scale)) in others.iter_mut().zip(SIMPLE) {
                let stroke = if figure == Figure::EvalAccuracy { Stroke::Dotted } else { Stroke::Solid };
                panel.lines.push(Line { points: placed(curves.of(stage, figure), scale), colour, stroke });
            }
        }
    }
    std::iter::once(loss).chain(others).collect()
}

/// A short run is smoothed less, or its curve would lag behind to the end.
fn weight(smoothing: f64, points: usize) -> f64 {
    smoothing.min(1.0 - 4.0 / points.max(4) as f64)
}

/// Where stages begin, but for the first, over all runs.
pub fn boundaries(runs: &[&Curves]) -> Vec<f64> {
    let mut all: Vec<f64> = runs.iter().flat_map(|c| c.stages().skip(1).map(|s| c.begin(s))).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}
