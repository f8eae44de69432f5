//! The parts of one layer.

use std::ops::Range;

/// Normalisation of queries and keys before the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// Over each head, with a weight of `[head_dim]`.
    PerHead,
    /// Over the whole width, with a weight of `[heads * head_dim]`.
    Full,
}

/// How the checkpoint holds the projections of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvNames {
    /// Three matrices: `q_proj`, `k_proj`, `v_proj`.
    Apart,
    /// One matrix, `qkv_proj`, with the rows of all three one after the other.
    Fused,
}

/// Self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The rotation, by its place in the model's list; `None`: positions are not seen.
    pub rope: Option<usize>,
    /// How far back a token sees, itself included.
    pub window: Option<usize>,
    /// What scores are multiplied by.
    pub scale: f64,
    /// Norm of queries and keys.
    pub qk_norm: QkNorm,
    /// Queries, keys and values are clamped to this magnitude (OLMo 1).
    pub clip: Option<f64>,
    /// Biases on queries, keys and values.
    pub qkv_bias: bool,
    /// Bias on the output.
    pub o_bias: bool,
    /// How the projections are stored.
    pub qkv: QkvNames,
}

impl AttentionSpec {
    /// Width of the queries: `heads * head_dim`.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of keys, and of values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Names of the norms of queries and keys inside a layer, with their widths.
    pub fn qk_norms(&self) -> Vec<(&'static str, usize)> {
        let widths = match self.qk_norm {
            QkNorm::None => return Vec::new(),
            QkNorm::PerHead => [self.head_dim, self.head_dim],
            QkNorm::Full => [self.q_width(), self.kv_width()],
        };
        vec![("self_attn.q_norm", widths[0]), ("self_attn.k_norm", widths[1])]
    }
}

/// What the gate of a feed-forward block goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU by tanh (Gemma).
    GeluTanh,
}

/// The feed-forward block: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedForwardSpec {
    /// Its inner width.
    pub width: usize,
    /// What the gate goes through.
    pub activation: Activation,
    /// Biases on gate, up and down.
    pub bias: bool,
    /// Gate and up are one matrix in the checkpoint, `gate_up_proj`.
    pub fused: bool,
}

/// The norms of a layer, by their names in the checkpoint. Each is there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NormNames {
    /// On the input of the attention block.
    pub before_attention: Option<&'static str>,
    /// On its output, before the residual is added.
    pub after_attention: Option<&'static str>,
    /// On the input of the feed-forward block.
    pub before_feed_forward: Option<&'static str>,
    /// On its output, before the residual is added.
    pub after_feed_forward: Option<&'static str>,
}

impl NormNames {
    /// `x + block(norm(x))`, as Llama has it.
    pub const BEFORE: Self = Self {
        before_attention: Some("input_layernorm"),
        after_attention: None,
        before_feed_forward: Some("post_attention_layernorm"),
        after_feed_forward: None,
    };

    /// `x + norm(block(x))`, as OLMo 2 has it.
    pub const AFTER: Self = Self {
        before_attention: None,
        after_attention: Some("post_attention_layernorm"),
        before_feed_forward: None,
        after_feed_forward: Some("post_feedforward_layernorm"),
    };

    /// `x + norm(block(norm(x)))`, as Gemma has it.
    pub const AROUND: Self = Self {
        before_attention: Some("input_layernorm"),
        after_attention: Some("post_attention_layernorm"),
        before_feed_forward: Some("pre_feedforward_layernorm"),
        after_feed_forward: Some("post_feedforward_layernorm"),
    };

    /// All four, in the order of the forward pass.
    pub fn all(&self) -> [Option<&'static str>; 4] {
        [self.before_attention, self.after_attention, self.before_feed_forward, self.after_feed_forward]
    }
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Its norms.
    pub norms: NormNames,
    /// Its attention block.
    pub attention: AttentionSpec,
    /// Its feed-forward block.
    pub feed_forward: FeedForwardSpec,
    /// What a block's output is multiplied by before the residual is added.
    pub residual_scale: f64,
}

