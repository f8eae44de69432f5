//! The picture of a run on a terminal, from figures alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, Gauge, GraphType, Paragraph};

/// Step and value.
pub type Point = (f64, f64);

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The run's name.
    pub run: String,
    /// How it stands, and why it failed where it did.
    pub state: String,
    /// Whether something went wrong.
    pub is_bad: bool,
    /// Whether nothing more will come.
    pub has_ended: bool,
    /// Steps made, of all stages.
    pub done: u64,
    /// Steps of all stages.
    pub total: u64,
    /// Time that is left, in words.
    pub left: Option<String>,
    /// Losses of the stages, one behind another: smoothed, by step.
    pub loss: Vec<Point>,
    /// Losses on the validation rows.
    pub validation: Vec<Point>,
    /// Newest figures: name and value.
    pub figures: Vec<(&'static str, String)>,
    /// Newest lines of the log.
    pub log: Vec<String>,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Loss on a logarithmic scale.
    pub is_log: bool,
}

const DIM: Style = Style::new().fg(Color::DarkGray);
/// Columns of the figures beside the curve.
const FIGURES: u16 = 30;
/// Below this width the figures stand under the curve.
const NARROW: u16 = 76;

/// Draws the whole terminal.
pub fn draw(frame: &mut Frame, shown: &Snapshot, look: Look) {
    let area = frame.area();
    let log_lines = (area.height / 4).clamp(1, 10);
    let narrow = area.width < NARROW;
    let below = if narrow { shown.figures.len() as u16 } else { 0 };
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(5), Constraint::Length(below)];
    let more = [Constraint::Length(log_lines + 1), Constraint::Length(1)];
    let [head, gauge, middle, figures_below, log, keys] = Layout::vertical([rows.as_slice(), more.as_slice()].concat()).areas(area);
    let colour = if shown.is_bad { Color::Red } else { Color::Green };
    let words = [Span::styled(shown.run.clone(), Modifier::BOLD), Span::raw("  "), Span::styled(shown.state.clone(), colour)];
    frame.render_widget(Line::from(words.to_vec()), head);
    progress(frame, gauge, shown);
    let figures = Paragraph::new(lines(shown));
    if narrow {
        curve(frame, middle, shown, look);
        frame.render_widget(figures, figures_below);
    } else {
        let [left, right] = Layout::horizontal([Constraint::Min(20), Constraint::Length(FIGURES)]).areas(middle);
        curve(frame, left, shown, look);
        frame.render_widget(figures.block(Block::new().borders(Borders::LEFT).border_style(DIM)), right);
    }
    let from = shown.log.len().saturating_sub(usize::from(log_lines));
    let text: Vec<Line> = shown.log[from..].iter().map(|l| Line::styled(l.clone(), DIM)).collect();
    frame.render_widget(Paragraph::new(text).block(Block::new().borders(Borders::TOP).border_style(DIM)), log);
    frame.render_widget(Line::styled("q quit   l logarithmic scale", DIM), keys);
}

fn progress(frame: &mut Frame, area: Rect, shown: &Snapshot) {
    let ratio = if shown.total == 0 { 0.0 } else { (shown.done as f64 / shown.total as f64).clamp(0.0, 1.0) };
    let left = shown.left.as_ref().map(|l| format!("  {l} left")).unwrap_or_default();
    let label = format!("step {}/{}{left}", shown.done, shown.total);
    frame.render_widget(Gauge::default().ratio(ratio).label(label).gauge_style(Color::Blue).use_unicode(true), area);
}

fn lines(shown: &Snapshot) -> Vec<Line<'static>> {
    let one =
        |(name, value): &(&'static str, String)| Line::from(vec![Span::styled(format!(" {name:<14}"), DIM), Span::raw(value.clone())]);
    shown.figures.iter().map(one).collect()
}

