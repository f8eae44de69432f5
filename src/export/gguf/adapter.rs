//! The adapter alone, for llama.cpp's LoRA loader.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::writer::{Planned, Writer};
use crate::base::atomic::AtomicFile;
use crate::base::error::Fault;
use crate::export::proof::bounds;
use crate::export::quantise::quantize;
use crate::export::side_files::Base;
use crate::export::{Bounds, Merged, Prompts, Proof, WithPairs};
use crate::model::gguf::names::{gguf_name, reorder_rows, reordered_heads};
use crate::model::gguf::{Arch, GgmlType, GgufFile, Value};
use crate::model::weights::check_range;

/// What was written.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// Tensors in the file.
    pub tensors: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// The comparison with the live model.
    pub proof: Proof,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// How the adapter's matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterType {
    /// As they were trained.
    F32,
    /// In half.
    F16,
    /// In eight bits; rows that do not divide into blocks of 32 in f16.
    Q8_0,
}

impl AdapterType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// Its name.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Name, number in `general.file_type`, the type of rows that divide, and what may be lost.
    fn facts(self) -> (&'static str, u32, GgmlType, Bounds) {
        match self {
            Self::F32 => ("f32", 0, GgmlType::F32, bounds::EXACT),
            Self::F16 => ("f16", 1, GgmlType::F16, bounds::F16),
            Self::Q8_0 => ("q8_0", 7, GgmlType::Q8_0, bounds::EIGHT),
        }
    }

    fn of_rows(self, width: usize) -> GgmlType {
        let kind = self.facts().2;
        if width.is_multiple_of(kind.block()) { kind } else { GgmlType::F16 }
    }
}

/// Writes the adapter to `out`, opens it again and proves it.
///
/// # Errors
/// When there is no adapter, the disk refuses, or the proof fails; then nothing is left of the file.
pub fn write_adapter(merged: &Merged, base: Base, prompts: &Prompts, stored: AdapterType, out: &Path) -> Result<AdapterReport, Fault> {
    let spec = merged.spec();
    let arch = Arch::of(spec.family);
    let Some(adapter) = merged.adapter() else {
        return Err(Fault::new("export_no_adapter", "there is no adapter to export").hint("give --adapter DIR"));
    };
    // llama.cpp multiplies by alpha / rank, whatever the adapter's own rule is.
    let alpha = adapter.config.scale() * adapter.config.rank as f64;
    let pairs = [
        ("general.architecture", Value::String(arch.name().into())),
        ("general.type", Value::String("adapter".into())),
        ("adapter.type", Value::String("lora".into())),
        ("adapter.lora.alpha", Value::F32(alpha as f32)),
        ("general.file_type", Value::U32(stored.facts().1)),
        ("general.quantization_version", Value::U32(2)),
    ];
    let pairs = pairs.into_iter().map(|(k, v)| (k.to_owned(), v));
    let pairs: Vec<(String, Value)> = pairs.chain(super::general::pairs(merged, base)).collect();
    let mut plan = Vec::new();
    let mut values = Vec::new();
    for linear in spec.linears() {
        let (rows, columns) = (linear.out, linear.inp);
        let Some((a, b)) = adapter.pair(&linear.path, (rows, columns))? else { continue };
        let weight = format!("{}.weight", linear.path);
        let name =
            gguf_name(arch, &weight).ok_or_else(|| Fault::new("export_unsupported", format!("`{weight}` has no name in GGUF files")))?;
        let mut up = b.flatten_all()?.to_vec1::<f32>()?;
        if let Some(heads) = reordered_heads(arch, spec, &weight) {
            up = reorder_rows(&up, rows, heads, false);
        }
        let rank = adapter.config.rank;
        plan.push(Planned { name: format!("{name}.lora_a"), shape: vec![rank, columns], kind: stored.of_rows(columns) });
        plan.push(Planned { name: format!("{name}.lora_b"), shape: vec![rows, rank], kind: stored.of_rows(rank) });
        values.push(a.flatten_all()?.to_vec1::<f32>()?);
        values.push(up);
    }
    let file = AtomicFile::new(out)?;
    let mut writer = Writer::begin(file.file(), out, &pairs, plan.clone())?;
    for (t, v) in plan.iter().zip(&values) {
        check_range(&t.name, v, t.kind.range())?;
        writer.put(&quantize(t.kind, v, t.shape[1], None))?;
    }
    let bytes = writer.finish()?;
    let back = read_adapter(merged, &GgufFile::open(file.path())?)?;
    let proof = Proof::of(merged, spec, &back, prompts, stored.facts().3)?;
    file.commit()?;
    let coarse = plan.iter().filter(|t| t.kind != stored.facts().2).count();
    let text = format!("{coarse} of {} matrices are in f16: their rows do not divide into blocks of 32", plan.len());
    let notes = (coarse > 0).then_some(text).into_iter().collect();
    Ok(AdapterReport { tensors: plan.len(), bytes, proof, notes })
}

/// Reads an adapter file as llama.cpp does, onto the base.
fn read_adapter<'a>(merged: &'a Merged, file: &GgufFile) -> Result<WithPairs<'a>, Fault> {
    let spec = merged.spec();
    let arch = file.get("general.architecture").and_then(Value::as_str).and_then(Arch::from_name);
    let arch = arch.ok_or_else(|| Fault::new("export_proof_failed", "the adapter file names no architecture"))?;
    let alpha = file.get("adapter.lora.alpha").and_then(Value::as_f64).unwrap_or(0.0);
    let mut with = WithPairs::new(merged);
    for linear in spec.linears() {
        let weight = format!("{}.weight", linear.path);
        let Some(name) = gguf_name(arch, &weight) else { continue };
        let (down, up) = (format!("{name}.lora_a"), format!("{name}.lora_b"));
        let Some(info) = file.tensors().get(&down) else { continue };
        let (rank, rows, columns) = (info.shape[0], linear.out, linear.inp);
        let mut b = file.float(&up)?;
        if let Some(heads) = reordered_heads(arch, spec, &weight) {
            b = reorder_rows(&b, rows, heads, true);
        }
        let a = Tensor::from_vec(file.float(&down)?, (rank, columns), &Device::Cpu)?;
        let b = Tensor::from_vec(b, (rows, rank), &Device::Cpu)?;
        with.add(linear.path, a, b, alpha / rank as f64);
    }
    Ok(with)
}
