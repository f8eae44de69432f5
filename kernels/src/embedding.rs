//! Rows of the embedding table, and their gradient.

use candle_core::{DType, Tensor};

use crate::{Error, Result, backend};

/// The rows `ids` of the table `[vocab, hidden]` (f32 or bf16), as `[ids, hidden]` in `dtype`.
///
/// # Errors
/// When an id is outside the vocabulary.
pub fn embedding(table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor> {
    const OP: &str = "embedding";
    let (vocab, _) = table.dims2()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(Error::Value { op: OP, message: format!("token id {id} is outside the vocabulary of {vocab}") });
    }
    backend::of(OP, table)?.embedding(OP, table, ids, dtype)
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
    backend::of(OP, dy)?.embedding_backward(OP, dy, &order, dtable)
}
