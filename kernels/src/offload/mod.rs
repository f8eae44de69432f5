//! Tensors that wait in host memory while a device computes on.
//!
//! Copies run on a stream of their own, in order, beside the stream that computes. Four steps, each of which only queues work:
//!
//! | step | what it queues | what it gives |
//! |---|---|---|
//! | [`Offload::send`] | copies out, behind what computes | [`Leaving`], which holds the tensors |
//! | [`Leaving::settle`] | the stream that computes waits for the copies | [`Parked`]; the tensors' memory is free |
//! | [`Parked::fetch`] | copies back, into new tensors | [`Coming`] |
//! | [`Coming::arrive`] | the stream that computes waits for the copies | the tensors |
//!
//! What is launched between the first and the second step, and between the third and the fourth, runs beside the copies.
//! A value that is dropped on the way waits like the others. On the CPU the copies are made at once.

mod lane;

use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};

pub(crate) use lane::Lane;
use lane::{Block, Mark};
pub use lane::{host_bytes, host_peak_bytes};

use crate::Result;

pub(crate) const OP: &str = "offload";

/// Parts of a buffer begin at multiples of this.
const ALIGNMENT: usize = 256;

/// Bytes of host memory that tensors of these sizes take together.
pub fn buffer_bytes(tensors: impl IntoIterator<Item = u64>) -> u64 {
    tensors.into_iter().map(|b| b.next_multiple_of(ALIGNMENT as u64)).sum()
}

/// The way out of a device and back.
#[derive(Debug)]
pub struct Offload {
    device: Device,
    lane: Arc<Lane>,
}

/// Where a tensor lies in a buffer.
#[derive(Debug)]
struct Piece {
    shape: Shape,
    dtype: DType,
    at: usize,
    bytes: usize,
}

/// Makes what is queued later wait for the copies that are marked, at the latest when it is dropped.
#[derive(Debug)]
struct Pending {
    lane: Arc<Lane>,
    mark: Option<Mark>,
}

impl Pending {
    fn wait(&mut self) -> Result<()> {
        self.mark.take().map_or(Ok(()), |mark| self.lane.compute_after(mark))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Nobody can be told here. If the device refuses to wait, its next launch is refused too.
        let _ = self.wait();
    }
}

/// Tensors on their way out.
#[derive(Debug)]
pub struct Leaving {
    // Fields are dropped in this order: the wait is queued before the memory is given back.
    pending: Pending,
    _alive: Arc<()>,
    tensors: Vec<Tensor>,
    parked: Parked,
}

/// Tensors in host memory.
#[derive(Debug)]
pub struct Parked {
    device: Device,
    block: Block,
    pieces: Vec<Piece>,
}

/// Tensors on their way back.
#[derive(Debug)]
pub struct Coming {
    pending: Pending,
    _alive: Arc<()>,
    tensors: Vec<Tensor>,
    _parked: Parked,
}

impl Offload {
    /// For tensors on this device.
    ///
    /// # Errors
    /// When the device has no stream to give.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self { device: device.clone(), lane: Lane::of(device)? })
    }

    /// Queues copies of contiguous tensors of this device into host memory, behind all work that is queued so far. They must
    /// not be written to from here on.
    ///
    /// # Errors
    /// When there is no host memory for them, or a tensor is not contiguous.
    pub fn send(&self, tensors: Vec<Tensor>) -> Result<Leaving> {
        let mut end = 0;
        let mut pieces = Vec::with_capacity(tensors.len());
        for t in &tensors {
            let bytes = t.elem_count() * t.dtype().size_in_bytes();
            pieces.push(Piece { shape: t.shape().clone(), dtype: t.dtype(), at: end, bytes });
            end = (end + bytes).next_multiple_of(ALIGNMENT);
        }
        let block = self.lane.block(end)?;
        let alive = Arc::new(());
        self.lane.after_compute()?;
        // From the first copy on, whatever happens waits for them all.
        let mut pending = Pending { lane: self.lane.clone(), mark: None };
        let copied = tensors.iter().zip(&pieces).try_for_each(|(t, p)| self.lane.copy_out(t, &block, p.at, p.bytes, &alive));
        pending.mark = Some(self.lane.mark()?);
        let leaving = Leaving { pending, _alive: alive, tensors, parked: Parked { device: self.device.clone(), block, pieces } };
        copied.map(|()| leaving)
    }
}

impl Leaving {
    /// Lets go of the tensors: what is queued from here on runs after the copies.
    ///
    /// # Errors
    /// The driver's own.
    pub fn settle(mut self) -> Result<Parked> {
        self.pending.wait()?;
        self.tensors.clear();
        Ok(self.parked)
    }
}

impl Parked {
    /// Makes the tensors again and queues their copies, behind all work that is queued so far.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn fetch(self) -> Result<Coming> {
        let lane = self.block.lane().clone();
        let tensors = self.pieces.iter().map(|p| lane.empty(&p.shape, p.dtype, &self.device)).collect::<Result<Vec<_>>>()?;
        let alive = Arc::new(());
        lane.after_compute()?;
        let mut pending = Pending { lane: lane.clone(), mark: None };
        let copied = tensors.iter().zip(&self.pieces).try_for_each(|(t, p)| lane.copy_back(&self.block, p.at, p.bytes, t, &alive));
        pending.mark = Some(lane.mark()?);
        let coming = Coming { pending, _alive: alive, tensors, _parked: self };
        copied.map(|()| coming)
    }
}

impl Coming {
    /// The tensors, in the order in which they were sent: what is queued from here on runs after the copies.
    ///
    /// # Errors
    /// The driver's own.
    pub fn arrive(mut self) -> Result<Vec<Tensor>> {
        self.pending.wait()?;
        Ok(std::mem::take(&mut self.tensors))
    }
}
