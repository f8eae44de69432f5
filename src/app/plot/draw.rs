//! Panels as a picture: SVG, or PNG with a font that the program carries.

use std::sync::OnceLock;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::panels::{Line, Panel, Rgb, Stroke};
use crate::base::error::Fault;

/// Width and height in pixels.
pub const SIZE: (u32, u32) = (1500, 860);
const COLUMNS: usize = 3;
const HEADER: u32 = 56;

/// Latin letters of DejaVu Sans; its licence lies beside it.
static FONT: &[u8] = include_bytes!("DejaVuSans-subset.ttf");

/// What stands above the panels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// The run, or what is compared.
    pub title: String,
    /// Names with their colours.
    pub legend: Vec<(String, Rgb)>,
    /// Where stages begin.
    pub boundaries: Vec<f64>,
}

pub(in crate::app) fn failed(e: &dyn std::fmt::Display) -> Fault {
    Fault::new("plot", format!("the picture cannot be drawn: {e}"))
}

pub(in crate::app) fn with_font() -> Result<(), Fault> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok());
    if *done { Ok(()) } else { Err(failed(&"its font is damaged")) }
}

/// Something that both back ends can draw.
pub(super) trait Drawing {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, joins: Joins) -> Result<(), Fault>;
}

struct Panels<'a>(&'a Header, &'a [Panel]);

impl Drawing for Panels<'_> {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, joins: Joins) -> Result<(), Fault> {
        picture(area, self.0, self.1, joins)
    }
}

/// The picture as an SVG document.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(header: &Header, panels: &[Panel]) -> Result<String, Fault> {
    svg_of(&Panels(header, panels))
}

/// The picture as a PNG file.
///
/// # Errors
/// When it cannot be drawn.
pub fn png(header: &Header, panels: &[Panel]) -> Result<Vec<u8>, Fault> {
    png_of(&Panels(header, panels))
}

pub(super) fn svg_of(drawing: &impl Drawing) -> Result<String, Fault> {
    with_font()?;
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    drawing.draw(&area, Joins::Renderer)?;
    drop(area);
    Ok(text)
}

pub(super) fn png_of(drawing: &impl Drawing) -> Result<Vec<u8>, Fault> {
    with_font()?;
    let (width, height) = SIZE;
    let mut pixels = vec![255; width as usize * height as usize * 3];
    let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
    drawing.draw(&area, Joins::None)?;
    drop(area);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().map_err(|e| failed(&e))?;
    writer.write_image_data(&pixels).map_err(|e| failed(&e))?;
    drop(writer);
    Ok(file)
}

/// What is done where two parts of a line meet. The bitmap back end draws pointed joins without a
/// limit: sharp angles would reach over the whole picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    /// Whoever shows the file.
    Renderer,
    /// Each part is drawn for itself.
    None,
}

pub(super) type Area<B> = DrawingArea<B, plotters::coord::Shift>;

fn picture<B: DrawingBackend>(area: &Area<B>, header: &Header, panels: &[Panel], joins: Joins) -> Result<(), Fault> {
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let (top, rest) = area.split_vertically(HEADER);
    head(&top, header)?;
    let rows = panels.len().div_ceil(COLUMNS);
    for (part, panel) in rest.split_evenly((rows, COLUMNS)).iter().zip(panels) {
        if panel.lines.iter().all(|l| l.points.is_empty()) {
            let grey = ("sans-serif", 15).into_font().color(&RGBColor(120, 126, 136));
            part.draw(&Text::new(format!("{}: no figures yet", panel.title), (64, 24), grey)).map_err(|e| failed(&e))?;
            continue;
        }
        let values = panel.lines.iter().flat_map(|l| &l.points).map(|p| p.1);
        let values = values.filter(|v| !panel.is_log || *v > 0.0);
        let (low, high) = span(values);
        if panel.is_log && high > 0.0 && high.is_finite() {
            let (low, high) = (low * 0.93, high * 1.07);
            chart(part, panel, header, joins, (low..high).log_scale().with_key_points(ticks(low, high)))?;
        } else {
            let margin = if high > low { 0.05 * (high - low) } else { high.abs().max(1.0) * 0.05 };
            chart(part, panel, header, joins, low - margin..high + margin)?;
        }
    }
    area.present().map_err(|e| failed(&e))
}

