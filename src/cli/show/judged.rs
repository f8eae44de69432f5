//! An evaluation by metrics, as text.

use super::super::judge::Judgement;
use super::super::style::{Paint, bytes, count};
use super::{Lines, table};
use crate::eval::report::{Report, shown, with_interval};

/// `tallow eval --metric`, `tallow compare`.
pub fn judged(j: &Judgement, paint: Paint) -> String {
    let (r, mut out) = (&j.report, Lines::default());
    out.add(format!("{}  {} rows", paint.bold(&r.data), count(r.rows as u64)));
    if r.rows_without_prompt > 0 {
        out.named(paint, "left out", format!("{} rows without a prompt before their answer", r.rows_without_prompt));
    }
    out.0 += &figures(r, paint);
    out.0 += &groups(r, paint);
    for side in &r.sides {
        let shown = side.faults.iter().take(MOST_FAULTS).map(|f| format!("{} {}", count(f.rows as u64), f.name));
        let shown: Vec<String> = shown.collect();
        if !shown.is_empty() {
            out.named(paint, "faults", format!("{}: {}", side.label, shown.join(", ")));
        }
    }
    for d in &r.differences {
        let p = if d.paired.p < 0.001 { "p < 0.001".to_owned() } else { format!("p {:.3}", d.paired.p) };
        out.named(paint, d.verdict, format!("{} in {} ({p})", d.label, d.metric));
    }
    for side in &r.sides {
        let c = &side.cost;
        let speed = if c.new_tokens > 0 {
            format!(
                ", {} new tokens in {:.1} s ({:.1} a second), keys and values {}",
                count(c.new_tokens),
                c.answer_seconds,
                c.tokens_per_second,
                bytes(c.cache_bytes)
            )
        } else {
            String::new()
        };
        out.named(paint, &side.label, format!("weights {}{speed}", bytes(c.weight_bytes)));
    }
    for v in &r.thresholds {
        let word = if v.passed { "kept" } else { "missed" };
        out.named(paint, word, format!("{} (it is {:.4})", v.threshold, v.value));
    }
    if let Some(passed) = r.passed {
        out.add(if passed { paint.bold("passed") } else { paint.red("failed") });
    }
    if let Some(f) = &j.files {
        out.named(paint, "report", f.html.display().to_string());
    }
    out.0
}

/// Most kinds of faults that are shown of a model.
const MOST_FAULTS: usize = 8;

/// The leading metric by group; the written report has all of them.
fn groups(r: &Report, paint: Paint) -> String {
    let Some((first, lead)) = r.sides.first().and_then(|s| Some((s, s.metrics.first()?))).filter(|(s, _)| !s.groups.is_empty()) else {
        return String::new();
    };
    let sides = r.sides.iter().map(|s| s.label.as_str());
    let head: Vec<&str> = [lead.name.as_str(), "", "rows"].into_iter().chain(sides).collect();
    let line = |(g, group): (usize, &crate::eval::report::Group)| {
        let of = |s: &crate::eval::report::Side| with_interval(&s.groups[g].figures[0], lead.top);
        let named = [group.field.clone(), group.label.clone(), count(group.rows as u64)];
        named.into_iter().chain(r.sides.iter().map(of)).collect()
    };
    let rows: Vec<Vec<String>> = first.groups.iter().enumerate().map(line).collect();
    table(paint, &head, &rows)
}

fn figures(r: &Report, paint: Paint) -> String {
    let head: Vec<&str> = std::iter::once("").chain(r.sides.iter().map(|s| s.label.as_str())).collect();
    let mut rows = Vec::new();
    for (i, m) in r.sides.first().map_or(&[][..], |s| &s.metrics).iter().enumerate() {
        let of = |s: &crate::eval::report::Side| with_interval(&s.metrics[i].figure, m.top);
        rows.push(std::iter::once(m.name.clone()).chain(r.sides.iter().map(of)).collect::<Vec<_>>());
    }
    if r.sides.iter().any(|s| s.rubric.is_some()) {
        let of = |s: &crate::eval::report::Side| s.rubric.map_or("-".into(), |f| shown(f.value, 1.0));
        rows.push(std::iter::once("rubric".to_owned()).chain(r.sides.iter().map(of)).collect());
    }
    table(paint, &head, &rows)
}
