//! Addresses of tensors on a device, and tensors for results.

use std::collections::VecDeque;
use std::sync::Mutex;

use candle_core::{DType, Device, Shape, Storage, Tensor};

use crate::{Error, Result};

/// Bytes on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl Span {
    pub(crate) const NULL: Self = Self { address: 0, bytes: 0 };
}

/// The contiguous elements of a tensor of that dtype. Every tensor that shares its storage sees what a kernel writes there.
///
/// # Errors
/// When the tensor is of another dtype or not contiguous.
pub(crate) fn span(op: &'static str, what: &'static str, t: &Tensor, dtype: DType) -> Result<Span> {
    if t.dtype() != dtype {
        return Err(Error::Dtype { op, what, got: t.dtype(), want: dtype.as_str() });
    }
    let (storage, layout) = t.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else { return Err(Error::NotContiguous { op, what }) };
    let size = dtype.size_in_bytes();
    let base = match &*storage {
        #[cfg(feature = "cuda")]
        Storage::Cuda(s) => super::driver::address(s)?,
        #[cfg(emulator)]
        Storage::Cpu(s) => super::emulator::address(s),
        _ => return Err(crate::view::no_kernel(op, t)),
    };
    Ok(Span { address: base + (start * size) as u64, bytes: (end - start) * size })
}

/// A new tensor for a kernel to write from end to end; on the emulator all bits of it are ones.
///
/// # Errors
/// When the device has no memory for it.
pub(crate) fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => super::driver::empty(shape, dtype, d),
        #[cfg(emulator)]
        Device::Cpu => super::emulator::poisoned(shape, dtype),
        _ => Err(Error::NoKernel { op: "empty", device: format!("{:?}", device.location()) }),
    }
}

/// Sets every byte of a span.
///
/// # Safety
/// The span must be allocated memory of this device that nothing else uses.
pub(crate) unsafe fn fill_zero(op: &'static str, device: &Device, to: Span) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => {
            // SAFETY: the caller's promise.
            unsafe { super::driver::fill_zero(op, d, to) }
        }
        #[cfg(emulator)]
        Device::Cpu => {
            // SAFETY: the span is host memory of that many bytes, by the caller's promise.
            unsafe { std::ptr::write_bytes(to.address as *mut u8, 0, to.bytes) };
            Ok(())
        }
        _ => Err(Error::NoKernel { op, device: format!("{:?}", device.location()) }),
    }
}

/// Copies the bytes of one span into the start of another.
///
/// # Safety
/// Both must be allocated memory of this device, apart from each other, and `to` at least as long.
pub(crate) unsafe fn copy(op: &'static str, device: &Device, from: Span, to: Span) -> Result<()> {
    assert!(to.bytes >= from.bytes, "{op}: {} bytes into {}", from.bytes, to.bytes);
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => {
            // SAFETY: the caller's promise.
            unsafe { super::driver::copy(op, d, from, to) }
        }
        #[cfg(emulator)]
        Device::Cpu => {
            // SAFETY: both are host memory of at least that many bytes and apart, by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(from.address as *const u8, to.address as *mut u8, from.bytes) };
            Ok(())
        }
        _ => Err(Error::NoKernel { op, device: format!("{:?}", device.location()) }),
    }
}

/// What a device keeps between calls.
#[derive(Default)]
pub(crate) struct Kept {
    uploads: Mutex<VecDeque<(Vec<u8>, Tensor)>>,
    scratch: Mutex<Option<Tensor>>,
}

/// Small host arrays that the same step uploads again and again (positions, sequence ends, tables of addresses).
const UPLOADS: usize = 24;

fn kept<R>(device: &Device, f: impl FnOnce(&Kept) -> Result<R>) -> Result<R> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(d) => f(&super::driver::gpu(d)?.kept),
        #[cfg(emulator)]
        Device::Cpu => f(super::emulator::kept()),
        _ => Err(Error::NoKernel { op: "upload", device: format!("{:?}", device.location()) }),
    }
}

fn poisoned<T>(_: T) -> Error {
    Error::Candle(candle_core::Error::Msg("another thread ended in the middle of a launch".into()))
}

/// A host array on the device, `[n]`. The last few are kept, so an array that was just used costs a comparison. The tensor
/// must not be written to.
///
/// # Errors
/// When the device has no memory for it.
pub(crate) fn upload<T: crate::view::Element>(values: &[T], device: &Device) -> Result<Tensor> {
    kept(device, |kept| {
        // SAFETY: any element is plain bytes, and the slice lives as long as this borrow.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        let mut uploads = kept.uploads.lock().map_err(poisoned)?;
        let hit = uploads.iter().position(|(b, t)| t.dtype() == T::DTYPE && b == bytes).and_then(|at| uploads.remove(at));
        if let Some(hit) = hit {
            let tensor = hit.1.clone();
            uploads.push_front(hit);
            return Ok(tensor);
        }
        let tensor = Tensor::from_slice(values, values.len(), device)?;
        uploads.truncate(UPLOADS - 1);
        uploads.push_front((bytes.to_vec(), tensor.clone()));
        Ok(tensor)
    })
}

/// The device's one buffer for a decoded weight, of at least so many bytes. What is queued on the stream uses it in order;
/// a second call takes it away from the first.
///
/// # Errors
/// When the device has no memory for it.
pub(crate) fn scratch(bytes: usize, device: &Device) -> Result<Span> {
    kept(device, |kept| {
        let mut scratch = kept.scratch.lock().map_err(poisoned)?;
        if scratch.as_ref().is_none_or(|t| t.elem_count() < bytes) {
            // The old one goes first: both together might not fit.
            *scratch = None;
            *scratch = Some(empty(bytes.next_multiple_of(1 << 20), DType::U8, device)?);
        }
        let Some(t) = scratch.as_ref() else { return Err(poisoned(())) };
        Ok(Span { bytes, ..span("scratch", "buffer", t, DType::U8)? })
    })
}
