//! Launchers of the attention kernels: tensor cores for bf16 in the head dims of real models, plain kernels for the rest.

use candle_core::{DType, Device, Tensor};

use super::launch::{Arg, Kernel};
use super::memory::{empty, span, upload};
use super::suffix;
use crate::attention::Call;
use crate::{Error, Result};

/// Head dims that the tensor-core kernels are compiled for.
const DIMS: [usize; 5] = [64, 80, 96, 128, 256];
/// The greatest head dim of the plain kernels.
const MOST: usize = 256;
/// Threads of a block, in every kernel here.
const THREADS: u32 = 128;
/// Rows of a backward tile.
const BACKWARD: usize = 64;
/// Queries that still count as few: they are decoded, each with all its keys split over the device.
const FEW: usize = 8;
/// Keys of a split when decoding: a multiple of a block's threads.
const SPLIT: usize = 256;

/// What has many rows in a tile.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Queries,
    Keys,
}

/// (sequence, first row) of every tile of `rows` rows, those with the most to do first.
fn tiles(c: &Call, rows: usize, side: Side) -> Vec<u32> {
    let mut all = Vec::new();
    for (sequence, &(_, _, nq, nk)) in c.spans.iter().enumerate() {
        let (n, before) = if side == Side::Queries { (nq, nk - nq) } else { (nk, 0) };
        for first in (0..n).step_by(rows) {
            let work = if side == Side::Queries { (before + first + rows).min(nk) } else { nk - first };
            all.push((std::cmp::Reverse(work.min(c.window.saturating_add(rows))), sequence as u32, first as u32));
        }
    }
    all.sort_unstable();
    all.iter().flat_map(|t| [t.1, t.2]).collect()
}

fn spans(c: &Call, device: &Device) -> Result<Tensor> {
    let flat: Vec<u32> = c.spans.iter().flat_map(|s| [s.0 as u32, s.1 as u32, s.2 as u32, s.3 as u32]).collect();
    upload(&flat, device)
}

fn window(c: &Call) -> Arg {
    Arg::I32(i32::try_from(c.window).unwrap_or(i32::MAX))
}

/// Bytes of `rows` rows in shared memory: `Tile` in mma.cuh.
fn tile_bytes(rows: usize, dim: usize) -> usize {
    let chunks = dim / 8;
    16 * rows * if chunks % 8 == 0 { chunks } else { chunks | 1 }
}

/// The kernels for a call: by tensor cores, or the plain ones.
fn on_tensor_cores(op: &'static str, q: &Tensor, c: &Call) -> Result<bool> {
    suffix(op, "q", q)?;
    if c.dim > MOST {
        return Err(Error::Value { op, message: format!("a head dim of {} is above {MOST}", c.dim) });
    }
    Ok(q.dtype() == DType::BF16 && DIMS.contains(&c.dim))
}

/// A launch of one block a tile: what every tensor-core kernel takes after its tensors.
fn tiled(op: &'static str, name: &str, c: &Call, rows: usize, side: Side, device: &Device, shared: usize) -> Result<(Kernel, [Tensor; 2])> {
    let tiles = tiles(c, rows, side);
    let blocks = if side == Side::Queries { c.heads } else { c.kv_heads };
    let file = if name == "forward" { "attention" } else { "attention_backward" };
    let kernel = Kernel {
        grid: [blocks as u32, tiles.len() as u32 / 2, 1],
        shared: shared as u32,
        ..Kernel::new(op, file, format!("attention_{name}_d{}", c.dim), 1, THREADS)
    };
    Ok((kernel, [spans(c, device)?, upload(&tiles, device)?]))
}

fn tiled_args(op: &'static str, tables: &[Tensor; 2], rows: usize, c: &Call) -> Result<[Arg; 7]> {
    Ok([
        span(op, "spans", &tables[0], DType::U32)?.into(),
        span(op, "tiles", &tables[1], DType::U32)?.into(),
        (c.heads as i32).into(),
        (c.kv_heads as i32).into(),
        (rows as u32).into(),
        window(c),
        c.scale.into(),
    ])
}

/// The plain kernel `name`, a warp a row of one head.
fn plain(op: &'static str, name: &str, q: &Tensor, rows: usize, heads: usize) -> Result<Kernel> {
    let name = format!("attention_{name}_{}", suffix(op, "q", q)?);
    let kernel = Kernel::new(op, "attention_plain", name, rows.div_ceil(4), THREADS);
    Ok(Kernel { grid: [kernel.grid[0], heads as u32, 1], ..kernel })
}

fn plain_args(op: &'static str, spans: &Tensor, rows: usize, c: &Call) -> Result<[Arg; 8]> {
    Ok([
        span(op, "spans", spans, DType::U32)?.into(),
        (c.spans.len() as i32).into(),
        (c.heads as i32).into(),
        (c.kv_heads as i32).into(),
        (rows as u32).into(),
        (c.dim as i32).into(),
        window(c),
        c.scale.into(),
    ])
}