/// The loss, smoothed, and the validation loss as dots.
fn curve(frame: &mut Frame, area: Rect, shown: &Snapshot, look: Look) {
    let on_scale = |points: &[Point]| -> Vec<Point> {
        let usable = points.iter().filter(|p| p.1.is_finite() && (!look.is_log || p.1 > 0.0));
        usable.map(|&(x, y)| (x, if look.is_log { y.log10() } else { y })).collect()
    };
    let (loss, validation) = (on_scale(&shown.loss), on_scale(&shown.validation));
    let all = || loss.iter().chain(&validation);
    let Some(last) = all().map(|p| p.0).max_by(f64::total_cmp) else {
        frame.render_widget(Paragraph::new("no step yet").style(DIM), area);
        return;
    };
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), p| (lo.min(p.1), hi.max(p.1)));
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
    let (low, high) = (low - margin, high + margin);
    let words = |y: f64| format!("{:.3}", if look.is_log { 10f64.powf(y) } else { y });
    let y_labels = [low, f64::midpoint(low, high), high].map(words);
    let x_labels = [0.0, last / 2.0, last].map(|x| format!("{x:.0}"));
    let line =
        |name, points, colour, marker, kind| Dataset::default().name(name).data(points).style(colour).marker(marker).graph_type(kind);
    let datasets = vec![
        line("loss (smoothed)", loss.as_slice(), Color::Blue, Marker::Braille, GraphType::Line),
        line("validation", validation.as_slice(), Color::Yellow, Marker::Dot, GraphType::Scatter),
    ];
    let chart = Chart::new(datasets)
        .x_axis(Axis::default().style(DIM).bounds([0.0, last.max(1.0)]).labels(x_labels))
        .y_axis(Axis::default().style(DIM).bounds([low, high]).labels(y_labels));
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            run: "run-20260101-000000".into(),
            state: "running".into(),
            done: 50,
            total: 100,
            left: Some("1 min 5 s".into()),
            loss: (1..=50).map(|i| (f64::from(i), 4.0 / f64::from(i))).collect(),
            validation: vec![(25.0, 1.0), (50.0, 0.5)],
            figures: vec![("loss", "0.0800".into()), ("learning rate", "2.00e-4".into())],
            log: (0..50).map(|i| format!("line {i}")).collect(),
            ..Snapshot::default()
        }
    }

    fn screen(width: u16, height: u16, shown: &Snapshot, look: Look) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown, look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect()).collect()
    }

    #[test]
    fn all_of_it_is_on_the_screen() {
        for (width, height) in [(120, 40), (80, 24), (60, 30)] {
            let lines = screen(width, height, &snapshot(), Look::default());
            let all = lines.join("\n");
            for words in ["run-20260101", "running", "step 50/100", "1 min 5 s left", "learning rate", "2.00e-4", "line 49", "q quit"] {
                assert!(all.contains(words), "{width}x{height}: no {words}:\n{all}");
            }
            assert!(all.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{width}x{height}: no curve:\n{all}");
        }
    }

    #[test]
    fn a_logarithmic_scale_names_the_losses_themselves() {
        let ends = |look| {
            let lines = screen(100, 30, &snapshot(), look);
            let labels = lines.iter().filter_map(|l| l.trim_start().split(['│', ' ']).next()?.parse::<f64>().ok());
            labels.collect::<Vec<f64>>()
        };
        let (plain, log) = (ends(Look { is_log: false }), ends(Look { is_log: true }));
        assert!(plain[0] > 3.9 && plain[1] > 1.5, "{plain:?}");
        assert!(log[0] > 3.9 && (0.3..1.0).contains(&log[1]) && log[2] > 0.0, "{log:?}");
    }

    #[test]
    fn whatever_comes_is_drawn_at_any_size() {
        let mut odd = snapshot();
        odd.loss = vec![(1.0, f64::NAN), (2.0, 0.0), (3.0, f64::INFINITY), (4.0, 1.0)];
        (odd.done, odd.total, odd.validation) = (7, 0, Vec::new());
        for shown in [Snapshot::default(), odd] {
            for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
                for is_log in [false, true] {
                    assert_eq!(screen(width, height, &shown, Look { is_log }).len(), usize::from(height));
                }
            }
        }
    }
}
