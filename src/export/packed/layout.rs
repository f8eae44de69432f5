//! The bytes of a matrix in each scheme, and what config.json says of them.

use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::fit::{Group, eight_bits, float_row, four_bits};
use super::{Plan, Scheme};
use crate::base::error::Fault;
use crate::model::spec::{Role, TensorSpec};
use crate::model::weights::cast;
use crate::model::weights::mlx::pack_bits;
use crate::model::weights::packed::AWQ_ORDER;

/// Codes in a number of 32 bits.
const PER_WORD: usize = 8;
/// Rows of GPTQ and AWQ: what their kernels work on at once.
const ROWS: usize = 32;
/// The code that stands for 0 in four bits.
const ZERO: u32 = 8;

impl Scheme {
    /// Whether a tensor can be stored so, in groups of `group`.
    pub(super) fn fits(self, t: &TensorSpec, group: usize) -> bool {
        t.role == Role::Linear
            && match self {
                Self::Fp8 | Self::Int8 => true,
                Self::W4A16 => t.shape[1].is_multiple_of(group),
                Self::Gptq | Self::Awq => t.shape[1].is_multiple_of(group) && t.shape[0].is_multiple_of(ROWS),
            }
    }
}

/// A tensor's parts: name, dtype, shape.
pub(super) fn parts(plan: &Plan, t: &TensorSpec, dtype: Dtype) -> Vec<(String, Dtype, Vec<usize>)> {
    if !plan.fits(t) {
        return vec![(t.name.clone(), dtype, t.shape.clone())];
    }
    let (rows, width) = (t.shape[0], t.shape[1]);
    let path = t.name.trim_end_matches(".weight");
    let part = |name: &str, dtype, shape: &[usize]| (format!("{path}.{name}"), dtype, shape.to_vec());
    let groups = width / plan.group;
    match plan.scheme {
        Scheme::Fp8 => vec![part("weight", Dtype::F8_E4M3, &[rows, width]), part("weight_scale", Dtype::F32, &[rows, 1])],
        Scheme::W4A16 => vec![
            part("weight_packed", Dtype::I32, &[rows, width / PER_WORD]),
            part("weight_scale", Dtype::BF16, &[rows, groups]),
            part("weight_shape", Dtype::I64, &[2]),
        ],
        Scheme::Gptq => vec![
            part("qweight", Dtype::I32, &[width / PER_WORD, rows]),
            part("qzeros", Dtype::I32, &[groups, rows / PER_WORD]),
            part("scales", Dtype::F16, &[groups, rows]),
            part("g_idx", Dtype::I32, &[width]),
        ],
        Scheme::Awq => vec![
            part("qweight", Dtype::I32, &[width, rows / PER_WORD]),
            part("qzeros", Dtype::I32, &[groups, rows / PER_WORD]),
            part("scales", Dtype::F16, &[groups, rows]),
        ],
        Scheme::Int8 => vec![
            part("weight", Dtype::I8, &[rows, width]),
            part("SCB", Dtype::F32, &[rows]),
            // 0: the codes lie row by row.
            part("weight_format", Dtype::U8, &[]),
        ],
    }
}

/// The bytes of what [`parts`] announced. `values` [out, in]; `weights` [in]: how much a column counts.
pub(super) fn packed(plan: &Plan, t: &TensorSpec, values: &[f32], weights: Option<&[f32]>) -> Result<Vec<Vec<u8>>, Fault> {
    let (width, group) = (t.shape[1], plan.group);
    let floats = |v: Vec<f32>, dtype| cast(&t.name, &v, dtype);
    if matches!(plan.scheme, Scheme::Fp8 | Scheme::Int8) {
        let one = if plan.scheme == Scheme::Fp8 { float_row } else { eight_bits };
        let rows: Vec<(f32, Vec<u8>)> = values.par_chunks(width).map(one).collect();
        let mut all =
            vec![rows.iter().flat_map(|r| r.1.iter().copied()).collect(), floats(rows.iter().map(|r| r.0).collect(), Dtype::F32)?];
        if plan.scheme == Scheme::Int8 {
            all.push(vec![0]);
        }
        return Ok(all);
    }
    let stored = if plan.scheme == Scheme::W4A16 { Dtype::BF16 } else { Dtype::F16 };
    let one = |(i, x): (usize, &[f32])| {
        let column = i * group % width;
        four_bits(x, weights.map(|w| &w[column..column + group]), stored)
    };
    let groups: Vec<Group> = values.par_chunks(group).enumerate().map(one).collect();
    if plan.scheme == Scheme::W4A16 {
        let codes: Vec<u8> = groups.iter().flat_map(|g| pack_bits(&g.codes, 4)).collect();
        let shape = t.shape.iter().flat_map(|n| (*n as i64).to_le_bytes()).collect();
        return Ok(vec![codes, floats(groups.iter().map(|g| g.scale).collect(), stored)?, shape]);
    }
    let matrix = Codes { groups: &groups, rows: t.shape[0], width, group };
    let scales = floats(matrix.scales_by_group(), stored)?;
    let zeros = |zero: u32| words((0..matrix.rows / PER_WORD * (width / group)).map(|_| zero * 0x1111_1111));
    Ok(match plan.scheme {
        Scheme::Gptq => {
            let list = words((0..width).map(|i| (i / group) as u32));
            vec![matrix.inputs_packed(), zeros(ZERO - 1), scales, list]
        }
        _ => vec![matrix.outputs_packed(), zeros(ZERO), scales],
    })
}

