//! Exporting a model or an adapter in the forms that other programs read, each with its proof.

mod calibrate;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use safetensors::Dtype;
use serde::Serialize;

use super::load::{check_ids, stop_ids};
use super::models;
use super::upload::{self, Target, UploadRequest};
use crate::base::atomic::{self, AtomicDir, write_file};
use crate::base::error::Fault;
use crate::data::{DataOptions, TextTokenizer};
use crate::export::folder::{FolderReport, SafetensorsOptions, write_peft, write_safetensors};
use crate::export::gguf::{self, AdapterType, Preset};
use crate::export::mlx::{self, Wish};
use crate::export::ollama::{self, Modelfile, Translation};
use crate::export::packed::{self, Scheme};
use crate::export::side_files::Base;
use crate::export::upload::Uploaded;
use crate::export::{Calibration, Importance, Merged, Prompts, Proof, bnb, card};
use crate::model::Unknown;
use crate::model::merge::SHARD_BYTES;
use crate::runs::RunFolder;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A GGUF file of the merged model.
    Gguf(Preset),
    /// A GGUF file of the adapter alone.
    GgufAdapter(AdapterType),
    /// A folder with a GGUF file and a Modelfile.
    Ollama(Preset),
    /// A folder with a GGUF file of the base, one of the adapter, and a Modelfile that puts them together.
    OllamaAdapter(Preset),
    /// Merged safetensors in Hugging Face's layout; `None` keeps the base's dtype.
    Safetensors(Option<Dtype>),
    /// The adapter in PEFT's form.
    Peft,
    /// The merged model for mlx-lm, in groups where given.
    Mlx(Option<Wish>),
    /// The adapter for mlx-lm.
    MlxAdapter,
    /// The merged model in bitsandbytes' NF4.
    Bnb4,
    /// The merged model in 8-bit floats or whole numbers, for vLLM and transformers.
    Packed(Scheme),
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf(_) => "gguf",
            Self::GgufAdapter(_) => "gguf-adapter",
            Self::Ollama(_) => "ollama",
            Self::OllamaAdapter(_) => "ollama-adapter",
            Self::Safetensors(_) => "safetensors",
            Self::Peft => "peft",
            Self::Mlx(_) => "mlx",
            Self::MlxAdapter => "mlx-adapter",
            Self::Bnb4 => "bnb-4bit",
            Self::Packed(Scheme::Fp8 | Scheme::W4A16) => "vllm",
            Self::Packed(Scheme::Gptq) => "gptq",
            Self::Packed(Scheme::Awq) => "awq",
            Self::Packed(Scheme::Int8) => "bnb-8bit",
        }
    }
}

impl Format {
    /// The library that loads it, as model cards name it.
    fn library(self) -> &'static str {
        match self {
            Self::Gguf(_) | Self::GgufAdapter(_) | Self::Ollama(_) | Self::OllamaAdapter(_) => "gguf",
            Self::Safetensors(_) | Self::Bnb4 | Self::Packed(_) => "transformers",
            Self::Peft => "peft",
            Self::Mlx(_) | Self::MlxAdapter => "mlx",
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
    /// What is done with an architecture that is not known by name.
    pub unknown: Unknown,
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
    /// What the importance matrix was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The comparison with the live model.
    pub proof: Proof,
    /// Where the reading program differs from what the model's config says.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Largest resident size of the process.
    pub peak_rss_bytes: u64,
    /// Where it was uploaded to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<Uploaded>,
    /// The model card, for a repository that holds a file alone.
    #[serde(skip)]
    pub card: String,
}

/// Uploads what was exported. `told` hears the bytes that are there of how many, and the file.
///
/// # Errors
/// When the Hub cannot be reached or refuses; the export itself stands.
pub fn publish(report: &mut ExportReport, target: &Target, told: &mut dyn FnMut(u64, u64, &str)) -> Result<(), Fault> {
    let request = UploadRequest { path: report.out.clone(), target: target.clone(), card: Some(report.card.clone()) };
    let uploaded = upload::run(&request, told).map_err(|fault| {
        let at = report.out.display();
        let message = format!("{at} is exported and proved, but not uploaded: {}", fault.message);
        let again = format!("`tallow upload {at} {}` tries again", target.repo);
        let hint = fault.hint.map_or(again.clone(), |h| format!("{h}; {again}"));
        Fault::new(fault.code, message).hint(hint)
    })?;
    report.uploaded = Some(uploaded);
    Ok(())
}

/// What goes with an export beside the model.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Rows that say which columns matter, for GGUF types of few bits.
    pub calibration: Option<Rows>,
    /// Where the importance matrix is written to, for llama.cpp.
    pub save_imatrix: Option<PathBuf>,
    /// Makes a folder of GGUF files that hold at most so many bytes of tensors each.
    pub part_bytes: Option<u64>,
    /// The run that the model comes from: its data and figures go into the model card, the export into its manifest.
    pub run: Option<RunFolder>,
}

