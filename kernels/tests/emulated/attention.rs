//! The tensor-core attention kernels by themselves: against f64 autograd by the two-times rule, the same bits in every order of
//! threads, no bank conflicts.

use candle_core::{DType, Device, Tensor, Var};
use half::bf16;
use tallow_kernels::attention::{attention, attention_backward, reference};

use crate::machine::{Arg, Buffer, Machine};

/// Numbers in [-1, 1) that look random.
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

struct Case {
    lengths: &'static [usize],
    heads: usize,
    kv_heads: usize,
    dim: usize,
    window: Option<usize>,
}

const AMPERE: [Case; 6] = [
    Case { lengths: &[130, 1, 63], heads: 4, kv_heads: 2, dim: 64, window: None },
    Case { lengths: &[65, 70], heads: 2, kv_heads: 2, dim: 80, window: Some(40) },
    Case { lengths: &[129, 0, 33], heads: 3, kv_heads: 1, dim: 96, window: Some(1) },
    Case { lengths: &[200, 5], heads: 2, kv_heads: 1, dim: 128, window: None },
    Case { lengths: &[150], heads: 1, kv_heads: 1, dim: 128, window: Some(70) },
    Case { lengths: &[97, 2], heads: 2, kv_heads: 1, dim: 256, window: None },
];

/// Dims that have kernels for sm_90a, and what makes a warpgroup sit out a tile: a diagonal, windows, shared heads.
const HOPPER: [Case; 4] = [
    Case { lengths: &[130, 1, 63], heads: 4, kv_heads: 2, dim: 64, window: None },
    Case { lengths: &[200, 0, 129], heads: 3, kv_heads: 1, dim: 64, window: Some(128) },
    Case { lengths: &[300, 33], heads: 2, kv_heads: 1, dim: 128, window: None },
    Case { lengths: &[257], heads: 1, kv_heads: 1, dim: 128, window: Some(70) },
];

impl Case {
    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
    fn ends(&self) -> Vec<u32> {
        let mut ends = vec![0];
        self.lengths.iter().for_each(|&n| ends.push(ends[ends.len() - 1] + n as u32));
        ends
    }
    /// (sequence, first row) of tiles.
    fn tiles(&self, rows: usize) -> Vec<u32> {
        let of = |(s, &n): (usize, &usize)| (0..n).step_by(rows).flat_map(move |first| [s as u32, first as u32]);
        self.lengths.iter().enumerate().flat_map(of).collect()
    }
    fn row_bytes(&self) -> usize {
        let chunks = self.dim / 8;
        16 * if chunks.is_multiple_of(8) { chunks } else { chunks | 1 }
    }
    /// q, k, v, dout in bf16.
    fn inputs(&self) -> [Vec<bf16>; 4] {
        let n = self.tokens() * self.dim;
        [(self.heads, 1), (self.kv_heads, 2), (self.kv_heads, 3), (self.heads, 4)]
            .map(|(heads, seed)| random(n * heads, seed).into_iter().map(bf16::from_f32).collect())
    }

