//! Exporting a model or an adapter in the forms that other programs read, each with its proof.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use safetensors::Dtype;
use serde::Serialize;

use super::load::{check_ids, stop_ids};
use super::models;
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::export::folder::{SafetensorsOptions, write_peft, write_safetensors};
use crate::export::gguf::{self, Preset};
use crate::export::mlx::{self, Groups};
use crate::export::{Merged, Prompts, Proof, card};
use crate::model::merge::SHARD_BYTES;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A GGUF file of the merged model.
    Gguf(Preset),
    /// A GGUF file of the adapter alone.
    GgufAdapter,
    /// A folder with a GGUF file and a Modelfile.
    Ollama(Preset),
    /// Merged safetensors in Hugging Face's layout; `None` keeps the base's dtype.
    Safetensors(Option<Dtype>),
    /// The adapter in PEFT's form.
    Peft,
    /// The merged model for mlx-lm, in groups where given.
    Mlx(Option<Groups>),
    /// The adapter for mlx-lm.
    MlxAdapter,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf(_) => "gguf",
            Self::GgufAdapter => "gguf-adapter",
            Self::Ollama(_) => "ollama",
            Self::Safetensors(_) => "safetensors",
            Self::Peft => "peft",
            Self::Mlx(_) => "mlx",
            Self::MlxAdapter => "mlx-adapter",
        }
    }
}

/// A request to export.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The base.
    pub model: String,
    /// Its revision on the Hub.
    pub revision: Option<String>,
    /// The adapter; without one the base itself is exported.
    pub adapter: Option<PathBuf>,
    /// What to make.
    pub format: Format,
    /// The file or folder to make. It must not exist.
    pub out: PathBuf,
    /// A text file whose paragraphs are further prompts of the proof.
    pub prompts: Option<PathBuf>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The file or folder.
    pub out: PathBuf,
    /// As it is called on the command line.
    pub format: &'static str,
    /// The type of a GGUF file, of weights, or of groups.
    #[serde(rename = "type")]
    pub kind: String,
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many tensors are stored in which type.
    pub types: BTreeMap<&'static str, usize>,
    /// The comparison with the live model.
    pub proof: Proof,
    /// Where the reading program differs from what the model's config says.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Largest resident size of the process.
    pub peak_rss_bytes: u64,
}

/// Exports. `progress` is told how many elements of how many are written.
///
/// # Errors
/// When the model, adapter or format do not fit each other, the output exists or cannot be written, or the proof fails;
/// then nothing is left of the output.
pub fn run(request: &ExportRequest, progress: &mut dyn FnMut(u64, u64)) -> Result<ExportReport, Fault> {
    let started = Instant::now();
    if request.out.exists() {
        return Err(Fault::new("already_exists", format!("{} exists already", request.out.display()))
            .hint("choose another --out, or remove it first"));
    }
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    let tokenizer = super::load::tokenizer_at(&folder)?;
    let merged = Merged::open(&folder, request.adapter.as_deref())?;
    check_ids(&tokenizer, merged.spec().vocab_size)?;
    let prompts = prompts(request, &tokenizer, &merged)?;
    let mut report = ExportReport {
        out: request.out.clone(),
        format: request.format.name(),
        kind: "f32".into(),
        tensors: 0,
        bytes: 0,
        types: BTreeMap::new(),
        proof: Proof::default(),
        notes: Vec::new(),
        seconds: 0.0,
        peak_rss_bytes: 0,
    };
    match request.format {
        Format::Gguf(preset) => {
            let r = gguf::write_model(&merged, &tokenizer, &prompts, preset, &request.out, progress)?;
            report.kind = preset.name().into();
            (report.tensors, report.bytes, report.types, report.proof, report.notes) = (r.tensors, r.bytes, r.types, r.proof, r.notes);
        }
        Format::GgufAdapter => {
            let r = gguf::write_adapter(&merged, &prompts, &request.out)?;
            (report.tensors, report.bytes, report.proof) = (r.tensors, r.bytes, r.proof);
        }
        Format::Ollama(preset) => {
            let dir = AtomicDir::new(&request.out)?;
            let r = gguf::write_model(&merged, &tokenizer, &prompts, preset, &dir.path().join("model.gguf"), progress)?;
            let ends = stop_ids(&tokenizer, &folder);
            let stops: Vec<String> = ends.iter().filter_map(|id| tokenizer.inner().id_to_token(*id)).collect();
            let template = tokenizer.chat_template().map(|t| t.source());
            let text = card::modelfile("model.gguf", template, &stops, merged.spec().max_positions);
            write_file(&dir.path().join("Modelfile"), text.as_bytes())?;
            dir.commit()?;
            report.kind = preset.name().into();
            (report.tensors, report.bytes, report.types, report.proof, report.notes) = (r.tensors, r.bytes, r.types, r.proof, r.notes);
        }
        Format::Safetensors(dtype) => {
            let options = SafetensorsOptions { dtype, max_shard_bytes: SHARD_BYTES };
            let r = write_safetensors(&merged, &folder, &prompts, &options, &request.out, progress)?;
            report.kind = dtype.map_or_else(|| "as the base".into(), |d| format!("{d:?}").to_lowercase());
            (report.tensors, report.bytes, report.proof) = (r.tensors, r.bytes, r.proof);
        }
        Format::Peft => {
            let adapter = request
                .adapter
                .as_deref()
                .ok_or_else(|| Fault::new("export_no_adapter", "there is no adapter to export").hint("give --adapter DIR"))?;
            let r = write_peft(&merged, &folder, adapter, &prompts, &request.out)?;
            (report.tensors, report.bytes, report.proof) = (r.tensors, r.bytes, r.proof);
        }
        Format::Mlx(groups) => {
            let r = mlx::write_model(&merged, &folder, &prompts, groups, &request.out, progress)?;
            report.kind = groups.map_or_else(|| "as the base".into(), |g| format!("q{} in groups of {}", g.bits, g.group));
            (report.tensors, report.bytes, report.proof) = (r.tensors, r.bytes, r.proof);
        }
        Format::MlxAdapter => {
            let r = mlx::write_adapter(&merged, &folder, &prompts, &request.out)?;
            (report.tensors, report.bytes, report.proof) = (r.tensors, r.bytes, r.proof);
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.peak_rss_bytes = tallow_kernels::alloc::peak_rss_bytes();
    Ok(report)
}

/// Prompts no longer than the smallest window: beyond it some readers attend to more than the model does.
fn prompts(request: &ExportRequest, tokenizer: &TextTokenizer, merged: &Merged) -> Result<Prompts, Fault> {
    let more = match &request.prompts {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
            text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        }
    };
    let spec = merged.spec();
    let longest = spec.windows.iter().flatten().copied().min().unwrap_or(usize::MAX).min(spec.max_positions);
    Prompts::new(tokenizer, &more, longest)
}
