//! Two tokenizers compared on texts, as a report and as a picture.

mod draw;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::load::tokenizer_at;
use super::models;
use crate::base::atomic;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::data::tokenizer_compare::{Comparison, Text, compare, read_texts};

/// What is compared.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// The first tokenizer: a folder, a `tokenizer.json`, a GGUF file, a Hub id or `embedded`.
    pub a: String,
    /// The second.
    pub b: String,
    /// Texts as they are.
    pub texts: Vec<String>,
    /// Files and folders of text.
    pub files: Vec<PathBuf>,
    /// At most so much text of the files is read.
    pub most_bytes: u64,
    /// Draw a picture into this file, .svg.
    pub picture: Option<PathBuf>,
}

/// A comparison.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// Its figures.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Whether some of the files' text was left out.
    pub is_cut: bool,
    /// The picture.
    pub picture: Option<PathBuf>,
}

/// Compares two tokenizers.
///
/// # Errors
/// When a tokenizer or a text cannot be read, there is no text, or the picture cannot be written.
pub fn run(request: &CompareRequest) -> Result<CompareReport, Fault> {
    let is_svg = |p: &Path| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg"));
    if let Some(out) = request.picture.as_deref().filter(|out| !is_svg(out)) {
        return Err(Fault::new("usage", format!("{}: this picture is .svg", out.display())).hint("end its name with .svg"));
    }
    let (a, b) = (tokenizer(&request.a)?, tokenizer(&request.b)?);
    let mut texts: Vec<Text> = request.texts.iter().enumerate().map(|(i, t)| Text::given(i + 1, t)).collect();
    texts.retain(|t| !t.text.is_empty());
    let mut is_cut = false;
    if !request.files.is_empty() {
        let (read, cut) = read_texts(&request.files, request.most_bytes)?;
        texts.extend(read);
        is_cut = cut;
    }
    if texts.is_empty() {
        return Err(Fault::new("data_empty", "there is no text to compare on").hint("give texts, files or folders"));
    }
    let comparison = compare((&request.a, &a), (&request.b, &b), &texts);
    if let Some(out) = &request.picture {
        atomic::write_file(out, draw::svg(&comparison)?.as_bytes())?;
    }
    Ok(CompareReport { comparison, is_cut, picture: request.picture.clone() })
}

/// The tokenizer that a name means. Of a model on the Hub only the small files are brought.
fn tokenizer(name: &str) -> Result<TextTokenizer, Fault> {
    let path = Path::new(name);
    if path.is_file() && !crate::model::gguf::is_gguf(path) {
        return Ok(TextTokenizer::load(path)?);
    }
    tokenizer_at(&models::resolve_without_weights(name, None)?)
}