/// Least and largest; 0 and 1 where there is nothing.
pub(super) fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn head<B: DrawingBackend>(area: &Area<B>, header: &Header) -> Result<(), Fault> {
    let title = ("sans-serif", 22).into_font().color(&RGBColor(20, 24, 31));
    area.draw(&Text::new(header.title.clone(), (24, 18), title)).map_err(|e| failed(&e))?;
    let small = ("sans-serif", 16).into_font().color(&RGBColor(60, 66, 76));
    let mut right = area.dim_in_pixel().0 as i32 - 24;
    for (name, colour) in header.legend.iter().rev() {
        let width = small.font.box_size(name).map_or(100, |(w, _)| w as i32);
        right -= width + 40;
        let line = [(right, 30), (right + 26, 30)];
        area.draw(&PathElement::new(line, rgb(*colour).stroke_width(3))).map_err(|e| failed(&e))?;
        area.draw(&Text::new(name.clone(), (right + 32, 22), small.clone())).map_err(|e| failed(&e))?;
    }
    Ok(())
}

pub(super) fn rgb((r, g, b): Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

fn chart<B, Y, S>(area: &Area<B>, panel: &Panel, header: &Header, joins: Joins, y: S) -> Result<(), Fault>
where
    B: DrawingBackend,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    S: AsRangedCoord<CoordDescType = Y, Value = f64>,
{
    let last = panel.lines.iter().filter_map(|l| l.points.last()).map(|p| p.0).fold(1.0, f64::max);
    let mut builder = ChartBuilder::on(area);
    let caption = ("sans-serif", 17).into_font().color(&RGBColor(40, 46, 56));
    let builder = builder.caption(panel.title, caption).margin(12).x_label_area_size(28).y_label_area_size(64);
    let mut chart = builder.build_cartesian_2d(0.0..last * 1.015, y).map_err(|e| failed(&e))?;
    let label = ("sans-serif", 13).into_font().color(&RGBColor(90, 96, 106));
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(232, 234, 238))
        .axis_style(RGBColor(190, 194, 202))
        .label_style(label)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()
        .map_err(|e| failed(&e))?;
    let range = chart.as_coord_spec().y_spec().range();
    for x in &header.boundaries {
        let line = [(*x, range.start), (*x, range.end)];
        chart.draw_series(DashedLineSeries::new(line, 5, 4, RGBColor(150, 154, 162).stroke_width(1))).map_err(|e| failed(&e))?;
    }
    for line in panel.lines.iter().filter(|l| !l.points.is_empty()) {
        stroke(&mut chart, line, panel.is_log, joins)?;
    }
    Ok(())
}

type Chart<'a, B, Y> = ChartContext<'a, B, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>;

fn stroke<B: DrawingBackend, Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<B, Y>,
    line: &Line,
    is_log: bool,
    joins: Joins,
) -> Result<(), Fault> {
    let colour = rgb(line.colour);
    let points: Vec<(f64, f64)> = line.points.iter().copied().filter(|p| !is_log || p.1 > 0.0).collect();
    let (opacity, width) = match line.stroke {
        Stroke::Faint => (0.28, 1),
        Stroke::Solid => (1.0, 2),
        Stroke::Dotted => (0.55, 1),
    };
    let style = colour.mix(opacity).stroke_width(width);
    match joins {
        Joins::Renderer => chart.draw_series(LineSeries::new(points.iter().copied(), style)).map_err(|e| failed(&e))?,
        Joins::None => chart.draw_series(points.windows(2).map(|w| PathElement::new(w.to_vec(), style))).map_err(|e| failed(&e))?,
    };
    if line.stroke == Stroke::Dotted || points.len() == 1 {
        let dots = points.iter().map(|p| Circle::new(*p, 4, colour.filled()));
        chart.draw_series(dots).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// Values that a logarithmic axis names: 1, 2 and 5 of each power of ten, or more where that is few.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let of = |digits: &[f64]| -> Vec<f64> {
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all = powers.flat_map(|power| digits.iter().map(move |d| d * 10f64.powi(power)));
        all.filter(|v| (low..=high).contains(v)).collect()
    };
    let few = of(&[1.0, 2.0, 5.0]);
    if few.len() > 2 { few } else { of(&[1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]) }
}

/// A value beside an axis: at most four digits that count.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
        return format!("{digits}e{exponent}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn labels_are_short() {
        let all = [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (12345.0, "12345"),
            (2e-4, "2e-4"),
            (1.5e6, "1.5e6"),
            (2.345_67, "2.346"),
            (-0.5, "-0.5"),
        ];
        for (value, text) in all {
            assert_eq!(number(value), text);
        }
    }
}
