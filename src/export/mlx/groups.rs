//! Matrices in groups of few bits.

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::base::error::Fault;
use crate::export::proof::bounds::{self, Bounds};
use crate::export::quantise::affine_groups;
use crate::model::DecoderSpec;
use crate::model::spec::{Role, TensorSpec};
use crate::model::weights::cast;
use crate::model::weights::mlx::{FP4, GroupMode, Groups, pack_bits, power_of_two};

/// The groups that were asked for; without a size, 64 where rows divide into 64, else 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Bits of a code.
    pub bits: u32,
    /// Elements of a group.
    pub group: Option<usize>,
    /// What the codes mean.
    pub mode: GroupMode,
}

/// Groups that fit a model.
#[derive(Debug, Clone)]
pub struct Grouping {
    /// The groups.
    pub groups: Groups,
    /// What does not fit, or was chosen otherwise.
    pub note: Option<String>,
}

impl Grouping {
    /// Fits a wish to the widths of a model's matrices.
    ///
    /// # Errors
    /// When no matrix divides into such groups.
    pub fn of(wish: Wish, spec: &DecoderSpec) -> Result<Self, Fault> {
        let matrices: Vec<TensorSpec> = spec.tensors().into_iter().filter(is_matrix).collect();
        let sizes = wish.group.map_or_else(|| vec![64, 32], |g| vec![g]);
        let fitting = |size: usize| matrices.iter().filter(|t| t.shape[1].is_multiple_of(size)).count();
        let size = sizes.iter().copied().find(|s| fitting(*s) == matrices.len());
        let size = size.or_else(|| sizes.iter().copied().max_by_key(|s| fitting(*s))).filter(|s| fitting(*s) > 0);
        let Some(group) = size else {
            let message = format!("no matrix of this model has rows that divide into groups of {}: nothing would be quantised", sizes[0]);
            return Err(Fault::new("export_unsupported", message).hint("choose groups of 32, or no type at all"));
        };
        let mut notes = Vec::new();
        if wish.group.is_none() && group != sizes[0] {
            notes.push(format!("groups of {group} instead of {}: that is what the rows of this model divide into", sizes[0]));
        }
        let left = matrices.len() - fitting(group);
        if left > 0 {
            notes.push(format!("{left} of {} matrices are not quantised: their rows do not divide into groups of {group}", matrices.len()));
        }
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Self { groups: Groups { bits: wish.bits, group, mode: wish.mode }, note })
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        match self.groups.mode {
            GroupMode::Affine => format!("{} bits in groups of {}", self.groups.bits, self.groups.group),
            GroupMode::Mxfp4 => format!("mxfp4 in groups of {}", self.groups.group),
        }
    }
}

fn is_matrix(t: &TensorSpec) -> bool {
    matches!(t.role, Role::Embedding | Role::Head | Role::Linear)
}

/// Whether a tensor is stored in these groups.
pub(super) fn fits(g: Groups, t: &TensorSpec) -> bool {
    is_matrix(t) && t.shape.last().is_some_and(|n| n.is_multiple_of(g.group))
}

/// What the proof allows of the logits.
pub(super) fn bounds(g: Groups) -> Bounds {
    match g.bits {
        8 => bounds::EIGHT,
        6 => bounds::SIX,
        5 => bounds::FIVE,
        4 => bounds::FOUR,
        3 => bounds::THREE,
        _ => bounds::TWO,
    }
}

/// The relative error that a matrix may have: the steps are those of a whole group.
pub(super) fn loss(g: Groups) -> f64 {
    match g.mode {
        // A code's neighbours are a quarter of it away, and half of that is the largest error.
        GroupMode::Mxfp4 => 0.25,
        GroupMode::Affine => (g.group as f64 / 12.0).sqrt() * 1.2 / f64::from((1u32 << g.bits) - 1),
    }
}