/// Rows for the importance matrix.
#[derive(Debug, Clone)]
pub enum Rows {
    /// A file, and how it is read.
    File(PathBuf, Box<DataOptions>),
    /// What the run was trained on.
    OfRun,
}

/// Exports. `progress` is told how many elements of how many are written.
///
/// # Errors
/// When the model, adapter or format do not fit each other, the output exists or cannot be written, or the proof fails;
/// then nothing is left of the output.
pub fn run(request: &ExportRequest, progress: &mut dyn FnMut(u64, u64)) -> Result<ExportReport, Fault> {
    run_with(request, &Extras::default(), progress)
}

/// The same, with calibration rows and the run that the model comes from.
///
/// # Errors
/// As [`run`]; also when the rows or the run cannot be read, or the format has no use for the rows.
pub fn run_with(request: &ExportRequest, extras: &Extras, progress: &mut dyn FnMut(u64, u64)) -> Result<ExportReport, Fault> {
    let started = Instant::now();
    if request.out.exists() {
        return Err(Fault::new("already_exists", format!("{} exists already", request.out.display()))
            .hint("choose another --out, or remove it first"));
    }
    refuse_inside_sources(request, extras)?;
    check_parts(request, extras.part_bytes)?;
    let swept = atomic::sweep_abandoned(&request.out);
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    let tokenizer = super::load::tokenizer_for(&folder, request.adapter.as_deref())?;
    let mut merged = Merged::open_as(&folder, request.adapter.as_deref(), request.unknown)?;
    check_ids(&tokenizer, merged.spec().vocab_size)?;
    if let Some(run) = &extras.run {
        merged.set_training(origin::training_of(run)?);
    }
    let prompts = prompts(request, &tokenizer, &merged)?;
    let importance = calibrate::importance(request.format, extras, &merged, &tokenizer)?;
    if let (Some(path), Some(i)) = (&extras.save_imatrix, &importance) {
        if path.exists() {
            return Err(Fault::new("already_exists", format!("{} exists already", path.display())).hint("choose another file for it"));
        }
        gguf::imatrix::write(i, merged.spec(), path)?;
    }
    let how = How { importance: importance.as_ref(), part_bytes: extras.part_bytes };
    let mut report = write(request, &folder, &merged, &tokenizer, &prompts, how, progress)?;
    report.calibration = importance.map(|i| i.source);
    let weak = report.proof.warnings.iter().map(|w| format!("weak: {w}"));
    report.notes.splice(0..0, weak);
    report.card = card::model_card(&merged, &folder, request.format.library(), &report.kind, &report.proof);
    let by_name = matches!(request.format, Format::Gguf(_) | Format::GgufAdapter(_));
    if by_name && extras.part_bytes.is_none() && !request.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
        report.notes.push("programs, Tallow among them, know a GGUF file by its name: rename it to end in .gguf".into());
    }
    report.notes.extend(merged.spec().remarks.iter().cloned());
    if swept > 0 {
        report.notes.push(format!("removed {swept} half-made files or folders of an export that was killed"));
    }
    if let Some(run) = &extras.run {
        // The export stands whether or not its run can be told of it.
        if let Err(fault) = origin::record(run, &report) {
            report.notes.push(format!("the run's manifest does not know of this export: {}", fault.message));
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.peak_rss_bytes = tallow_kernels::alloc::peak_rss_bytes();
    Ok(report)
}

/// An export never lies inside what it is made from: a run's result is its content, and the export would be part of it.
fn refuse_inside_sources(request: &ExportRequest, extras: &Extras) -> Result<(), Fault> {
    let run = extras.run.iter().map(RunFolder::path);
    let parts = run.flat_map(|run| ["final-model", "stage1", "stage2"].map(|part| run.join(part)));
    let sources = parts.chain(request.adapter.clone()).chain([PathBuf::from(&request.model)]);
    let ancestors = request.out.ancestors().skip(1).map(|a| if a.as_os_str().is_empty() { Path::new(".") } else { a });
    let Some(parent) = ancestors.filter_map(|a| a.canonicalize().ok()).next() else { return Ok(()) };
    for source in sources.filter(|s| s.is_dir()).filter_map(|s| s.canonicalize().ok()) {
        if parent.starts_with(&source) {
            let message = format!("{} lies inside {}, which it is made from", request.out.display(), source.display());
            return Err(Fault::new("inside_source", message).hint("choose a path outside of it, for example exports/ in the project"));
        }
    }
    Ok(())
}

/// Parts are of GGUF files, and the folder that holds them is none.
fn check_parts(request: &ExportRequest, part_bytes: Option<u64>) -> Result<(), Fault> {
    if part_bytes.is_none() {
        return Ok(());
    }
    if !matches!(request.format, Format::Gguf(_)) {
        let message = format!("{} is not split into parts, only gguf is", request.format.name());
        return Err(Fault::new("usage", message).hint("leave the size of parts out, or choose gguf"));
    }
    if request.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
        return Err(Fault::new("usage", "a split model is a folder of GGUF files")
            .hint(format!("give a folder's name: {}", request.out.with_extension("").display())));
    }
    Ok(())
}