/// (o, lse) of packed sequences, or of queries at the end of a cache.
pub(crate) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, c: &Call) -> Result<(Tensor, Tensor)> {
    let (rows, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    let o = empty(q.shape().clone(), dtype, device)?;
    let lse = empty((c.heads, rows), DType::F32, device)?;
    if rows == 0 {
        return Ok((o, lse));
    }
    let mut args: Vec<Arg> = Vec::new();
    for (what, t) in [("q", q), ("k", k), ("v", v), ("o", &o)] {
        args.push(span(op, what, t, dtype)?.into());
    }
    args.push(span(op, "lse", &lse, DType::F32)?.into());
    if on_tensor_cores(op, q, c)? {
        let queries = if c.dim > 128 { 64 } else { 128 };
        let shared = tile_bytes(queries + 2 * 64, c.dim);
        let (kernel, tables) = tiled(op, "forward", c, queries, Side::Queries, device, shared)?;
        args.extend(tiled_args(op, &tables, rows, c)?);
        // SAFETY: the shapes were checked; every row lies in one sequence, every sequence in q, k and v.
        unsafe { kernel.launch(device, &args)? };
    } else {
        let table = spans(c, device)?;
        args.extend(plain_args(op, &table, rows, c)?);
        // SAFETY: as above.
        unsafe { plain(op, "plain", q, rows, c.heads)?.launch(device, &args)? };
    }
    Ok((o, lse))
}

/// (dq, dk, dv); every sequence has as many queries as keys.
pub(crate) fn backward(
    op: &'static str,
    dout: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    c: &Call,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    let dq = empty(q.shape().clone(), dtype, device)?;
    let (dk, dv) = (empty(k.shape().clone(), dtype, device)?, empty(v.shape().clone(), dtype, device)?);
    let delta_of = empty((c.heads, rows), DType::F32, device)?;
    if rows == 0 {
        return Ok((dq, dk, dv));
    }
    let activation = |what, t: &Tensor| Ok::<_, Error>(Arg::from(span(op, what, t, dtype)?));
    let statistic = |what, t: &Tensor| Ok::<_, Error>(Arg::from(span(op, what, t, DType::F32)?));
    let inputs = [activation("q", q)?, activation("k", k)?, activation("v", v)?];
    let (lse, delta) = (statistic("lse", lse)?, statistic("delta", &delta_of)?);
    let dout = activation("dout", dout)?;
    let mut for_dq = inputs.to_vec();
    for_dq.extend([activation("o", o)?, dout, lse, delta, activation("dq", &dq)?]);
    let mut for_dkv = inputs.to_vec();
    for_dkv.extend([dout, lse, delta, activation("dk", &dk)?, activation("dv", &dv)?]);
    if on_tensor_cores(op, q, c)? {
        // Below 256, two stages of the other side's rows; at 256, one, and the tile's own rows. `dkv` has lse and delta beside them.
        let other = if c.dim == 64 { 64 } else { 32 };
        let (rows_held, stages, parts) = if c.dim == 256 { (2 * other + 2 * BACKWARD, 1, 2) } else { (4 * other, 2, 1) };
        let (shared, statistics) = (tile_bytes(rows_held, c.dim), stages * 8 * other);
        let (kernel, tables) = tiled(op, "dq", c, BACKWARD, Side::Queries, device, shared)?;
        for_dq.extend(tiled_args(op, &tables, rows, c)?);
        // SAFETY: the shapes were checked; every row lies in one sequence, every sequence in all tensors.
        unsafe { kernel.launch(device, &for_dq)? };
        let (kernel, tables) = tiled(op, "dkv", c, BACKWARD, Side::Keys, device, shared + statistics)?;
        for_dkv.extend(tiled_args(op, &tables, rows, c)?);
        let [x, y, _] = kernel.grid;
        // SAFETY: as above; delta was written by the launch before.
        unsafe { Kernel { grid: [x, y, parts], ..kernel }.launch(device, &for_dkv)? };
    } else {
        let table = spans(c, device)?;
        for_dq.extend(plain_args(op, &table, rows, c)?);
        for_dkv.extend(plain_args(op, &table, rows, c)?);
        // SAFETY: as above.
        unsafe {
            plain(op, "plain_dq", q, rows, c.heads)?.launch(device, &for_dq)?;
            plain(op, "plain_dkv", q, rows, c.kv_heads)?.launch(device, &for_dkv)?;
        }
    }
    Ok((dq, dk, dv))
}

/// o of the last queries of the first `length` rows of a cache.
pub(crate) fn cached(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, length: usize, c: &Call) -> Result<Tensor> {
    let (n, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    if n == 0 || n > FEW || c.dim % 8 != 0 || c.dim > MOST {
        return Ok(forward(op, q, k, v, c)?.0);
    }
    let (end, splits) = (suffix(op, "q", q)?, length.div_ceil(SPLIT));
    let o = empty(q.shape().clone(), dtype, device)?;
    let parts_of = empty((n * c.heads, splits, c.dim + 2), DType::F32, device)?;
    let four = (c.heads / c.kv_heads).div_ceil(4);
    let decode = Kernel {
        grid: [splits as u32, (c.kv_heads * four) as u32, n as u32],
        ..Kernel::new(op, "attention_plain", format!("attention_decode_{end}"), 1, THREADS)
    };
    let parts = span(op, "parts", &parts_of, DType::F32)?;
    let mut args: Vec<Arg> = Vec::new();
    for (what, t) in [("q", q), ("k", k), ("v", v)] {
        args.push(span(op, what, t, dtype)?.into());
    }
    args.push(parts.into());
    args.extend([c.heads, c.kv_heads, c.dim, length].map(|x| Arg::I32(x as i32)));
    args.extend([window(c), Arg::I32(SPLIT as i32), c.scale.into()]);
    let combine = [parts.into(), span(op, "o", &o, dtype)?.into(), (splits as i32).into(), (c.dim as i32).into()];
    // SAFETY: the shapes were checked, the cache has `length` rows; every part is written before it is read.
    unsafe {
        decode.launch(device, &args)?;
        Kernel::new(op, "attention_plain", format!("attention_combine_{end}"), n * c.heads, THREADS).launch(device, &combine)?;
    }
    Ok(o)
}
