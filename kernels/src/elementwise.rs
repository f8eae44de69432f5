//! Sums and copies over packed activations.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{on_device, on_known_device, read, to_vec, write};
use crate::{Error, Result};

const CHUNK: usize = 16384;

fn same(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        let show = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
        return Err(Error::Shape { op, what: "b", got: show(b), want: show(a) });
    }
    on_known_device(op, a)
}

wide! {
    fn sum_of<T: Real>(out: &mut [T], a: &[T], b: &[T]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = T::down(a.up() + b.up());
        }
    }

    /// `a += b`, each of its own type.
    pub(crate) fn add_to<T: Real, U: Real>(a: &mut [T], b: &[U]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = T::down(a.up() + b.up());
        }
    }

    /// `to = from` in another type.
    pub(crate) fn convert<T: Real, U: Real>(from: &[T], to: &mut [U]) {
        for (o, x) in to.iter_mut().zip(from) {
            *o = U::down(x.up());
        }
    }

    /// `x *= by`.
    pub(crate) fn scale<T: Real>(x: &mut [T], by: f32) {
        for x in x.iter_mut() {
            *x = T::down(x.up() * by);
        }
    }
}

/// `a + b`.
///
/// # Errors
/// On shapes or dtypes that differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "add";
    same(OP, a, b)?;
    on_device!(a => {
        let out = crate::cuda::memory::empty(a.shape(), a.dtype(), a.device())?;
        crate::cuda::elementwise::add(OP, a, b, &out)?;
        Ok(out)
    });
    by_dtype!(OP, "a", a, T => {
        let mut out = unwritten::<T>(a.elem_count());
        read::<T, _>(OP, "a", a, |a| read::<T, _>(OP, "b", b, |b| {
            out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((o, a), b)| sum_of(o, a, b));
        }))??;
        Ok(Tensor::from_vec(out, a.dims(), &Device::Cpu)?)
    })
}

/// `a += b`, in place.
///
/// # Errors
/// On shapes or dtypes that differ.
pub fn add_inplace(a: &Tensor, b: &Tensor) -> Result<()> {
    const OP: &str = "add_inplace";
    same(OP, a, b)?;
    on_device!(a => crate::cuda::elementwise::add(OP, a, b, a));
    by_dtype!(OP, "a", a, T => {
        read::<T, _>(OP, "b", b, |b| write::<T, _>(OP, "a", a, |a| {
            a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| add_to(a, b));
        }))?
    })
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
    on_device!(y => crate::cuda::elementwise::add_bias(OP, y, &bias.to_dtype(DType::F32)?));
    let bias = to_vec::<f32>(OP, "bias", &bias.to_dtype(DType::F32)?)?;
    by_dtype!(OP, "y", y, T => {
        write::<T, _>(OP, "y", y, |y| {
            y.par_chunks_mut(n).for_each(|row| add_to(row, &bias));
        })
    })
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
    on_device!(dy => crate::cuda::elementwise::sum_rows_add(OP, dy, db));
    by_dtype!(OP, "dy", dy, T => {
        read::<T, _>(OP, "dy", dy, |dy| write::<f32, _>(OP, "db", db, |db| {
            for row in dy.chunks(n) {
                add_to(db, row);
            }
        }))?
    })
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
    on_device!(dst => crate::cuda::elementwise::write_rows(OP, dst, at * width, src));
    by_dtype!(OP, "src", src, T => {
        read::<T, _>(OP, "src", src, |s| write::<T, _>(OP, "dst", dst, |d| d[at * width..at * width + s.len()].copy_from_slice(s)))?
    })
}
