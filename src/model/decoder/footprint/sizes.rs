//! The block program over bytes: what each operation of [`Engine`] holds, and what it takes for a moment.

use std::cell::Cell;

use candle_core::DType;
use tallow_kernels::offload::buffer_bytes;
use tallow_kernels::{attention, lora};

use super::ledger::{Held, Ledger};
use super::{Hardware, Sketch};
use crate::model::decoder::Trainable;
use crate::model::decoder::engine::{Attended, Engine, Saved, Trains};
use crate::model::decoder::tape::Stats;
use crate::model::error::Result;
use crate::model::spec::{Activation, AttentionSpec};

/// A linear layer without its weight.
#[derive(Debug)]
pub(super) struct LinearSize {
    pub(super) out: usize,
    pub(super) inp: usize,
    /// Its adapter's inner width; 0 where there is none.
    pub(super) rank: usize,
    pub(super) weight_trains: bool,
    pub(super) bias_trains: bool,
}

impl Trains for LinearSize {
    fn trains(&self) -> bool {
        self.weight_trains || self.rank > 0
    }

    fn bias_trains(&self) -> bool {
        self.bias_trains
    }
}

/// A norm without its weight.
#[derive(Debug)]
pub(super) struct NormSize {
    pub(super) width: usize,
    /// f32 values that the backward pass needs of each row.
    pub(super) stats: usize,
    pub(super) trains: bool,
}

impl Trains for NormSize {
    fn trains(&self) -> bool {
        self.trains
    }
}

/// A pass of so many tokens.
pub(super) struct Sizes<'l> {
    pub(super) ledger: &'l Ledger,
    pub(super) sketch: &'l Sketch<'l>,
    pub(super) tokens: usize,
    /// Tokens of the longest sequence.
    pub(super) longest: usize,
    /// Bytes that went to host memory.
    pub(super) host: Cell<u64>,
    /// One chunk of logits, where the peak up to the end of the loss fell into it.
    pub(super) logits: Cell<u64>,
    /// That peak.
    pub(super) loss_peak: Cell<u64>,
}

type H<'l> = Held<'l>;

impl<'l> Sizes<'l> {
    fn row_bytes(&self, width: usize) -> u64 {
        (self.tokens * width) as u64 * self.sketch.dtype_bytes()
    }

    /// Activations `[tokens, width]`.
    pub(super) fn rows(&self, width: usize) -> H<'l> {
        self.ledger.hold(self.row_bytes(width))
    }

    /// Rows that a norm runs over in x.
    fn norm_rows(&self, norm: &NormSize, x: &H<'l>) -> usize {
        (x.bytes() / self.sketch.dtype_bytes()) as usize / norm.width
    }

    /// What an adapter's forward and backward pass need for a moment.
    fn adapter_scratch(&self, l: &LinearSize) -> (u64, u64) {
        let (out, inp, rank, s) = (l.out, l.inp, l.rank, self.sketch);
        if !s.gpu() {
            return lora::scratch_bytes(self.tokens, out, inp, rank, s.threads(), s.compute_dtype.size_in_bytes());
        }
        let cast = if s.compute_dtype == DType::F32 { 0 } else { 2 * (rank * (out + inp)) as u64 };
        let drops = matches!(s.trainable, Trainable::Lora(c) if c.dropout > 0.0);
        // The dropped input, and its gradient in f32.
        let (dropped, through) = if drops { (self.row_bytes(inp), 4 * (self.tokens * inp) as u64) } else { (0, 0) };
        (cast + dropped, cast + self.row_bytes(rank) + dropped.max(through))
    }
}

impl Sizes<'_> {
    /// The loss without gradients, over chunks of logits, of the last norm's output.
    pub(super) fn loss_only(&self, y: H<'_>) {
        let spec = self.sketch.spec;
        let (vocab, hidden, e) = (spec.vocab_size as u64, spec.hidden_size as u64, self.sketch.dtype_bytes());
        let chunk = self.tokens.min(self.sketch.loss_chunk()) as u64;
        self.ledger.moment(8 * self.tokens as u64 + chunk * (hidden + vocab) * e);
        drop(y);
    }
}

