//! One block's forward and backward pass over sizes. Each function mirrors the one of its name in `layer` and `backward`.

use candle_core::DType;
use tallow_kernels::attention;
use tallow_kernels::lora;

use super::ledger::{Held, Ledger};
use super::{Engine, Sketch};
use crate::model::decoder::needs::{Needs, Trains};
use crate::model::decoder::{Policy, Trainable};
use crate::model::spec::LinearKind::{self, Down, Gate, K, O, Q, Up, V};
use crate::model::spec::{NormKind, NormPlacement, QkNorm};

/// What tells one layer from another.
pub(super) struct LayerSketch {
    pub(super) needs: Needs,
    pub(super) trains: Trains,
    /// Adapters' inner widths, by [`LinearKind`]; 0 where there is none.
    pub(super) rank: [usize; 7],
}

impl LayerSketch {
    fn reads_attention_input(&self) -> bool {
        self.needs.qkv && self.trains.any_linear(&[Q, K, V])
    }

    fn reads_mlp_input(&self) -> bool {
        self.needs.gate_up && self.trains.any_linear(&[Gate, Up])
    }

    fn trains(&self, kind: LinearKind) -> bool {
        self.trains.linear[kind as usize]
    }
}

pub(super) struct Walk<'l> {
    pub(super) ledger: &'l Ledger,
    pub(super) sketch: &'l Sketch<'l>,
    pub(super) tokens: usize,
    pub(super) longest: usize,
}

type H<'l> = Held<'l>;

pub(super) enum LayerTape<'l> {
    Nothing,
    Input(H<'l>),
    Kept(Box<Tape<'l>>),
}

#[derive(Default)]
pub(super) struct Tape<'l> {
    x: Option<H<'l>>,
    mid: Option<H<'l>>,
    stats1: Option<H<'l>>,
    stats2: Option<H<'l>>,
    block1: Option<H<'l>>,
    block2: Option<H<'l>>,
    attention: AttentionTape<'l>,
    mlp: MlpTape<'l>,
}

#[derive(Default)]
struct AttentionTape<'l> {
    input: Option<H<'l>>,
    before: Option<H<'l>>,
    unclipped: Option<H<'l>>,
    qk: Option<H<'l>>,
    v: Option<H<'l>>,
    o: Option<H<'l>>,
    lse: Option<H<'l>>,
    h: [Option<H<'l>>; 4], // q, k, v, o
}

