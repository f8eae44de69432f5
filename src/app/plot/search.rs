//! A search as a picture: values by trial, what mattered, and all settings as parallel coordinates.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::draw::{Area, Drawing, Joins, failed, number, png_of, rgb, span, svg_of};
use super::panels::{COLOURS, Rgb};
use crate::app::search::shares;
use crate::base::error::Fault;
use crate::search::{Domain, Record, State};

/// A trial as it is drawn.
#[derive(Debug, Clone, PartialEq)]
struct Dot {
    number: u64,
    value: Option<f64>,
    state: State,
    /// Where its settings lie, from 0 to 1.
    places: Vec<Option<f64>>,
    /// Its place among all that ended, the best first, from 0 to 1.
    rank: f64,
}

/// An axis of the parallel coordinates: a name and the labels of places on it.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    name: String,
    labels: Vec<(f64, String)>,
}

/// A search as a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPicture {
    title: String,
    metric: &'static str,
    is_higher_better: bool,
    dots: Vec<Dot>,
    axes: Vec<Axis>,
    importance: Vec<(String, f64)>,
}

const GREY: Rgb = (120, 126, 136);
const DARK: Rgb = (40, 46, 56);
/// Colours of the best and of the worst trial.
const ENDS: (Rgb, Rgb) = ((20, 70, 170), (235, 190, 130));
const HEADER: u32 = 56;

/// The last part of a key, or the last two where that alone says little.
fn short(key: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    let from = if key.contains("stage2") { parts.len().saturating_sub(2) } else { parts.len() - 1 };
    parts[from..].join(".")
}

fn label(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), number),
        other => other.to_string().replace('"', ""),
    }
}

fn axis(key: &str, domain: &Domain) -> Axis {
    let places: Vec<f64> = match domain {
        Domain::Choice(values) => (0..values.len()).map(|i| (i as f64 + 0.5) / values.len() as f64).collect(),
        Domain::Range { .. } => vec![0.0, 0.25, 0.5, 0.75, 1.0],
    };
    Axis { name: short(key), labels: places.into_iter().map(|place| (place, label(&domain.at(place)))).collect() }
}

impl SearchPicture {
    /// A search as it stands.
    pub fn of(record: &Record) -> Self {
        let past = record.past();
        let last = past.iter().map(|p| p.rank).max().unwrap_or(0).max(1) as f64;
        let dot = |(t, p): (&crate::search::Trial, &crate::search::Past)| Dot {
            number: t.number,
            value: t.value,
            state: t.state,
            places: record.space.places(&t.settings),
            rank: p.rank as f64 / last,
        };
        let best = record.best().and_then(|t| Some(format!(", best {} (trial {})", number(t.value?), t.number)));
        let mut importance: Vec<(String, f64)> =
            shares(record).into_iter().flatten().map(|(key, share)| (short(&key), share.as_f64().unwrap_or_default())).collect();
        importance.sort_by(|a, b| b.1.total_cmp(&a.1));
        Self {
            title: format!("{}: {} trials{}", record.name, record.ended().count(), best.unwrap_or_default()),
            metric: record.metric.name(),
            is_higher_better: record.metric.cost(1.0) < 0.0,
            dots: record.ended().zip(&past).map(dot).collect(),
            axes: record.space.parameters.iter().map(|p| axis(&p.key, &p.domain)).collect(),
            importance,
        }
    }

    /// As an SVG document.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String, Fault> {
        svg_of(self)
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, Fault> {
        png_of(self)
    }

    /// Values of the complete trials, from least to most, a little wider.
    fn values(&self) -> (f64, f64) {
        let (low, high) = span(self.dots.iter().filter(|d| d.state == State::Complete).filter_map(|d| d.value));
        let margin = if high > low { 0.06 * (high - low) } else { high.abs().max(1.0) * 0.05 };
        (low - margin, high + margin)
    }
}

impl Drawing for SearchPicture {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, _: Joins) -> Result<(), Fault> {
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        let (top, rest) = area.split_vertically(HEADER);
        text(&top, &self.title, (24, 18), 22, DARK)?;
        let (width, height) = rest.dim_in_pixel();
        let (upper, lower) = rest.split_vertically(height * 9 / 20);
        let (left, right) = upper.split_horizontally(width * 11 / 20);
        self.history(&left)?;
        self.bars(&right)?;
        self.coordinates(&lower)?;
        area.present().map_err(|e| failed(&e))
    }
}

fn text<B: DrawingBackend>(area: &DrawingArea<B, Shift>, words: &str, at: (i32, i32), size: i32, colour: Rgb) -> Result<(), Fault> {
    let style = ("sans-serif", size).into_font().color(&rgb(colour));
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(|e| failed(&e))
}

fn line<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    points: &[(i32, i32)],
    colour: &RGBColor,
    opacity: f64,
    width: u32,
) -> Result<(), Fault> {
    // Each part by itself: the bitmap back end draws pointed joins without a limit.
    for pair in points.windows(2) {
        area.draw(&PathElement::new(pair.to_vec(), colour.mix(opacity).stroke_width(width))).map_err(|e| failed(&e))?;
    }
    Ok(())
}

