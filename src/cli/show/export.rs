//! What was exported.

use super::super::style::{Paint, bytes, count, duration};
use super::Lines;
use crate::app::export::ExportReport;
use crate::export::ollama::serve::Created;
use crate::export::upload::Uploaded;

/// `tallow export`.
pub fn exported(r: &ExportReport, paint: Paint) -> String {
    let mut out = Lines::default();
    let types: Vec<String> = r.types.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let types = if types.is_empty() { String::new() } else { format!(" ({})", types.join(", ")) };
    out.named(paint, r.format, format!("{}  {}", r.out.display(), r.kind));
    out.named(paint, "tensors", format!("{}{types}, {}, in {}", r.tensors, bytes(r.bytes), duration(r.seconds)));
    if let Some(c) = &r.calibration {
        let rows = format!("{} rows, {} tokens of {}", count(c.rows as u64), count(c.tokens as u64), c.data);
        out.named(paint, "importance", rows);
    }
    let p = &r.proof;
    let (kl, usual, logit) = (figure(p.mean_kl), figure(p.bounds.usual_kl), figure(p.max_abs));
    let figures = format!("mean KL {kl} (usually below {usual}), largest logit difference {logit}");
    let same = format!("same likeliest token at {:.1} % of {} positions", 100.0 * p.same_top, count(p.tokens as u64));
    out.named(paint, "proved", format!("{figures}, {same}"));
    for note in &r.notes {
        out.named(paint, "note", note);
    }
    if let Some(u) = &r.uploaded {
        out.0 += &uploaded(u, paint);
    }
    out.0
}

/// Three digits; very small numbers with their power of ten.
fn figure(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        v if v < 1e-3 => format!("{v:.2e}"),
        v if v < 10.0 => format!("{v:.3}"),
        v => format!("{v:.1}"),
    }
}

/// `tallow upload PATH ollama:NAME`.
pub fn served(c: &Created, paint: Paint) -> String {
    let mut out = Lines::default();
    let pushed = if c.pushed { "  pushed to the registry" } else { "" };
    out.named(paint, "created", format!("{}  at {}, {} sent{pushed}", c.model, c.server, bytes(c.sent_bytes)));
    out.named(paint, "run it", format!("ollama run {}", c.model));
    out.0
}

/// `tallow upload`.
pub fn uploaded(u: &Uploaded, paint: Paint) -> String {
    let mut out = Lines::default();
    let who = if u.private { "private" } else { "public" };
    out.named(paint, "uploaded", format!("{}  {who}", u.url));
    let commit = &u.commit[..u.commit.len().min(12)];
    out.named(paint, "commit", format!("{commit}  {} files, {} sent to the store", u.files, bytes(u.sent_bytes)));
    out.0
}
