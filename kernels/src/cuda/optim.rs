//! Launchers of `optim.cu`: all tensors in one launch.

use candle_core::{DType, Device, Tensor};

use super::launch::{Arg, Kernel, THREADS};
use super::memory::{empty, span, upload};
use crate::backend::Stepped;
use crate::optim::{Adam8State, AdamW, BLOCK, Constants};
use crate::quant::dynamic_map;
use crate::{Error, Result};

/// Elements that one block takes.
const CHUNK: usize = 8192;

/// One tensor of a launch, in the order of the kernel's table.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    p: u64,
    g: u64,
    m: u64,
    v: u64,
    m_absmax: u64,
    v_absmax: u64,
    n: usize,
    decay: f32,
}

/// The address of a whole tensor.
fn address(op: &'static str, what: &'static str, t: &Tensor, dtype: DType) -> Result<u64> {
    Ok(span(op, what, t, dtype)?.address)
}

/// The tables of a launch on the device: tensors, chunks, and how many chunks there are.
fn tables(op: &'static str, entries: &[Entry], device: &Device) -> Result<(Tensor, Tensor, usize)> {
    let words = |e: &Entry| [e.p, e.g, e.m, e.v, e.m_absmax, e.v_absmax, e.n as u64, u64::from(e.decay.to_bits())].map(|w| w as i64);
    let tensors: Vec<i64> = entries.iter().flat_map(words).collect();
    let chunks: Vec<u32> =
        entries.iter().enumerate().flat_map(|(i, e)| (0..e.n.div_ceil(CHUNK)).flat_map(move |c| [i as u32, c as u32])).collect();
    let count = chunks.len() / 2;
    if count == 0 {
        return Err(Error::Value { op, message: "no tensor has elements".into() });
    }
    Ok((upload(&tensors, device)?, upload(&chunks, device)?, count))
}

fn constants(c: &Constants) -> [Arg; 8] {
    [c.size, c.root, c.eps, c.beta[0], c.beta[1], c.rest[0], c.rest[1], c.grad_scale].map(Arg::F32)
}

/// AdamW over all entries; `c.decay` is not used, each entry has its own.
fn adamw(op: &'static str, entries: &[Entry], c: &Constants, device: &Device) -> Result<()> {
    if entries.iter().all(|e| e.n == 0) {
        return Ok(());
    }
    let (tensors, chunks, count) = tables(op, entries, device)?;
    let mut args: Vec<Arg> =
        vec![span(op, "table", &tensors, DType::I64)?.into(), span(op, "chunks", &chunks, DType::U32)?.into(), (CHUNK as u32).into()];
    args.extend(constants(c));
    // SAFETY: each entry's addresses hold n f32 elements, and no two entries share a tensor.
    unsafe { Kernel::new(op, "optim", "adamw", count, THREADS).launch(device, &args) }
}

/// The same with moments in 8 bits.
fn adamw8(op: &'static str, entries: &[Entry], c: &Constants, device: &Device) -> Result<()> {
    if entries.iter().all(|e| e.n == 0) {
        return Ok(());
    }
    let (tensors, chunks, count) = tables(op, entries, device)?;
    let (signed, unsigned) = (upload(&dynamic_map(true), device)?, upload(&dynamic_map(false), device)?);
    let mut args: Vec<Arg> = vec![
        span(op, "table", &tensors, DType::I64)?.into(),
        span(op, "chunks", &chunks, DType::U32)?.into(),
        (CHUNK as u32).into(),
        span(op, "map", &signed, DType::F32)?.into(),
        span(op, "map", &unsigned, DType::F32)?.into(),
    ];
    args.extend(constants(c));
    // SAFETY: each entry's addresses hold n elements and one scale for 256 of them; no two entries share a tensor.
    unsafe { Kernel::new(op, "optim", "adamw8", count, 256).launch(device, &args) }
}

/// One step of AdamW: those with f32 moments in one launch, those with moments in 8 bits in another.
pub(crate) fn step(op: &'static str, tensors: &[Stepped], o: &AdamW) -> Result<()> {
    let (mut full, mut blocks) = (Vec::new(), Vec::new());
    for (p, g, state, weight_decay) in tensors {
        let of = |what, t: &Tensor, n: usize, dtype| {
            if t.elem_count() == n {
                return address(op, what, t, dtype);
            }
            Err(Error::Shape { op, what, got: format!("{:?}", t.dims()), want: format!("{n} elements") })
        };
        let (n, decay) = (p.elem_count(), Constants::of(&AdamW { weight_decay: *weight_decay, ..*o }).decay);
        let (at, g) = (of("p", p, n, DType::F32)?, of("g", g, n, DType::F32)?);
        let entry = Entry { p: at, g, n, decay, ..Entry::default() };
        match state {
            Adam8State::Full { m, v } => full.push(Entry { m: of("m", m, n, DType::F32)?, v: of("v", v, n, DType::F32)?, ..entry }),
            Adam8State::Blocks { m, v, m_absmax, v_absmax } => blocks.push(Entry {
                m: of("m", m, n, DType::U8)?,
                v: of("v", v, n, DType::U8)?,
                m_absmax: of("m_absmax", m_absmax, n.div_ceil(BLOCK), DType::F32)?,
                v_absmax: of("v_absmax", v_absmax, n.div_ceil(BLOCK), DType::F32)?,
                ..entry
            }),
        }
    }
    let Some((p, ..)) = tensors.first() else { return Ok(()) };
    adamw(op, &full, &Constants::of(o), p.device())?;
    adamw8(op, &blocks, &Constants::of_8bit(o), p.device())
}

/// The L2 norm over all gradients. The host waits for it.
pub(crate) fn global_norm(op: &'static str, grads: &[&Tensor], device: &Device) -> Result<f64> {
    let entry = |g: &&Tensor| Ok(Entry { g: address(op, "gradient", g, DType::F32)?, n: g.elem_count(), ..Entry::default() });
    let entries: Vec<Entry> = grads.iter().map(entry).collect::<Result<_>>()?;
    if entries.iter().all(|e| e.n == 0) {
        return Ok(0.0);
    }
    let (tensors, chunks, count) = tables(op, &entries, device)?;
    let (parts, total) = (empty(count, DType::F64, device)?, empty(1, DType::F64, device)?);
    let parts_there = span(op, "parts", &parts, DType::F64)?;
    let args = [
        span(op, "table", &tensors, DType::I64)?.into(),
        span(op, "chunks", &chunks, DType::U32)?.into(),
        (CHUNK as u32).into(),
        parts_there.into(),
    ];
    // SAFETY: each entry's address holds n f32 elements; one part a block.
    unsafe { Kernel::new(op, "optim", "norm_chunks", count, 256).launch(device, &args)? };
    let args = [parts_there.into(), (count as u32).into(), span(op, "total", &total, DType::F64)?.into()];
    // SAFETY: `count` parts and one total.
    unsafe { Kernel::new(op, "optim", "norm_finish", 1, 256).launch(device, &args)? };
    Ok(total.to_vec1::<f64>()?[0].sqrt())
}
