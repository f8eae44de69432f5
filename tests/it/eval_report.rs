//! Reports of drawn and of hostile content.

use tallow::eval::report::{Answered, Cost, Difference, Group, Measured, NamedFault, Report, Side, markdown, page};
use tallow::eval::{Figure, Paired, Verdict};

const HOSTILE: &str = "<script>alert(1)</script> | \"x\" & ``` ```` \n# head <img src=x onerror=y>";

fn report(sides: usize, value: f64) -> Report {
    let figure = Figure { value, low: value - 0.1, high: value + 0.1 };
    let measured = |name: &str, top: f64| Measured { name: name.into(), figure, lower_is_better: top == 0.0, top };
    let side = |i: usize| Side {
        label: format!("{HOSTILE}{i}"),
        model: HOSTILE.into(),
        adapter: None,
        quantization: "none".into(),
        metrics: vec![measured("perplexity", 0.0), measured("exact_match", 1.0), measured("bleu", 100.0)],
        rubric: Some(figure),
        groups: vec![Group { field: HOSTILE.into(), label: HOSTILE.into(), rows: 3, figures: vec![figure; 3] }],
        faults: vec![NamedFault { name: HOSTILE.into(), rows: 2 }],
        cost: Cost { weight_bytes: 5 << 20, new_tokens: 9, ..Cost::default() },
    };
    let paired = Paired { difference: figure, p: 0.01 };
    let texts = vec![HOSTILE.to_owned(); sides];
    Report {
        title: HOSTILE.into(),
        data: HOSTILE.into(),
        rows: 3,
        rows_without_prompt: 0,
        sides: (0..sides).map(side).collect(),
        differences: vec![Difference { label: HOSTILE.into(), metric: "bleu".into(), paired, verdict: "better" }],
        cases: vec![Answered { row: 1, prompt: HOSTILE.into(), wanted: HOSTILE.into(), answers: texts, values: vec![value; sides] }],
        thresholds: vec![Verdict { threshold: "bleu>=1".into(), value, passed: false }],
        passed: Some(false),
    }
}

/// What others wrote never becomes markup, and a page is well formed for any number of models and
/// any figure.
#[test]
fn nothing_of_the_content_becomes_markup() {
    for sides in [1, 2, 3, 9] {
        for value in [0.0, 0.5, 1.0, 1e9, -3.0, f64::NAN, f64::INFINITY] {
            let r = report(sides, value);
            let html = page(&r);
            assert!(!html.contains("<script") && !html.contains("<img"), "{sides} {value}");
            for tag in ["svg", "table", "details", "pre", "div", "p", "span", "td", "th", "h2"] {
                let (open, close) = (
                    html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count(),
                    html.matches(&format!("</{tag}>")).count(),
                );
                assert_eq!(open, close, "{tag} with {sides} models and {value}");
            }
            for coordinate in ["NaN", "inf"] {
                assert!(!html.split("<svg").skip(1).any(|s| s.split("</svg>").next().unwrap().contains(&format!("=\"{coordinate}"))));
            }
            let text = markdown(&r);
            // Tables keep their columns, and blocks of text end where they should.
            for table in text.split("\n\n").filter(|t| t.starts_with("| ")) {
                let columns = |l: &str| l.replace("\\|", "").matches('|').count();
                let first = columns(table.lines().next().unwrap());
                assert!(table.lines().all(|l| columns(l) == first), "{table}");
            }
            assert!(text.contains("`````text\n"), "a fence longer than any in the text");
        }
    }
}
