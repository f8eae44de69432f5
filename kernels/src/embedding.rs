//! Rows of the embedding table, and their gradient.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::elementwise::add_to;
use crate::real::by_dtype;
use crate::unwritten::unwritten;
use crate::view::{on_device, on_known_device, read, write};
use crate::{Error, Result};

/// The rows `ids` of the table `[vocab, hidden]` (f32 or bf16), as `[ids, hidden]` in `dtype`.
///
/// # Errors
/// When an id is outside the vocabulary.
pub fn embedding(table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor> {
    const OP: &str = "embedding";
    let (vocab, d) = table.dims2()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(Error::Value { op: OP, message: format!("token id {id} is outside the vocabulary of {vocab}") });
    }
    on_known_device(OP, table)?;
    on_device!(table => Ok(crate::cuda::embedding::gather(OP, table, ids)?.to_dtype(dtype)?));
    let rows = by_dtype!(OP, "table", table, T => {
        let mut out = unwritten::<T>(ids.len() * d);
        read::<T, _>(OP, "table", table, |t| {
            for (o, &id) in out.chunks_mut(d).zip(ids) {
                o.copy_from_slice(&t[id as usize * d..(id as usize + 1) * d]);
            }
        })?;
        Ok(Tensor::from_vec(out, (ids.len(), d), &Device::Cpu)?)
    })?;
    Ok(rows.to_dtype(dtype)?)
}

/// Adds each row of dy `[ids, hidden]` to the row of its id in dtable f32 `[vocab, hidden]`, in place. The rows of one id
/// are added in the order of the tokens, whatever the number of threads.
///
/// # Errors
/// When an id is outside the vocabulary or shapes do not fit.
pub fn embedding_backward(dy: &Tensor, ids: &[u32], dtable: &Tensor) -> Result<()> {
    const OP: &str = "embedding_backward";
    let (vocab, d) = dtable.dims2()?;
    if dy.dims() != [ids.len(), d] {
        return Err(Error::Shape { op: OP, what: "dy", got: format!("{:?}", dy.dims()), want: format!("[{}, {d}]", ids.len()) });
    }
    let mut order: Vec<(u32, u32)> = ids.iter().enumerate().map(|(i, &id)| (id, i as u32)).collect();
    order.sort_unstable();
    if let Some(&(id, _)) = order.last().filter(|(id, _)| *id as usize >= vocab) {
        return Err(Error::Value { op: OP, message: format!("token id {id} is outside the vocabulary of {vocab}") });
    }
    on_device!(dy => crate::cuda::embedding::backward(OP, dy, &order, dtable));
    by_dtype!(OP, "dy", dy, T => read::<T, _>(OP, "dy", dy, |dy| write::<f32, _>(OP, "dtable", dtable, |table| {
        const ROWS: usize = 1024;
        table.par_chunks_mut(ROWS * d).enumerate().for_each(|(c, chunk)| {
            let first = order.partition_point(|&(id, _)| (id as usize) < c * ROWS);
            for &(id, i) in order[first..].iter().take_while(|&&(id, _)| (id as usize) < (c + 1) * ROWS) {
                let at = (id as usize - c * ROWS) * d;
                let row = &dy[i as usize * d..(i as usize + 1) * d];
                add_to(&mut chunk[at..at + d], row);
            }
        });
    }))?)
}
