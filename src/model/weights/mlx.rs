//! Folders that mlx-lm has quantised: groups of few bits beside plain tensors.
//!
//! A group is `group` neighbouring elements of a row. In the affine form element i of it is
//! `scale * q + bias`; in the microscaling form a code is a 4-bit float and the scale a power of
//! two in one byte. Codes of a row lie end to end, the lowest bit first.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::Value;

use super::{Shards, TensorSource};
use crate::base::files;
use crate::model::error::{Error, Result};
use crate::model::spec::DecoderSpec;

/// How the codes of a group are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupMode {
    /// `scale * q + bias`.
    Affine,
    /// 4-bit floats under a power of two.
    Mxfp4,
}

/// How a matrix is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Bits of a code: 2, 3, 4, 5, 6 or 8.
    pub bits: u32,
    /// Elements of a group: 32, 64 or 128.
    pub group: usize,
    /// What the codes mean.
    pub mode: GroupMode,
}

/// The eight magnitudes of a 4-bit float; the code's high bit is the sign.
pub const FP4: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The power of two that a byte stands for.
pub fn power_of_two(byte: u8) -> f32 {
    f64::from(i32::from(byte) - 127).exp2() as f32
}

impl Groups {
    /// What `quantization` of an MLX config says, of the whole model or of one module.
    fn of_json(v: &Value) -> Option<Self> {
        let (bits, group) = (v["bits"].as_u64()? as u32, v["group_size"].as_u64()? as usize);
        let mode = match v["mode"].as_str() {
            None | Some("affine") => GroupMode::Affine,
            Some("mxfp4") => GroupMode::Mxfp4,
            Some(_) => return None,
        };
        (matches!(bits, 2..=6 | 8) && matches!(group, 32 | 64 | 128)).then_some(Self { bits, group, mode })
    }

    /// The config's name of the mode.
    pub fn mode_name(self) -> &'static str {
        match self.mode {
            GroupMode::Affine => "affine",
            GroupMode::Mxfp4 => "mxfp4",
        }
    }
}

