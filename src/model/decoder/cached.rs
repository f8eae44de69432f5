//! The forward pass of generation: one sequence, keys and values kept.

use candle_core::Tensor;
use tallow_kernels::embedding::embedding;

use super::layer::{LayerCache, Pass};
use super::{Decoder, Error, Result};

/// Keys and values of all layers for one sequence.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Decoder {
    /// An empty cache for `capacity` tokens.
    pub(crate) fn new_cache(&self, capacity: usize) -> Result<KvCache> {
        let s = &self.spec;
        let empty = || Tensor::zeros((capacity, s.num_kv_heads, s.head_dim), self.compute_dtype, &self.device);
        let layers = (0..s.num_layers).map(|_| Ok(LayerCache { k: empty()?, v: empty()? })).collect::<Result<_>>()?;
        Ok(KvCache { layers, len: 0, capacity })
    }

    /// Runs the next tokens of the sequence and returns the logits after the last of them.
    pub(crate) fn next_logits(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        self.on_pool(|| self.next_logits_here(ids, cache))
    }

    fn next_logits_here(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        let n = ids.len();
        if cache.len + n > cache.capacity {
            return Err(Error::Value(format!("the cache holds {} tokens, {} are needed", cache.capacity, cache.len + n)));
        }
        let boundaries = [0, n as u32];
        let mut positions = self.positions(ids, &boundaries)?;
        positions.iter_mut().for_each(|p| *p += cache.len as u32);
        let rope = self.rope_table(cache.capacity)?;
        let pass = Pass { params: &self.params, positions: &positions, cu_seqlens: &boundaries, rope: &rope, dropout_seed: None };
        let mut x = embedding(&self.embedding, ids, self.compute_dtype)?;
        for (layer, c) in self.layers.iter().zip(&cache.layers) {
            crate::base::cancel::checkpoint();
            x = layer.forward_cached(x, &pass, c, cache.len)?;
        }
        cache.len += n;
        let last = x.narrow(0, n - 1, 1)?.contiguous()?;
        let y = self.final_norm.forward(&last)?.0;
        self.head_logits(&y)
    }
}
