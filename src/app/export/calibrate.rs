//! Calibration rows: through the live model, for the importance matrix.

use super::super::prepare;
use super::{Extras, Format, Rows};
use crate::base::error::Fault;
use crate::data::{Dataset, PackedBatch, TextTokenizer, read};
use crate::export::gguf::{Preset, imatrix};
use crate::export::{Calibration, Importance, Merged};
use crate::model::Packed;
use crate::runs::Manifest;

/// Enough for means that no longer move; more costs time and changes nothing.
const TOKENS: usize = 16_384;
/// Tokens that run together: bounds the activations that are held.
const TOKENS_PER_PASS: usize = 2048;

/// The importance matrix that was asked for.
///
/// # Errors
/// When the rows cannot be read, or the format stores whole numbers of no group.
pub(super) fn importance(format: Format, extras: &Extras, merged: &Merged, tokenizer: &TextTokenizer) -> Result<Option<Importance>, Fault> {
    let Some(rows) = &extras.calibration else { return Ok(None) };
    let quantised = |p: Preset| !matches!(p, Preset::F32 | Preset::F16 | Preset::Bf16 | Preset::Q8_0);
    let weighs = match format {
        Format::Gguf(p) | Format::Ollama(p) | Format::OllamaAdapter(p) => quantised(p),
        Format::Packed(scheme) => scheme.has_groups(),
        _ => false,
    };
    if !weighs {
        return Err(Fault::new("usage", format!("an importance matrix does nothing for {} of this type", format.name()))
            .hint("leave --imatrix out, or choose a GGUF type of fewer bits, such as q4_k_m"));
    }
    if let Rows::File(path, _) = rows
        && imatrix::is_imatrix(path)
    {
        return imatrix::read(path, merged.spec()).map(Some);
    }
    let (data, dataset) = match rows {
        Rows::File(path, options) => (path.display().to_string(), Dataset::encode(&read(&[path], options)?, tokenizer, options)?),
        Rows::OfRun => of_run(extras, tokenizer)?,
    };
    let longest = merged.spec().max_positions;
    let mut passes: Vec<PackedBatch> = Vec::new();
    let (mut rows, mut tokens) = (0, 0);
    for example in dataset.examples.iter().filter(|e| !e.is_empty()) {
        let ids = &example.input_ids[..example.len().min(longest)];
        if passes.last().is_none_or(|p| p.tokens() + ids.len() > TOKENS_PER_PASS) {
            passes.push(PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() });
        }
        if let Some(pass) = passes.last_mut() {
            pass.input_ids.extend_from_slice(ids);
            pass.cu_seqlens.push(pass.input_ids.len() as u32);
        }
        (rows, tokens) = (rows + 1, tokens + ids.len());
        if tokens >= TOKENS {
            break;
        }
    }
    if rows == 0 {
        return Err(Fault::new("data_empty", format!("{data}: there is no row to calibrate with")));
    }
    let packed: Vec<Packed> = passes.iter().map(|p| Packed { ids: &p.input_ids, cu_seqlens: &p.cu_seqlens }).collect();
    Ok(Some(Importance::collect(merged, &packed, Calibration { data, rows, tokens })?))
}

/// The rows that a run was trained on.
fn of_run(extras: &Extras, tokenizer: &TextTokenizer) -> Result<(String, Dataset), Fault> {
    let none = || Fault::new("usage", "there is no run whose rows could be used").hint("give --imatrix FILE, or --run RUN");
    let run = extras.run.as_ref().ok_or_else(none)?;
    let manifest = Manifest::read(&run.manifest_path())?;
    let data = manifest.dataset.files.first().map_or_else(|| run.id(), |f| f.path.clone());
    Ok((data, prepare::train_rows(&manifest.config, tokenizer)?))
}
