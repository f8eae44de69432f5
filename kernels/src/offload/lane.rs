//! The stream that copies, and the host memory that it copies to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Shape, Tensor};
use half::bf16;
use memmap2::MmapMut;

use super::OP;
use crate::view::{read, write};
use crate::{Error, Result};

static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Bytes of host memory that are set aside for tensors now. What a device once took it keeps for the next pass.
pub fn host_bytes() -> u64 {
    LIVE.load(Ordering::Relaxed)
}

/// The most of them since the start.
pub fn host_peak_bytes() -> u64 {
    PEAK.load(Ordering::Relaxed)
}

/// Who copies.
#[derive(Debug)]
enum Kind {
    /// This thread, at once.
    Plain,
    #[cfg(emulator)]
    Emulated(crate::cuda::emulated_side::Side),
    #[cfg(feature = "cuda")]
    Driver(crate::cuda::side::Side),
}

/// What stands for a place in the order of copies.
#[derive(Debug)]
pub(super) enum Mark {
    None,
    #[cfg(emulator)]
    Emulated(u64),
    #[cfg(feature = "cuda")]
    Driver(crate::cuda::side::Event),
}

/// A stream of copies, and buffers of host memory that no tensor lies in. Their last copies may still be under way: only
/// later copies of this stream may use them.
#[derive(Debug)]
pub(crate) struct Lane {
    kind: Kind,
    free: Mutex<Vec<Memory>>,
}

#[cfg(emulator)]
thread_local! {
    static EMULATED: Arc<Lane> = Arc::new(Lane::new(Kind::Emulated(crate::cuda::emulated_side::Side::default())));
}

/// Calls a function of one element type by dtype.
macro_rules! by_stored {
    ($dtype:expr, $f:ident ( $($arg:expr),* )) => {
        match $dtype {
            DType::F32 => $f::<f32>($($arg),*),
            DType::BF16 => $f::<bf16>($($arg),*),
            DType::U8 => $f::<u8>($($arg),*),
            got => Err(Error::Dtype { op: OP, what: "tensor", got, want: "f32, bf16 or u8" }),
        }
    };
}

impl Lane {
    fn new(kind: Kind) -> Self {
        Self { kind, free: Mutex::default() }
    }

