//! Folders whose matrices are whole numbers: GPTQ, AWQ, and bitsandbytes in 8 bits.
//!
//! ```text
//!   GPTQ   <path>.qweight I32 [in*bits/32, out]     codes of neighbouring inputs, the first lowest
//!          <path>.qzeros  I32 [groups, out*bits/32] zero points of neighbouring outputs, each less 1
//!          <path>.scales  F16 [groups, out]
//!          <path>.g_idx   I32 [in]                  the group of an input; may be missing
//!   AWQ    <path>.qweight I32 [in, out/8], .qzeros I32 [groups, out/8]: outputs in the order 0 2 4 6 1 3 5 7
//!          <path>.scales  F16 [groups, out]
//!   int8   <path>.weight  I8 [out, in], <path>.SCB F32 [out]: code * SCB / 127
//! ```
//!
//! An element of the first two is `scale * (code - zero point)`.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::Value;

use super::{Shards, TensorSource};
use crate::model::error::{Error, Result};
use crate::model::spec::DecoderSpec;

/// The outputs that AWQ packs into one number, the lowest bits first.
pub const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
/// Where each of eight outputs lies in it.
const AWQ_PLACE: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
/// Outputs that are decoded together, so that a line of memory is used whole.
const TOGETHER: usize = 16;

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `less`: what was taken from zero points before they were packed.
    Gptq {
        bits: u32,
        less: u32,
    },
    Awq,
    Int8,
}

/// Such a folder.
#[derive(Debug)]
pub struct PackedSource {
    shards: Shards,
    form: Form,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// Numbers of 32 bits.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn at(self, i: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.0[4 * i..4 * i + 4]);
        u32::from_le_bytes(word)
    }
}

impl PackedSource {
    /// Opens a folder whose config.json says that it is of one of these forms; `None` for others.
    ///
    /// # Errors
    /// When it is of a variant that is not read, or a tensor is missing or has another size.
    pub fn open(folder: &Path, spec: &DecoderSpec) -> Result<Option<Self>> {
        let path = folder.join("config.json");
        let text = crate::base::files::read_text(&path).map_err(Error::io(&path))?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let form = form(&json["quantization_config"]).map_err(|(field, message)| Error::Field {
            path,
            field: format!("quantization_config.{field}"),
            message,
        })?;
        let Some(form) = form else { return Ok(None) };
        let shapes = spec.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let source = Self { shards: Shards::open(folder)?, form, shapes };
        for (name, shape) in &source.shapes {
            source.check(name, shape)?;
        }
        Ok(Some(source))
    }

