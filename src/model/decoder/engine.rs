//! What the block program is written over. Two engines run it: [`super::compute::Compute`] over tensors, and
//! `footprint::sizes::Sizes` over bytes, which is how memory is planned without a model.
//!
//! The program decides what is computed, what is kept, and when a value is dropped; an engine decides what a value is.
//! So the plan cannot differ from the pass in what lives when.

use super::tape::Stats;
use crate::model::error::Result;
use crate::model::spec::{Activation, AttentionSpec};

/// What trains in a linear layer or a norm.
pub(super) trait Trains {
    /// The weight, or an adapter on it.
    fn trains(&self) -> bool;

    /// The bias.
    fn bias_trains(&self) -> bool {
        false
    }
}

/// Interprets the block program.
pub(super) trait Engine {
    /// An activation. Its memory is free when it is dropped.
    type Value;
    /// A linear layer.
    type Linear: Trains;
    /// A norm.
    type Norm: Trains;
    /// A tape on its way to host memory, in it, and on its way back.
    type Leaving;
    /// See [`Self::Leaving`].
    type Parked;
    /// See [`Self::Leaving`].
    type Coming;

    /// Bytes of a value.
    fn bytes(&self, x: &Self::Value) -> u64;

    /// Another handle on the same memory.
    fn share(&self, x: &Self::Value) -> Self::Value;

    /// A value of no size, in the place of one that is elsewhere.
    fn nothing(&self) -> Result<Self::Value>;

    /// The norm of x `[tokens, width]`; a norm that is narrower than x runs over each of its heads.
    fn norm(&self, norm: &Self::Norm, x: &Self::Value) -> Result<(Self::Value, Stats<Self::Value>)>;

    /// `x += residual` in place, then its norm.
    fn add_norm(&self, norm: &Self::Norm, x: &Self::Value, residual: &Self::Value) -> Result<(Self::Value, Stats<Self::Value>)>;

    /// The gradient of x, plus `residual` where given; adds the weight's gradient where it trains.
    fn norm_backward(
        &self,
        norm: &Self::Norm,
        dy: &Self::Value,
        x: &Self::Value,
        stats: &Stats<Self::Value>,
        residual: Option<&Self::Value>,
    ) -> Result<Self::Value>;

    /// y `[tokens, out]`, and the inner activation `[tokens, rank]` of an adapter.
    fn linear(&self, linear: &Self::Linear, x: &Self::Value) -> Result<(Self::Value, Option<Self::Value>)>;

    /// Only the adapter's inner activation.
    fn adapter_inner(&self, linear: &Self::Linear, x: &Self::Value) -> Result<Option<Self::Value>>;

    /// Adds the gradients of what trains, and makes the gradient of x where `want`, added to `onto` in place where given.
    fn linear_backward(
        &self,
        linear: &Self::Linear,
        dy: &Self::Value,
        saved: Saved<Self::Value>,
        want: bool,
        onto: Option<Self::Value>,
    ) -> Result<Option<Self::Value>>;

    /// x held within ±limit, and where it was within.
    fn clip(&self, x: Self::Value, limit: f64) -> Result<(Self::Value, Self::Value)>;

    /// The gradient where x was within, 0 elsewhere.
    fn clip_backward(&self, d: Self::Value, within: &Self::Value) -> Result<Self::Value>;

    /// Queries and keys by heads, turned in place where the layer has a rotation.
    fn rotate(&self, a: &AttentionSpec, q: Self::Value, k: Self::Value) -> Result<(Self::Value, Self::Value)>;

    /// Their gradients turned back in place, `[tokens, width]` again.
    fn rotate_backward(&self, a: &AttentionSpec, dq: Self::Value, dk: Self::Value) -> Result<(Self::Value, Self::Value)>;

    /// Attention's output `[tokens, width of q]`, and the logarithms of the softmax sums.
    fn attend(
        &self,
        a: &AttentionSpec,
        layer: usize,
        q: &Self::Value,
        k: &Self::Value,
        v: &Self::Value,
    ) -> Result<(Self::Value, Self::Value)>;

    /// The gradients of q, k and v.
    fn attend_backward(
        &self,
        a: &AttentionSpec,
        d_o: &Self::Value,
        kept: Attended<Self::Value>,
    ) -> Result<(Self::Value, Self::Value, Self::Value)>;

    /// `activation(gate) * up`.
    fn gate(&self, activation: Activation, gate: &Self::Value, up: &Self::Value) -> Result<Self::Value>;

    /// Gate and up become their gradients, in place.
    fn gate_backward(&self, activation: Activation, d: &Self::Value, gate: &Self::Value, up: &Self::Value) -> Result<()>;

    /// `to += x`, in place.
    fn add(&self, to: &Self::Value, x: &Self::Value) -> Result<()>;

    /// `x *= by`, in place.
    fn scale(&self, x: &Self::Value, by: f64) -> Result<()>;

    /// `x * by`, as a new value.
    fn scaled(&self, x: &Self::Value, by: f64) -> Result<Self::Value>;

    /// Starts a copy to host memory.
    fn send(&self, values: Vec<Self::Value>) -> Result<Self::Leaving>;

    /// Ends it: the device's memory is free.
    fn settle(&self, leaving: Self::Leaving) -> Result<Self::Parked>;

    /// Starts the copy back.
    fn fetch(&self, parked: Self::Parked) -> Result<Self::Coming>;

    /// Ends it.
    fn arrive(&self, coming: Self::Coming) -> Result<Vec<Self::Value>>;

    /// From the last norm's output, which is dropped, to its gradient where `want`. The losses stay with the engine.
    fn loss(&self, y: Self::Value, want: bool) -> Result<Option<Self::Value>>;
}

/// What a linear layer's backward pass reads of its forward pass: its input, and its adapter's inner activation. Each is
/// missing where nothing reads it.
pub(super) struct Saved<'a, T> {
    pub(super) x: Option<&'a T>,
    pub(super) h: Option<&'a T>,
}

/// What attention's backward pass reads of its forward pass; dropped when the gradients are made.
pub(super) struct Attended<T> {
    pub(super) q: T,
    pub(super) k: T,
    pub(super) v: T,
    pub(super) o: T,
    pub(super) lse: T,
}