/// Names, types and shapes of what a matrix becomes.
pub(super) fn parts(t: &TensorSpec, g: Groups, dtype: Dtype) -> Vec<(String, Dtype, Vec<usize>)> {
    let (rows, width) = (t.shape[0], t.shape[1]);
    let path = t.name.trim_end_matches(".weight");
    let by_group = vec![rows, width / g.group];
    let mut parts = vec![(t.name.clone(), Dtype::U32, vec![rows, width * g.bits as usize / 32])];
    match g.mode {
        GroupMode::Affine => {
            parts.push((format!("{path}.scales"), dtype, by_group.clone()));
            parts.push((format!("{path}.biases"), dtype, by_group));
        }
        GroupMode::Mxfp4 => parts.push((format!("{path}.scales"), Dtype::U8, by_group)),
    }
    parts
}

/// The bytes of what [`parts`] announced.
pub(super) fn pack(name: &str, values: &[f32], g: Groups, dtype: Dtype) -> Result<Vec<Vec<u8>>, Fault> {
    if g.mode == GroupMode::Mxfp4 {
        let groups: Vec<(u8, Vec<u8>)> = values.par_chunks(g.group).map(mxfp4).collect();
        let codes = groups.iter().flat_map(|(_, codes)| pack_bits(codes, 4)).collect();
        return Ok(vec![codes, groups.iter().map(|(scale, _)| *scale).collect()]);
    }
    let most = ((1u32 << g.bits) - 1) as f32;
    let round = |v: f32| match dtype {
        Dtype::F32 => v,
        Dtype::F16 => f16::from_f32(v).to_f32(),
        _ => bf16::from_f32(v).to_f32(),
    };
    let lines = affine_groups(values, g.group, most);
    let parts: Vec<(Vec<u8>, f32, f32)> = values
        .par_chunks(g.group)
        .zip(lines)
        .map(|(x, (scale, bias))| {
            let (scale, bias) = (round(scale), round(bias));
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let codes: Vec<u8> = x.iter().map(|v| ((v - bias) * inverse).round().clamp(0.0, most) as u8).collect();
            (pack_bits(&codes, g.bits), scale, bias)
        })
        .collect();
    let codes = parts.iter().flat_map(|p| p.0.iter().copied()).collect();
    let column = |f: fn(&(Vec<u8>, f32, f32)) -> f32| cast(name, &parts.iter().map(f).collect::<Vec<_>>(), dtype);
    Ok(vec![codes, column(|p| p.1)?, column(|p| p.2)?])
}

/// The power of two and the codes that come nearest to a group.
fn mxfp4(x: &[f32]) -> (u8, Vec<u8>) {
    let peak = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    if peak == 0.0 {
        return (0, vec![0; x.len()]);
    }
    // The largest magnitude is 6: the peak fits under this power or is clipped under the one below.
    let above = ((f64::from(peak) / 6.0).log2().ceil() as i32 + 127).clamp(0, 254) as u8;
    let tried = [above, above.saturating_sub(1)].map(|scale| {
        let by = power_of_two(scale);
        let codes: Vec<u8> = x.iter().map(|v| fp4_code(v / by)).collect();
        let wrong = |(v, c): (&f32, &u8)| f64::from(v - by * FP4[usize::from(c & 7)].copysign(if c & 8 == 0 { 1.0 } else { -1.0 })).powi(2);
        (x.iter().zip(&codes).map(wrong).sum::<f64>(), scale, codes)
    });
    let [first, second] = tried;
    let (_, scale, codes) = if second.0 < first.0 { second } else { first };
    (scale, codes)
}

fn fp4_code(v: f32) -> u8 {
    let magnitude = v.abs();
    let nearest = (0..8u8).min_by(|a, b| {
        let away = |c: u8| (FP4[usize::from(c)] - magnitude).abs();
        away(*a).total_cmp(&away(*b))
    });
    nearest.unwrap_or(0) | if v < 0.0 { 8 } else { 0 }
}
