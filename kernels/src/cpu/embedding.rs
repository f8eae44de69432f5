//! Rows of a table, and their gradient: each thread has rows of the table, and adds to one in the order of the
//! tokens.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::elementwise::add_to;
use crate::Result;
use crate::real::by_dtype;
use crate::unwritten::unwritten;
use crate::view::{read, write};

pub(super) fn embedding(op: &'static str, table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor> {
    let (_, d) = table.dims2()?;
    let rows = by_dtype!(op, "table", table, T => {
        let mut out = unwritten::<T>(ids.len() * d);
        read::<T, _>(op, "table", table, |t| {
            for (o, &id) in out.chunks_mut(d).zip(ids) {
                o.copy_from_slice(&t[id as usize * d..(id as usize + 1) * d]);
            }
        })?;
        Ok(Tensor::from_vec(out, (ids.len(), d), &Device::Cpu)?)
    })?;
    Ok(rows.to_dtype(dtype)?)
}

pub(super) fn embedding_backward(op: &'static str, dy: &Tensor, order: &[(u32, u32)], dtable: &Tensor) -> Result<()> {
    let (_, d) = dtable.dims2()?;
    by_dtype!(op, "dy", dy, T => read::<T, _>(op, "dy", dy, |dy| write::<f32, _>(op, "dtable", dtable, |table| {
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
