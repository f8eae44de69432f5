//! The forward pass of generation: one or more sequences, keys and values kept.

use candle_core::Tensor;

use super::compute::Compute;
use super::{Decoder, Error, Result};

/// Keys and values of the tokens seen so far: `[capacity, kv_heads, head_dim]` each.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub(super) k: Tensor,
    pub(super) v: Tensor,
}

/// Keys and values of all layers for one sequence.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    /// Tokens held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What one layer keeps, and the number of tokens held before this pass.
    pub(super) fn layer(&self, layer: usize) -> (&LayerCache, usize) {
        (&self.layers[layer], self.len)
    }
}

/// The next tokens of one sequence in a pass over several.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    /// The tokens; at least one.
    pub(crate) ids: &'a [u32],
    /// The tokens before them.
    pub(crate) cache: &'a mut KvCache,
    /// Whether the logits after the last of them are wanted.
    pub(crate) wants_logits: bool,
}

impl Decoder {
    /// Bytes of the keys and values of one token, in all layers.
    pub fn cache_bytes_per_token(&self) -> u64 {
        let of = |l: &super::compute::Layer| 2 * l.attention.spec.kv_heads * l.attention.spec.head_dim;
        (self.layers.iter().map(of).sum::<usize>() * self.compute_dtype.size_in_bytes()) as u64
    }

    /// An empty cache for `capacity` tokens.
    pub(crate) fn new_cache(&self, capacity: usize) -> Result<KvCache> {
        let of = |l: &super::compute::Layer| {
            let a = &l.attention.spec;
            let empty = || Tensor::zeros((capacity, a.kv_heads, a.head_dim), self.compute_dtype, &self.device);
            Ok(LayerCache { k: empty()?, v: empty()? })
        };
        Ok(KvCache { layers: self.layers.iter().map(of).collect::<Result<_>>()?, len: 0, capacity })
    }

    /// Runs the next tokens of the sequence and returns the logits after the last of them.
    pub(crate) fn next_logits(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        Ok(self.next_logits_of(vec![Next { ids, cache, wants_logits: true }])?.swap_remove(0))
    }

    /// Runs the next tokens of several sequences in one packed pass. Returns the logits `[vocab]`
    /// after each sequence that wants them, in order.
    ///
    /// # Errors
    /// When a cache is full or an id is unknown. The caches then stand where they stood.
    pub(crate) fn next_logits_of(&self, sequences: Vec<Next>) -> Result<Vec<Vec<f32>>> {
        self.on_pool(|| self.next_logits_here(sequences))
    }

    fn next_logits_here(&self, sequences: Vec<Next>) -> Result<Vec<Vec<f32>>> {
        let (mut ids, mut boundaries, mut last) = (Vec::new(), vec![0u32], Vec::new());
        let (mut caches, mut longest) = (Vec::with_capacity(sequences.len()), 0);
        for s in sequences {
            let needed = s.cache.len + s.ids.len();
            if needed > s.cache.capacity {
                return Err(Error::Value(format!("the cache holds {} tokens, {needed} are needed", s.cache.capacity)));
            }
            longest = longest.max(s.cache.capacity);
            ids.extend_from_slice(s.ids);
            boundaries.push(ids.len() as u32);
            if s.wants_logits {
                last.push(ids.len() - 1);
            }
            caches.push(s.cache);
        }
        let mut positions = self.positions(&ids, &boundaries)?;
        for (cache, rows) in caches.iter().zip(boundaries.windows(2)) {
            positions[rows[0] as usize..rows[1] as usize].iter_mut().for_each(|p| *p += cache.len as u32);
        }
        let ropes = self.rope_tables(longest)?;
        let forward = Compute::forward(&self.params, &positions, &boundaries, &ropes);
        let engine = Compute { caches: &caches, ..forward };
        let mut x = self.embed(&ids)?; // [tokens, hidden]
        for layer in &self.layers {
            crate::base::cancel::checkpoint();
            x = layer.forward_only(&engine, x)?;
        }
        for (cache, rows) in caches.into_iter().zip(boundaries.windows(2)) {
            cache.len += (rows[1] - rows[0]) as usize;
        }
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let rows = last.iter().map(|at| x.narrow(0, *at, 1)).collect::<candle_core::Result<Vec<_>>>()?;
        let y = self.final_norm.forward(&Tensor::cat(&rows, 0)?.contiguous()?)?.0; // [wanted, hidden]
        Ok(self.logits_of(&y)?.to_vec2()?)
    }
}