/// How tensors are rounded, and where files are cut.
#[derive(Clone, Copy)]
struct How<'a> {
    importance: Option<&'a Importance>,
    part_bytes: Option<u64>,
}

fn write(
    request: &ExportRequest,
    folder: &Path,
    merged: &Merged,
    tokenizer: &TextTokenizer,
    prompts: &Prompts,
    how: How,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ExportReport, Fault> {
    let out = request.out.as_path();
    let importance = how.importance;
    let by_preset = |preset| gguf::Settings { preset, importance };
    let base = Base { path: folder, texts: tokenizer };
    Ok(match request.format {
        Format::Gguf(preset) => {
            let settings = by_preset(preset);
            let r = match how.part_bytes {
                None => gguf::write_model(merged, base, prompts, settings, out, progress)?,
                Some(most) => gguf::write_parts(merged, base, prompts, settings, (out, most), progress)?,
            };
            report(request, preset.name(), (r.tensors, r.bytes, r.proof), r.types, r.notes)
        }
        Format::Ollama(preset) => {
            let dir = AtomicDir::new(out)?;
            let mut r = gguf::write_model(merged, base, prompts, by_preset(preset), &dir.path().join("model.gguf"), progress)?;
            r.notes.extend(ollama_side(merged, base, &dir, ("gguf", preset.name()), &r.proof, None)?);
            dir.commit()?;
            report(request, preset.name(), (r.tensors, r.bytes, r.proof), r.types, r.notes)
        }
        Format::OllamaAdapter(preset) => {
            let dir = AtomicDir::new(out)?;
            let plain = Merged::open_as(folder, None, request.unknown)?;
            let mut r = gguf::write_model(&plain, base, prompts, by_preset(preset), &dir.path().join("model.gguf"), progress)?;
            let a = gguf::write_adapter(merged, base, prompts, AdapterType::F16, &dir.path().join("adapter.gguf"))?;
            r.notes.extend(a.notes);
            r.notes.extend(ollama_side(merged, base, &dir, ("gguf", preset.name()), &a.proof, Some("adapter.gguf"))?);
            dir.commit()?;
            // The base is what is rounded more coarsely: its figures are those of the whole.
            report(request, preset.name(), (r.tensors + a.tensors, r.bytes + a.bytes, r.proof), r.types, r.notes)
        }
        Format::GgufAdapter(kind) => {
            let r = gguf::write_adapter(merged, base, prompts, kind, out)?;
            report(request, kind.name(), (r.tensors, r.bytes, r.proof), BTreeMap::new(), r.notes)
        }
        Format::Safetensors(dtype) => {
            let options = SafetensorsOptions { dtype, max_shard_bytes: SHARD_BYTES };
            let kind = dtype.map_or_else(|| "as the base".into(), |d| format!("{d:?}").to_lowercase());
            of_folder(request, &kind, write_safetensors(merged, base, prompts, &options, out, progress)?)
        }
        Format::Peft => {
            let none = || Fault::new("export_no_adapter", "there is no adapter to export").hint("give --adapter DIR");
            let adapter = request.adapter.as_deref().ok_or_else(none)?;
            of_folder(request, "f32", write_peft(merged, folder, adapter, prompts, out)?)
        }
        Format::Mlx(wish) => {
            let kind = match wish {
                None => "as the base".to_owned(),
                Some(w) => mlx::Grouping::of(w, merged.spec())?.name(),
            };
            of_folder(request, &kind, mlx::write_model(merged, base, prompts, wish, out, progress)?)
        }
        Format::MlxAdapter => of_folder(request, "f32", mlx::write_adapter(merged, folder, prompts, out)?),
        Format::Packed(scheme) => {
            let wish = (scheme, importance);
            of_folder(request, scheme.name(), packed::write_model(merged, base, prompts, wish, out, progress)?)
        }
        Format::Bnb4 => of_folder(request, "nf4", bnb::write_model(merged, base, prompts, out, progress)?),
    })
}

/// Modelfile and card; what the Modelfile could not express.
fn ollama_side(
    merged: &Merged,
    base: Base,
    dir: &AtomicDir,
    (library, kind): (&str, &str),
    proof: &Proof,
    adapter: Option<&str>,
) -> Result<Vec<String>, Fault> {
    let mut ends = stop_ids(base.texts, base.path);
    ends.extend(base.texts.turn_end());
    ends.sort_unstable();
    ends.dedup();
    let mut stops: Vec<String> = ends.iter().filter_map(|id| base.texts.inner().id_to_token(*id)).collect();
    // A turn that the vocabulary ends with several tokens: Ollama stops at the text of it.
    stops.extend(base.texts.turn_end_text());
    let start = gguf::added_start(base.texts)?;
    let chat = base.texts.chat_template().map(|t| ollama::translate(t, start.as_deref()));
    let context = merged.spec().max_positions;
    let text = ollama::modelfile(&Modelfile { model: "model.gguf", adapter, chat: chat.as_ref(), stops: &stops, context });
    write_file(&dir.path().join("Modelfile"), text.as_bytes())?;
    let text = card::model_card(merged, base.path, library, kind, proof);
    write_file(&dir.path().join("README.md"), text.as_bytes())?;
    let compared = |c: &Translation| {
        let text = format!("the Modelfile's TEMPLATE gives the chat template's prompts on {} conversations", c.compared);
        c.template.is_some().then_some(text)
    };
    Ok(chat.map(|c| compared(&c).into_iter().chain(c.notes.clone()).collect()).unwrap_or_default())
}

fn of_folder(request: &ExportRequest, kind: &str, r: FolderReport) -> ExportReport {
    report(request, kind, (r.tensors, r.bytes, r.proof), BTreeMap::new(), r.notes)
}

fn report(
    request: &ExportRequest,
    kind: &str,
    (tensors, bytes, proof): (usize, u64, Proof),
    types: BTreeMap<&'static str, usize>,
    notes: Vec<String>,
) -> ExportReport {
    ExportReport {
        out: request.out.clone(),
        format: request.format.name(),
        kind: kind.into(),
        tensors,
        bytes,
        types,
        calibration: None,
        proof,
        notes,
        seconds: 0.0,
        peak_rss_bytes: 0,
        uploaded: None,
        card: String::new(),
    }
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
    let longest = spec.shortest_window().unwrap_or(usize::MAX).min(spec.max_positions);
    Prompts::new(tokenizer, &more, longest)
}
