//! What a check found in a dataset.

use super::super::style::{Paint, count};
use super::{Lines, table};
use crate::app::data::{DataReport, Shown};
use crate::app::quality_report::QualityFiles;
use crate::data::{CheckReport, Counts, PartCounts, Profile, Spread, ToolUse};

/// Problems that are listed before the rest is only counted.
const LISTED: usize = 50;

/// `tallow data check`.
pub fn data_check(report: &DataReport, paint: Paint) -> String {
    let mut out = Lines::default();
    files(&mut out, report, paint);
    if let Some(counts) = &report.check.counts {
        out.named(paint, "tokens", format!("{}, {} of them trained", count(counts.tokens), count(counts.trained_tokens)));
        lengths(&mut out, counts, paint);
        notes(&mut out, counts, paint);
    }
    problems(&mut out, &report.check, paint);
    signs(&mut out, &report.check, paint);
    report.shown.iter().for_each(|shown| example(&mut out, shown, paint));
    let check = &report.check;
    let empty = check.parts.iter().find(|p| p.used_rows == 0).filter(|_| check.usable_rows > 0);
    out.add(match (check.bad_rows, check.usable_rows) {
        (_, 0) => paint.red("no row can be used"),
        _ if empty.is_some() => paint.red(&format!("no row of the {} part can be used", empty.map_or("", |p| p.name))),
        (0, _) => paint.green("ready to train"),
        (bad, _) if !report.bad_rows_stop => paint.green(&format!("ready to train without {}", rows(bad))),
        (bad, _) => paint.red(&format!("{} to mend, or set dataset.on_bad_row: skip", rows(bad))),
    });
    out.0
}

/// `tallow data stats`.
pub fn data_stats(report: &DataReport, files_written: Option<&QualityFiles>, paint: Paint) -> String {
    let mut out = Lines::default();
    files(&mut out, report, paint);
    if let Some(c) = &report.check.counts {
        let spread = |name: &str, s: &Spread| {
            vec![name.to_owned(), count(s.min), format!("{:.1}", s.mean), count(s.p50), count(s.p90), count(s.p99), count(s.max)]
        };
        out.named(paint, "sequences", count(c.examples as u64));
        let share = 100.0 * c.trained_tokens as f64 / c.tokens.max(1) as f64;
        out.named(paint, "tokens", format!("{}, {} of them trained ({share:.1} %)", count(c.tokens), count(c.trained_tokens)));
        let rows = [spread("tokens a sequence", &c.lengths), spread("trained tokens", &c.trained_lengths)];
        out.0 += &table(paint, &["", "min", "mean", "p50", "p90", "p99", "max"], &rows);
        notes(&mut out, c, paint);
    }
    if let Some(fingerprint) = &report.check.fingerprint {
        out.named(paint, "fingerprint", fingerprint);
    }
    if let Some(profile) = &report.profile {
        tools(&mut out, profile, paint);
    }
    signs(&mut out, &report.check, paint);
    report.shown.iter().for_each(|shown| example(&mut out, shown, paint));
    if let Some(files) = files_written {
        out.named(paint, "report", files.html.display().to_string());
    }
    out.0
}

/// Tools that are shown of a dataset.
const MOST_TOOLS: usize = 30;

