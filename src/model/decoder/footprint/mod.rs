//! The bytes that a model and a training pass take, without either: the block program run over sizes.
//!
//! What lives when is the program's (`super::block`, `super::backward`, `super::pass`); what an operation needs for a
//! moment is said in `sizes`. `tests/it/memory.rs` holds it to what the allocator counts.

mod ledger;
mod sizes;

use std::cell::Cell;

use candle_core::DType;
use tallow_kernels::cross_entropy::{chunk_tokens, gpu_chunk_tokens};
use tallow_kernels::matmul::{pack_bytes, thread_bytes};

use super::block::Block;
use super::needs::Needs;
use super::pass::Stack;
use super::{Policy, Quantization, Trainable};
use crate::model::error::Result;
use crate::model::layer_spec::Product;
use crate::model::spec::{DecoderSpec, NormKind, Role, TensorSpec};
use ledger::Ledger;
use sizes::{LinearSize, NormSize, Sizes};

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
    pub hardware: Hardware,
}

/// What computes; each needs different memory beside what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
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
        self.hardware == Hardware::Gpu
    }

    /// Threads with buffers of their own.
    fn threads(&self) -> usize {
        match self.hardware {
            Hardware::Cpu { threads } => threads,
            Hardware::Gpu => 0,
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

    fn linear(&self, product: &Product) -> LinearSize {
        let full = *self.trainable == Trainable::Full;
        LinearSize {
            out: product.rows.len(),
            inp: product.of.inp,
            rank: self.rank(&product.of.path),
            weight_trains: full,
            bias_trains: full && product.of.bias,
        }
    }

    fn norm(&self, width: usize) -> NormSize {
        let plain = self.spec.norm == NormKind::LayerNormPlain;
        let trains = *self.trainable == Trainable::Full && !plain;
        NormSize { width, stats: if plain { 2 } else { 1 }, trains }
    }

    /// The layers without their weights.
    fn blocks(&self) -> Result<Vec<Block<LinearSize, NormSize>>> {
        let block = |i| Block::build(self.spec, i, |p| Ok(self.linear(&p)), |_, width| Ok(self.norm(width)));
        let mut blocks: Vec<_> = (0..self.spec.num_layers()).map(block).collect::<Result<_>>()?;
        Needs::set(&mut blocks, *self.trainable == Trainable::Full);
        Ok(blocks)
    }

    /// The buffers that are kept between products: each thread's, or a GPU's one for a decoded weight.
    fn kept_buffers(&self, blocks: &[Block<LinearSize, NormSize>], tokens: usize) -> u64 {
        let s = self.spec;
        let linears = || blocks.iter().flat_map(Block::linears);
        if self.gpu() {
            let largest = linears().map(|l| l.out * l.inp).max().unwrap_or(0) as u64 * self.dtype_bytes();
            return if self.quantization == Quantization::None { 0 } else { largest.next_multiple_of(1 << 20) };
        }
        let f32_weights = self.compute_dtype == DType::F32;
        let dense = f32_weights && self.quantization == Quantization::None;
        let linear = |l: &LinearSize| thread_bytes(tokens, l.out, l.inp, self.compute_dtype, dense);
        let chunk = tokens.min(self.loss_chunk());
        let head = thread_bytes(chunk, s.vocab_size, s.hidden_size, self.compute_dtype, f32_weights);
        // Layers repeat their shapes.
        let mut shapes: Vec<&LinearSize> = linears().collect();
        shapes.sort_by_key(|l| (l.out, l.inp));
        shapes.dedup_by_key(|l| (l.out, l.inp));
        let most = shapes.into_iter().map(linear).fold(head, |a, b| [a[0].max(b[0]), a[1].max(b[1]), a[2].max(b[2])]);
        self.threads() as u64 * (most.iter().sum::<u64>() + pack_bytes())
    }

    /// What the operands of a weight's gradient take as f32, where they are widened.
    fn widened(&self, elements: usize) -> u64 {
        let needed = *self.trainable == Trainable::Full && self.compute_dtype != DType::F32 && pack_bytes() > 0 && !self.gpu();
        if needed { 4 * elements as u64 } else { 0 }
    }

    /// What a training pass takes.
    ///
    /// # Panics
    /// Never: a program over sizes has nothing that can fail.
    pub fn pass(&self, shape: PassShape) -> PassBytes {
        self.run(shape).unwrap_or_else(|e| unreachable!("sizes: {e}"))
    }

    /// The most that a pass without gradients takes, in bytes: so many tokens in sequences of at most `longest`.
    ///
    /// # Panics
    /// Never, as [`Self::pass`].
    pub fn evaluation(&self, tokens: usize, longest: usize) -> u64 {
        self.evaluate(tokens, longest).unwrap_or_else(|e| unreachable!("sizes: {e}"))
    }

    fn evaluate(&self, tokens: usize, longest: usize) -> Result<u64> {
        let ledger = Ledger::default();
        let blocks = self.blocks()?;
        let _base = ledger.hold(self.base_bytes(&blocks, tokens, longest));
        let (host, logits, loss_peak) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let sizes = Sizes { ledger: &ledger, sketch: self, tokens, longest, host, logits, loss_peak };
        let final_norm = self.norm(self.spec.hidden_size);
        let stack = Stack { blocks: &blocks, final_norm: &final_norm, embedding_trains: false };
        let y = stack.forward(&sizes, sizes.rows(self.spec.hidden_size))?;
        sizes.loss_only(y);
        Ok(ledger.peak())
    }

    /// The batch: ids, targets, positions; the rotations' tables; buffers that are kept.
    fn base_bytes(&self, blocks: &[Block<LinearSize, NormSize>], tokens: usize, longest: usize) -> u64 {
        let s = self.spec;
        let positions = longest.next_power_of_two().max(128) as u64;
        let tables = s.ropes.len() as u64 * positions * s.head_dim() as u64 * 4;
        tokens as u64 * (4 + 8 + 4) + tables + self.kept_buffers(blocks, tokens)
    }

    fn run(&self, shape: PassShape) -> Result<PassBytes> {
        let s = self.spec;
        let ledger = Ledger::default();
        let blocks = self.blocks()?;
        let tokens = shape.tokens as u64;
        let _base = ledger.hold(self.base_bytes(&blocks, shape.tokens, shape.longest));
        let (host, logits, loss_peak) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let sizes = Sizes { ledger: &ledger, sketch: self, tokens: shape.tokens, longest: shape.longest, host, logits, loss_peak };
        let full = *self.trainable == Trainable::Full;
        let final_norm = self.norm(s.hidden_size);
        let stack = Stack { blocks: &blocks, final_norm: &final_norm, embedding_trains: full };
        let out = stack.train(&sizes, sizes.rows(s.hidden_size), shape.policy)?;
        if full {
            // The order in which embedding rows are added.
            ledger.moment(8 * tokens);
        }
        let in_loss = ledger.peak() == sizes.loss_peak.get();
        let logits = if in_loss { sizes.logits.get() } else { 0 };
        Ok(PassBytes { kept: out.kept, host: sizes.host.get(), logits, peak: ledger.peak() })
    }
}
