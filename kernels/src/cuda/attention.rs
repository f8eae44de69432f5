//! Launchers of `attention.cu`, `attention_backward.cu` and `attention_plain.cu`.
//!
//! bf16 with a head dim that the tensor-core kernels are compiled for goes to them; everything else to the plain ones. Few
//! queries at the end of a cache go to the decoding kernel, which cuts the keys among blocks.

use candle_core::{DType, Device, Tensor};

use super::launch::{Arg, Kernel};
use super::memory::{empty, span, upload};
use super::suffix;
use crate::attention::Call;
use crate::variants::{self, Variant};
use crate::{Error, Result};

/// Head dims of the tensor-core kernels.
const DIMS: [usize; 5] = [64, 80, 96, 128, 256];
/// Rows of a tile of the backward kernels.
const TILE: usize = 64;
/// Threads of every kernel here.
const THREADS: u32 = 128;
/// Queries up to which a cache is decoded from.
const DECODED: usize = 4;
/// Keys of one block in decoding: a multiple of 128.
const DECODE_CHUNK: usize = 512;

/// Elements of `rows` rows of shared memory: rows of 16-byte chunks, an odd number of them where they are not permuted.
fn elements(rows: usize, dim: usize) -> usize {
    let chunks = dim / 8;
    rows * 8 * if chunks.is_multiple_of(8) { chunks } else { chunks | 1 }
}

/// (name, queries of a tile, bytes of shared memory) of the forward kernel.
fn forward_shape(dim: usize) -> (String, usize, usize) {
    let rows = if dim == 256 { 64 } else { 128 };
    let narrow = dim == 128 && !variants::on(Variant::Keys64);
    let keys = if narrow { 32 } else { 64 };
    let wide = if dim == 128 && !narrow { "_keys64" } else { "" };
    (format!("attention_forward_d{dim}{wide}"), rows, 2 * elements(rows + 2 * keys, dim))
}

/// Bytes of shared memory of the two backward kernels. With a head dim of 256 a warp's rows do not fit its registers: one
/// stage of 32 rows, and the block's own rows beside it; else two stages, of 64 rows for the smallest dim and of 32 for
/// the others, through which the own rows pass.
fn backward_shared(dim: usize) -> (usize, usize) {
    let (rows, stages, own) = match dim {
        256 => (32, 1, 2 * elements(TILE, dim)),
        64 => (64, 2, 0),
        _ => (32, 2, 0),
    };
    let stage = 2 * elements(rows, dim);
    (2 * (stages * stage + own), 2 * (stages * (stage + 4 * rows) + own))
}

/// Bytes of keys and values that blocks read at a time where they stay with few sequences: a third of an
/// H100's second-level cache, half of an A100's.
const CACHED: usize = 16 << 20;

/// (sequence, first row) of each tile of `rows` rows, those with the most work first: of all sequences, or
/// of as many at a time as have `CACHED` bytes of keys and values, `row_bytes` a row.
fn tiles(lengths: impl Iterator<Item = usize>, rows: usize, row_bytes: usize, work: impl Fn(usize, usize) -> usize) -> Vec<u32> {
    let by_sequence = variants::on(Variant::BySequence);
    let mut all: Vec<(usize, usize, u32, u32)> = Vec::new();
    let mut before = 0;
    for (s, length) in lengths.enumerate() {
        let group = if by_sequence { before * row_bytes / CACHED } else { 0 };
        all.extend((0..length).step_by(rows).map(|first| (group, work(s, first), s as u32, first as u32)));
        before += length;
    }
    all.sort_by_key(|t| (t.0, std::cmp::Reverse(t.1)));
    all.iter().flat_map(|t| [t.2, t.3]).collect()
}

/// Bytes of a row of keys and values in bf16.
fn row_bytes(call: &Call) -> usize {
    2 * 2 * call.kv_heads * call.dim
}