fn tools(out: &mut Lines, profile: &Profile, paint: Paint) {
    if profile.near_duplicates > 0 {
        let text = format!("{} nearly repeat an earlier row", rows(profile.near_duplicates));
        out.named(paint, "look at", paint.yellow(&text));
    }
    let line = |t: &ToolUse| {
        let figures = [t.calls, t.calling, t.offered].map(|n| count(n as u64));
        std::iter::once(t.name.clone()).chain(figures).collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = profile.tools.iter().take(MOST_TOOLS).map(line).collect();
    if !lines.is_empty() {
        out.0 += &table(paint, &["tool", "calls", "rows that call it", "rows that offer it"], &lines);
    }
    if !profile.never_called.is_empty() {
        out.named(paint, "look at", paint.yellow(&format!("never called: {}", profile.never_called.join(", "))));
    }
}

fn rows(n: usize) -> String {
    if n == 1 { "1 row".to_owned() } else { format!("{} rows", count(n as u64)) }
}

fn files(out: &mut Lines, report: &DataReport, paint: Paint) {
    let check = &report.check;
    for file in &check.files {
        let layout = file.layout.map_or("unknown layout", |l| l.name());
        out.add(format!("{}  {layout} {}", paint.bold(&file.path), paint.dim(&format!("({})", file.layout_reason))));
    }
    let mut text = format!("{}, {} usable", rows(check.rows), count(check.usable_rows as u64));
    if check.bad_rows > 0 {
        text += &paint.red(&format!(", {} bad", count(check.bad_rows as u64)));
    }
    if check.skipped_rows > 0 {
        text += &paint.yellow(&format!(", {} left out", count(check.skipped_rows as u64)));
    }
    out.named(paint, "rows", text);
    let template = match report.template.as_str() {
        "own" => "its own chat template".to_owned(),
        "own+tools" => "its own chat template, with the form of tool calls before it".to_owned(),
        "none" => "no chat template".to_owned(),
        name => format!("chat template {name}"),
    };
    out.named(paint, "model", format!("{}, {template}; at most {} tokens", report.model, count(report.max_seq_length as u64)));
    if check.parts.len() > 1 || check.parts.iter().any(|p| p.left_out + p.extra + p.cut > 0) {
        parts(out, check, paint);
    }
    if !check.unread.is_empty() {
        let list: Vec<String> = check.unread.iter().map(|u| format!("{} ({})", u.name, rows(u.rows))).collect();
        out.named(paint, "not read", paint.yellow(&list.join(", ")));
    }
    report.notes.iter().for_each(|note| out.named(paint, "note", paint.yellow(note)));
}

/// What became of the rows: the figures of a line add up.
fn parts(out: &mut Lines, check: &CheckReport, paint: Paint) {
    let line = |p: &PartCounts| {
        let figures = [p.rows, p.left_out, p.used_rows, p.extra, p.sequences, p.cut].map(|n| count(n as u64));
        std::iter::once(p.name.to_owned()).chain(figures).collect()
    };
    let lines: Vec<Vec<String>> = check.parts.iter().map(line).collect();
    out.0 += &table(paint, &["", "rows", "left out", "used", "extra", "sequences", "of them cut"], &lines);
}

fn lengths(out: &mut Lines, counts: &Counts, paint: Paint) {
    let l = &counts.lengths;
    out.named(paint, "lengths", format!("{} to {} tokens, half at most {}, 99 % at most {}", l.min, l.max, l.p50, l.p99));
}

fn notes(out: &mut Lines, c: &Counts, paint: Paint) {
    let cut = format!("sequences were cut to max_seq_length ({} tokens lost)", count(c.cut_tokens));
    let all: [(u64, &str); 12] = [
        (c.truncated as u64, &cut),
        (c.dropped_overlong as u64, "sequences are longer than max_seq_length and are left out"),
        (c.truncated_away as u64, "sequences have no answer within max_seq_length and are left out"),
        (c.unended_turns, "trained turns have no end-of-turn token: the model would not learn to stop"),
        (c.unknown_tokens, "tokens are not in the vocabulary"),
        (c.straddling_tokens, "tokens stand for trained and for untrained text at once and are not trained"),
        (c.opened_turns, "answers lack what the prompt opens them with (such as <think>): the model will be asked for it"),
        (c.restated_turns, "answers are trained behind their own prompt: the template writes it differently once it is answered"),
        (c.changed_answers, "answers are not written as they stand in the rows: the template takes a part out"),
        (c.tools_ignored as u64, "rows have tools that the template leaves out"),
        (c.calls_in_text, "tool replies answer calls that stand in the text; they are trained as text"),
        (c.trailing_messages, "messages after the last answer are left out"),
    ];
    for (n, what) in all.into_iter().filter(|(n, _)| *n > 0) {
        out.named(paint, "note", paint.yellow(&format!("{} {what}", count(n))));
    }
}

fn problems(out: &mut Lines, check: &CheckReport, paint: Paint) {
    for p in check.problems.iter().take(LISTED) {
        let code = if p.skipped { paint.yellow(p.code) } else { paint.red(p.code) };
        out.add(format!("  {}  {code}  {}", p.at, p.message));
    }
    if check.problems.len() > LISTED {
        out.add(format!("  and {} more (--json lists all)", count((check.problems.len() - LISTED) as u64)));
    }
}

fn signs(out: &mut Lines, check: &CheckReport, paint: Paint) {
    let s = &check.signs;
    let all = [
        (&s.duplicates, "repeat an earlier row"),
        (&s.conflicting, "answer an earlier question differently"),
        (&s.very_short, "have an answer of one character"),
        (&s.echoes, "answer with the question"),
        (&s.repetitive, "repeat themselves"),
        (&s.broken_characters, "hold U+FFFD, left by a wrong decoding"),
        (&s.control_characters, "hold control characters"),
        (&s.unknown_tools, "call a tool that they do not define"),
    ];
    for (sign, what) in all.into_iter().filter(|(sign, _)| sign.rows > 0) {
        let first: Vec<String> = sign.first.iter().take(3).map(ToString::to_string).collect();
        out.named(paint, "look at", paint.yellow(&format!("{} {what}: {}", rows(sign.rows), first.join(", "))));
    }
}

/// An example with what the loss covers marked: by colour, or by brackets where there is none.
fn example(out: &mut Lines, shown: &Shown, paint: Paint) {
    out.add("");
    let legend = if paint.is_on() { "trained text is green" } else { "trained text stands in ⟦ ⟧" };
    out.add(format!("{}  {} tokens, {} trained; {legend}", paint.bold(&shown.at), shown.tokens, shown.trained_tokens));
    let text: String = shown
        .segments
        .iter()
        .map(|s| match (s.trained, paint.is_on()) {
            (true, true) => s.text.split('\n').map(|line| paint.green(line)).collect::<Vec<_>>().join("\n"),
            (true, false) => format!("⟦{}⟧", s.text),
            (false, _) => s.text.split('\n').map(|line| paint.dim(line)).collect::<Vec<_>>().join("\n"),
        })
        .collect();
    text.trim_end().split('\n').for_each(|line| out.add(format!("  {line}")));
    out.add("");
}
