//! The bytes that a model and a training pass take, without either: the walk of `layer`, `backward` and `step` over sizes.
//!
//! A change of what lives when in those files is a change here; `tests/it/memory.rs` holds the two together.

mod layer;
mod ledger;
mod tapes;

use candle_core::DType;
use tallow_kernels::cross_entropy::{chunk_tokens, gpu_chunk_tokens};
use tallow_kernels::matmul::{pack_bytes, thread_bytes};

use super::needs::{Needs, Trains};
use super::{Policy, Quantization, Trainable};
use crate::model::spec::{DecoderSpec, LinearKind, NormKind, QkNorm, Role, TensorSpec};
use layer::{LayerSketch, Walk};
use ledger::Ledger;
use tapes::Tapes;

/// A model that need not be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Sketch<'a> {
    /// Its architecture.
    pub spec: &'a DecoderSpec,
    /// How its matrices are held.
    pub quantization: Quantization,
    /// The dtype of activations and of weights that are not quantised.
    pub compute_dtype: DType,
    /// What trains.
    pub trainable: &'a Trainable,
    /// What computes.
    pub engine: Engine,
}

/// What computes; the engines need different memory beside what they keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// So many threads, each with buffers of its own.
    Cpu {
        /// The threads.
        threads: usize,
    },
    /// A GPU: quantised weights are decoded into one buffer, and adapters are cast at each use.
    Gpu,
}

/// What stays for the whole run, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resident {
    /// The weights as they are held.
    pub weights: u64,
    /// Trained tensors that are not the weights themselves: adapters, or master copies.
    pub trained: u64,
    /// Elements of each trained tensor; each has an f32 gradient.
    pub trained_elements: Vec<usize>,
    /// The most that the weights took while they were loaded.
    pub load_peak: u64,
    /// The most that taking up a step's values into the weights needs for a moment.
    pub sync: u64,
}

/// The size of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassShape {
    /// Tokens in it.
    pub tokens: usize,
    /// Tokens of its longest sequence.
    pub longest: usize,
    /// What is kept for the backward pass.
    pub policy: Policy,
}

/// What a pass takes on top of [`Resident`] and the gradients, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassBytes {
    /// Kept on the device between forward and backward.
    pub kept: u64,
    /// Kept in host memory between forward and backward; in none of the others.
    pub host: u64,
    /// One chunk of logits, when the peak falls into the loss.
    pub logits: u64,
    /// The most at once, all included.
    pub peak: u64,
}