/// How many tiles a table lists, as a dimension of the grid.
fn tile_count(op: &'static str, table: &Tensor) -> Result<u32> {
    const MOST: usize = 65_535;
    let count = table.elem_count() / 2;
    if count <= MOST {
        return Ok(count as u32);
    }
    Err(Error::Value {
        op,
        message: format!("{count} tiles of queries in one pass, a GPU takes {MOST}: use a smaller batch or shorter rows"),
    })
}

fn spans(call: &Call, device: &Device) -> Result<Tensor> {
    let flat: Vec<u32> = call.spans.iter().flat_map(|s| [s.0 as u32, s.1 as u32, s.2 as u32, s.3 as u32]).collect();
    upload(&flat, device)
}

/// heads, kv_heads, rows, (dim,) window, scale: how the argument lists end.
fn shape(call: &Call, rows: usize, with_dim: bool) -> Vec<Arg> {
    let mut args: Vec<Arg> = vec![(call.heads as i32).into(), (call.kv_heads as i32).into(), (rows as u32).into()];
    if with_dim {
        args.push((call.dim as i32).into());
    }
    args.push(i32::try_from(call.window).unwrap_or(i32::MAX).into());
    args.push(call.scale.into());
    args
}

/// Rows of a tile, threads and bytes of shared memory of the kernels for compute capability 9.0; dkv has some bytes more.
const HOPPER_TILE: usize = 128;
const HOPPER_THREADS: u32 = 256;
const HOPPER_STATISTICS: usize = 2048;

fn hopper_shared(dim: usize) -> usize {
    2 * 640 * dim
}

/// Whether a call goes to the kernels for compute capability 9.0, which have not run on a GPU yet.
fn on_hopper(call: &Call, device: &Device) -> bool {
    let capable = match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => super::driver::capability(d).is_ok_and(|c| c == (9, 0)),
        _ => cfg!(emulator),
    };
    matches!(call.dim, 64 | 128) && capable && variants::on(Variant::Warpgroups)
}

/// The greatest head dim of the plain kernels.
const GREATEST: usize = 256;

/// Refuses what no kernel takes.
fn check(op: &'static str, call: &Call) -> Result<()> {
    if call.dim <= GREATEST {
        return Ok(());
    }
    Err(Error::Value { op, message: format!("a head dim of {} on a GPU: at most {GREATEST}", call.dim) })
}

fn has_tensor_cores(call: &Call, tensors: &[&Tensor]) -> bool {
    let fits = |t: &&Tensor| t.dtype() == DType::BF16 && span("attention", "operand", t, DType::BF16).is_ok_and(|s| s.address % 16 == 0);
    DIMS.contains(&call.dim) && tensors.iter().all(fits)
}