    /// The path of a matrix that is packed.
    fn path<'a>(&self, name: &'a str) -> Option<&'a str> {
        let path = name.strip_suffix(".weight")?;
        let mark = if self.form == Form::Int8 { "SCB" } else { "qweight" };
        self.shards.has(&format!("{path}.{mark}")).then_some(path)
    }

    /// Elements of a scale's group, from how many scales there are.
    fn groups(&self, path: &str, out: usize) -> usize {
        let held = self.shards.info(&format!("{path}.scales")).map_or(0, |(s, _)| s.iter().product::<usize>());
        if held.is_multiple_of(out) { held / out } else { 0 }
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let Some(path) = self.path(name) else { return self.shards.check_shape(name, shape) };
        let bad = |part: &str, message: &str| {
            let tensor = format!("{path}.{part}");
            Error::tensor(self.shards.path_of(&tensor), &tensor, message)
        };
        const SIZE: &str = "does not have the size that config.json asks for";
        let [out, inp] = *shape else { return Err(bad("qweight", SIZE)) };
        let bytes = |part: &str| Ok::<_, Error>(self.shards.bytes(&format!("{path}.{part}"))?.len());
        let (bits, across) = match self.form {
            Form::Int8 => {
                let scales = self.shards.info(&format!("{path}.SCB")).map_or(0, |(s, _)| s.iter().product());
                let codes = self.shards.info(name).is_some_and(|(s, d)| s == shape && d == Dtype::I8);
                return if scales == out && codes { Ok(()) } else { Err(bad("weight", SIZE)) };
            }
            Form::Gptq { bits, .. } => (bits as usize, inp),
            Form::Awq => (4, out),
        };
        let (per, groups) = (32 / bits, self.groups(path, out));
        let fits = across.is_multiple_of(per) && out.is_multiple_of(per) && bytes("qweight")? == out * inp * bits / 8;
        if !fits {
            return Err(bad("qweight", SIZE));
        }
        if groups == 0 || groups > inp || bytes("qzeros")? != groups * out * bits / 8 {
            return Err(bad("qzeros", SIZE));
        }
        let named = format!("{path}.g_idx");
        if self.shards.has(&named) && matches!(self.form, Form::Gptq { .. }) {
            let list = Words(self.shards.bytes(&named)?);
            if list.0.len() != 4 * inp || (0..inp).any(|i| list.at(i) as usize >= groups) {
                return Err(bad("g_idx", "does not name a group for each input"));
            }
        } else if !inp.is_multiple_of(groups) {
            return Err(bad("scales", SIZE));
        }
        Ok(())
    }

    fn decode(&self, name: &str, path: &str) -> Result<Vec<f32>> {
        let (out, inp) = (self.shapes[name][0], self.shapes[name][1]);
        let part = |part: &str| format!("{path}.{part}");
        if self.form == Form::Int8 {
            let scales = self.shards.float(&part("SCB"), DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let codes = self.shards.bytes(name)?;
            return Ok(codes.par_iter().enumerate().map(|(i, c)| f32::from(*c as i8) * scales[i / inp] / 127.0).collect());
        }
        let scales = self.shards.float(&part("scales"), DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (codes, zeros) = (Words(self.shards.bytes(&part("qweight"))?), Words(self.shards.bytes(&part("qzeros"))?));
        let groups = self.groups(path, out);
        let group_of: Vec<usize> = match self.form {
            Form::Gptq { .. } if self.shards.has(&part("g_idx")) => {
                let list = Words(self.shards.bytes(&part("g_idx"))?);
                (0..inp).map(|i| list.at(i) as usize).collect()
            }
            _ => (0..inp).map(|i| i / (inp / groups)).collect(),
        };
        let element = |o: usize, i: usize| {
            let (code, zero) = match self.form {
                Form::Gptq { bits, less } => {
                    let (per, mask) = (32 / bits as usize, (1u32 << bits) - 1);
                    let shift = |n: usize| bits * (n % per) as u32;
                    let zero = zeros.at(group_of[i] * (out / per) + o / per) >> shift(o) & mask;
                    (codes.at(i / per * out + o) >> shift(i) & mask, zero + less)
                }
                _ => {
                    let (shift, column) = (4 * AWQ_PLACE[o % 8], o / 8);
                    (codes.at(i * (out / 8) + column) >> shift & 15, zeros.at(group_of[i] * (out / 8) + column) >> shift & 15)
                }
            };
            scales[group_of[i] * out + o] * (code as f32 - zero as f32)
        };
        let mut values = vec![0f32; out * inp];
        values.par_chunks_mut(TOGETHER * inp).enumerate().for_each(|(chunk, rows)| {
            for i in 0..inp {
                for (r, row) in rows.chunks_exact_mut(inp).enumerate() {
                    row[i] = element(chunk * TOGETHER + r, i);
                }
            }
        });
        Ok(values)
    }
}

/// What config.json says of the weights; `None`: they are stored otherwise.
fn form(q: &Value) -> std::result::Result<Option<Form>, (&'static str, String)> {
    let bits = || q["bits"].as_u64().or_else(|| q["w_bit"].as_u64()).unwrap_or(0);
    match q["quant_method"].as_str() {
        Some("gptq") => match (bits(), q["checkpoint_format"].as_str().unwrap_or("gptq")) {
            (bits @ (2 | 4 | 8), "gptq") => Ok(Some(Form::Gptq { bits: bits as u32, less: 1 })),
            (bits @ (2 | 4 | 8), "gptq_v2") => Ok(Some(Form::Gptq { bits: bits as u32, less: 0 })),
            (2 | 4 | 8, other) => Err(("checkpoint_format", format!("`{other}` is not read; gptq and gptq_v2 are"))),
            (other, _) => Err(("bits", format!("{other} bits of GPTQ are not read; 2, 4 and 8 are"))),
        },
        Some("awq") => match (bits(), q["version"].as_str().unwrap_or("gemm").to_lowercase().as_str()) {
            (4, "gemm") => Ok(Some(Form::Awq)),
            (4, other) => Err(("version", format!("`{other}` is not read; gemm is"))),
            (other, _) => Err(("bits", format!("{other} bits of AWQ are not read; 4 are"))),
        },
        None | Some("bitsandbytes") if q["load_in_8bit"].as_bool() == Some(true) => Ok(Some(Form::Int8)),
        _ => Ok(None),
    }
}

impl TensorSource for PackedSource {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let Some(path) = self.path(name) else { return self.shards.float(name, dtype) };
        let shape = self.shapes.get(name).ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?;
        Ok(Tensor::from_vec(self.decode(name, path)?, shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        match self.path(name) {
            None => self.shards.rows(name, from, count),
            Some(_) => Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?),
        }
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        if self.path(name).is_some() { None } else { self.shards.info(name).map(|i| i.1) }
    }

    fn release(&self, name: &str) {
        self.shards.release(name);
    }
}
