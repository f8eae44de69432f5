//! The report as one page that needs nothing else: style and pictures inside, no scripts.

use std::fmt::Write;

use super::{Report, Side, chart, mib, probability, signed, with_interval};

/// The style of a page.
pub(crate) const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--track:#eef1f5;
--c0:#8594a8;--c1:#1f7a5c;--c2:#b4532a;--c3:#4257b2;--c4:#8d3f86;--c5:#7a6a1f}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b4;--line:#333b47;--paper:#14181f;--track:#222935;
--c0:#8594a8;--c1:#4cb58f;--c2:#e08a5b;--c3:#8093ea;--c4:#c981c2;--c5:#c0ac4e}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:860px;margin:2rem auto;padding:0 1rem}
h1{line-height:1.2}h2{margin-top:2.2rem}p.sub,caption,th{color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.track{fill:var(--track)}.whisker,.axis{stroke:var(--ink);fill:none;stroke-width:1.2}
.s0{fill:var(--c0);background:var(--c0)}.s1{fill:var(--c1);background:var(--c1)}.s2{fill:var(--c2);background:var(--c2)}
.s3{fill:var(--c3);background:var(--c3)}.s4{fill:var(--c4);background:var(--c4)}.s5{fill:var(--c5);background:var(--c5)}
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
.good{color:var(--c1);font-weight:600}.bad{color:var(--c2);font-weight:600}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--track);padding:.6rem .8rem;border-radius:6px;margin:.2rem 0 .8rem;max-height:22rem;overflow-y:auto}
details{border-bottom:1px solid var(--line);padding:.5rem 0}summary{cursor:pointer}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:0 1rem}
";

/// Text for a page.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A table; cells are HTML.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |tag: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|c| format!("<{tag}>{c}</{tag}>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(|r| line("td", r)).collect();
    format!("<div class=\"scroll\"><table><thead>{}</thead><tbody>{rows}</tbody></table></div>", line("th", head))
}

fn heads(fixed: &[&str], r: &Report) -> Vec<String> {
    fixed.iter().map(|h| (*h).to_owned()).chain(r.sides.iter().enumerate().map(label)).collect()
}

fn label((i, side): (usize, &Side)) -> String {
    format!("<span class=\"key s{}\"></span>{}", i % 6, escape(&side.label))
}

fn mark(good: bool, text: &str) -> String {
    format!("<span class=\"{}\">{text}</span>", if good { "good" } else { "bad" })
}

/// The whole page.
pub fn page(r: &Report) -> String {
    let title = escape(&r.title);
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\
         <p class=\"sub\">{} rows of <code>{}</code>. Intervals hold the middle 95 % of resampled rows.</p>",
        r.rows,
        escape(&r.data)
    );
    // Writing to a String cannot fail.
    if let Some(passed) = r.passed {
        let _ = write!(out, "<p>{}</p>", mark(passed, if passed { "Passed" } else { "Failed" }));
        let line = |v: &crate::eval::Verdict| {
            vec![escape(&v.threshold), format!("{:.4}", v.value), mark(v.passed, if v.passed { "kept" } else { "missed" })]
        };
        let head = ["threshold", "value", ""].map(str::to_owned);
        out += &table(&head, &r.thresholds.iter().map(line).collect::<Vec<_>>());
    }
    out += "<h2>Metrics</h2>";
    out += &chart::metrics(r);
    let mut rows = Vec::new();
    for (i, m) in r.sides.first().map_or(&[][..], |s| &s.metrics).iter().enumerate() {
        let of = |s: &Side| with_interval(&s.metrics[i].figure, m.top);
        rows.push(std::iter::once(escape(&m.name)).chain(r.sides.iter().map(of)).collect());
    }
    if r.sides.iter().any(|s| s.rubric.is_some()) {
        let of = |s: &Side| s.rubric.map_or("-".into(), |f| with_interval(&f, 1.0));
        rows.push(std::iter::once("rubric".to_owned()).chain(r.sides.iter().map(of)).collect());
    }
    out += &table(&heads(&["metric"], r), &rows);
    for part in [differences, groups, faults, cost, cases] {
        out += &part(r);
    }
    out + "</body></html>\n"
}