    pub(super) fn of(device: &Device) -> Result<Arc<Self>> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(d) => {
                let gpu = crate::cuda::driver::gpu(d)?;
                let mut lane = gpu.lane.lock().map_err(poisoned)?;
                if let Some(lane) = lane.as_ref() {
                    return Ok(lane.clone());
                }
                let new = Arc::new(Self::new(Kind::Driver(crate::cuda::side::Side::new(d)?)));
                Ok(lane.insert(new).clone())
            }
            #[cfg(emulator)]
            Device::Cpu if crate::cuda::emulator::is_on() => Ok(EMULATED.with(Arc::clone)),
            Device::Cpu => Ok(Arc::new(Self::new(Kind::Plain))),
            _ => Err(Error::NoKernel { op: OP, device: format!("{:?}", device.location()) }),
        }
    }

    /// A buffer: the smallest free one that is large enough, or else a new one, for which the largest free one makes room.
    pub(super) fn block(self: &Arc<Self>, bytes: usize) -> Result<Block> {
        let mut free = self.free.lock().map_err(poisoned)?;
        let fits = free.iter().enumerate().filter(|(_, m)| m.bytes() >= bytes).min_by_key(|(_, m)| m.bytes()).map(|(i, _)| i);
        let memory = if let Some(i) = fits {
            free.swap_remove(i)
        } else {
            if let Some(i) = (0..free.len()).max_by_key(|i| free[*i].bytes()) {
                self.synchronize()?;
                drop(free.swap_remove(i));
            }
            self.memory(bytes)?
        };
        #[cfg(emulator)]
        if matches!(self.kind, Kind::Emulated(_)) {
            // SAFETY: the memory is this block's alone. Every copy is done when its mark is waited for, which was done.
            unsafe { std::ptr::write_bytes(memory.address(), u8::MAX, memory.bytes()) };
        }
        Ok(Block { memory: Some(memory), lane: self.clone() })
    }

    fn memory(&self, bytes: usize) -> Result<Memory> {
        let bytes = bytes.max(1).next_multiple_of(4096);
        let memory = match &self.kind {
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => Memory::Pinned(side.pinned(bytes)?),
            _ => Memory::Mapped(
                MmapMut::map_anon(bytes).map_err(|e| Error::Value { op: OP, message: format!("{bytes} bytes of memory: {e}") })?,
            ),
        };
        PEAK.fetch_max(LIVE.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
        Ok(memory)
    }

    /// Copies that are queued from here on run after what computes so far.
    pub(super) fn after_compute(&self) -> Result<()> {
        match &self.kind {
            Kind::Plain => Ok(()),
            #[cfg(emulator)]
            Kind::Emulated(side) => side.after_compute(),
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => side.after_compute(),
        }
    }

    /// What computes from here on runs after the copies up to the mark.
    pub(super) fn compute_after(&self, mark: Mark) -> Result<()> {
        match (&self.kind, mark) {
            #[cfg(emulator)]
            (Kind::Emulated(side), Mark::Emulated(mark)) => side.perform(mark),
            #[cfg(feature = "cuda")]
            (Kind::Driver(side), Mark::Driver(event)) => side.compute_after(&event),
            _ => Ok(()),
        }
    }

    /// The place behind the copies that are queued so far.
    pub(super) fn mark(&self) -> Result<Mark> {
        match &self.kind {
            Kind::Plain => Ok(Mark::None),
            #[cfg(emulator)]
            Kind::Emulated(side) => side.mark().map(Mark::Emulated),
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => side.mark().map(Mark::Driver),
        }
    }

    fn synchronize(&self) -> Result<()> {
        match &self.kind {
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => side.synchronize(),
            _ => Ok(()),
        }
    }

    /// `alive` lives as long as the tensor is kept for the copy.
    pub(super) fn copy_out(&self, t: &Tensor, block: &Block, at: usize, bytes: usize, alive: &Arc<()>) -> Result<()> {
        let to = block.at(at, bytes)?;
        let _ = alive;
        match &self.kind {
            Kind::Plain => {
                fn out<T: crate::view::Element>(t: &Tensor, to: *mut u8) -> Result<()> {
                    // SAFETY: the block has room for all elements from `to` on, and nothing else uses it.
                    read::<T, _>(OP, "tensor", t, |x| unsafe { std::ptr::copy_nonoverlapping(x.as_ptr().cast(), to, size_of_val(x)) })
                }
                by_stored!(t.dtype(), out(t, to))
            }
            #[cfg(emulator)]
            Kind::Emulated(side) => {
                let from = crate::cuda::memory::span(OP, "tensor", t, t.dtype())?;
                side.queue(from.address, to as u64, bytes, alive)
            }
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => {
                let from = crate::cuda::memory::span(OP, "tensor", t, t.dtype())?;
                // SAFETY: the span has `bytes` bytes, and so has the block from `to` on; both stay until the mark that follows.
                unsafe { side.copy_out(from, to) }
            }
        }
    }

    /// As [`Self::copy_out`], the other way.
    pub(super) fn copy_back(&self, block: &Block, at: usize, bytes: usize, t: &Tensor, alive: &Arc<()>) -> Result<()> {
        let from = block.at(at, bytes)?;
        let _ = alive;
        match &self.kind {
            Kind::Plain => {
                fn back<T: crate::view::Element>(from: *const u8, t: &Tensor) -> Result<()> {
                    // SAFETY: the block holds the bytes of all elements from `from` on.
                    write::<T, _>(OP, "tensor", t, |x| unsafe {
                        std::ptr::copy_nonoverlapping(from, x.as_mut_ptr().cast(), size_of_val(x))
                    })
                }
                by_stored!(t.dtype(), back(from, t))
            }
            #[cfg(emulator)]
            Kind::Emulated(side) => {
                let to = crate::cuda::memory::span(OP, "tensor", t, t.dtype())?;
                side.queue(from as u64, to.address, bytes, alive)
            }
            #[cfg(feature = "cuda")]
            Kind::Driver(side) => {
                let to = crate::cuda::memory::span(OP, "tensor", t, t.dtype())?;
                // SAFETY: as in `copy_out`; the tensor is new, and nothing else uses it before the mark.
                unsafe { side.copy_back(from, to) }
            }
        }
    }

    /// A tensor to be copied into.
    pub(super) fn empty(&self, shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
        match &self.kind {
            Kind::Plain => Ok(Tensor::zeros(shape, dtype, device)?),
            #[cfg(any(feature = "cuda", emulator))]
            _ => crate::cuda::memory::empty(shape.clone(), dtype, device),
        }
    }
}

fn poisoned<T>(_: T) -> Error {
    Error::Value { op: OP, message: "another thread ended in the middle of it".into() }
}

/// Host memory.
#[derive(Debug)]
enum Memory {
    Mapped(MmapMut),
    #[cfg(feature = "cuda")]
    Pinned(crate::cuda::side::Pinned),
}

impl Memory {
    fn bytes(&self) -> usize {
        match self {
            Self::Mapped(m) => m.len(),
            #[cfg(feature = "cuda")]
            Self::Pinned(p) => p.bytes(),
        }
    }

    fn address(&self) -> *mut u8 {
        match self {
            Self::Mapped(m) => m.as_ptr().cast_mut(),
            #[cfg(feature = "cuda")]
            Self::Pinned(p) => p.address(),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.bytes() as u64, Ordering::Relaxed);
    }
}

/// A buffer in use; it goes back to the free ones.
#[derive(Debug)]
pub(super) struct Block {
    memory: Option<Memory>,
    lane: Arc<Lane>,
}

impl Block {
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The address of a part of it.
    fn at(&self, at: usize, bytes: usize) -> Result<*mut u8> {
        match &self.memory {
            // SAFETY: the part ends within the memory.
            Some(m) if at + bytes <= m.bytes() => Ok(unsafe { m.address().add(at) }),
            _ => Err(poisoned(())),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let (Some(memory), Ok(mut free)) = (self.memory.take(), self.lane.free.lock()) {
            free.push(memory);
        }
    }
}
