//! Sums and copies over packed activations.

use candle_core::{DType, Tensor};

use crate::{Error, Result, backend};

fn same(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        let show = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
        return Err(Error::Shape { op, what: "b", got: show(b), want: show(a) });
    }
    Ok(())
}

/// `a + b`.
///
/// # Errors
/// On shapes or dtypes that differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "add";
    same(OP, a, b)?;
    backend::of(OP, a)?.add(OP, a, b)
}

/// `a += b`, in place.
///
/// # Errors
/// On shapes or dtypes that differ.
pub fn add_inplace(a: &Tensor, b: &Tensor) -> Result<()> {
    const OP: &str = "add_inplace";
    same(OP, a, b)?;
    backend::of(OP, a)?.add_inplace(OP, a, b)
}

/// `y += bias` on every row, in place: y `[tokens, n]`, bias `[n]` of f32 or y's dtype.
///
/// # Errors
/// On shapes that do not fit.
pub fn add_bias_inplace(y: &Tensor, bias: &Tensor) -> Result<()> {
    const OP: &str = "add_bias_inplace";
    let (_, n) = y.dims2()?;
    if bias.dims() != [n] {
        return Err(Error::Shape { op: OP, what: "bias", got: format!("{:?}", bias.dims()), want: format!("[{n}]") });
    }
    backend::of(OP, y)?.add_bias_inplace(OP, y, &bias.to_dtype(DType::F32)?)
}

/// `db += sum over rows of dy`, in place: dy `[tokens, n]`, db f32 `[n]`. Rows are added in order.
///
/// # Errors
/// On shapes that do not fit.
pub fn sum_rows_add(dy: &Tensor, db: &Tensor) -> Result<()> {
    const OP: &str = "sum_rows_add";
    let (_, n) = dy.dims2()?;
    if db.dims() != [n] {
        return Err(Error::Shape { op: OP, what: "db", got: format!("{:?}", db.dims()), want: format!("[{n}]") });
    }
    backend::of(OP, dy)?.sum_rows_add(OP, dy, db)
}

/// Copies the rows of src into dst from row `at` on, in place: a key-value cache grows so.
///
/// # Errors
/// When the rows do not fit.
pub fn write_rows(dst: &Tensor, at: usize, src: &Tensor) -> Result<()> {
    const OP: &str = "write_rows";
    let (d, s) = (dst.dims(), src.dims());
    if d.is_empty() || s.len() != d.len() || d[1..] != s[1..] || at + s[0] > d[0] {
        return Err(Error::Shape { op: OP, what: "src", got: format!("{s:?} at {at}"), want: format!("rows of {d:?}") });
    }
    let width: usize = d[1..].iter().product();
    backend::of(OP, dst)?.write_rows(OP, dst, at * width, src)
}