/// (o, lse f32 `[heads, queries]`).
pub(crate) fn forward(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, call: &Call) -> Result<(Tensor, Tensor)> {
    check(op, call)?;
    let (rows, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    let o = empty(q.shape(), dtype, device)?;
    let lse = empty((call.heads, rows), DType::F32, device)?;
    if rows == 0 {
        return Ok((o, lse));
    }
    let table = spans(call, device)?;
    let mut args: Vec<Arg> = vec![
        span(op, "q", q, dtype)?.into(),
        span(op, "k", k, dtype)?.into(),
        span(op, "v", v, dtype)?.into(),
        span(op, "o", &o, dtype)?.into(),
        span(op, "lse", &lse, DType::F32)?.into(),
        span(op, "spans", &table, DType::U32)?.into(),
    ];
    if has_tensor_cores(call, &[q, k, v]) {
        let hopper = on_hopper(call, device);
        let (name, tile, shared) = match hopper {
            true => (format!("attention_hopper_d{}", call.dim), HOPPER_TILE, hopper_shared(call.dim)),
            false => forward_shape(call.dim),
        };
        let seen = |s: usize, first: usize| (call.spans[s].3 - call.spans[s].2 + first + tile).min(call.window.saturating_add(tile));
        let list = upload(&tiles(call.spans.iter().map(|s| s.2), tile, row_bytes(call), seen), device)?;
        args.push(span(op, "tiles", &list, DType::U32)?.into());
        args.extend(shape(call, rows, false));
        let kernel = if hopper {
            Kernel::new(op, "attention_hopper", name, 1, HOPPER_THREADS)
        } else {
            Kernel::new(op, "attention", name, 1, THREADS)
        };
        let grid = [call.heads as u32, tile_count(op, &list)?, 1];
        // SAFETY: the spans lie within q and k, which the caller has checked; tiles within their sequences.
        unsafe { Kernel { grid, shared: shared as u32, ..kernel }.launch(device, &args)? };
    } else {
        args.push((call.spans.len() as i32).into());
        args.extend(shape(call, rows, true));
        let kernel = Kernel::new(op, "attention_plain", format!("attention_plain_{}", suffix(op, "q", q)?), rows.div_ceil(4), THREADS);
        // SAFETY: as above.
        unsafe { Kernel { grid: [kernel.grid[0], call.heads as u32, 1], ..kernel }.launch(device, &args)? };
    }
    Ok((o, lse))
}

/// (dq, dk, dv); queries and keys are as many.
pub(crate) fn backward(
    op: &'static str,
    dout: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    call: &Call,
) -> Result<(Tensor, Tensor, Tensor)> {
    check(op, call)?;
    let (rows, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    let (dq, dk, dv) = (empty(q.shape(), dtype, device)?, empty(k.shape(), dtype, device)?, empty(v.shape(), dtype, device)?);
    if rows == 0 {
        return Ok((dq, dk, dv));
    }
    let delta = empty((call.heads, rows), DType::F32, device)?;
    let table = spans(call, device)?;
    let at = |what, t: &Tensor| -> Result<Arg> { Ok(span(op, what, t, dtype)?.into()) };
    let f32s = |what, t: &Tensor| -> Result<Arg> { Ok(span(op, what, t, DType::F32)?.into()) };
    let qkv = [at("q", q)?, at("k", k)?, at("v", v)?];
    let (lse, delta, table) = (f32s("lse", lse)?, f32s("delta", &delta)?, Arg::from(span(op, "spans", &table, DType::U32)?));
    let (dout_at, o_at) = (at("dout", dout)?, at("o", o)?);
    let mut for_q: Vec<Arg> = [&qkv[..], &[o_at, dout_at, lse, delta, at("dq", &dq)?, table]].concat();
    let mut for_kv: Vec<Arg> = [&qkv[..], &[dout_at, lse, delta, at("dk", &dk)?, at("dv", &dv)?, table]].concat();
    if has_tensor_cores(call, &[q, k, v, o, dout]) {
        let hopper = on_hopper(call, device);
        let (rows_of_tile, (q_shared, kv_shared)) = if hopper {
            (HOPPER_TILE, (hopper_shared(call.dim), hopper_shared(call.dim) + HOPPER_STATISTICS))
        } else {
            (TILE, backward_shared(call.dim))
        };
        let lengths = || call.spans.iter().map(|s| s.2);
        let most = call.window.saturating_add(rows_of_tile);
        let q_tiles = upload(&tiles(lengths(), rows_of_tile, row_bytes(call), |_, first| (first + rows_of_tile).min(most)), device)?;
        let kv_tiles = upload(&tiles(lengths(), rows_of_tile, row_bytes(call), |s, first| (call.spans[s].2 - first).min(most)), device)?;
        let (q_count, kv_count) = (tile_count(op, &q_tiles)?, tile_count(op, &kv_tiles)?);
        for_q.push(span(op, "tiles", &q_tiles, DType::U32)?.into());
        for_q.extend(shape(call, rows, false));
        for_kv.push(span(op, "tiles", &kv_tiles, DType::U32)?.into());
        for_kv.extend(shape(call, rows, false));
        let kernel = |name: &str| match hopper {
            true => Kernel::new(op, "attention_hopper_backward", format!("attention_hopper_{name}_d{}", call.dim), 1, HOPPER_THREADS),
            false => Kernel::new(op, "attention_backward", format!("attention_{name}_d{}", call.dim), 1, THREADS),
        };
        let q_kernel = Kernel { grid: [call.heads as u32, q_count, 1], shared: q_shared as u32, ..kernel("dq") };
        // With a head dim of 256 the gradients of keys and of values are made by blocks of their own.
        let apart = if call.dim == 256 { 2 } else { 1 };
        let kv_kernel = Kernel { grid: [call.kv_heads as u32, kv_count, apart], shared: kv_shared as u32, ..kernel("dkv") };
        // SAFETY: the spans lie within q and k, tiles within their sequences; delta is written before it is read.
        unsafe {
            q_kernel.launch(device, &for_q)?;
            kv_kernel.launch(device, &for_kv)?;
        }
    } else {
        for args in [&mut for_q, &mut for_kv] {
            args.push((call.spans.len() as i32).into());
            args.extend(shape(call, rows, true));
        }
        let suffix = suffix(op, "q", q)?;
        let kernel = |name: &str| Kernel::new(op, "attention_plain", format!("{name}_{suffix}"), rows.div_ceil(4), THREADS);
        let (q_kernel, kv_kernel) = (kernel("attention_plain_dq"), kernel("attention_plain_dkv"));
        // SAFETY: as above.
        unsafe {
            Kernel { grid: [q_kernel.grid[0], call.heads as u32, 1], ..q_kernel }.launch(device, &for_q)?;
            Kernel { grid: [kv_kernel.grid[0], call.kv_heads as u32, 1], ..kv_kernel }.launch(device, &for_kv)?;
        }
    }
    Ok((dq, dk, dv))
}

/// Attention of the last queries over the first `length` rows of the caches.
pub(crate) fn cached(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, length: usize, call: &Call) -> Result<Tensor> {
    let (queries, dtype, device) = (q.dims()[0], q.dtype(), q.device());
    let address = |t| span(op, "cache", t, dtype).map(|s| s.address % 16 == 0);
    if queries == 0 || queries > DECODED || !call.dim.is_multiple_of(8) || call.dim > GREATEST || !(address(k)? && address(v)?) {
        return Ok(forward(op, q, k, v, call)?.0);
    }
    let o = empty(q.shape(), dtype, device)?;
    let (splits, suffix) = (length.div_ceil(DECODE_CHUNK), suffix(op, "q", q)?);
    let parts = empty((queries * call.heads, splits * (call.dim + 2)), DType::F32, device)?;
    let parts = span(op, "parts", &parts, DType::F32)?;
    let args = [
        span(op, "q", q, dtype)?.into(),
        span(op, "k", k, dtype)?.into(),
        span(op, "v", v, dtype)?.into(),
        parts.into(),
        (call.heads as i32).into(),
        (call.kv_heads as i32).into(),
        (call.dim as i32).into(),
        (length as i32).into(),
        i32::try_from(call.window).unwrap_or(i32::MAX).into(),
        (DECODE_CHUNK as i32).into(),
        call.scale.into(),
    ];
    let kernel = Kernel::new(op, "attention_plain", format!("attention_decode_{suffix}"), splits, THREADS);
    let groups = call.kv_heads * (call.heads / call.kv_heads).div_ceil(4);
    let combine = Kernel::new(op, "attention_plain", format!("attention_combine_{suffix}"), queries * call.heads, THREADS);
    let combined = [parts.into(), span(op, "o", &o, dtype)?.into(), (splits as i32).into(), (call.dim as i32).into()];
    // SAFETY: the caches have `length` rows, which the caller has checked; there is a part for each split of each head.
    unsafe {
        Kernel { grid: [splits as u32, groups as u32, queries as u32], ..kernel }.launch(device, &args)?;
        combine.launch(device, &combined)?;
    }
    Ok(o)
}