/// Puts codes end to end, the lowest bit first.
pub fn pack_bits(codes: &[u8], bits: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity((codes.len() * bits as usize).div_ceil(8));
    let (mut held, mut count) = (0u32, 0);
    for code in codes {
        held |= u32::from(*code) << count;
        count += bits;
        while count >= 8 {
            out.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(held as u8);
    }
    out
}

/// Code i of a row's bytes.
fn code_at(bytes: &[u8], i: usize, bits: u32) -> u8 {
    let at = i * bits as usize;
    let (byte, shift) = (at / 8, at % 8);
    let high = bytes.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from(bytes[byte]) | u16::from(high) << 8;
    (both >> shift) as u8 & (((1u16 << bits) - 1) as u8)
}

/// A folder in MLX's form.
#[derive(Debug)]
pub struct MlxSource {
    shards: Shards,
    whole: Groups,
    /// Modules with groups of their own; `None`: not grouped.
    own: BTreeMap<String, Option<Groups>>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl MlxSource {
    /// Opens a folder whose config.json says that MLX has quantised it; `None` for other folders.
    ///
    /// # Errors
    /// When its groups are of a kind that is not known, or a tensor is missing or has another size.
    pub fn open(folder: &Path, spec: &DecoderSpec) -> Result<Option<Self>> {
        let path = folder.join("config.json");
        let text = files::read_text(&path).map_err(Error::io(&path))?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(q) = quantization(&json) else { return Ok(None) };
        let unknown = || Error::Field { path: path.clone(), field: "quantization".into(), message: format!("{q} is not supported") };
        let whole = Groups::of_json(q).ok_or_else(unknown)?;
        let modules = q.as_object().into_iter().flatten().filter(|(_, v)| v.is_object() || v.is_boolean());
        let own = modules.map(|(name, v)| (name.clone(), if *v == Value::Bool(true) { Some(whole) } else { Groups::of_json(v) }));
        let own = own.collect();
        let shapes = spec.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let source = Self { shards: Shards::open(folder)?, whole, own, shapes };
        for (name, shape) in &source.shapes {
            source.check(name, shape)?;
        }
        Ok(Some(source))
    }

    fn path(name: &str) -> &str {
        name.strip_suffix(".weight").unwrap_or(name)
    }

    fn groups(&self, name: &str) -> Option<Groups> {
        let path = Self::path(name);
        let grouped = self.shards.has(&format!("{path}.scales"));
        if grouped { self.own.get(path).copied().unwrap_or(Some(self.whole)) } else { None }
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let Some(g) = self.groups(name) else { return self.shards.check_shape(name, shape) };
        let n: usize = shape.iter().product();
        let wrong = |part: &str| Error::tensor(self.shards.path_of(name), part, "does not have the size that config.json asks for");
        let length = |part: &str| Ok::<_, Error>(self.shards.bytes(part)?.len());
        let (scales, biases) = (format!("{}.scales", Self::path(name)), format!("{}.biases", Self::path(name)));
        if length(name)? * 8 != n * g.bits as usize || !shape[shape.len() - 1].is_multiple_of(g.group) {
            return Err(wrong(name));
        }
        let of = |part: &str| self.shards.info(part).map_or(0, |(s, _)| s.iter().product::<usize>());
        if of(&scales) != n / g.group || (g.mode == GroupMode::Affine && of(&biases) != n / g.group) {
            return Err(wrong(&scales));
        }
        Ok(())
    }

    /// A grouped matrix in f32.
    fn decode(&self, name: &str, g: Groups) -> Result<Vec<f32>> {
        let path = Self::path(name);
        let bytes = self.shards.bytes(name)?;
        let shape = &self.shapes[name];
        let width = shape[shape.len() - 1];
        let mut out = vec![0f32; shape.iter().product()];
        let row_bytes = width * g.bits as usize / 8;
        let per_row = width / g.group;
        let scales: Vec<f32> = match g.mode {
            GroupMode::Affine => self.shards.float(&format!("{path}.scales"), DType::F32)?.flatten_all()?.to_vec1()?,
            GroupMode::Mxfp4 => self.shards.bytes(&format!("{path}.scales"))?.iter().map(|b| power_of_two(*b)).collect(),
        };
        let biases: Vec<f32> = match g.mode {
            GroupMode::Affine => self.shards.float(&format!("{path}.biases"), DType::F32)?.flatten_all()?.to_vec1()?,
            GroupMode::Mxfp4 => Vec::new(),
        };
        out.par_chunks_mut(width).enumerate().for_each(|(row, out)| {
            let bytes = &bytes[row * row_bytes..(row + 1) * row_bytes];
            for (i, o) in out.iter_mut().enumerate() {
                let (code, at) = (code_at(bytes, i, g.bits), row * per_row + i / g.group);
                *o = match g.mode {
                    GroupMode::Affine => scales[at] * f32::from(code) + biases[at],
                    GroupMode::Mxfp4 => scales[at] * FP4[usize::from(code & 7)] * if code & 8 == 0 { 1.0 } else { -1.0 },
                };
            }
        });
        Ok(out)
    }
}

/// What an MLX config says of its groups. Other programs' `quantization_config` names a method.
pub fn quantization(config: &Value) -> Option<&Value> {
    let of = |key: &str| config.get(key).filter(|q| q["bits"].is_u64() && q["group_size"].is_u64() && q["quant_method"].is_null());
    of("quantization").or_else(|| of("quantization_config"))
}

impl TensorSource for MlxSource {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let Some(g) = self.groups(name) else { return self.shards.float(name, dtype) };
        let shape = self.shapes.get(name).ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?;
        Ok(Tensor::from_vec(self.decode(name, g)?, shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        match self.groups(name) {
            None => self.shards.rows(name, from, count),
            Some(_) => Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?),
        }
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        let part = match self.groups(name) {
            Some(Groups { mode: GroupMode::Affine, .. }) => format!("{}.scales", Self::path(name)),
            Some(_) => return None,
            None => name.to_owned(),
        };
        self.shards.info(&part).map(|i| i.1)
    }

    fn release(&self, name: &str) {
        self.shards.release(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_any_width_come_back() {
        for bits in [2, 3, 4, 5, 6, 8] {
            let codes: Vec<u8> = (0..64u32).map(|i| ((i * 37 + 11) % (1 << bits)) as u8).collect();
            let bytes = pack_bits(&codes, bits);
            assert_eq!(bytes.len(), 8 * bits as usize);
            let back: Vec<u8> = (0..64).map(|i| code_at(&bytes, i, bits)).collect();
            assert_eq!(back, codes, "{bits} bits");
        }
    }
}
