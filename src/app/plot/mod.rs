//! Pictures of runs: their whole curves, in panels.
//!
//! ```text
//!   metrics.jsonl ─> Curves (by stage) ─> panels of lines ─> SVG or PNG
//! ```

mod curves;
mod draw;
mod panels;
mod search;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use curves::{Curves, Figure, Point, smoothed, thinned};
pub use draw::{Header, SIZE, png, svg};
pub(in crate::app) use draw::{failed, with_font};
pub use panels::{COLOURS, Line, Look, Panel, Rgb, Stroke, panels};
pub use search::SearchPicture;

use crate::base::atomic;
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    header: Header,
    panels: Vec<Panel>,
}

/// A picture that was written.
#[derive(Debug, Clone, Serialize)]
pub struct PlotReport {
    /// The file.
    pub path: PathBuf,
    /// Its runs.
    pub runs: Vec<String>,
    /// Width and height.
    pub pixels: (u32, u32),
    /// Its size on disk.
    pub bytes: u64,
}

impl Picture {
    /// One run (a colour for each stage) or several, laid over one another (a colour for each run).
    pub fn of(runs: &[(String, Curves)], look: Look) -> Self {
        let curves: Vec<&Curves> = runs.iter().map(|(_, c)| c).collect();
        let colour = |i: usize| COLOURS[i % COLOURS.len()];
        let (title, legend) = match runs {
            [(id, only)] => {
                let stages = only.stages().map(|n| (format!("stage {n}"), colour(n.saturating_sub(1))));
                (id.clone(), stages.collect())
            }
            all => {
                let names = all.iter().enumerate().map(|(i, (id, _))| (id.clone(), colour(i)));
                (format!("{} runs", all.len()), names.collect())
            }
        };
        let boundaries = panels::boundaries(&curves);
        Self { header: Header { title, legend, boundaries }, panels: panels(&curves, look) }
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, Fault> {
        png(&self.header, &self.panels)
    }

    /// As an SVG document.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String, Fault> {
        svg(&self.header, &self.panels)
    }
}

/// Draws runs into a file; its name says which format: `.svg` or `.png`.
///
/// # Errors
/// For another ending, a run that has made no step, and when a file cannot be read or written.
pub fn run(folders: &[RunFolder], out: &Path, look: Look) -> Result<PlotReport, Fault> {
    let ending = out.extension().map(|e| e.to_ascii_lowercase());
    let is_png = match ending.as_ref().and_then(|e| e.to_str()) {
        Some("png") => true,
        Some("svg") => false,
        _ => {
            return Err(Fault::new("usage", format!("{}: a picture is .svg or .png", out.display())).hint("end its name with one of them"));
        }
    };
    if !(0.0..1.0).contains(&look.smoothing) {
        return Err(Fault::new("usage", format!("a smoothing of {} is not in 0 to below 1", look.smoothing)).hint("0 shows every step"));
    }
    let read = |folder: &RunFolder| {
        let curves = Curves::read(folder.path())?;
        if curves.is_empty() {
            return Err(Fault::new("no_steps", format!("{}: no step has been made yet", folder.id())));
        }
        Ok((folder.id(), curves))
    };
    let all = folders.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    let picture = Picture::of(&all, look);
    let bytes = if is_png { picture.png()? } else { picture.svg()?.into_bytes() };
    atomic::write_file(out, &bytes)?;
    let runs = all.into_iter().map(|(id, _)| id).collect();
    Ok(PlotReport { path: out.to_path_buf(), runs, pixels: SIZE, bytes: bytes.len() as u64 })
}