impl<'l> Engine for Sizes<'l> {
    type Value = H<'l>;
    type Linear = LinearSize;
    type Norm = NormSize;
    type Leaving = Vec<H<'l>>;
    type Parked = Vec<H<'l>>;
    type Coming = Vec<H<'l>>;

    fn bytes(&self, x: &H<'l>) -> u64 {
        x.bytes()
    }

    fn share(&self, x: &H<'l>) -> H<'l> {
        self.ledger.share(x)
    }

    fn nothing(&self) -> Result<H<'l>> {
        Ok(self.ledger.hold(0))
    }

    fn norm(&self, norm: &NormSize, x: &H<'l>) -> Result<(H<'l>, Stats<H<'l>>)> {
        let y = self.ledger.hold(x.bytes());
        let rstd = self.ledger.hold((4 * norm.stats * self.norm_rows(norm, x)) as u64);
        Ok((y, Stats { mean: None, rstd }))
    }

    fn add_norm(&self, norm: &NormSize, x: &H<'l>, _residual: &H<'l>) -> Result<(H<'l>, Stats<H<'l>>)> {
        self.norm(norm, x)
    }

    fn norm_backward(&self, norm: &NormSize, _dy: &H<'l>, x: &H<'l>, _stats: &Stats<H<'l>>, _residual: Option<&H<'l>>) -> Result<H<'l>> {
        if !self.sketch.gpu() {
            let rows = self.norm_rows(norm, x);
            let groups = if norm.trains { rows.div_ceil(64) } else { 0 };
            self.ledger.moment(4 * (groups * norm.width) as u64 + 8 * rows as u64 + x.bytes());
        }
        Ok(self.ledger.hold(x.bytes()))
    }

    fn linear(&self, l: &LinearSize, x: &H<'l>) -> Result<(H<'l>, Option<H<'l>>)> {
        Ok((self.rows(l.out), self.adapter_inner(l, x)?))
    }

    fn adapter_inner(&self, l: &LinearSize, _x: &H<'l>) -> Result<Option<H<'l>>> {
        Ok((l.rank > 0).then(|| {
            let h = self.rows(l.rank);
            self.ledger.moment(self.adapter_scratch(l).0);
            h
        }))
    }

    fn linear_backward(&self, l: &LinearSize, _dy: &H<'l>, _saved: Saved<H<'l>>, want: bool, onto: Option<H<'l>>) -> Result<Option<H<'l>>> {
        let dx = if want { onto.or_else(|| Some(self.rows(l.inp))) } else { onto };
        if l.rank > 0 {
            self.ledger.moment(self.adapter_scratch(l).1);
        }
        self.ledger.moment(self.sketch.widened(self.tokens * (l.out + l.inp)));
        Ok(dx)
    }

    fn clip(&self, x: H<'l>, _limit: f64) -> Result<(H<'l>, H<'l>)> {
        let clipped = self.ledger.hold(x.bytes());
        // The magnitudes, for a moment, and a byte for each element.
        let magnitudes = self.ledger.hold(x.bytes());
        let within = self.ledger.hold(x.bytes() / self.sketch.dtype_bytes());
        drop(magnitudes);
        Ok((clipped, within))
    }

    fn clip_backward(&self, d: H<'l>, _within: &H<'l>) -> Result<H<'l>> {
        // A tensor of zeros stands beside it for a moment.
        self.ledger.moment(2 * d.bytes());
        Ok(self.ledger.hold(d.bytes()))
    }

    fn rotate(&self, _a: &AttentionSpec, q: H<'l>, k: H<'l>) -> Result<(H<'l>, H<'l>)> {
        Ok((q, k))
    }

    fn rotate_backward(&self, _a: &AttentionSpec, dq: H<'l>, dk: H<'l>) -> Result<(H<'l>, H<'l>)> {
        Ok((dq, dk))
    }

    fn attend(&self, a: &AttentionSpec, _layer: usize, _q: &H<'l>, _k: &H<'l>, _v: &H<'l>) -> Result<(H<'l>, H<'l>)> {
        let out = (self.rows(a.q_width()), self.ledger.hold(4 * (a.heads * self.tokens) as u64));
        if !self.sketch.gpu() {
            self.ledger.moment(attention::scratch_bytes(self.longest, a.head_dim, self.sketch.threads()).0);
        }
        Ok(out)
    }

    fn attend_backward(&self, a: &AttentionSpec, _d_o: &H<'l>, kept: Attended<H<'l>>) -> Result<(H<'l>, H<'l>, H<'l>)> {
        let gradients = (self.rows(a.q_width()), self.rows(a.kv_width()), self.rows(a.kv_width()));
        self.ledger.moment(match self.sketch.hardware {
            Hardware::Cpu { threads } => attention::scratch_bytes(self.longest, a.head_dim, threads).1,
            Hardware::Gpu => 4 * (a.heads * self.tokens) as u64,
        });
        drop(kept);
        Ok(gradients)
    }

    fn gate(&self, _activation: Activation, gate: &H<'l>, _up: &H<'l>) -> Result<H<'l>> {
        Ok(self.ledger.hold(gate.bytes()))
    }

    fn gate_backward(&self, _activation: Activation, _d: &H<'l>, _gate: &H<'l>, _up: &H<'l>) -> Result<()> {
        Ok(())
    }

    fn add(&self, _to: &H<'l>, _x: &H<'l>) -> Result<()> {
        Ok(())
    }

    fn scale(&self, _x: &H<'l>, _by: f64) -> Result<()> {
        Ok(())
    }

    fn scaled(&self, x: &H<'l>, _by: f64) -> Result<H<'l>> {
        Ok(self.ledger.hold(x.bytes()))
    }

    fn send(&self, values: Vec<H<'l>>) -> Result<Vec<H<'l>>> {
        let bytes = buffer_bytes(values.iter().map(Held::bytes)).next_multiple_of(4096);
        self.host.set(self.host.get() + bytes);
        Ok(values)
    }

    fn settle(&self, leaving: Vec<H<'l>>) -> Result<Vec<H<'l>>> {
        leaving.iter().for_each(Held::leave);
        Ok(leaving)
    }

    fn fetch(&self, parked: Vec<H<'l>>) -> Result<Vec<H<'l>>> {
        parked.iter().for_each(Held::come);
        Ok(parked)
    }

    fn arrive(&self, coming: Vec<H<'l>>) -> Result<Vec<H<'l>>> {
        Ok(coming)
    }

    /// Over chunks: the gradient of its input, and one chunk of logits at a time.
    fn loss(&self, y: H<'l>, want: bool) -> Result<Option<H<'l>>> {
        let spec = self.sketch.spec;
        let (vocab, hidden, e) = (spec.vocab_size as u64, spec.hidden_size as u64, self.sketch.dtype_bytes());
        let before = self.ledger.peak();
        let _rows_and_losses = self.ledger.hold(8 * self.tokens as u64);
        let dx = self.rows(spec.hidden_size);
        let chunk = self.tokens.min(self.sketch.loss_chunk()) as u64;
        let _gathered = self.ledger.hold(chunk * hidden * e);
        let logits = self.ledger.hold(chunk * vocab * e);
        let part = self.ledger.hold(chunk * hidden * e);
        self.ledger.moment(self.sketch.widened((chunk * (vocab + hidden)) as usize));
        drop((part, y));
        self.loss_peak.set(self.ledger.peak());
        self.logits.set(if self.ledger.peak() > before { logits.bytes() } else { 0 });
        Ok(want.then_some(dx))
    }
}