fn differences(r: &Report) -> String {
    if r.differences.is_empty() {
        return String::new();
    }
    let top = |name: &str| r.sides.iter().flat_map(|s| &s.metrics).find(|m| m.name == name).map_or(1.0, |m| m.top);
    let line = |d: &super::Difference| {
        let (f, top) = (d.paired.difference, top(&d.metric));
        let gap = format!("{} ({} to {})", signed(f.value, top), signed(f.low, top), signed(f.high, top));
        let verdict = if d.verdict == "unclear" { d.verdict.to_owned() } else { mark(d.verdict == "better", d.verdict) };
        vec![escape(&d.label), escape(&d.metric), gap, escape(&probability(d.paired.p)), verdict]
    };
    let head = ["model", "metric", "difference", "p", ""].map(str::to_owned);
    let rows: Vec<_> = r.differences.iter().map(line).collect();
    format!("<h2>Against {}</h2>{}", escape(&r.sides[0].label), table(&head, &rows))
}

fn groups(r: &Report) -> String {
    let Some(first) = r.sides.first().filter(|s| !s.groups.is_empty()) else { return String::new() };
    let mut out = String::from("<h2>By group</h2>");
    for (m, measured) in first.metrics.iter().enumerate() {
        let line = |(g, group): (usize, &super::Group)| {
            let values = r.sides.iter().map(|s| with_interval(&s.groups[g].figures[m], measured.top));
            [escape(&group.field), escape(&group.label), group.rows.to_string()].into_iter().chain(values).collect()
        };
        let rows: Vec<Vec<String>> = first.groups.iter().enumerate().map(line).collect();
        let _ = write!(out, "<h3>{}</h3>{}", escape(&measured.name), table(&heads(&["field", "group", "rows"], r), &rows));
    }
    out
}

fn faults(r: &Report) -> String {
    let line = |(i, s): (usize, &Side)| {
        let row = |f: &super::NamedFault| vec![label((i, s)), escape(&f.name), f.rows.to_string()];
        s.faults.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = r.sides.iter().enumerate().flat_map(line).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["model", "fault", "rows"].map(str::to_owned);
    format!("<h2>Faults</h2>{}", table(&head, &rows))
}

fn cost(r: &Report) -> String {
    let line = |(i, s): (usize, &Side)| {
        let c = &s.cost;
        let speed = if c.new_tokens > 0 { format!("{:.1}", c.tokens_per_second) } else { "-".into() };
        vec![label((i, s)), s.quantization.clone(), mib(c.weight_bytes), mib(c.cache_bytes), speed, format!("{:.1}", c.answer_seconds)]
    };
    let head = ["model", "quantization", "weights", "keys and values", "tokens/s", "seconds"].map(str::to_owned);
    let rows: Vec<_> = r.sides.iter().enumerate().map(line).collect();
    format!("<h2>Speed and memory</h2>{}{}", chart::trade(r), table(&head, &rows))
}

fn cases(r: &Report) -> String {
    if r.cases.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Worst rows</h2>");
    for case in &r.cases {
        let first: String = case.wanted.chars().take(90).collect();
        let _ = write!(
            out,
            "<details><summary>Row {}: {}</summary><p class=\"sub\">Asked</p><pre>{}</pre><p class=\"sub\">Wanted</p><pre>{}</pre><div class=\"pair\">",
            case.row,
            escape(&first),
            escape(&case.prompt),
            escape(&case.wanted)
        );
        for ((side, answer), value) in r.sides.iter().enumerate().zip(&case.answers).zip(&case.values) {
            let _ = write!(out, "<div><p class=\"sub\">{} {value:.3}</p><pre>{}</pre></div>", label(side), escape(answer));
        }
        out += "</div></details>";
    }
    out
}
