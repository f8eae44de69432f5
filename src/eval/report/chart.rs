//! Pictures of the report as SVG, drawn in the colours of the page.

use std::fmt::Write;

use super::Report;
use super::html::escape;
use super::shown;

const LEFT: f64 = 150.0;
const WIDTH: f64 = 460.0;
const RIGHT: f64 = 150.0;
const BAR: f64 = 18.0;
const GAP: f64 = 14.0;

/// One bar for each model under each metric that has a best figure, with its interval.
pub(super) fn metrics(r: &Report) -> String {
    let Some(first) = r.sides.first() else { return String::new() };
    let shares: Vec<usize> = (0..first.metrics.len()).filter(|i| first.metrics[*i].top > 0.0).collect();
    if shares.is_empty() {
        return String::new();
    }
    let block = BAR * r.sides.len() as f64 + GAP;
    let (width, height) = (LEFT + WIDTH + RIGHT, block * shares.len() as f64 + GAP);
    let mut out = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Metrics of each model\">");
    for (n, i) in shares.iter().enumerate() {
        let top = GAP + block * n as f64;
        let m = &first.metrics[*i];
        let middle = top + BAR * r.sides.len() as f64 / 2.0 + 4.0;
        // Writing to a String cannot fail.
        let _ = write!(out, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", LEFT - 10.0, escape(&m.name));
        for (s, side) in r.sides.iter().enumerate() {
            let f = side.metrics[*i].figure;
            let at = |v: f64| LEFT + WIDTH * if v.is_finite() { (v / m.top).clamp(0.0, 1.0) } else { 0.0 };
            let (y, line) = (top + BAR * s as f64, top + BAR * (s as f64 + 0.5) - 1.0);
            let _ = write!(
                out,
                "<rect class=\"track\" x=\"{LEFT}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{h}\"/>\
                 <rect class=\"s{c}\" x=\"{LEFT}\" y=\"{y}\" width=\"{w:.1}\" height=\"{h}\"/>\
                 <path class=\"whisker\" d=\"M{a:.1} {line}H{b:.1}M{a:.1} {u}v6M{b:.1} {u}v6\"/>\
                 <text x=\"{x}\" y=\"{ty}\">{v}</text>",
                h = BAR - 3.0,
                c = s % 6,
                w = at(f.value) - LEFT,
                a = at(f.low),
                b = at(f.high),
                u = line - 3.0,
                x = LEFT + WIDTH + 8.0,
                ty = line + 4.0,
                v = escape(&shown(f.value, m.top)),
            );
        }
    }
    out + "</svg>"
}

/// Weights against the leading share, a point for each model: what a level of quantisation costs.
pub(super) fn trade(r: &Report) -> String {
    let lead = r.sides.first().and_then(|s| s.metrics.iter().position(|m| m.top > 0.0));
    let (Some(lead), true) = (lead, r.sides.len() > 2) else { return String::new() };
    let (w, h, pad) = (620.0, 260.0, 46.0);
    let most = r.sides.iter().map(|s| s.cost.weight_bytes).max().unwrap_or(1).max(1) as f64;
    let m = &r.sides[0].metrics[lead];
    let mut out = format!("<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"Size against quality\">");
    let (x1, y1, base) = (w - pad, pad / 2.0, h - pad);
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M{pad} {y1}V{base}H{x1}\"/><text x=\"{mid}\" y=\"{b}\" text-anchor=\"middle\">weights, up to {most:.0} MiB</text>\
         <text x=\"{pad}\" y=\"14\">{name}, up to {top}</text>",
        mid = w / 2.0,
        b = h - 12.0,
        most = most / 1_048_576.0,
        name = escape(&m.name),
        top = escape(&shown(m.top, m.top)),
    );
    for (i, side) in r.sides.iter().enumerate() {
        let value = side.metrics[lead].figure.value;
        let x = pad + (x1 - pad - 120.0) * side.cost.weight_bytes as f64 / most;
        let y = base - (base - y1) * if value.is_finite() { (value / m.top).clamp(0.0, 1.0) } else { 0.0 };
        let (c, label) = (i % 6, escape(&side.label));
        let _ = write!(
            out,
            "<circle class=\"s{c}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/><text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            x + 10.0,
            y + 4.0
        );
    }
    out + "</svg>"
}