    /// o, lse, dq, dk, dv as the kernels make them, in f32; `hopper`: those for sm_90a.
    fn run(&self, m: &Machine, hopper: bool) -> [Vec<f32>; 5] {
        let (d, tokens) = (self.dim, self.tokens());
        let [q, k, v, dout] = self.inputs().map(|x| m.buffer(&x));
        let ends = self.ends();
        let spans: Vec<u32> = ends.windows(2).flat_map(|w| [w[0], w[0], w[1] - w[0], w[1] - w[0]]).collect();
        let spans = m.buffer(&spans);
        let (rows, kv_rows, stats) = (tokens * self.heads * d, tokens * self.kv_heads * d, tokens * self.heads);
        let (o, lse) = (m.poisoned::<bf16>(rows), m.poisoned::<f32>(stats));
        let (dq, delta) = (m.poisoned::<bf16>(rows), m.poisoned::<f32>(stats));
        let (dk, dv) = (m.poisoned::<bf16>(kv_rows), m.poisoned::<bf16>(kv_rows));
        let launch = |name: &str, heads: usize, rows: usize, parts: u32, shared: usize, buffers: &[&Buffer]| {
            let tiles = self.tiles(rows);
            let grid = [heads as u32, tiles.len() as u32 / 2, parts];
            let tiles = m.buffer(&tiles);
            let mut args: Vec<Arg> = buffers.iter().map(|b| Arg::Buf(b)).collect();
            args.extend([Arg::Buf(&spans), Arg::Buf(&tiles), Arg::I32(self.heads as i32), Arg::I32(self.kv_heads as i32)]);
            let window = self.window.map_or(i32::MAX, |w| w as i32);
            args.extend([Arg::U32(tokens as u32), Arg::I32(window), Arg::F32(self.scale())]);
            m.launch(&format!("attention_{name}_d{d}"), grid, [if hopper { 256 } else { 128 }, 1, 1], shared, &args);
        };
        let wide = |b: &Buffer| b.read::<bf16>().into_iter().map(bf16::to_f32).collect();
        if hopper {
            let shared = 2 * 640 * d;
            launch("hopper", self.heads, 128, 1, shared, &[&q, &k, &v, &o, &lse]);
            launch("hopper_dq", self.heads, 128, 1, shared, &[&q, &k, &v, &o, &dout, &lse, &delta, &dq]);
            launch("hopper_dkv", self.kv_heads, 128, 1, shared + 2048, &[&q, &k, &v, &dout, &lse, &delta, &dk, &dv]);
            return [wide(&o), lse.read::<f32>(), wide(&dq), wide(&dk), wide(&dv)];
        }
        let queries = if d == 256 { 64 } else { 128 };
        let keys = if d == 128 { 32 } else { 64 };
        launch("forward", self.heads, queries, 1, (queries + 2 * keys) * self.row_bytes(), &[&q, &k, &v, &o, &lse]);
        let other = if d == 64 { 64 } else { 32 };
        let (held, stages, parts) = if d == 256 { (2 * other + 128, 1, 2) } else { (4 * other, 2, 1) };
        let shared = held * self.row_bytes();
        launch("dq", self.heads, 64, 1, shared, &[&q, &k, &v, &o, &dout, &lse, &delta, &dq]);
        launch("dkv", self.kv_heads, 64, parts, shared + stages * 8 * other, &[&q, &k, &v, &dout, &lse, &delta, &dk, &dv]);
        [wide(&o), lse.read::<f32>(), wide(&dq), wide(&dk), wide(&dv)]
    }

    fn tensor(&self, values: &[bf16], heads: usize, dtype: DType) -> Tensor {
        Tensor::from_slice(values, (self.tokens(), heads, self.dim), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Norm of the difference over the norm.
fn error(got: impl Iterator<Item = f64>, want: &[f64]) -> f64 {
    let off: f64 = got.zip(want).map(|(a, b)| (a - b) * (a - b)).sum();
    (off / want.iter().map(|b| b * b).sum::<f64>().max(1e-30)).sqrt()
}

fn check(cases: &[Case], hopper: bool) {
    let m = Machine::take();
    // Those that another test made on purpose.
    m.bank_conflicts();
    for c in cases {
        let name = format!("{:?} {}/{} x {} window {:?}", c.lengths, c.heads, c.kv_heads, c.dim, c.window);
        let got = m.in_every_order(&name, || c.run(&m, hopper).into_iter().flatten().map(f32::to_bits).collect());
        assert_eq!(m.bank_conflicts(), 0, "{name}");
        let [q, k, v, dout] = c.inputs();
        let heads = [c.heads, c.kv_heads, c.kv_heads, c.heads];
        let of = |dtype| [&q, &k, &v, &dout].iter().zip(heads).map(|(x, h)| c.tensor(x, h, dtype)).collect::<Vec<_>>();
        let (exact, plain) = (of(DType::F64), of(DType::BF16));
        let vars: Vec<Var> = exact[..3].iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let o64 = reference::attention(&vars[0], &vars[1], &vars[2], &c.ends(), c.window, c.scale()).unwrap();
        let grads = (&o64 * &exact[3]).unwrap().sum_all().unwrap().backward().unwrap();
        let (o, lse) = attention(&plain[0], &plain[1], &plain[2], &c.ends(), c.window, c.scale()).unwrap();
        let back = attention_backward(&plain[3], &plain[0], &plain[1], &plain[2], &o, &lse, &c.ends(), c.window, c.scale()).unwrap();
        let want = [
            flat(&o64),
            flat(&lse),
            flat(grads.get(&vars[0]).unwrap()),
            flat(grads.get(&vars[1]).unwrap()),
            flat(grads.get(&vars[2]).unwrap()),
        ];
        let cpu = [flat(&o), flat(&lse), flat(&back.0), flat(&back.1), flat(&back.2)];
        let mut at = 0;
        for (i, (want, cpu)) in want.iter().zip(&cpu).enumerate() {
            let mine = got[at..at + want.len()].iter().map(|&b| f64::from(f32::from_bits(b)));
            at += want.len();
            let (e, allowed) = (error(mine, want), 2.0 * error(cpu.iter().copied(), want) + 1e-6);
            assert!(e <= allowed, "{name}, result {i}: error {e:.2e}, twice the CPU's {allowed:.2e}");
        }
    }
}

#[test]
fn tensor_cores() {
    check(&AMPERE, false);
}

#[test]
fn warpgroups() {
    check(&HOPPER, true);
}