fn words(of: impl Iterator<Item = u32>) -> Vec<u8> {
    of.flat_map(u32::to_le_bytes).collect()
}

/// Codes of a matrix [rows, width], a group after the other.
struct Codes<'a> {
    groups: &'a [Group],
    rows: usize,
    width: usize,
    group: usize,
}

impl Codes<'_> {
    fn at(&self, row: usize, column: usize) -> u32 {
        u32::from(self.groups[row * (self.width / self.group) + column / self.group].codes[column % self.group])
    }

    /// [groups, rows]
    fn scales_by_group(&self) -> Vec<f32> {
        let each = self.width / self.group;
        (0..each).flat_map(|g| (0..self.rows).map(move |r| self.groups[r * each + g].scale)).collect()
    }

    /// [width / 8, rows]: neighbouring inputs in one number.
    fn inputs_packed(&self) -> Vec<u8> {
        let word = |i: usize, r: usize| (0..PER_WORD).fold(0, |w, j| w | self.at(r, PER_WORD * i + j) << (4 * j));
        let line = |i: usize| words((0..self.rows).map(|r| word(i, r)));
        (0..self.width / PER_WORD).into_par_iter().flat_map_iter(line).collect()
    }

    /// [width, rows / 8]: eight outputs in one number, in AWQ's order.
    fn outputs_packed(&self) -> Vec<u8> {
        let word = |i: usize, r: usize| (0..PER_WORD).fold(0, |w, j| w | self.at(PER_WORD * r + AWQ_ORDER[j], i) << (4 * j));
        let line = |i: usize| words((0..self.rows / PER_WORD).map(|r| word(i, r)));
        (0..self.width).into_par_iter().flat_map_iter(line).collect()
    }
}

/// `quantization_config` of config.json; `left`: linear layers that keep their type.
pub(super) fn config(plan: &Plan, left: &[String]) -> Value {
    let kept: Vec<&str> = std::iter::once("lm_head").chain(left.iter().map(String::as_str)).collect();
    let group = plan.group;
    match plan.scheme {
        Scheme::Fp8 => compressed(
            "float-quantized",
            json!({"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true, "dynamic": false}),
            json!({"num_bits": 8, "type": "float", "strategy": "token", "symmetric": true, "dynamic": true}),
            &kept,
        ),
        Scheme::W4A16 => compressed(
            "pack-quantized",
            json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": group, "symmetric": true, "dynamic": false}),
            Value::Null,
            &kept,
        ),
        Scheme::Gptq => {
            // A rule that begins with `-` names modules that stay as they are.
            let rules: Map<String, Value> = left.iter().map(|n| (format!("-:^{}$", n.replace('.', "\\.")), json!({}))).collect();
            let mut config = json!({
                "quant_method": "gptq", "bits": 4, "group_size": group, "sym": true, "desc_act": false, "lm_head": false,
                "checkpoint_format": "gptq", "pack_dtype": "int32",
            });
            if !rules.is_empty() {
                config["dynamic"] = Value::Object(rules);
            }
            config
        }
        Scheme::Awq => json!({
            "quant_method": "awq", "bits": 4, "group_size": group, "zero_point": true, "version": "gemm",
            "modules_to_not_convert": kept,
        }),
        Scheme::Int8 => json!({
            "quant_method": "bitsandbytes", "load_in_8bit": true, "load_in_4bit": false, "llm_int8_threshold": 6.0,
            "llm_int8_has_fp16_weight": false, "llm_int8_enable_fp32_cpu_offload": false, "llm_int8_skip_modules": ["lm_head"],
        }),
    }
}

fn compressed(format: &str, weights: Value, activations: Value, kept: &[&str]) -> Value {
    json!({
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": null}},
        "ignore": kept,
        "kv_cache_scheme": null,
    })
}
