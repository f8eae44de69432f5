//! A project's models.

use std::path::Path;

use super::super::style::{Paint, bytes};
use super::{Lines, table};
use crate::app::compare::Figure;
use crate::app::versions::{VersionReport, VersionsCompared, VersionsReport};
use crate::runs::{Kind, Listed, State, Version};

fn number(v: Option<f64>) -> String {
    v.map_or_else(|| "-".into(), |v| format!("{v:.4}"))
}

fn state(l: &Listed) -> String {
    match (l.state, l.promoted) {
        (State::There, true) => "promoted".into(),
        (State::There, false) => String::new(),
        (State::Gone, p) => format!("{}gone", if p { "promoted, " } else { "" }),
        (State::Changed, p) => format!("{}changed since", if p { "promoted, " } else { "" }),
    }
}

/// How far an export's file is from the live model.
fn export(v: &Version) -> String {
    match (v.kl, v.same_top) {
        (Some(kl), Some(same)) => format!("{kl:.1e}, {:.1} %", 100.0 * same),
        _ => "-".into(),
    }
}

/// `tallow models list`.
pub fn versions(r: &VersionsReport, project: &Path, paint: Paint) -> String {
    if r.versions.is_empty() {
        return format!("no finished run under {} yet", project.display());
    }
    let row = |l: &Listed| {
        let v = &l.version;
        vec![
            v.id.clone(),
            v.format.clone(),
            v.run_id.clone(),
            bytes(v.bytes),
            number(v.best_loss),
            number(v.test_loss),
            export(v),
            state(l),
        ]
    };
    let head = ["version", "form", "run", "size", "validation loss", "test loss", "KL, same token", ""];
    table(paint, &head, &r.versions.iter().map(row).collect::<Vec<_>>())
}

/// `tallow models show`.
pub fn version(r: &VersionReport, paint: Paint) -> String {
    let mut out = Lines::default();
    let v = &r.listed.version;
    out.named(paint, "version", format!("{}  {} {}", v.id, v.format, paint.green(&state(&r.listed))));
    out.named(paint, "files", format!("{}  {}", r.files.display(), bytes(v.bytes)));
    out.named(paint, "run", format!("{}  {}", v.run_id, v.created_at));
    let losses = format!("test {} (base {}), validation {}", number(v.test_loss), number(v.base_test_loss), number(v.best_loss));
    if v.kind == Kind::Export {
        out.named(paint, "proof", format!("mean KL and share of same likeliest tokens: {}", export(v)));
    } else {
        out.named(paint, "loss", losses);
    }
    if let Some(model) = &r.model {
        let adapter = r.adapter.as_ref().map(|a| format!(" --adapter {}", a.display())).unwrap_or_default();
        out.named(paint, "use", paint.bold(&format!("tallow generate --model {model}{adapter} --prompt ...")));
    }
    out.0
}

/// `tallow models compare`.
pub fn versions_compared(r: &VersionsCompared, paint: Paint) -> String {
    let head = ["", r.first.version.id.as_str(), r.second.version.id.as_str()];
    let pair = |name: &str, of: &dyn Fn(&Version) -> String| vec![name.to_owned(), of(&r.first.version), of(&r.second.version)];
    let mut rows = vec![
        pair("form", &|v| v.format.clone()),
        pair("run", &|v| v.run_id.clone()),
        pair("size", &|v| bytes(v.bytes)),
        pair("validation loss of the run", &|v| number(v.best_loss)),
        pair("test loss of the run", &|v| number(v.test_loss)),
    ];
    rows.extend(r.settings.iter().map(|d| vec![d.key.clone(), d.first.to_string(), d.second.to_string()]));
    let mut out = Lines(table(paint, &head, &rows));
    if let Some(m) = &r.measured {
        out.add(format!("\nmeasured on {} rows (95 % intervals)", m.rows));
        let figure = |f: &Figure| format!("{:.4} ({:.4} to {:.4})", f.value, f.low, f.high);
        let rows: Vec<Vec<String>> =
            m.metrics.iter().map(|x| vec![x.name.to_owned(), figure(&x.first), figure(&x.second), figure(&x.difference)]).collect();
        out.0 += &table(paint, &["", head[1], head[2], "difference"], &rows);
    }
    out.0
}

/// `tallow models promote` and `rollback`.
pub fn promoted(v: Option<&Version>, paint: Paint) -> String {
    let mut out = Lines::default();
    match v {
        Some(v) => out.named(paint, "promoted", format!("{}  {} of {}", v.id, v.format, v.run_id)),
        None => out.named(paint, "promoted", "none: nothing had been promoted before"),
    }
    out.0
}
