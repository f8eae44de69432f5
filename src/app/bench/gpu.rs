//! Each kernel of a GPU at a model's sizes, beside what the device copies and multiplies at most.
//!
//! Rates count the bytes that must move (each input read once, each result written once) or the operations of the
//! mathematics. Inputs are random, and taken in turn from as many sets as exceed the cache.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use tallow_kernels::activation::{swiglu, swiglu_backward_inplace};
use tallow_kernels::attention::{attention, attention_backward};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::device::synchronize;
use tallow_kernels::elementwise::{add_inplace, write_rows};
use tallow_kernels::lora::{Lora, lora_backward, lora_forward};
use tallow_kernels::matmul::{matmul, matmul_backward_input};
use tallow_kernels::norm::{add_rms_norm, rms_norm, rms_norm_backward};
use tallow_kernels::offload::Offload;
use tallow_kernels::optim::{Adam8State, AdamW, adamw8_step_all, global_norm};
use tallow_kernels::quant::{Absmax, Nf4, dynamic_map};
use tallow_kernels::rope::{RopeScaling, RopeTable, rope};
use tallow_kernels::variants::{Variant, with};
use tallow_kernels::weight::Weight;

use crate::app::device::{Chosen, available};
use crate::base::error::Fault;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchGpuRequest {
    /// `auto`, `cuda:N`; `cpu` measures the CPU's kernels the same way.
    pub device: String,
    /// Tokens of a pass.
    pub tokens: usize,
    /// Tokens of a sequence of the training case, for attention.
    pub seq: usize,
    /// Width of the residual stream; the other sizes are those of Llama 3.1 8B in proportion.
    pub hidden: usize,
    /// Times that each kernel runs.
    pub repeats: usize,
}

/// One kernel.
#[derive(Debug, Clone, Serialize)]
pub struct KernelRow {
    /// What ran.
    pub name: String,
    /// Microseconds of the median.
    pub microseconds: f64,
    /// `GB/s` or `TFLOP/s`.
    pub unit: &'static str,
    /// In that unit.
    pub rate: f64,
    /// Share of the device's measured ceiling: copying, or products in bf16.
    pub of_ceiling: f64,
    /// The share that is aimed at, where there is one.
    pub aim: Option<f64>,
}

/// What was measured; without a GPU only the reason stands in it.
#[derive(Debug, Clone, Serialize)]
pub struct BenchGpuReport {
    /// The device.
    pub device: Option<String>,
    /// The card.
    pub name: Option<String>,
    /// Why nothing was measured.
    pub skipped: Option<String>,
    /// Bytes read and written a second by a copy within the device.
    pub copy_bytes: f64,
    /// Operations a second of a large product in bf16.
    pub gemm_flops: f64,
    /// Bytes a second of a copy to host memory or back, one after the other, as activations take them.
    pub link_bytes: f64,
    /// The kernels.
    pub rows: Vec<KernelRow>,
}

