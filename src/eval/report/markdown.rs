//! The report as Markdown.

use std::fmt::Write;

use super::{Report, mib, probability, signed, with_interval};

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

/// A block of text as it stands, in a fence longer than any inside.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let rule = row(head.iter().map(|_| "---".to_owned()));
    [row(head), rule].into_iter().chain(rows.into_iter().map(row)).collect()
}

/// The whole report.
pub fn markdown(r: &Report) -> String {
    let mut out = format!("# {}\n\n{} rows of `{}`. Intervals hold the middle 95 % of resampled rows.\n\n", cell(&r.title), r.rows, r.data);
    // Writing to a String cannot fail.
    if let Some(passed) = r.passed {
        let _ = writeln!(out, "**{}**\n", if passed { "Passed" } else { "Failed" });
        let line =
            |v: &crate::eval::Verdict| vec![cell(&v.threshold), format!("{:.4}", v.value), if v.passed { "kept" } else { "missed" }.into()];
        let _ = writeln!(out, "{}", table(["threshold", "value", ""].map(str::to_owned).into(), r.thresholds.iter().map(line).collect()));
    }
    let labels = || r.sides.iter().map(|s| cell(&s.label));
    let head: Vec<String> = std::iter::once("metric".to_owned()).chain(labels()).collect();
    let metrics = r.sides.first().map_or(&[][..], |s| &s.metrics);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (i, m) in metrics.iter().enumerate() {
        let of = |s: &super::Side| with_interval(&s.metrics[i].figure, m.top);
        rows.push(std::iter::once(cell(&m.name)).chain(r.sides.iter().map(of)).collect());
    }
    if r.sides.iter().any(|s| s.rubric.is_some()) {
        let of = |s: &super::Side| s.rubric.map_or("-".into(), |f| with_interval(&f, 1.0));
        rows.push(std::iter::once("rubric".to_owned()).chain(r.sides.iter().map(of)).collect());
    }
    let _ = writeln!(out, "## Metrics\n\n{}", table(head, rows));
    out += &differences(r);
    out += &groups(r);
    out += &faults(r);
    out += &cost(r);
    out += &cases(r);
    out
}

fn differences(r: &Report) -> String {
    if r.differences.is_empty() {
        return String::new();
    }
    let tops = |name: &str| r.sides.iter().flat_map(|s| &s.metrics).find(|m| m.name == name).map_or(1.0, |m| m.top);
    let line = |d: &super::Difference| {
        let (f, top) = (d.paired.difference, tops(&d.metric));
        let gap = format!("{} ({} to {})", signed(f.value, top), signed(f.low, top), signed(f.high, top));
        vec![cell(&d.label), cell(&d.metric), gap, probability(d.paired.p), d.verdict.to_owned()]
    };
    let head = ["model", "metric", "difference", "p", ""].map(str::to_owned).into();
    let first = cell(&r.sides[0].label);
    format!("## Against {first}\n\n{}\n", table(head, r.differences.iter().map(line).collect()))
}

fn groups(r: &Report) -> String {
    let Some(first) = r.sides.first().filter(|s| !s.groups.is_empty()) else { return String::new() };
    let mut out = String::from("## By group\n\n");
    for (m, measured) in first.metrics.iter().enumerate() {
        let head = ["field", "group", "rows"].map(str::to_owned).into_iter().chain(r.sides.iter().map(|s| cell(&s.label))).collect();
        let line = |(g, group): (usize, &super::Group)| {
            let values = r.sides.iter().map(|s| with_interval(&s.groups[g].figures[m], measured.top));
            [cell(&group.field), cell(&group.label), group.rows.to_string()].into_iter().chain(values).collect()
        };
        let _ = writeln!(out, "### {}\n\n{}", cell(&measured.name), table(head, first.groups.iter().enumerate().map(line).collect()));
    }
    out
}

fn faults(r: &Report) -> String {
    let line = |s: &super::Side| {
        let row = |f: &super::NamedFault| vec![cell(&s.label), cell(&f.name), f.rows.to_string()];
        s.faults.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = r.sides.iter().flat_map(line).collect();
    let head = ["model", "fault", "rows"].map(str::to_owned).into();
    if rows.is_empty() { String::new() } else { format!("## Faults\n\n{}\n", table(head, rows)) }
}

fn cost(r: &Report) -> String {
    let line = |s: &super::Side| {
        let c = &s.cost;
        let speed = if c.new_tokens > 0 { format!("{:.1}", c.tokens_per_second) } else { "-".into() };
        vec![cell(&s.label), s.quantization.clone(), mib(c.weight_bytes), mib(c.cache_bytes), speed, format!("{:.1}", c.answer_seconds)]
    };
    let head = ["model", "quantization", "weights", "keys and values", "tokens/s", "seconds"].map(str::to_owned).into();
    format!("## Speed and memory\n\n{}\n", table(head, r.sides.iter().map(line).collect()))
}

fn cases(r: &Report) -> String {
    let mut out = String::new();
    for (i, case) in r.cases.iter().enumerate() {
        if i == 0 {
            out += "## Worst rows\n\n";
        }
        let _ = write!(out, "### Row {}\n\nAsked:\n\n{}\nWanted:\n\n{}", case.row, fenced(&case.prompt), fenced(&case.wanted));
        for ((side, answer), value) in r.sides.iter().zip(&case.answers).zip(&case.values) {
            let _ = write!(out, "\n{} ({value:.3}):\n\n{}", cell(&side.label), fenced(answer));
        }
        out.push('\n');
    }
    out
}
