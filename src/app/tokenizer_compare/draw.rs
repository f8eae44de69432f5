//! The picture of a comparison: bytes in a token by group, and how long the used tokens are.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::app::plot::{COLOURS, failed, with_font};
use crate::base::error::Fault;
use crate::data::tokenizer_compare::{Comparison, Group, LONGEST};

const WIDTH: i32 = 1200;
const HEADER: i32 = 70;
/// Height of a group's two bars with the space around them.
const ROW: i32 = 46;
/// Groups that are drawn; a table holds all.
const MOST_GROUPS: usize = 16;
/// Where the bars begin, and where the right panel does.
const BARS: i32 = 130;
const MIDDLE: i32 = 640;
const GREY: RGBColor = RGBColor(90, 96, 106);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture as an SVG document.
///
/// # Errors
/// When it cannot be drawn.
pub(super) fn svg(c: &Comparison) -> Result<String, Fault> {
    with_font()?;
    let groups: Vec<&Group> = std::iter::once(&c.all).chain(&c.kinds).chain(&c.languages).take(MOST_GROUPS).collect();
    let height = HEADER + (ROW * groups.len() as i32).max(300) + 60;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        head(&area, c)?;
        bars(&area, &groups)?;
        lengths(&area, c, height)?;
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(text)
}

fn colour(side: usize) -> RGBColor {
    let (r, g, b) = COLOURS[side];
    RGBColor(r, g, b)
}

fn words(area: &Area, text: &str, at: (i32, i32), size: i32, colour: RGBColor) -> Result<(), Fault> {
    let style = ("sans-serif", size).into_font().color(&colour);
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(|e| failed(&e))
}

fn bar(area: &Area, from: (i32, i32), to: (i32, i32), side: usize) -> Result<(), Fault> {
    area.draw(&Rectangle::new([from, to], colour(side).filled())).map_err(|e| failed(&e))
}

/// The end of a name, where it is a long path.
fn short(name: &str) -> String {
    let all: Vec<char> = name.chars().collect();
    match all.len() {
        0..=48 => name.to_owned(),
        n => format!("...{}", all[n - 45..].iter().collect::<String>()),
    }
}

fn head(area: &Area, c: &Comparison) -> Result<(), Fault> {
    for (i, side) in [&c.a, &c.b].into_iter().enumerate() {
        let left = if i == 0 { 24 } else { MIDDLE };
        bar(area, (left, 18), (left + 18, 30), i)?;
        let about = format!("{} ({} ids, {:.2} MB/s)", short(&side.name), side.vocabulary, side.megabytes_per_second);
        words(area, &about, (left + 26, 17), 15, RGBColor(20, 24, 31))?;
    }
    words(area, "bytes in a token", (24, 46), 15, GREY)?;
    words(area, "used tokens by their number of characters, %", (MIDDLE, 46), 15, GREY)
}

fn bars(area: &Area, groups: &[&Group]) -> Result<(), Fault> {
    let most = groups.iter().flat_map(|g| [g.a.bytes_per_token, g.b.bytes_per_token]).fold(1e-9, f64::max);
    for (i, group) in groups.iter().enumerate() {
        let top = HEADER + ROW * i as i32;
        words(area, &group.name.chars().take(14).collect::<String>(), (24, top + 12), 14, GREY)?;
        for (side, value) in [group.a.bytes_per_token, group.b.bytes_per_token].into_iter().enumerate() {
            let top = top + 4 + 18 * side as i32;
            let width = (value / most * f64::from(MIDDLE - BARS - 90)) as i32;
            bar(area, (BARS, top), (BARS + width, top + 15), side)?;
            words(area, &format!("{value:.2}"), (BARS + width + 8, top + 2), 13, GREY)?;
        }
    }
    Ok(())
}

fn lengths(area: &Area, c: &Comparison, height: i32) -> Result<(), Fault> {
    let share = |counts: &[u64], i: usize| 100.0 * counts[i] as f64 / counts.iter().sum::<u64>().max(1) as f64;
    let all = [&c.a.lengths, &c.b.lengths];
    let most = all.iter().flat_map(|l| (0..l.len()).map(|i| share(l, i))).fold(1e-9, f64::max);
    let (top, bottom) = (HEADER + 24, height - 50);
    let column = (WIDTH - MIDDLE - 40) / LONGEST as i32;
    for length in 1..=LONGEST {
        let left = MIDDLE + column * (length as i32 - 1);
        for (side, counts) in all.iter().enumerate() {
            let size = (share(counts, length) / most * f64::from(bottom - top)) as i32;
            let from = left + 2 + (column / 2 - 2) * side as i32;
            bar(area, (from, bottom - size), (from + column / 2 - 3, bottom), side)?;
        }
        let label = if length == LONGEST { format!("{length}+") } else { length.to_string() };
        words(area, &label, (left + 4, bottom + 8), 12, GREY)?;
    }
    words(area, &format!("highest: {most:.1} %"), (MIDDLE, HEADER), 12, GREY)
}
