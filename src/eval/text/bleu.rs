//! BLEU as sacrebleu computes it: words by the `13a` rules, four orders, smoothing `exp`, one
//! reference for each answer (Papineni and others, 2002; Post, 2018, "A Call for Clarity in
//! Reporting BLEU Scores").

use super::{grams, shared, space, words};

/// Orders of n-grams.
pub const ORDERS: usize = 4;
/// Sums of a row: matches by order, n-grams by order, words of the answer, words wanted.
pub const SUMS: usize = 2 * ORDERS + 2;

/// Characters that are always words of their own.
fn stands_alone(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

/// The text's words by the rules of mteval-v13a.
pub fn tokenize_13a(text: &str) -> Vec<String> {
    let mut line = text.trim_end_matches(space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if line.contains('&') {
        for (entity, c) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
            line = line.replace(entity, c);
        }
    }
    let mut apart = String::with_capacity(line.len() * 2);
    apart.push(' ');
    for c in line.chars() {
        if stands_alone(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart.push(' ');
    let digit = |c: char| c.is_ascii_digit();
    let point = |c: char| c == '.' || c == ',';
    let after = pairs(&apart, |a, b| !digit(a) && point(b), |out, a, b| out.extend([a, ' ', b, ' ']));
    let before = pairs(&after, |a, b| point(a) && !digit(b), |out, a, b| out.extend([' ', a, ' ', b]));
    let dashed = pairs(&before, |a, b| digit(a) && b == '-', |out, a, b| out.extend([a, ' ', b, ' ']));
    words(&dashed).map(str::to_owned).collect()
}

/// Rewrites pairs of neighbours from left to right, none overlapping another.
fn pairs(text: &str, found: impl Fn(char, char) -> bool, write: impl Fn(&mut String, char, char)) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut chars = text.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.peek().copied() {
            Some(b) if found(a, b) => {
                write(&mut out, a, b);
                chars.next();
            }
            _ => out.push(a),
        }
    }
    out
}

/// The sums of one row.
pub fn sums(answer: &str, wanted: &str) -> Vec<f64> {
    let (a, w) = (tokenize_13a(answer), tokenize_13a(wanted));
    let mut out = vec![0.0; SUMS];
    for order in 1..=ORDERS {
        out[order - 1] = shared(&grams(&a, order), &grams(&w, order)) as f64;
        out[ORDERS + order - 1] = (a.len() + 1).saturating_sub(order) as f64;
    }
    (out[2 * ORDERS], out[2 * ORDERS + 1]) = (a.len() as f64, w.len() as f64);
    out
}

/// The score, 0 to 100, of the sums of all rows.
pub fn score(sums: &[f64]) -> f64 {
    let (matches, counts) = (&sums[..ORDERS], &sums[ORDERS..2 * ORDERS]);
    let (answer, wanted) = (sums[2 * ORDERS], sums[2 * ORDERS + 1]);
    // An order that no answer is long enough for makes the geometric mean 0.
    if matches.iter().all(|m| *m == 0.0) || counts.contains(&0.0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let mut logs = 0.0;
    for (m, n) in matches.iter().zip(counts) {
        let precision = if *m == 0.0 {
            smoothing *= 2.0;
            1.0 / (smoothing * n)
        } else {
            m / n
        };
        logs += precision.ln();
    }
    let brevity = if answer < wanted { (1.0 - wanted / answer).exp() } else { 1.0 };
    100.0 * brevity * (logs / ORDERS as f64).exp()
}