#[derive(Default)]
struct MlpTape<'l> {
    input: Option<H<'l>>,
    gate_up: Option<[H<'l>; 2]>,
    act: Option<H<'l>>,
    h: [Option<H<'l>>; 2], // gate, up
    hd: Option<H<'l>>,
}

struct Projected<'l> {
    qk: H<'l>,
    v: H<'l>,
    h: [Option<H<'l>>; 3],
    unclipped: Option<H<'l>>,
    before: Option<H<'l>>,
}

impl<'l> Walk<'l> {
    fn bytes(&self, width: usize) -> u64 {
        (self.tokens * width) as u64 * self.sketch.dtype_bytes()
    }

    /// Activations `[T, width]`.
    pub(super) fn rows(&self, width: usize) -> H<'l> {
        self.ledger.hold(self.bytes(width))
    }

    fn stats(&self, rows: usize) -> H<'l> {
        self.ledger.hold(if self.sketch.spec.norm == NormKind::Rms { 4 } else { 8 } * rows as u64)
    }

    fn hidden(&self) -> usize {
        self.sketch.spec.hidden_size
    }

    pub(super) fn norm_forward(&self, width: usize, rows: usize) -> (H<'l>, H<'l>) {
        (self.rows(width), self.stats(rows))
    }

    /// The gradient of the norm's input.
    pub(super) fn norm_backward(&self, width: usize, rows: usize, trains: bool) -> H<'l> {
        if self.sketch.gpu() {
            return self.rows(width);
        }
        let groups = if trains { rows.div_ceil(64) } else { 0 };
        self.ledger.moment(4 * (groups * width) as u64 + 8 * rows as u64 + self.bytes(width));
        self.rows(width)
    }

    fn adapter_forward(&self, l: &LayerSketch, kind: LinearKind) -> Option<H<'l>> {
        let rank = l.rank[kind as usize];
        let (out, inp) = self.sketch.spec.linear_shape(kind);
        (rank > 0).then(|| {
            let h = self.rows(rank);
            self.ledger.moment(self.adapter_scratch(out, inp, rank).0);
            h
        })
    }

    /// What an adapter's forward and backward pass need for a moment.
    fn adapter_scratch(&self, out: usize, inp: usize, rank: usize) -> (u64, u64) {
        if !self.sketch.gpu() {
            return lora::scratch_bytes(self.tokens, out, inp, rank, self.sketch.threads(), self.sketch.compute_dtype.size_in_bytes());
        }
        let cast = if self.sketch.compute_dtype == DType::F32 { 0 } else { 2 * (rank * (out + inp)) as u64 };
        let drops = matches!(self.sketch.trainable, Trainable::Lora(c) if c.dropout > 0.0);
        // The dropped input, and its gradient in f32.
        let (dropped, through) = if drops { (self.bytes(inp), 4 * (self.tokens * inp) as u64) } else { (0, 0) };
        (cast + dropped, cast + self.bytes(rank) + dropped.max(through))
    }

    fn linear(&self, l: &LayerSketch, kind: LinearKind) -> (H<'l>, Option<H<'l>>) {
        let y = self.rows(self.sketch.spec.linear_shape(kind).0);
        (y, self.adapter_forward(l, kind))
    }

    fn linear_backward(&self, l: &LayerSketch, kind: LinearKind, want: bool, onto: Option<H<'l>>) -> Option<H<'l>> {
        let (out, inp) = self.sketch.spec.linear_shape(kind);
        let dx = if want { onto.or_else(|| Some(self.rows(inp))) } else { onto };
        let rank = l.rank[kind as usize];
        if rank > 0 {
            self.ledger.moment(self.adapter_scratch(out, inp, rank).1);
        }
        self.ledger.moment(self.sketch.widened(self.tokens * (out + inp)));
        dx
    }

    pub(super) fn forward(&self, l: &LayerSketch, x: H<'l>, policy: Policy) -> (H<'l>, LayerTape<'l>) {
        if !l.needs.any {
            return (self.forward_plain(l, Some(x)), LayerTape::Nothing);
        }
        if policy == Policy::Recompute {
            return (self.forward_plain(l, None), LayerTape::Input(x));
        }
        let (out, tape) = self.forward_taped(l, x, policy == Policy::Minimal, true);
        (out, LayerTape::Kept(Box::new(tape)))
    }

    /// x is dropped on the way, unless the caller keeps it.
    fn forward_plain(&self, l: &LayerSketch, x: Option<H<'l>>) -> H<'l> {
        let pre = self.sketch.spec.norm_placement == NormPlacement::Pre;
        let norm = || self.norm_forward(self.hidden(), self.tokens);
        let attention_block = || {
            let o = {
                let _p = self.project(l);
                self.attend()
            };
            let out = self.linear(l, O);
            drop(o);
            out.0
        };
        let mlp_block = || {
            let (gate, up) = (self.linear(l, Gate), self.linear(l, Up));
            let act = self.rows(self.sketch.spec.intermediate_size);
            drop((gate, up));
            let out = self.linear(l, Down).0;
            drop(act);
            out
        };
        let input = pre.then(norm);
        let block = attention_block();
        drop(input);
        let mid = if pre { block } else { norm().0 };
        let input = pre.then(norm);
        drop(x);
        let block = mlp_block();
        drop(input);
        let out = if pre { block } else { norm().0 };
        drop(mid);
        out
    }

    fn forward_taped(&self, l: &LayerSketch, x: H<'l>, minimal: bool, want_out: bool) -> (H<'l>, Tape<'l>) {
        let n = &l.needs;
        let norm = || self.norm_forward(self.hidden(), self.tokens);
        if self.sketch.spec.norm_placement == NormPlacement::Pre {
            let (input, stats1) = norm();
            let (mid, mut attention) = self.attention_taped(l, minimal);
            attention.input = (l.reads_attention_input() && !minimal).then_some(input);
            let (input, stats2) = norm();
            let x = (n.norm1 || (l.reads_attention_input() && minimal)).then_some(x);
            let (out, mut mlp) = self.mlp_taped(l, minimal, want_out);
            mlp.input = (l.reads_mlp_input() && !minimal).then_some(input);
            let mid = (n.norm2 || (l.reads_mlp_input() && minimal)).then_some(mid);
            let (stats1, stats2) = (n.norm1.then_some(stats1), n.norm2.then_some(stats2));
            return (out, Tape { x, mid, stats1, stats2, attention, mlp, ..Tape::default() });
        }
        let (block1, attention) = self.attention_taped(l, minimal);
        let (mid, stats1) = norm();
        let x = l.reads_attention_input().then_some(x);
        let block1 = n.norm1.then_some(block1);
        let (block2, mlp) = self.mlp_taped(l, minimal, true);
        let (out, stats2) = norm();
        let tape = Tape {
            x,
            mid: l.reads_mlp_input().then_some(mid),
            stats1: n.norm1.then_some(stats1),
            stats2: n.norm2.then_some(stats2),
            block1,
            block2: n.norm2.then_some(block2),
            attention,
            mlp,
        };
        (out, tape)
    }

    /// Rows over which the norms of q and of k run.
    fn qk_rows(&self) -> Option<(usize, usize)> {
        let s = self.sketch.spec;
        match s.qk_norm {
            QkNorm::None => None,
            QkNorm::PerHead => Some((self.tokens * s.num_heads, self.tokens * s.num_kv_heads)),
            QkNorm::Full => Some((self.tokens, self.tokens)),
        }
    }

    fn project(&self, l: &LayerSketch) -> Projected<'l> {
        let s = self.sketch.spec;
        let width = s.q_width() + s.kv_width();
        let ((q, hq), (k, hk), (mut v, hv)) = (self.linear(l, Q), self.linear(l, K), self.linear(l, V));
        drop((q, k));
        let mut qk = self.rows(width);
        let mut unclipped = None;
        if s.clip_qkv.is_some() {
            unclipped = Some(self.ledger.hold((self.tokens * (width + s.kv_width())) as u64));
            let clamped = (self.rows(width), self.rows(s.kv_width()));
            self.ledger.moment(self.bytes(s.q_width()));
            (qk, v) = clamped;
        }
        let before = self.qk_rows().map(|(q_rows, k_rows)| {
            let (out, stats) = (self.rows(width), self.stats(q_rows + k_rows));
            let input = std::mem::replace(&mut qk, out);
            self.join(input, stats)
        });
        Projected { qk, v, h: [hq, hk, hv], unclipped, before }
    }

    /// Two as one.
    fn join(&self, a: H<'l>, b: H<'l>) -> H<'l> {
        let bytes = a.bytes() + b.bytes();
        drop((a, b));
        self.ledger.hold(bytes)
    }

    /// Attention's output and its softmax sums.
    fn attend(&self) -> (H<'l>, H<'l>) {
        let s = self.sketch.spec;
        let out = (self.rows(s.q_width()), self.ledger.hold(4 * (s.num_heads * self.tokens) as u64));
        if !self.sketch.gpu() {
            self.ledger.moment(attention::scratch_bytes(self.longest, s.head_dim, self.sketch.threads()).0);
        }
        out
    }

    fn attention_taped(&self, l: &LayerSketch, minimal: bool) -> (H<'l>, AttentionTape<'l>) {
        let p = self.project(l);
        let (o, lse) = self.attend();
        let mut tape = AttentionTape::default();
        if l.needs.qkv {
            let again = minimal && p.before.is_some();
            tape.qk = (!again).then_some(p.qk);
            (tape.before, tape.v, tape.lse, tape.unclipped) = (p.before, Some(p.v), Some(lse), p.unclipped);
            let [hq, hk, hv] = p.h;
            tape.h = [hq, hk, hv, None];
        } else {
            drop((p, lse));
        }
        let (out, ho) = self.linear(l, O);
        tape.h[3] = ho;
        tape.o = (l.needs.qkv || l.trains(O)).then_some(o);
        (out, tape)
    }

    fn mlp_taped(&self, l: &LayerSketch, minimal: bool, want_out: bool) -> (H<'l>, MlpTape<'l>) {
        let ((gate, hg), (up, hu)) = (self.linear(l, Gate), self.linear(l, Up));
        let mut tape = MlpTape::default();
        if !want_out && !l.trains(Down) {
            tape.gate_up = l.needs.gate_up.then_some([gate, up]);
            tape.h = [hg, hu];
            return (self.ledger.hold(0), tape);
        }
        let act = self.rows(self.sketch.spec.intermediate_size);
        tape.gate_up = (l.needs.gate_up || (minimal && l.trains(Down))).then_some([gate, up]);
        if l.needs.gate_up {
            tape.h = [hg, hu];
        }
        let (out, hd) = if want_out { self.linear(l, Down) } else { (self.ledger.hold(0), self.adapter_forward(l, Down)) };
        tape.hd = hd;
        tape.act = (l.trains(Down) && !minimal).then_some(act);
        (out, tape)
    }

    pub(super) fn backward(&self, l: &LayerSketch, dy: H<'l>, tape: LayerTape<'l>) -> Option<H<'l>> {
        let tape = match tape {
            LayerTape::Nothing => return None,
            LayerTape::Input(x) => self.forward_taped(l, x, false, false).1,
            LayerTape::Kept(tape) => *tape,
        };
        match self.sketch.spec.norm_placement {
            NormPlacement::Pre => self.backward_pre(l, dy, tape),
            NormPlacement::Post => self.backward_post(l, dy, tape),
        }
    }

    fn backward_pre(&self, l: &LayerSketch, dy: H<'l>, mut tape: Tape<'l>) -> Option<H<'l>> {
        let (n, hidden) = (&l.needs, self.hidden());
        if tape.mlp.input.is_none() && l.reads_mlp_input() {
            tape.mlp.input = Some(self.norm_forward(hidden, self.tokens).0);
        }
        let d_input = self.mlp_backward(l, tape.mlp, None);
        if !n.mlp_input {
            return None;
        }
        let d_mid = self.norm_backward(hidden, self.tokens, l.trains.norm2);
        drop((d_input, tape.mid, tape.stats2, dy));
        if !n.mid {
            return None;
        }
        if tape.attention.input.is_none() && l.reads_attention_input() {
            tape.attention.input = Some(self.norm_forward(hidden, self.tokens).0);
        }
        let d_input = self.attention_backward(l, tape.attention, None);
        if !n.attention_input {
            return None;
        }
        let dx = self.norm_backward(hidden, self.tokens, l.trains.norm1);
        drop((d_input, d_mid, tape.x, tape.stats1));
        n.dx.then_some(dx)
    }

    fn backward_post(&self, l: &LayerSketch, dy: H<'l>, mut tape: Tape<'l>) -> Option<H<'l>> {
        let (n, hidden) = (&l.needs, self.hidden());
        let d_block = self.norm_backward(hidden, self.tokens, l.trains.norm2);
        drop((tape.block2, tape.stats2));
        tape.mlp.input = tape.mid;
        let d_mid = self.mlp_backward(l, tape.mlp, Some(dy));
        drop(d_block);
        if !n.mid {
            return None;
        }
        let d_block = self.norm_backward(hidden, self.tokens, l.trains.norm1);
        drop((tape.block1, tape.stats1));
        tape.attention.input = tape.x;
        let dx = self.attention_backward(l, tape.attention, d_mid);
        drop(d_block);
        dx.filter(|_| n.dx)
    }

    fn mlp_backward(&self, l: &LayerSketch, tape: MlpTape<'l>, onto: Option<H<'l>>) -> Option<H<'l>> {
        let n = &l.needs;
        let act = tape.act.or_else(|| (l.trains(Down) && tape.gate_up.is_some()).then(|| self.rows(self.sketch.spec.intermediate_size)));
        let d_act = self.linear_backward(l, Down, n.gate_up, None);
        drop((act, tape.hd));
        if !n.gate_up {
            return onto;
        }
        let [d_gate, _d_up] = tape.gate_up?;
        drop(d_act);
        let dx = self.linear_backward(l, Gate, n.mlp_input, onto);
        drop(d_gate);
        self.linear_backward(l, Up, n.mlp_input, dx)
    }

    fn attention_backward(&self, l: &LayerSketch, tape: AttentionTape<'l>, onto: Option<H<'l>>) -> Option<H<'l>> {
        let (n, s) = (&l.needs, self.sketch.spec);
        let d_o = self.linear_backward(l, O, n.qkv, None);
        if !n.qkv {
            return onto;
        }
        let qk = tape.qk.unwrap_or_else(|| self.rows(s.q_width() + s.kv_width()));
        let (mut dq, mut dk, mut dv) = (self.rows(s.q_width()), self.rows(s.kv_width()), self.rows(s.kv_width()));
        self.ledger.moment(match self.sketch.engine {
            Engine::Cpu { threads } => attention::scratch_bytes(self.longest, s.head_dim, threads).1,
            Engine::Gpu => 4 * (s.num_heads * self.tokens) as u64,
        });
        drop((qk, tape.v, tape.o, tape.lse, d_o));
        if let (Some(_before), Some((q_rows, k_rows))) = (tape.before, self.qk_rows()) {
            dq = self.norm_backward(s.q_width(), q_rows, l.trains.qk_norm);
            dk = self.norm_backward(s.kv_width(), k_rows, l.trains.qk_norm);
        }
        if s.clip_qkv.is_some() {
            let masked = (self.rows(s.q_width()), self.rows(s.kv_width()), self.rows(s.kv_width()));
            self.ledger.moment(self.bytes(s.q_width()));
            (dq, dk, dv) = masked;
        }
        let dx = self.linear_backward(l, Q, n.attention_input, onto);
        drop(dq);
        let dx = self.linear_backward(l, K, n.attention_input, dx);
        drop(dk);
        let dx = self.linear_backward(l, V, n.attention_input, dx);
        drop((dv, tape.input, tape.h, tape.unclipped));
        dx
    }
}