fn between((from, to): (Rgb, Rgb), share: f64) -> RGBColor {
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

impl SearchPicture {
    /// Values by trial, and the best so far.
    fn history<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let (low, high) = self.values();
        let last = self.dots.iter().map(|d| d.number).max().unwrap_or(1) as f64;
        let title = format!("{} by trial: complete (blue), ended early (orange), best so far (line)", self.metric);
        let mut builder = ChartBuilder::on(area);
        let caption = ("sans-serif", 17).into_font().color(&rgb(DARK));
        let builder = builder.caption(title, caption).margin(12).x_label_area_size(28).y_label_area_size(64);
        let mut chart = builder.build_cartesian_2d(0.0..last + 1.0, low..high).map_err(|e| failed(&e))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(232, 234, 238))
            .axis_style(RGBColor(190, 194, 202))
            .label_style(("sans-serif", 13).into_font().color(&rgb(GREY)))
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()
            .map_err(|e| failed(&e))?;
        let mut best: Option<f64> = None;
        let mut steps = Vec::new();
        for dot in self.dots.iter().filter(|d| d.state == State::Complete) {
            let Some(value) = dot.value else { continue };
            let now = best.map_or(value, |b| if self.is_higher_better { b.max(value) } else { b.min(value) });
            steps.extend(best.map(|b| (dot.number as f64, b)).into_iter().chain([(dot.number as f64, now)]));
            best = Some(now);
        }
        steps.extend(best.map(|b| (last + 1.0, b)));
        let grey = rgb(GREY).stroke_width(1);
        chart.draw_series(steps.windows(2).map(|w| PathElement::new(w.to_vec(), grey))).map_err(|e| failed(&e))?;
        // What is beyond the complete ones stands at the edge.
        let shown = self.dots.iter().filter_map(|d| Some((d, d.value?.clamp(low, high))));
        let circles = shown.map(|(d, value)| {
            let colour = rgb(COLOURS[usize::from(d.state != State::Complete)]);
            Circle::new((d.number as f64, value), 4, colour.filled())
        });
        chart.draw_series(circles).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// The share of each setting.
    fn bars<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        text(area, "importance: share of the variance of the ranks", (20, 16), 17, DARK)?;
        if self.importance.is_empty() {
            return text(area, "too few trials to tell", (20, 52), 15, GREY);
        }
        let (width, height) = area.dim_in_pixel();
        let (from, to) = (190, width as i32 - 80);
        let step = ((height as i32 - 70) / self.importance.len() as i32).clamp(14, 44);
        for (i, (name, share)) in self.importance.iter().enumerate() {
            let y = 52 + i as i32 * step;
            text(area, name, (20, y + 2), 14, DARK)?;
            let end = from + (f64::from(to - from) * share).round() as i32;
            let bar = Rectangle::new([(from, y), (end.max(from + 1), y + step * 3 / 5)], rgb(COLOURS[0]).filled());
            area.draw(&bar).map_err(|e| failed(&e))?;
            text(area, &format!("{:.0} %", 100.0 * share), (end + 8, y + 2), 14, GREY)?;
        }
        Ok(())
    }

    /// A line for each trial through the places of its settings, to its value; the best in front.
    fn coordinates<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        text(area, "settings of each trial, from the best (blue) to the worst; those that ended early are thin", (24, 10), 17, DARK)?;
        let (width, height) = area.dim_in_pixel();
        let (top, bottom) = (66, height as i32 - 24);
        let columns = self.axes.len() + 1;
        let x = |i: usize| 70 + (width as i32 - 230) * i as i32 / (columns - 1).max(1) as i32;
        let y = |place: f64| bottom - (f64::from(bottom - top) * place).round() as i32;
        let (low, high) = self.values();
        let mut order: Vec<&Dot> = self.dots.iter().collect();
        order.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        for dot in order {
            let end = dot.value.map(|value| ((value - low) / (high - low)).clamp(0.0, 1.0));
            // A setting that lies nowhere, or a trial without a value, breaks the line.
            let all: Vec<Option<f64>> = dot.places.iter().copied().chain([end]).collect();
            let (opacity, thick) = match dot.state {
                State::Complete if dot.rank == 0.0 => (1.0, 4),
                State::Complete => (0.85, 2),
                _ => (0.5, 1),
            };
            for i in 1..all.len() {
                if let (Some(a), Some(b)) = (all[i - 1], all[i]) {
                    line(area, &[(x(i - 1), y(a)), (x(i), y(b))], &between(ENDS, dot.rank), opacity, thick)?;
                }
            }
        }
        let ends = [0.0, 0.25, 0.5, 0.75, 1.0].map(|place| (place, number(low + place * (high - low)))).into();
        let value = Axis { name: self.metric.to_owned(), labels: ends };
        for (i, axis) in self.axes.iter().chain([&value]).enumerate() {
            line(area, &[(x(i), top), (x(i), bottom)], &rgb(GREY), 1.0, 1)?;
            text(area, &axis.name, (x(i) - 30, top - 26), 15, DARK)?;
            for (place, words) in &axis.labels {
                line(area, &[(x(i) - 4, y(*place)), (x(i), y(*place))], &rgb(GREY), 1.0, 1)?;
                text(area, words, (x(i) + 6, y(*place) - 7), 13, DARK)?;
            }
        }
        Ok(())
    }
}
