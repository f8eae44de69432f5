//! Slices of a CPU tensor's storage, for reading and for writing in place.
//!
//! Candle tensors share their storage behind a lock; these two traits borrow the contiguous elements of a
//! CPU tensor for the length of a closure. They are the only way CPU kernels reach memory.

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor};
use half::{bf16, f16};

use crate::{Error, Result};

/// An element type that CPU kernels read and write.
pub(crate) trait Element: candle_core::WithDType + Copy + Send + Sync {
    /// The elements of a storage of this dtype.
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
    /// The same, for writing.
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

macro_rules! element {
    ($ty:ty, $variant:ident) => {
        impl Element for $ty {
            fn slice(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$variant(v) => Some(v),
                    _ => None,
                }
            }
            fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(v) => Some(v),
                    _ => None,
                }
            }
        }
    };
}
element!(f32, F32);
element!(bf16, BF16);
element!(f16, F16);
element!(u8, U8);
element!(u32, U32);
element!(i64, I64);

/// True for a tensor in host memory.
pub(crate) fn is_cpu(t: &Tensor) -> bool {
    matches!(t.device(), Device::Cpu)
}

/// The error for a device without a kernel for `op`.
pub(crate) fn no_kernel(op: &'static str, t: &Tensor) -> Error {
    Error::NoKernel { op, device: format!("{:?}", t.device().location()) }
}

/// Runs `f` on the contiguous elements of a CPU tensor.
///
/// # Errors
/// When the tensor is not contiguous, not on the CPU, or of another dtype.
pub(crate) fn read<T: Element, R>(op: &'static str, what: &'static str, t: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = t.storage_and_layout();
    let Storage::Cpu(cpu) = &*storage else { return Err(no_kernel(op, t)) };
    let Some(all) = T::slice(cpu) else {
        return Err(Error::Dtype { op, what, got: t.dtype(), want: T::DTYPE.as_str() });
    };
    let Some((start, end)) = layout.contiguous_offsets() else { return Err(Error::NotContiguous { op, what }) };
    Ok(f(&all[start..end]))
}

struct Write<'f, T, R> {
    op: &'static str,
    what: &'static str,
    state: std::sync::Mutex<(Option<Box<dyn FnOnce(&mut [T]) -> R + 'f>>, Option<Result<R>>)>,
}

impl<T: Element, R> InplaceOp1 for Write<'_, T, R> {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let dtype = storage_dtype(storage);
        let mut state = self.state.lock().map_err(|_| candle_core::Error::Msg("poisoned".into()))?;
        let out = match (T::slice_mut(storage), layout.contiguous_offsets(), state.0.take()) {
            (Some(all), Some((start, end)), Some(f)) => Ok(f(&mut all[start..end])),
            (None, _, _) => Err(Error::Dtype { op: self.op, what: self.what, got: dtype, want: T::DTYPE.as_str() }),
            _ => Err(Error::NotContiguous { op: self.op, what: self.what }),
        };
        state.1 = Some(out);
        Ok(())
    }
}

fn storage_dtype(s: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    s.dtype()
}

/// Runs `f` on the contiguous elements of a CPU tensor, which it may change in place. Every tensor that
/// shares the storage sees the change. The storage is locked meanwhile: do not `read` it inside `f`.
///
/// # Errors
/// When the tensor is not contiguous, not on the CPU, or of another dtype.
pub(crate) fn write<'f, T: Element, R: 'f>(
    op: &'static str,
    what: &'static str,
    t: &Tensor,
    f: impl FnOnce(&mut [T]) -> R + 'f,
) -> Result<R> {
    if !is_cpu(t) {
        return Err(no_kernel(op, t));
    }
    let w = Write { op, what, state: std::sync::Mutex::new((Some(Box::new(f) as Box<dyn FnOnce(&mut [T]) -> R + 'f>), None)) };
    t.inplace_op1(&w)?;
    match w.state.into_inner() {
        Ok((_, Some(out))) => out,
        _ => Err(Error::Candle(candle_core::Error::Msg(format!("{op}: in-place closure did not run")))),
    }
}

/// A contiguous CPU tensor's elements, copied.
///
/// # Errors
/// As [`read`].
pub(crate) fn to_vec<T: Element>(op: &'static str, what: &'static str, t: &Tensor) -> Result<Vec<T>> {
    read::<T, _>(op, what, t, <[T]>::to_vec)
}

/// A pointer that several threads may write through, each to its own elements.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<T>(*mut T);
// SAFETY: the holder promises that threads touch disjoint elements; see `slice`.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    /// Shares a slice that outlives the parallel section.
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// Where the element `start` lies.
    pub(crate) fn at(&self, start: usize) -> *mut T {
        self.0.wrapping_add(start)
    }

    /// The elements `start .. start + len`.
    ///
    /// # Safety
    /// The range must lie in the slice, no other thread may hold an overlapping range, and the slice must still be borrowed.
    #[expect(clippy::mut_from_ref, reason = "disjointness is the caller's promise")]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}
