//! The forward pass of generation: one sequence, keys and values kept.

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
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Decoder {
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
        let ropes = self.rope_tables(cache.capacity)?;
        let forward = Compute::forward(&self.params, &positions, &boundaries, &ropes);
        let engine = Compute { cache: Some((&cache.layers, cache.len)), ..forward };
        let mut x = self.embed(ids)?;
        for layer in &self.layers {
            crate::base::cancel::checkpoint();
            x = layer.forward_only(&engine, x)?;
        }
        cache.len += n;
        let last = x.narrow(0, n - 1, 1)?.contiguous()?;
        let y = self.final_norm.forward(&last)?.0;
        Ok(self.logits_of(&y)?.flatten_all()?.to_vec1()?)
    }
}
