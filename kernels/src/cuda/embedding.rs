//! Launchers of `embedding.cu`.

use candle_core::{DType, Tensor};

use super::launch::Kernel;
use super::memory::{empty, span, upload};
use super::suffix;
use crate::Result;

/// Threads that copy a row of `d` elements.
fn threads(d: usize) -> u32 {
    (d.div_ceil(8).next_multiple_of(32) as u32).clamp(32, 256)
}

/// The rows `ids` of `[n, d]`, in its dtype. The ids have been checked.
pub(crate) fn gather(op: &'static str, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let (_, d) = table.dims2()?;
    let name = format!("embedding_{}", suffix(op, "table", table)?);
    let out = empty((ids.len(), d), table.dtype(), table.device())?;
    if ids.is_empty() {
        return Ok(out);
    }
    let at = upload(ids, table.device())?;
    let args = [
        span(op, "table", table, table.dtype())?.into(),
        span(op, "ids", &at, DType::U32)?.into(),
        span(op, "out", &out, table.dtype())?.into(),
        (d as i32).into(),
    ];
    // SAFETY: one block a row of out; every id is a row of the table.
    unsafe { Kernel::new(op, "embedding", name, ids.len(), threads(d)).launch(table.device(), &args)? };
    Ok(out)
}

/// `to[ids[i]] = from[i]`, rows; the ids differ and have been checked.
pub(crate) fn scatter(op: &'static str, from: &Tensor, ids: &[u32], to: &Tensor) -> Result<()> {
    let (_, d) = to.dims2()?;
    let name = format!("scatter_rows_{}", suffix(op, "rows", to)?);
    if ids.is_empty() {
        return Ok(());
    }
    let at = upload(ids, to.device())?;
    let args = [
        span(op, "from", from, to.dtype())?.into(),
        span(op, "ids", &at, DType::U32)?.into(),
        span(op, "to", to, to.dtype())?.into(),
        (d as i32).into(),
    ];
    // SAFETY: one block a row of `from`; every id is a row of `to`, and no two blocks write one row.
    unsafe { Kernel::new(op, "embedding", name, ids.len(), threads(d)).launch(to.device(), &args) }
}

/// Adds the rows of dy to dtable; `order` is (id, token), sorted and checked.
pub(crate) fn backward(op: &'static str, dy: &Tensor, order: &[(u32, u32)], dtable: &Tensor) -> Result<()> {
    let (_, d) = dtable.dims2()?;
    let name = format!("embedding_backward_{}", suffix(op, "dy", dy)?);
    let tokens: Vec<u32> = order.iter().map(|o| o.1).collect();
    let (mut ids, mut starts) = (Vec::new(), Vec::new());
    for (i, &(id, _)) in order.iter().enumerate() {
        if ids.last() != Some(&id) {
            ids.push(id);
            starts.push(i as u32);
        }
    }
    starts.push(order.len() as u32);
    if ids.is_empty() {
        return Ok(());
    }
    let device = dy.device();
    let (tokens, starts_there, ids_there) = (upload(&tokens, device)?, upload(&starts, device)?, upload(&ids, device)?);
    let args = [
        span(op, "dy", dy, dy.dtype())?.into(),
        span(op, "order", &tokens, DType::U32)?.into(),
        span(op, "starts", &starts_there, DType::U32)?.into(),
        span(op, "ids", &ids_there, DType::U32)?.into(),
        span(op, "dtable", dtable, DType::F32)?.into(),
        (d as i32).into(),
    ];
    // SAFETY: one block an id, which alone writes that row; tokens are rows of dy.
    unsafe { Kernel::new(op, "embedding", name, ids.len(), 256).launch(device, &args) }
}
