//! The second stream of a GPU, which copies to pinned host memory and back, and the events that order the two.

use std::ffi::c_void;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};

use super::driver::fault;
use super::memory::Span;
use crate::offload::OP;
use crate::{Error, Result};

/// A stream for copies.
#[derive(Debug)]
pub(crate) struct Side {
    device: CudaDevice,
    stream: sys::CUstream,
}

// SAFETY: the driver's handles may be used by any thread; each use binds the context first.
unsafe impl Send for Side {}
// SAFETY: as above.
unsafe impl Sync for Side {}

fn refused(what: &'static str) -> impl Fn(DriverError) -> Error {
    move |e| fault(OP, format!("{what}: {e}"))
}

impl Side {
    pub(crate) fn new(device: &CudaDevice) -> Result<Self> {
        bind(device)?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(refused("a stream for copies"))?;
        Ok(Self { device: device.clone(), stream })
    }

    fn compute(&self) -> sys::CUstream {
        self.device.cuda_stream().cu_stream()
    }

    /// Copies that are queued from here on run after what computes so far.
    pub(crate) fn after_compute(&self) -> Result<()> {
        bind(&self.device)?;
        let event = Event::record(self.compute())?;
        // SAFETY: stream and event are alive; an event may be destroyed while a stream waits for it.
        unsafe { result::stream::wait_event(self.stream, event.0, WAIT) }.map_err(refused("copies wait for kernels"))
    }

    /// What computes from here on runs after the copies before the event.
    pub(crate) fn compute_after(&self, event: &Event) -> Result<()> {
        bind(&self.device)?;
        // SAFETY: as above.
        unsafe { result::stream::wait_event(self.compute(), event.0, WAIT) }.map_err(refused("kernels wait for copies"))
    }

    /// The place behind the copies that are queued so far.
    pub(crate) fn mark(&self) -> Result<Event> {
        bind(&self.device)?;
        Event::record(self.stream)
    }

    /// Waits until all copies are done.
    pub(crate) fn synchronize(&self) -> Result<()> {
        bind(&self.device)?;
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.stream) }.map_err(refused("copies"))
    }

    /// # Safety
    /// `to` must be host memory for the span's bytes, and both must stay until an event that is recorded later has happened.
    pub(crate) unsafe fn copy_out(&self, from: Span, to: *mut u8) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtoh_async(std::slice::from_raw_parts_mut(to, from.bytes), from.address, self.stream) }
            .map_err(refused("copy to host memory"))
    }

    /// # Safety
    /// As [`Self::copy_out`].
    pub(crate) unsafe fn copy_back(&self, from: *const u8, to: Span) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_htod_async(to.address, std::slice::from_raw_parts(from, to.bytes), self.stream) }
            .map_err(refused("copy from host memory"))
    }

    /// Host memory that the device reaches without a copy in between.
    pub(crate) fn pinned(&self, bytes: usize) -> Result<Pinned> {
        bind(&self.device)?;
        // SAFETY: any size will do; the contents are written before they are read.
        let at = unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }.map_err(|e| {
            // Not the device's memory: this error must not pass for one of that.
            let name = if e.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY { "the system gave none".to_owned() } else { e.to_string() };
            fault(OP, format!("{} MiB of pinned host memory: {name}; set training.gradient_checkpointing to true", bytes >> 20))
        })?;
        Ok(Pinned { device: self.device.clone(), at, bytes })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if bind(&self.device).is_ok() {
            // SAFETY: the stream is alive and used no more; the driver ends it when its work is done.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
    }
}

const WAIT: sys::CUevent_wait_flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;

fn bind(device: &CudaDevice) -> Result<()> {
    device.cuda_stream().context().bind_to_thread().map_err(refused("context"))
}

/// A place in the order of a stream's work.
#[derive(Debug)]
pub(crate) struct Event(sys::CUevent);

// SAFETY: the driver's handle may be used by any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    fn record(stream: sys::CUstream) -> Result<Self> {
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(refused("event"))?;
        let event = Self(event);
        // SAFETY: both are alive.
        unsafe { result::event::record(event.0, stream) }.map_err(refused("event"))?;
        Ok(event)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is alive, and a wait for it that is queued already holds.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// Pinned host memory.
#[derive(Debug)]
pub(crate) struct Pinned {
    device: CudaDevice,
    at: *mut c_void,
    bytes: usize,
}

// SAFETY: plain memory, owned by this value.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub(crate) fn address(&self) -> *mut u8 {
        self.at.cast()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if bind(&self.device).is_ok() {
            // SAFETY: the memory came from the driver, and no copy uses it: the stream of copies was waited for.
            let _ = unsafe { result::free_host(self.at) };
        }
    }
}