/// Runs `f` in turns until the device has done it `repeats` times; seconds of the median.
fn seconds(device: &Device, repeats: usize, mut f: impl FnMut(usize) -> Result<(), Fault>) -> Result<f64, Fault> {
    f(0)?;
    synchronize(device)?;
    let mut times = Vec::with_capacity(repeats);
    // Each sample is long beside what waiting for the device costs.
    let inner = if matches!(device, Device::Cpu) { 1 } else { 8 };
    for r in 0..repeats {
        let start = Instant::now();
        for i in 0..inner {
            f(r * inner + i)?;
        }
        synchronize(device)?;
        times.push(start.elapsed().as_secs_f64() / inner as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn random(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor, Fault> {
    Ok(Tensor::rand(-1f32, 1.0, shape, device)?.to_dtype(dtype)?)
}

/// Operations a second of a large product.
///
/// # Errors
/// When the device has no memory for it.
pub(super) fn gemm_flops(device: &Device, dtype: DType) -> Result<f64, Fault> {
    let n = if matches!(device, Device::Cpu) { 512 } else { 8192 };
    let (x, w) = (random(&[n, n], dtype, device)?, Weight::Dense(random(&[n, n], dtype, device)?));
    let time = seconds(device, 5, |_| Ok(matmul(&x, &w).map(drop)?))?;
    Ok(2.0 * (n as f64).powi(3) / time)
}

/// Bytes read and written a second by a copy of 1 GiB (of 16 MiB on the CPU).
fn copy_bytes(device: &Device) -> Result<f64, Fault> {
    let n: usize = if matches!(device, Device::Cpu) { 16 << 20 } else { 1 << 30 };
    let (from, to) = (random(&[n / 2], DType::BF16, device)?, random(&[n / 2], DType::BF16, device)?);
    let time = seconds(device, 5, |_| Ok(write_rows(&to, 0, &from)?))?;
    Ok(2.0 * n as f64 / time)
}

/// Bytes a second of activations on their way to host memory and back, 256 MiB of them (8 MiB on the CPU).
fn link_bytes(device: &Device) -> Result<f64, Fault> {
    let n: usize = if matches!(device, Device::Cpu) { 8 << 20 } else { 256 << 20 };
    let offload = Offload::new(device)?;
    let mut tensors = vec![random(&[n / 2], DType::BF16, device)?];
    let time = seconds(device, 5, |_| {
        tensors = offload.send(std::mem::take(&mut tensors))?.settle()?.fetch()?.arrive()?;
        Ok(())
    })?;
    Ok(2.0 * n as f64 / time)
}

/// Measures; without a GPU the report says why there is nothing in it.
///
/// # Errors
/// When a named device cannot be used, or a kernel refuses.
pub fn gpu(request: &BenchGpuRequest) -> Result<BenchGpuReport, Fault> {
    let gpus = available();
    let chosen = Chosen::named(&request.device)?;
    if chosen == Chosen::Cpu && request.device != "cpu" {
        let why = gpus.err().unwrap_or_else(|| "there is no GPU of compute capability 8.0 or later".into());
        let none = BenchGpuReport {
            device: None,
            name: None,
            skipped: Some(why),
            copy_bytes: 0.0,
            gemm_flops: 0.0,
            link_bytes: 0.0,
            rows: Vec::new(),
        };
        return Ok(none);
    }
    let device = chosen.open()?;
    let card = gpus.ok().and_then(|all| all.into_iter().find(|g| g.device == chosen.name()));
    let mut table = Table {
        device: &device,
        hopper: card.as_ref().is_some_and(|g| g.compute_capability == "9.0"),
        repeats: request.repeats.max(1),
        copy: copy_bytes(&device)?,
        gemm: gemm_flops(&device, DType::BF16)?,
        rows: Vec::new(),
    };
    let sizes = Sizes { tokens: request.tokens, seq: request.seq.max(1), hidden: request.hidden };
    table.memory_bound(&sizes)?;
    table.products(&sizes)?;
    table.attention(&sizes)?;
    table.optimiser(&sizes)?;
    Ok(BenchGpuReport {
        device: Some(chosen.name()),
        name: card.map(|g| g.name),
        skipped: None,
        copy_bytes: table.copy,
        gemm_flops: table.gemm,
        link_bytes: link_bytes(&device)?,
        rows: table.rows,
    })
}

struct Sizes {
    tokens: usize,
    seq: usize,
    hidden: usize,
}

impl Sizes {
    fn intermediate(&self) -> usize {
        self.hidden * 7 / 2
    }
}

struct Table<'a> {
    device: &'a Device,
    /// Compute capability 9.0.
    hopper: bool,
    repeats: usize,
    copy: f64,
    gemm: f64,
    rows: Vec<KernelRow>,
}

impl Table<'_> {
    /// A kernel that `bytes` bounds.
    fn bytes(&mut self, name: &str, bytes: usize, aim: Option<f64>, f: impl FnMut(usize) -> Result<(), Fault>) -> Result<(), Fault> {
        let time = seconds(self.device, self.repeats, f)?;
        let rate = bytes as f64 / time;
        let (microseconds, of_ceiling) = (time * 1e6, rate / self.copy);
        self.rows.push(KernelRow { name: name.into(), microseconds, unit: "GB/s", rate: rate / 1e9, of_ceiling, aim });
        Ok(())
    }

    /// A kernel that `flops` bounds.
    fn flops(&mut self, name: &str, flops: f64, aim: Option<f64>, f: impl FnMut(usize) -> Result<(), Fault>) -> Result<(), Fault> {
        let time = seconds(self.device, self.repeats, f)?;
        let rate = flops / time;
        let (microseconds, of_ceiling) = (time * 1e6, rate / self.gemm);
        self.rows.push(KernelRow { name: name.into(), microseconds, unit: "TFLOP/s", rate: rate / 1e12, of_ceiling, aim });
        Ok(())
    }

    /// Sets of inputs that together exceed any cache: 256 MiB.
    fn sets(&self, bytes: usize) -> usize {
        if matches!(self.device, Device::Cpu) { 1 } else { ((256 << 20) / bytes.max(1)).clamp(1, 8) + 1 }
    }

    fn tensors(&self, shape: &[usize]) -> Result<Vec<Tensor>, Fault> {
        let bytes = 2 * shape.iter().product::<usize>();
        (0..self.sets(bytes)).map(|_| random(shape, DType::BF16, self.device)).collect()
    }

    fn memory_bound(&mut self, s: &Sizes) -> Result<(), Fault> {
        let (t, d, inter) = (s.tokens, s.hidden, s.intermediate());
        let (wide, narrow) = (2 * t * inter, 2 * t * d);
        let (gate, up, dact) = (self.tensors(&[t, inter])?, self.tensors(&[t, inter])?, self.tensors(&[t, inter])?);
        let pick = |v: &[Tensor], i: usize| v[i % v.len()].clone();
        self.bytes("swiglu", 3 * wide, Some(0.85), |i| Ok(swiglu(&pick(&gate, i), &pick(&up, i)).map(drop)?))?;
        self.bytes("swiglu backward, in place", 5 * wide, Some(0.85), |i| {
            Ok(swiglu_backward_inplace(&pick(&dact, i), &pick(&gate, i), &pick(&up, i))?)
        })?;
        drop((gate, up, dact));
        let (x, r, w) = (self.tensors(&[t, d])?, self.tensors(&[t, d])?, random(&[d], DType::F32, self.device)?);
        self.bytes("rms_norm", 2 * narrow, Some(0.85), |i| Ok(rms_norm(&pick(&x, i), &w, 1e-5).map(drop)?))?;
        self.bytes("residual + rms_norm", 4 * narrow, Some(0.85), |i| Ok(add_rms_norm(&pick(&x, i), &pick(&r, i), &w, 1e-5).map(drop)?))?;
        let rstd = rms_norm(&x[0], &w, 1e-5)?.1;
        self.bytes("rms_norm backward + residual", 4 * narrow, Some(0.85), |i| {
            let (x, r) = (pick(&x, i), pick(&r, i));
            Ok(rms_norm_backward(&r, &x, &w, &rstd, Some(&r), None).map(drop)?)
        })?;
        self.bytes("add, in place", 3 * narrow, Some(0.85), |i| Ok(add_inplace(&pick(&x, i), &pick(&r, i))?))?;
        let (heads, dim) = (d / 128, 128);
        let table = RopeTable::new(dim, 500_000.0, &RopeScaling::None, t, self.device)?;
        let positions: Vec<u32> = (0..t as u32).collect();
        let kv = (heads / 4).max(1);
        let (q, k) = (self.tensors(&[t, heads, dim])?, self.tensors(&[t, kv, dim])?);
        self.bytes("rope on q and k, in place", 4 * t * (heads + kv) * dim, Some(0.85), |i| {
            Ok(rope(&pick(&q, i), &pick(&k, i), &positions, &table)?)
        })
    }

    fn random_nf4(&self, out: usize, inp: usize) -> Result<Nf4, Fault> {
        let bytes = |n: usize| -> Result<Tensor, Fault> { Ok(Tensor::rand(0f32, 255.99, n, self.device)?.to_dtype(DType::U8)?) };
        let blocks = (out * inp).div_ceil(64);
        let absmax = Absmax::Double {
            codes: bytes(blocks)?,
            nested_absmax: Tensor::ones(blocks.div_ceil(256), DType::F32, self.device)?,
            map: Tensor::new(&dynamic_map(true), self.device)?,
            offset: 0.5,
        };
        Ok(Nf4::from_parts(bytes((out * inp).div_ceil(2))?, absmax, out, inp)?)
    }

    fn products(&mut self, s: &Sizes) -> Result<(), Fault> {
        let (t, d, inter) = (s.tokens, s.hidden, s.intermediate());
        let n = inter * d;
        let weights = (0..self.sets(n / 2)).map(|_| self.random_nf4(inter, d)).collect::<Result<Vec<_>, _>>()?;
        let held = weights[0].bytes() as usize;
        self.bytes("nf4 to bf16", held + 2 * n, Some(0.8), |i| Ok(weights[i % weights.len()].dequantize_as(DType::BF16).map(drop)?))?;
        let (x, dy) = (random(&[t, d], DType::BF16, self.device)?, random(&[t, inter], DType::BF16, self.device)?);
        let weights: Vec<Weight> = weights.into_iter().map(Weight::Nf4).collect();
        let flops = 2.0 * (t * n) as f64;
        self.flops("matmul with an nf4 weight", flops, Some(0.8), |i| Ok(matmul(&x, &weights[i % weights.len()]).map(drop)?))?;
        self.flops("matmul backward, nf4", flops, Some(0.8), |i| Ok(matmul_backward_input(&dy, &weights[i % weights.len()]).map(drop)?))?;
        let rank = 32;
        let (a, b) = (random(&[rank, d], DType::F32, self.device)?, random(&[inter, rank], DType::F32, self.device)?);
        let (da, db) = (a.zeros_like()?, b.zeros_like()?);
        let l = Lora { a: &a, b: &b, scale: 1.0, dropout: None };
        let y = dy.copy()?;
        let flops = 2.0 * (t * rank * (d + inter)) as f64;
        self.flops("lora forward, rank 32", flops, None, |_| Ok(lora_forward(&x, &l, &y).map(drop)?))?;
        let h = lora_forward(&x, &l, &y)?;
        let dx = x.copy()?;
        self.flops("lora backward, rank 32", 2.0 * flops, None, |_| Ok(lora_backward(&dy, &x, &h, &l, Some(&dx), &da, &db)?))?;
        let vocab = d * 32;
        let head = Weight::Dense(random(&[vocab, d], DType::BF16, self.device)?);
        let targets: Vec<i64> = (0..t).map(|i| (i * 7919 % vocab) as i64).collect();
        let o = CeOptions { grad_scale: Some(1.0 / t as f32), ..CeOptions::default() };
        let flops = 4.0 * (t * vocab * d) as f64;
        for (name, chosen) in [("", &[][..]), (" (logits128)", &[Variant::Logits128])] {
            self.flops(&format!("head and cross-entropy with gradient{name}"), flops, Some(0.8), |_| {
                with(chosen, || Ok(linear_cross_entropy(&x, &head, &targets, &o).map(drop)?))
            })?;
        }
        Ok(())
    }

    /// Today's attention, and the second versions that differ from it on this device.
    fn attention_variants(&self, several: bool) -> Vec<(&'static str, &'static [Variant])> {
        let mut all: Vec<(&str, &[Variant])> = vec![("", &[])];
        if !matches!(self.device, Device::Cpu) {
            all.push((" (keys64)", &[Variant::Keys64]));
            all.extend(several.then_some((" (by-sequence)", &[Variant::BySequence][..])));
            all.extend(self.hopper.then_some((" (warpgroups)", &[Variant::Warpgroups][..])));
        }
        all
    }

    fn attention(&mut self, s: &Sizes) -> Result<(), Fault> {
        let (t, dim, heads) = (s.tokens, 128, s.hidden / 128);
        let kv = (heads / 4).max(1);
        let part = |h: usize| random(&[t, h, dim], DType::BF16, self.device);
        let (q, k, v, dout) = (part(heads)?, part(kv)?, part(kv)?, part(heads)?);
        let scale = 1.0 / (dim as f32).sqrt();
        // One long sequence, the training case, and short rows.
        let mut lengths = vec![t, s.seq.min(t), 128.min(t)];
        lengths.dedup();
        for length in lengths {
            let mut ends: Vec<u32> = (0..t as u32).step_by(length).chain([t as u32]).collect();
            ends.dedup();
            let pairs: f64 = ends.windows(2).map(|w| f64::from(w[1] - w[0]).powi(2) / 2.0).sum();
            let flops = 4.0 * pairs * (heads * dim) as f64;
            let long = length >= 2048;
            let what = if length == t { "one sequence".into() } else { format!("sequences of {length}") };
            let (o, lse) = attention(&q, &k, &v, &ends, None, scale)?;
            for (variant, chosen) in self.attention_variants(length < t) {
                let what = format!("{what}{variant}");
                self.flops(&format!("attention, {what}"), flops, long.then_some(0.6), |_| {
                    with(chosen, || Ok(attention(&q, &k, &v, &ends, None, scale).map(drop)?))
                })?;
                // The tile of keys is the forward pass's alone.
                if chosen != [Variant::Keys64] {
                    self.flops(&format!("attention backward, {what}"), 2.5 * flops, long.then_some(0.45), |_| {
                        with(chosen, || Ok(attention_backward(&dout, &q, &k, &v, &o, &lse, &ends, None, scale).map(drop)?))
                    })?;
                }
            }
        }
        Ok(())
    }

    fn optimiser(&mut self, s: &Sizes) -> Result<(), Fault> {
        // A model's adapters: many tensors of rank 32.
        let shape = [32, s.hidden];
        let some = |n: usize| (0..n).map(|_| random(&shape, DType::F32, self.device)).collect::<Result<Vec<_>, Fault>>();
        let (params, grads) = (some(448)?, some(448)?);
        let n = 448 * 32 * s.hidden;
        let refs: Vec<&Tensor> = grads.iter().collect();
        self.bytes("global norm", 4 * n, None, |_| Ok(global_norm(&refs).map(drop)?))?;
        let o = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1, grad_scale: 1.0 };
        let full =
            params.iter().map(|p| Ok(Adam8State::Full { m: p.zeros_like()?, v: p.zeros_like()? })).collect::<Result<Vec<_>, Fault>>()?;
        let eight = params.iter().map(|p| Ok(Adam8State::zeros(p)?)).collect::<Result<Vec<_>, Fault>>()?;
        for (name, states, bytes) in [("adamw", full, 28 * n), ("adamw in 8 bits", eight, 16 * n)] {
            let all: Vec<_> = params.iter().zip(&grads).zip(&states).map(|((p, g), s)| (p, g, s, 0.01)).collect();
            self.bytes(name, bytes, Some(0.85), |_| Ok(adamw8_step_all(&all, &o)?))?;
        }
        Ok(())
    }
}
