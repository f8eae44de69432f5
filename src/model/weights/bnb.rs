//! Weights that bitsandbytes quantised to NF4 before they were stored.

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use serde_json::Value;
use tallow_kernels::quant::{Absmax, Nf4};

use super::read::Shards;
use crate::model::error::{Error, Result};

const STATE: &str = "quant_state.bitsandbytes__nf4";
const PARTS: [&str; 5] = ["absmax", "quant_map", "nested_absmax", "nested_quant_map", STATE];

impl Shards {
    /// True when `name` (`<path>.weight`) is stored in bitsandbytes' NF4.
    pub fn is_nf4(&self, name: &str) -> bool {
        self.has(&format!("{name}.{STATE}"))
    }

    /// True for the side tensors of a quantised weight.
    pub(crate) fn is_quantization_part(&self, name: &str) -> bool {
        PARTS.iter().any(|p| name.strip_suffix(p).and_then(|n| n.strip_suffix('.')).is_some_and(|base| self.is_nf4(base)))
    }

    /// Reads a weight `[out, in]` that is stored in NF4.
    ///
    /// # Errors
    /// When a part is missing or does not fit the shape.
    pub fn nf4(&self, name: &str, want: &[usize]) -> Result<Nf4> {
        let bad = |message: String| Error::tensor(self.path_of(name), name, message);
        let state = self.u8(&format!("{name}.{STATE}"))?;
        let state: Value = serde_json::from_slice(&state).map_err(|e| bad(format!("its quant_state is not JSON: {e}")))?;
        let shape: Option<Vec<usize>> = state["shape"].as_array().map(|a| a.iter().filter_map(Value::as_u64).map(|n| n as usize).collect());
        if shape.as_deref() != Some(want) {
            return Err(bad(format!("its quant_state says shape {}, the config asks for {want:?}", state["shape"])));
        }
        if state["blocksize"].as_u64() != Some(64) {
            return Err(bad(format!("has blocks of {}, only 64 is supported", state["blocksize"])));
        }
        let codes = self.u8(name)?;
        let n = codes.len();
        let codes = Tensor::from_vec(codes, n, &Device::Cpu)?;
        let absmax_name = format!("{name}.absmax");
        let absmax = match self.info(&absmax_name) {
            Some((_, Dtype::U8)) => self.nested(name, &state)?,
            _ => Absmax::Plain(self.float(&absmax_name, DType::F32)?.flatten_all()?),
        };
        Nf4::from_parts(codes, absmax, want[0], want[1]).map_err(|e| bad(e.to_string()))
    }

    fn nested(&self, name: &str, state: &Value) -> Result<Absmax> {
        let bad = |message: String| Error::tensor(self.path_of(name), name, message);
        if state["nested_blocksize"].as_u64() != Some(256) {
            return Err(bad(format!("has nested blocks of {}, only 256 is supported", state["nested_blocksize"])));
        }
        let offset = state["nested_offset"].as_f64().ok_or_else(|| bad("its quant_state has no nested_offset".into()))?;
        let codes = self.u8(&format!("{name}.absmax"))?;
        let n = codes.len();
        Ok(Absmax::Double {
            codes: Tensor::from_vec(codes, n, &Device::Cpu)?,
            nested_absmax: self.float(&format!("{name}.nested_absmax"), DType::F32)?.flatten_all()?,
            map: self.float(&format!("{name}.nested_quant_map"), DType::F32)?.flatten_all()?,
            offset: offset as f32,
        })
    }
}