impl Sketch<'_> {
    fn gpu(&self) -> bool {
        self.engine == Engine::Gpu
    }

    /// Threads with buffers of their own.
    fn threads(&self) -> usize {
        match self.engine {
            Engine::Cpu { threads } => threads,
            Engine::Gpu => 0,
        }
    }

    /// Tokens whose logits exist at once.
    fn loss_chunk(&self) -> usize {
        let vocab = self.spec.vocab_size;
        if self.gpu() { gpu_chunk_tokens(vocab) } else { chunk_tokens(vocab) }
    }

    fn dtype_bytes(&self) -> u64 {
        self.compute_dtype.size_in_bytes() as u64
    }

    fn rank(&self, path: &str) -> usize {
        match self.trainable {
            Trainable::Lora(config) if config.targets(path) => config.rank,
            _ => 0,
        }
    }

    /// `(as held, while it is loaded)`: a matrix to be quantised is widened first.
    fn tensor_bytes(&self, t: &TensorSpec) -> (u64, u64) {
        let n = t.shape.iter().product::<usize>() as u64;
        let row = *t.shape.last().unwrap_or(&1) as u64;
        match (t.role, self.quantization) {
            (Role::Norm | Role::Bias, _) => (4 * n, 4 * n),
            (Role::Embedding | Role::Head, _) | (Role::Linear, Quantization::None) => (self.dtype_bytes() * n, self.dtype_bytes() * n),
            (Role::Linear, Quantization::Nf4) => {
                let blocks = n.div_ceil(64);
                let held = n.div_ceil(2) + blocks + 4 * (blocks.div_ceil(256) + 256) + 4;
                (held, held + 4 * n + 4 * blocks)
            }
            (Role::Linear, Quantization::Q8) => {
                let held = n + 4 * (n / row) * row.div_ceil(64);
                (held, held + 4 * n)
            }
        }
    }

    /// What stays for the whole run.
    pub fn resident(&self) -> Resident {
        let mut r = Resident::default();
        for t in self.spec.tensors() {
            let (held, loading) = self.tensor_bytes(&t);
            // For a GPU, matrices are widened and quantised in host memory.
            r.load_peak = r.load_peak.max(r.weights + if self.gpu() { held } else { loading });
            r.weights += held;
            let elements: usize = t.shape.iter().product();
            match self.trainable {
                Trainable::Nothing => {}
                Trainable::Lora(_) => {
                    let rank = t.name.strip_suffix(".weight").filter(|_| t.role == Role::Linear).map_or(0, |path| self.rank(path));
                    if rank > 0 {
                        r.trained_elements.extend([rank * t.shape[1], rank * t.shape[0]]);
                        r.trained += 4 * (rank * (t.shape[0] + t.shape[1])) as u64;
                    }
                }
                Trainable::Full => {
                    r.trained_elements.push(elements);
                    let has_master = self.compute_dtype != DType::F32 && !matches!(t.role, Role::Norm | Role::Bias);
                    if has_master {
                        r.trained += 4 * elements as u64;
                        r.sync = r.sync.max(held);
                    }
                }
            }
        }
        r
    }

    fn layers(&self) -> Vec<LayerSketch> {
        let full = *self.trainable == Trainable::Full;
        let mut below = full;
        let mut out = Vec::new();
        for i in 0..self.spec.num_layers {
            let rank = LinearKind::ALL.map(|k| self.rank(&format!("model.layers.{i}.{}", k.path())));
            let norms = full && self.spec.norm == NormKind::Rms;
            let trains = Trains {
                norm1: norms,
                norm2: norms,
                qk_norm: norms && self.spec.qk_norm != QkNorm::None,
                linear: rank.map(|r| r > 0 || full),
                bias: LinearKind::ALL.map(|k| full && self.spec.linear_bias(k)),
            };
            let needs = Needs::from_trains(self.spec.norm_placement, &trains, below);
            below = needs.any;
            out.push(LayerSketch { needs, trains, rank });
        }
        out
    }

    /// The buffers that are kept between products: each thread's, or a GPU's one for a decoded weight.
    fn kept_buffers(&self, tokens: usize) -> u64 {
        let s = self.spec;
        if self.gpu() {
            let matrix = |k: &LinearKind| s.linear_shape(*k).0 * s.linear_shape(*k).1;
            let largest = LinearKind::ALL.iter().map(matrix).max().unwrap_or(0) as u64 * self.dtype_bytes();
            return if self.quantization == Quantization::None { 0 } else { largest.next_multiple_of(1 << 20) };
        }
        let f32_weights = self.compute_dtype == DType::F32;
        let linear = |k: &LinearKind| {
            let (out, inp) = s.linear_shape(*k);
            thread_bytes(tokens, out, inp, self.compute_dtype, f32_weights && self.quantization == Quantization::None)
        };
        let chunk = tokens.min(self.loss_chunk());
        let head = thread_bytes(chunk, s.vocab_size, s.hidden_size, self.compute_dtype, f32_weights);
        let most = LinearKind::ALL.iter().map(linear).fold(head, |a, b| [a[0].max(b[0]), a[1].max(b[1]), a[2].max(b[2])]);
        self.threads() as u64 * (most.iter().sum::<u64>() + pack_bytes())
    }

    /// What the operands of a weight's gradient take as f32, where they are widened.
    fn widened(&self, elements: usize) -> u64 {
        let needed = *self.trainable == Trainable::Full && self.compute_dtype != DType::F32 && pack_bytes() > 0 && !self.gpu();
        if needed { 4 * elements as u64 } else { 0 }
    }

    /// What a training pass takes.
    pub fn pass(&self, shape: PassShape) -> PassBytes {
        let s = self.spec;
        let ledger = Ledger::default();
        let layers = self.layers();
        let walk = Walk { ledger: &ledger, sketch: self, tokens: shape.tokens, longest: shape.longest };
        let (tokens, hidden) = (shape.tokens as u64, s.hidden_size);
        let table = shape.longest.next_power_of_two().max(128) as u64 * s.head_dim as u64 * 4;
        // The batch: ids, targets, positions; the rotation's table; buffers that are kept.
        let base = ledger.hold(tokens * (4 + 8 + 4) + table + self.kept_buffers(shape.tokens));
        let mut x = walk.rows(hidden);
        let mut tapes = Tapes::default();
        for (i, layer) in layers.iter().enumerate() {
            let (policy, waits) = shape.policy.of_layer(i, layers.len());
            let (out, tape) = walk.forward(layer, x, policy);
            tapes.push(tape, waits);
            x = out;
        }
        tapes.land();
        let kept = ledger.live() - base.bytes() - x.bytes();
        let (y, stats) = walk.norm_forward(hidden, shape.tokens);
        let before_loss = ledger.peak();
        let (dy, logits) = self.loss(&walk);
        let in_loss = ledger.peak() > before_loss;
        drop(y);
        let loss_peak = ledger.peak();
        let mut dx = walk.norm_backward(hidden, shape.tokens, *self.trainable == Trainable::Full && s.norm == NormKind::Rms);
        drop((dy, x, stats));
        let host = tapes.host;
        for layer in layers.iter().rev() {
            let Some(tape) = tapes.pop() else { break };
            match walk.backward(layer, dx, tape) {
                Some(below) => dx = below,
                None => break,
            }
        }
        if *self.trainable == Trainable::Full {
            ledger.moment(8 * tokens);
        }
        let logits = if in_loss && ledger.peak() == loss_peak { logits } else { 0 };
        PassBytes { kept, host, logits, peak: ledger.peak() }
    }

    /// The loss over chunks: the gradient of its input, and the bytes of one chunk of logits.
    fn loss<'l>(&self, walk: &Walk<'l>) -> (ledger::Held<'l>, u64) {
        let (vocab, hidden, e) = (self.spec.vocab_size as u64, self.spec.hidden_size as u64, self.dtype_bytes());
        let tokens = walk.tokens as u64;
        let _rows_and_losses = walk.ledger.hold(8 * tokens);
        let dx = walk.rows(self.spec.hidden_size);
        let chunk = tokens.min(self.loss_chunk() as u64);
        let _gathered = walk.ledger.hold(chunk * hidden * e);
        let logits = walk.ledger.hold(chunk * vocab * e);
        let part = walk.ledger.hold(chunk * hidden * e);
        walk.ledger.moment(self.widened((chunk * (vocab + hidden)) as usize));
        drop(part);
        (dx, logits.bytes())
    }
}
