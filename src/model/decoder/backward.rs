//! One layer's backward pass, written by hand, once for every engine. Values are dropped as soon as nothing reads them any
//! more.

use super::block::Block;
use super::engine::{Attended, Engine, Saved, Trains};
use super::tape::{AttentionTape, FeedForwardTape, LayerTape, PreRotation, Stats};
use crate::model::error::{Error, Result};

/// A value that the forward pass was bound to keep.
pub(super) fn kept<T>(t: Option<T>, what: &str) -> Result<T> {
    t.ok_or_else(|| Error::Value(format!("the forward pass kept no {what}")))
}

/// What stands around a block: its norms, and what the forward pass kept of them.
struct Around<'n, N, T> {
    before: Option<&'n N>,
    after: Option<&'n N>,
    /// The residual stream in front of the block.
    input: Option<T>,
    /// The same behind the norm in front.
    normed: Option<T>,
    input_stats: Option<Stats<T>>,
    /// The block's output in front of the norm behind it.
    out: Option<T>,
    out_stats: Option<Stats<T>>,
    /// Whether the block's backward pass reads its input.
    reads: bool,
    /// Whether the gradient of the block's input is wanted.
    wanted: bool,
}

impl<L: Trains, N: Trains> Block<L, N> {
    /// From the gradient of the output `[tokens, hidden]`, which is consumed, to that of the input, where it is wanted.
    /// Adds the gradients of what trains here.
    pub(super) fn backward<E>(&self, e: &E, dy: E::Value, tape: LayerTape<E::Value>) -> Result<Option<E::Value>>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let mut tape = match tape {
            LayerTape::Nothing => return Ok(None),
            LayerTape::Input(x) => self.rerun(e, x)?,
            LayerTape::Kept(tape) => *tape,
        };
        let (n, norms) = (&self.needs, &self.norms);
        let [attention_in, attention_out, feed_forward_in, feed_forward_out] = tape.stats;
        let around = Around {
            before: norms.before_feed_forward.as_ref(),
            after: norms.after_feed_forward.as_ref(),
            input: tape.mid,
            normed: tape.feed_forward.input.take(),
            input_stats: feed_forward_in,
            out: tape.feed_forward_out,
            out_stats: feed_forward_out,
            reads: self.reads_feed_forward_input(),
            wanted: n.feed_forward_input,
        };
        let inner = |d: &E::Value, input, onto| self.feed_forward_backward(e, d, input, tape.feed_forward, onto);
        let Some(d_mid) = self.through(e, dy, around, inner)?.filter(|_| n.mid) else { return Ok(None) };
        let around = Around {
            before: norms.before_attention.as_ref(),
            after: norms.after_attention.as_ref(),
            input: tape.x,
            normed: tape.attention.input.take(),
            input_stats: attention_in,
            out: tape.attention_out,
            out_stats: attention_out,
            reads: self.reads_attention_input(),
            wanted: n.attention_input,
        };
        let inner = |d: &E::Value, input, onto| self.attention_backward(e, d, input, tape.attention, onto);
        Ok(self.through(e, d_mid, around, inner)?.filter(|_| n.dx))
    }

    /// From the gradient behind a block and its residual to the gradient in front of them. `inner` is the block's own
    /// backward pass, from the gradient of its output and its input; it adds to the third where given.
    fn through<E>(
        &self,
        e: &E,
        dy: E::Value,
        around: Around<N, E::Value>,
        inner: impl FnOnce(&E::Value, Option<E::Value>, Option<E::Value>) -> Result<Option<E::Value>>,
    ) -> Result<Option<E::Value>>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let scaled = (self.residual_scale != 1.0).then(|| e.scaled(&dy, self.residual_scale)).transpose()?;
        let d_block = match around.after {
            Some(norm) => {
                let (out, stats) = (kept(around.out, "block output")?, kept(around.out_stats, "norm statistics")?);
                Some(e.norm_backward(norm, scaled.as_ref().unwrap_or(&dy), &out, &stats, None)?)
            }
            None => scaled,
        };
        let Some(norm) = around.before else {
            // The residual's gradient is dy itself: the block's is added onto it.
            let d_block = match d_block {
                Some(d) => d,
                None => e.scaled(&dy, 1.0)?,
            };
            return inner(&d_block, around.input, Some(dy));
        };
        let normed = match around.normed {
            None if around.reads => Some(e.norm(norm, kept(around.input.as_ref(), "block input")?)?.0),
            normed => normed,
        };
        let d_input = inner(d_block.as_ref().unwrap_or(&dy), normed, None)?;
        drop(d_block);
        if !around.wanted {
            return Ok(None);
        }
        let d_input = kept(d_input, "gradient of the block's input")?;
        let (input, stats) = (kept(around.input, "block input")?, kept(around.input_stats, "norm statistics")?);
        Ok(Some(e.norm_backward(norm, &d_input, &input, &stats, Some(&dy))?))
    }

    /// From the gradient of the feed-forward block's output to that of its input, added to `onto` where given.
    fn feed_forward_backward<E>(
        &self,
        e: &E,
        dy: &E::Value,
        input: Option<E::Value>,
        tape: FeedForwardTape<E::Value>,
        onto: Option<E::Value>,
    ) -> Result<Option<E::Value>>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let (f, n) = (&self.feed_forward, &self.needs);
        let act = match (tape.act, &tape.gate_up) {
            (None, Some((gate, up))) if f.down.trains() => Some(e.gate(f.activation, gate, up)?),
            (act, _) => act,
        };
        let [hg, hu, hd] = tape.h;
        let d_act = e.linear_backward(&f.down, dy, saved(&act, &hd), n.gate_up, None)?;
        drop((act, hd));
        let Some(d_act) = d_act else { return Ok(onto) };
        // Nothing reads gate and up after this: their gradients take their place.
        let (d_gate, d_up) = kept(tape.gate_up, "gate and up")?;
        e.gate_backward(f.activation, &d_act, &d_gate, &d_up)?;
        drop(d_act);
        let dx = e.linear_backward(&f.gate, &d_gate, saved(&input, &hg), n.feed_forward_input, onto)?;
        drop(d_gate);
        e.linear_backward(&f.up, &d_up, saved(&input, &hu), n.feed_forward_input, dx)
    }

    /// As [`Self::feed_forward_backward`], for the attention block.
    fn attention_backward<E>(
        &self,
        e: &E,
        dy: &E::Value,
        input: Option<E::Value>,
        tape: AttentionTape<E::Value>,
        onto: Option<E::Value>,
    ) -> Result<Option<E::Value>>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let (a, n) = (&self.attention, &self.needs);
        let [hq, hk, hv, ho] = tape.h;
        let d_o = e.linear_backward(&a.o, dy, saved(&tape.o, &ho), n.qkv, None)?;
        drop(ho);
        let Some(d_o) = d_o else { return Ok(onto) };
        let (q, k) = match tape.qk {
            Some(qk) => qk,
            None => self.rotated_again(e, kept(tape.before.as_ref(), "queries and keys")?)?,
        };
        let (v, o, lse) = (kept(tape.v, "values")?, kept(tape.o, "attention output")?, kept(tape.lse, "softmax sums")?);
        let (dq, dk, mut dv) = e.attend_backward(&a.spec, &d_o, Attended { q, k, v, o, lse })?;
        drop(d_o);
        let (mut dq, mut dk) = e.rotate_backward(&a.spec, dq, dk)?;
        if let (Some(before), Some(q_norm), Some(k_norm)) = (tape.before, &a.q_norm, &a.k_norm) {
            dq = e.norm_backward(q_norm, &dq, &before.q, &before.q_stats, None)?;
            dk = e.norm_backward(k_norm, &dk, &before.k, &before.k_stats, None)?;
        }
        if let Some([wq, wk, wv]) = &tape.within {
            (dq, dk, dv) = (e.clip_backward(dq, wq)?, e.clip_backward(dk, wk)?, e.clip_backward(dv, wv)?);
        }
        let dx = e.linear_backward(&a.q, &dq, saved(&input, &hq), n.attention_input, onto)?;
        drop(dq);
        let dx = e.linear_backward(&a.k, &dk, saved(&input, &hk), n.attention_input, dx)?;
        drop(dk);
        e.linear_backward(&a.v, &dv, saved(&input, &hv), n.attention_input, dx)
    }

    /// Queries and keys after norm and rotation, from before both.
    fn rotated_again<E>(&self, e: &E, before: &PreRotation<E::Value>) -> Result<(E::Value, E::Value)>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let a = &self.attention;
        let (q_norm, k_norm) = (kept(a.q_norm.as_ref(), "query norm")?, kept(a.k_norm.as_ref(), "key norm")?);
        e.rotate(&a.spec, e.norm(q_norm, &before.q)?.0, e.norm(k_norm, &before.k)?.0)
    }
}

fn saved<'a, T>(x: &'a Option<T>, h: &'a Option<T>) -> Saved<'a, T> {
    Saved { x: x.as_ref(), h: h.as_ref() }
}
