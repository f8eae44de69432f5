//! Sums and copies in chunks, one thread each.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::Result;
use crate::real::{Real, by_dtype};
use crate::simd::wide;
use crate::unwritten::unwritten;
use crate::view::{read, to_vec, write};

const CHUNK: usize = 16384;

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

pub(super) fn add(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    by_dtype!(op, "a", a, T => {
        let mut out = unwritten::<T>(a.elem_count());
        read::<T, _>(op, "a", a, |a| read::<T, _>(op, "b", b, |b| {
            out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((o, a), b)| sum_of(o, a, b));
        }))??;
        Ok(Tensor::from_vec(out, a.dims(), &Device::Cpu)?)
    })
}

pub(super) fn add_inplace(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    by_dtype!(op, "a", a, T => {
        read::<T, _>(op, "b", b, |b| write::<T, _>(op, "a", a, |a| {
            a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| add_to(a, b));
        }))?
    })
}

pub(super) fn add_bias_inplace(op: &'static str, y: &Tensor, bias: &Tensor) -> Result<()> {
    let (_, n) = y.dims2()?;
    let bias = to_vec::<f32>(op, "bias", bias)?;
    by_dtype!(op, "y", y, T => {
        write::<T, _>(op, "y", y, |y| {
            y.par_chunks_mut(n).for_each(|row| add_to(row, &bias));
        })
    })
}

/// Rows are added in order.
pub(super) fn sum_rows_add(op: &'static str, dy: &Tensor, db: &Tensor) -> Result<()> {
    let (_, n) = dy.dims2()?;
    by_dtype!(op, "dy", dy, T => {
        read::<T, _>(op, "dy", dy, |dy| write::<f32, _>(op, "db", db, |db| {
            for row in dy.chunks(n) {
                add_to(db, row);
            }
        }))?
    })
}

pub(super) fn write_rows(op: &'static str, dst: &Tensor, first: usize, src: &Tensor) -> Result<()> {
    by_dtype!(op, "src", src, T => {
        read::<T, _>(op, "src", src, |s| write::<T, _>(op, "dst", dst, |d| d[first..first + s.len()].copy_from_slice(s)))?
    })
}

pub(super) fn times_inplace(op: &'static str, x: &Tensor, by: f32) -> Result<()> {
    by_dtype!(op, "x", x, T => write::<T, _>(op, "x", x, |x| x.par_chunks_mut(CHUNK).for_each(|x| scale(x, by))))
}

pub(super) fn times(op: &'static str, x: &Tensor, by: f32) -> Result<Tensor> {
    by_dtype!(op, "x", x, T => {
        let mut out = read::<T, _>(op, "x", x, <[T]>::to_vec)?;
        out.par_chunks_mut(CHUNK).for_each(|x| scale(x, by));
        Ok(Tensor::from_vec(out, x.dims(), &Device::Cpu)?)
    })
}
