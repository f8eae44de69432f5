//! Folders in the form of compressed-tensors, which vLLM loads: matrices in 8-bit floats with a scale
//! a row, or in four bits with a scale for each group of a row.
//!
//! ```text
//!   float-quantized   <path>.weight F8_E4M3 [out, in], <path>.weight_scale [out, 1]
//!   pack-quantized    <path>.weight_packed I32 [out, in/8], <path>.weight_scale [out, in/group],
//!                     <path>.weight_shape I64 [2]; code 8 stands for 0, the first in the lowest bits
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::Value;

use super::{Shards, TensorSource};
use crate::base::files;
use crate::model::error::{Error, Result};
use crate::model::spec::DecoderSpec;

/// The numbers of an 8-bit float with four bits of exponent, by their codes up to the largest.
pub static E4M3: LazyLock<[f32; 127]> = LazyLock::new(|| {
    std::array::from_fn(|code| {
        let (exponent, fraction) = (code as i32 >> 3, (code & 7) as f32 / 8.0);
        if exponent == 0 { fraction * 2f32.powi(-6) } else { (1.0 + fraction) * 2f32.powi(exponent - 7) }
    })
});

/// The number of a code.
fn e4m3(code: u8) -> f32 {
    let magnitude = E4M3.get(usize::from(code & 127)).copied().unwrap_or(f32::NAN);
    if code & 128 == 0 { magnitude } else { -magnitude }
}

/// The code of the nearest number; beyond the largest the largest.
pub fn to_e4m3(v: f32) -> u8 {
    let magnitude = v.abs();
    let above = E4M3.partition_point(|n| *n < magnitude).min(E4M3.len() - 1);
    let below = above.saturating_sub(1);
    let nearest = if magnitude - E4M3[below] < E4M3[above] - magnitude { below } else { above };
    nearest as u8 | if v < 0.0 { 128 } else { 0 }
}

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Float,
    Packed,
}

/// A folder of compressed-tensors.
#[derive(Debug)]
pub struct CompressedSource {
    shards: Shards,
    form: Form,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl CompressedSource {
    /// Opens a folder whose config.json says that it is of this form; `None` for other folders.
    ///
    /// # Errors
    /// When it is of a format that is not known, or a tensor is missing or has another size.
    pub fn open(folder: &Path, spec: &DecoderSpec) -> Result<Option<Self>> {
        let path = folder.join("config.json");
        let text = files::read_text(&path).map_err(Error::io(&path))?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let q = &json["quantization_config"];
        if q["quant_method"] != "compressed-tensors" {
            return Ok(None);
        }
        let form = match q["format"].as_str() {
            Some("float-quantized") => Form::Float,
            Some("pack-quantized") => Form::Packed,
            other => {
                let message = format!("{} is not read; float-quantized and pack-quantized are", other.unwrap_or("no format"));
                return Err(Error::Field { path, field: "quantization_config.format".into(), message });
            }
        };
        let shapes = spec.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let source = Self { shards: Shards::open(folder)?, form, shapes };
        for (name, shape) in &source.shapes {
            source.check(name, shape)?;
        }
        Ok(Some(source))
    }

    /// Names of a matrix's codes and scales, where it is compressed.
    fn parts(&self, name: &str) -> Option<(String, String)> {
        let path = name.strip_suffix(".weight")?;
        let codes = if self.form == Form::Float { name.to_owned() } else { format!("{path}.weight_packed") };
        let scales = format!("{path}.weight_scale");
        (self.shards.has(&codes) && self.shards.has(&scales)).then_some((codes, scales))
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let Some((codes, scales)) = self.parts(name) else { return self.shards.check_shape(name, shape) };
        let n: usize = shape.iter().product();
        let bytes = if self.form == Form::Float { n } else { n / 2 };
        let count = self.shards.info(&scales).map_or(0, |(s, _)| s.iter().product::<usize>());
        let even = count > 0 && n.is_multiple_of(count) && shape[1].is_multiple_of(n / count);
        if self.shards.bytes(&codes)?.len() != bytes || !even || (self.form == Form::Packed && !shape[1].is_multiple_of(8)) {
            let message = "does not have the size that config.json asks for";
            return Err(Error::tensor(self.shards.path_of(&codes), &codes, message));
        }
        Ok(())
    }

    fn decode(&self, name: &str, (codes, scales): &(String, String)) -> Result<Vec<f32>> {
        let bytes = self.shards.bytes(codes)?;
        let scales = self.shards.float(scales, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let n: usize = self.shapes[name].iter().product();
        let group = n / scales.len();
        let mut out = vec![0f32; n];
        out.par_chunks_mut(group).enumerate().for_each(|(g, out)| {
            for (i, o) in out.iter_mut().enumerate() {
                let at = g * group + i;
                *o = scales[g]
                    * match self.form {
                        Form::Float => e4m3(bytes[at]),
                        Form::Packed => f32::from(bytes[at / 2] >> (4 * (at % 2)) & 15) - 8.0,
                    };
            }
        });
        Ok(out)
    }
}

impl TensorSource for CompressedSource {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let Some(parts) = self.parts(name) else { return self.shards.float(name, dtype) };
        let shape = self.shapes.get(name).ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?;
        Ok(Tensor::from_vec(self.decode(name, &parts)?, shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        match self.parts(name) {
            None => self.shards.rows(name, from, count),
            Some(_) => Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?),
        }
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        if self.parts(name).is_some() { None } else { self.shards.info(name).map(|i| i.1) }
    }

    fn release(&self, name: &str) {
        self.shards.release(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_nearest_of_its_own_number() {
        assert_eq!((E4M3[126], E4M3[1], E4M3[8]), (448.0, 2f32.powi(-9), 2f32.powi(-6)));
        for code in (0..127u8).chain(129..255) {
            assert_eq!(to_e4m3(e4m3(code)), code);
        }
        // Between 1.0 (code 56) and 1.125 (code 57) the middle is 1.0625.
        assert_eq!((to_e4m3(1e9), to_e4m3(-1e9), to_e4m3(1.06), to_e4m3(1.065)), (126, 254, 56, 57));
    }
}
