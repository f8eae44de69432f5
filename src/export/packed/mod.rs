//! The merged model with its linear layers in whole numbers or 8-bit floats, as vLLM and
//! transformers load them: compressed-tensors, GPTQ, AWQ, and bitsandbytes in 8 bits.
//! [`crate::model::weights::compressed`] and [`crate::model::weights::packed`] describe the forms.

mod fit;
mod layout;

use std::path::Path;

use serde_json::Value;

use super::folder::{FolderReport, stored};
use super::proof::bounds;
use super::side_files::{self, Base};
use super::streamed::Streamed;
use super::{Allowed, Importance, Merged, Prompts, Proof, card};
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::model::spec::{DecoderSpec, Role, TensorSpec};
use crate::model::weights::cast;
use crate::model::{Unknown, open_source};

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// 8-bit floats with a scale a row; activations become 8-bit floats where the program computes.
    Fp8,
    /// Four bits in groups with a scale each.
    W4A16,
    /// The same numbers as GPTQ packs them.
    Gptq,
    /// The same numbers as AWQ packs them.
    Awq,
    /// Whole numbers of 8 bits with a scale a row, for bitsandbytes.
    Int8,
}

/// Elements under one scale of four bits: the first that every matrix divides into.
const GROUPS: [usize; 3] = [128, 64, 32];

impl Scheme {
    /// Its name among the types of its form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp8 => "fp8",
            Self::W4A16 => "w4a16",
            Self::Gptq | Self::Awq => "int4",
            Self::Int8 => "int8",
        }
    }

    /// Whether the errors of its groups can be weighed by an importance matrix.
    pub fn has_groups(self) -> bool {
        matches!(self, Self::W4A16 | Self::Gptq | Self::Awq)
    }
}

/// A scheme for one model.
struct Plan {
    scheme: Scheme,
    group: usize,
}

impl Plan {
    fn of(scheme: Scheme, spec: &DecoderSpec) -> Self {
        let linears: Vec<TensorSpec> = spec.tensors().into_iter().filter(|t| t.role == Role::Linear).collect();
        let fitting = |group: usize| linears.iter().filter(|t| scheme.fits(t, group)).count();
        // The first of those that as many matrices fit: larger groups cost fewer bits.
        let most = GROUPS.iter().map(|g| fitting(*g)).max().unwrap_or(0);
        let group = GROUPS.into_iter().find(|g| fitting(*g) == most).unwrap_or(GROUPS[0]);
        Self { scheme, group }
    }

    fn fits(&self, t: &TensorSpec) -> bool {
        self.scheme.fits(t, self.group)
    }

    /// What it is, for people.
    fn about(&self) -> String {
        let group = self.group;
        match self.scheme {
            Scheme::Fp8 => "8-bit floats with a scale a row".into(),
            Scheme::W4A16 => format!("4 bits in groups of {group}"),
            Scheme::Gptq => format!("4 bits in groups of {group}, packed as GPTQ's"),
            Scheme::Awq => format!("4 bits in groups of {group}, packed as AWQ's"),
            Scheme::Int8 => "8 bits with a scale a row".into(),
        }
    }

    /// Linear layers that cannot be stored so.
    fn left_out(&self, spec: &DecoderSpec) -> Result<Vec<String>, Fault> {
        let linear: Vec<TensorSpec> = spec.tensors().into_iter().filter(|t| t.role == Role::Linear).collect();
        let left: Vec<String> = linear.iter().filter(|t| !self.fits(t)).map(|t| t.name.trim_end_matches(".weight").to_owned()).collect();
        if left.len() == linear.len() {
            let message = format!("no matrix of this model divides into groups of {}", self.group);
            return Err(Fault::new("export_unsupported", message).hint("choose fp8 (vllm) or bnb-8bit, which have no groups"));
        }
        Ok(left)
    }
}