/// A linear layer as the checkpoint holds it, under the name that adapters use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearSpec {
    /// Its path, without `.weight`.
    pub path: String,
    /// Its path inside the layer.
    pub inner: &'static str,
    /// Rows of its matrix.
    pub out: usize,
    /// Columns of its matrix.
    pub inp: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl LinearSpec {
    /// The last part of its path, as `target_modules` name it.
    pub fn short(&self) -> &'static str {
        self.inner.rsplit_once('.').map_or(self.inner, |(_, last)| last)
    }
}

/// A product of the block program: rows of a linear layer of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The layer whose rows it is.
    pub of: LinearSpec,
    /// Its rows; all of them, where the layer is stored by itself.
    pub rows: Range<usize>,
}

impl Product {
    fn whole(of: LinearSpec) -> Self {
        Self { rows: 0..of.out, of }
    }

    /// Whether it is the whole of its layer.
    pub fn is_whole(&self) -> bool {
        self.rows == (0..self.of.out)
    }
}

impl LayerSpec {
    /// The linear layers that are stored, in the order of the forward pass.
    pub fn linears(&self, at: &str, hidden: usize) -> Vec<LinearSpec> {
        let mut all: Vec<LinearSpec> = self.products(at, hidden).into_iter().map(|p| p.of).collect();
        all.dedup();
        all
    }

    /// The products of a pass: queries, keys, values, attention's output, gate, up, down.
    pub fn products(&self, at: &str, hidden: usize) -> [Product; 7] {
        let (a, f) = (&self.attention, &self.feed_forward);
        let linear = |inner: &'static str, out, inp, bias| LinearSpec { path: format!("{at}.{inner}"), inner, out, inp, bias };
        let split = |of: LinearSpec, rows: Range<usize>| Product { of, rows };
        let (q, kv) = (a.q_width(), a.kv_width());
        let [pq, pk, pv] = match a.qkv {
            QkvNames::Apart => [("self_attn.q_proj", q), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)]
                .map(|(inner, out)| Product::whole(linear(inner, out, hidden, a.qkv_bias))),
            QkvNames::Fused => {
                [0..q, q..q + kv, q + kv..q + 2 * kv].map(|rows| split(linear("self_attn.qkv_proj", q + 2 * kv, hidden, a.qkv_bias), rows))
            }
        };
        let w = f.width;
        let [gate, up] = match f.fused {
            false => ["mlp.gate_proj", "mlp.up_proj"].map(|inner| Product::whole(linear(inner, w, hidden, f.bias))),
            true => [0..w, w..2 * w].map(|rows| split(linear("mlp.gate_up_proj", 2 * w, hidden, f.bias), rows)),
        };
        let o = Product::whole(linear("self_attn.o_proj", hidden, q, a.o_bias));
        [pq, pk, pv, o, gate, up, Product::whole(linear("mlp.down_proj", hidden, w, f.bias))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(qkv: QkvNames, fused: bool) -> LayerSpec {
        let attention = AttentionSpec {
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            rope: Some(0),
            window: None,
            scale: 1.0,
            qk_norm: QkNorm::None,
            clip: None,
            qkv_bias: false,
            o_bias: false,
            qkv,
        };
        let feed_forward = FeedForwardSpec { width: 40, activation: Activation::Silu, bias: false, fused };
        LayerSpec { norms: NormNames::BEFORE, attention, feed_forward, residual_scale: 1.0 }
    }

    #[test]
    fn fused_projections_are_stored_once_and_cut_by_rows() {
        let fused = layer(QkvNames::Fused, true);
        let names: Vec<(String, usize)> = fused.linears("l", 32).into_iter().map(|l| (l.short().to_owned(), l.out)).collect();
        let want = [("qkv_proj", 64), ("o_proj", 32), ("gate_up_proj", 80), ("down_proj", 32)];
        assert_eq!(names, want.map(|(n, o)| (n.to_owned(), o)));
        let rows: Vec<Range<usize>> = fused.products("l", 32).into_iter().map(|p| p.rows).collect();
        assert_eq!(rows, [0..32, 32..48, 48..64, 0..32, 0..40, 40..80, 0..32]);
        let apart = layer(QkvNames::Apart, false);
        assert_eq!(apart.linears("l", 32).len(), 7);
        assert!(apart.products("l", 32).iter().all(Product::is_whole));
    }
}
