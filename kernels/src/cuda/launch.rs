//! One launch: a kernel by name, its grid and its arguments.

use std::cell::Cell;

use candle_core::Device;

use super::memory::Span;
use crate::{Error, Result};

thread_local! {
    static LAUNCHES: Cell<u64> = const { Cell::new(0) };
}

/// One more launch by this thread.
pub(crate) fn count() {
    LAUNCHES.set(LAUNCHES.get() + 1);
}

/// Kernels and products that this thread has launched.
pub(crate) fn counted() -> u64 {
    LAUNCHES.get()
}

/// An argument of a kernel, by value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    /// An address, and how many bytes behind it belong to the kernel.
    Span(Span),
    I32(i32),
    U32(u32),
    U64(u64),
    F32(f32),
}

macro_rules! arg_from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl From<$ty> for Arg {
            fn from(x: $ty) -> Self {
                Arg::$variant(x)
            }
        }
    )*};
}
arg_from!(Span => Span, i32 => I32, u32 => U32, u64 => U64, f32 => F32);

impl From<Option<Span>> for Arg {
    /// A null pointer for `None`.
    fn from(x: Option<Span>) -> Self {
        Arg::Span(x.unwrap_or(Span::NULL))
    }
}

/// A kernel and how it is launched.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// The operation that a person knows.
    pub(crate) op: &'static str,
    /// The file under `kernels/cuda`, without its ending.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the emulator knows kernels by name alone"))]
    pub(crate) file: &'static str,
    /// The function.
    pub(crate) name: String,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub(crate) shared: u32,
}

/// Threads of a block where nothing asks for another number.
pub(crate) const THREADS: u32 = 256;
/// Blocks enough to fill the largest GPU several times; kernels over many elements walk them in strides of the grid.
const MOST_BLOCKS: u64 = 4096;

impl Kernel {
    /// A kernel on a grid of `blocks` blocks of `threads` threads.
    pub(crate) fn new(op: &'static str, file: &'static str, name: impl Into<String>, blocks: usize, threads: u32) -> Self {
        Self { op, file, name: name.into(), grid: [blocks as u32, 1, 1], block: [threads, 1, 1], shared: 0 }
    }

    /// A kernel that walks `items` in strides of its grid; each thread takes `per_thread` of them at a time.
    pub(crate) fn over(op: &'static str, file: &'static str, name: impl Into<String>, items: usize, per_thread: usize) -> Self {
        let blocks = (items as u64).div_ceil(u64::from(THREADS) * per_thread as u64).clamp(1, MOST_BLOCKS);
        Self::new(op, file, name, blocks as usize, THREADS)
    }

    /// Launches it. Nothing happens for an empty grid.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, in its order, and the addresses must be what its contract says and stay
    /// allocated until work that is queued behind this launch frees them.
    pub(crate) unsafe fn launch(&self, device: &Device, args: &[Arg]) -> Result<()> {
        if self.grid.contains(&0) {
            return Ok(());
        }
        count();
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                // SAFETY: the caller's promise.
                unsafe { super::driver::launch(self, device, args) }
            }
            #[cfg(emulator)]
            Device::Cpu => {
                // SAFETY: the caller's promise.
                unsafe { super::emulator::launch(self, args) }
            }
            _ => Err(Error::NoKernel { op: self.op, device: format!("{:?}", device.location()) }),
        }
    }
}