/// Writes the merged model into the new folder `out` and proves it. `importance` says which columns
/// matter when four bits are fitted.
///
/// # Errors
/// When rows do not divide into groups, the disk refuses or the proof fails; then nothing is left.
pub fn write_model(
    merged: &Merged,
    base: Base,
    prompts: &Prompts,
    (scheme, importance): (Scheme, Option<&Importance>),
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderReport, Fault> {
    let spec = merged.spec();
    let all = spec.tensors();
    let plan = Plan::of(scheme, spec);
    let left = plan.left_out(spec)?;
    let folder = AtomicDir::new(out)?;
    let dtype = stored(merged, &spec.embedding_name());
    let parts = all.iter().flat_map(|t| layout::parts(&plan, t, dtype)).collect();
    let mut writer = Streamed::new(&folder.path().join("model.safetensors"), "pt", parts)?;
    let total: u64 = all.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    for t in &all {
        let values = merged.values(&t.name, &t.shape)?;
        let weights = importance.and_then(|i| i.of(&t.name));
        match plan.fits(t) {
            true => layout::packed(&plan, t, &values, weights)?.iter().try_for_each(|p| writer.put(p))?,
            false => writer.put(&cast(&t.name, &values, dtype)?)?,
        }
        merged.base().release(&t.name);
        done += values.len() as u64;
        progress(done, total);
    }
    let (tensors, bytes) = writer.finish()?;
    let mut notes = side_files::write(base, spec, folder.path(), Some(dtype))?;
    name_quantization(&folder.path().join("config.json"), &plan, &left)?;
    let proof = prove(merged, folder.path(), prompts, &plan, importance)?;
    let card = card::model_card(merged, base.path, "transformers", &plan.about(), &proof);
    write_file(&folder.path().join("README.md"), card.as_bytes())?;
    folder.commit()?;
    notes.extend(remarks(&plan, left.len()));
    Ok(FolderReport { tensors, bytes, proof, notes })
}

fn remarks(plan: &Plan, left: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if left > 0 {
        notes.push(format!("{left} matrices keep their type: they do not divide into groups of {}", plan.group));
    }
    if plan.scheme.has_groups() && plan.group != GROUPS[0] {
        notes.push(format!("groups of {} instead of {}, which the rows of this model do not divide into", plan.group, GROUPS[0]));
    }
    notes
}

fn prove(merged: &Merged, folder: &Path, prompts: &Prompts, plan: &Plan, importance: Option<&Importance>) -> Result<Proof, Fault> {
    let (spec, written) = open_source(folder, Unknown::ReadAsLlama)?; // as the model that was opened
    let limits = if plan.scheme.has_groups() { bounds::FOUR } else { bounds::SIX };
    let mut proof = Proof::measure(merged, &spec, written.as_ref(), prompts, limits)?;
    let fitting: std::collections::HashSet<String> = spec.tensors().into_iter().filter(|t| plan.fits(t)).map(|t| t.name).collect();
    let allowed = |name: &str| match (fitting.contains(name), plan.scheme) {
        (false, _) => Allowed { error: 4e-3, block: 1 },
        // A sixteenth is half of the largest step between neighbours.
        (true, Scheme::Fp8) => Allowed { error: 0.065, block: 1 },
        // Half of a step of a 127th, in rows whose largest element is up to 25 times the others.
        (true, Scheme::Int8) => Allowed { error: 0.1, block: 1 },
        (true, _) => Allowed { error: if importance.is_some() { 0.8 } else { 0.35 }, block: plan.group },
    };
    proof.tensors(merged, written.as_ref(), &allowed, importance)?;
    proof.judge()?;
    Ok(proof)
}

/// Says in config.json how the weights are held.
fn name_quantization(path: &Path, plan: &Plan, left: &[String]) -> Result<(), Fault> {
    let text = crate::base::files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("not_a_model", e.to_string()))?;
    config["quantization_config"] = layout::config(plan, left);
    write_file(path, format!("{config:#}\n").as_bytes())
}
