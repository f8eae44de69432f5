//! The order in which plans are tried, from the fastest on.

use super::{MemoryPlan, MemoryRequest, host_budget, predict};
use crate::model::Policy;

/// A pass of so many tokens keeps the kernels as busy as a longer one, so cutting a window into such passes costs less than
/// computing anything again.
const EFFICIENT_TOKENS: usize = 2048;

/// Operations that a GPU makes while one byte crosses to host memory or back. An assumption for the GPUs that compute most for
/// what their link carries: 450 TFLOP/s beside 50 GB/s (an H100 on PCIe 5.0 x16), 220 beside 24 (an A100 on PCIe 4.0 x16).
/// Cards of 24 GiB make fewer (a 4090 some 5000, a 3090 some 2500), so there more would fit beside the computing than is planned.
pub const OPERATIONS_PER_BYTE: f64 = 9000.0;

/// What is tried.
#[derive(Clone, Copy, PartialEq)]
enum Attempt {
    One(Policy),
    /// The fewest layers in host memory that fit.
    FewestOffloaded,
    /// The fewest recomputed layers that fit.
    FewestRecomputed,
}

/// The first plan that fits, or else the smallest.
pub(super) fn best(request: &MemoryRequest) -> Result<MemoryPlan, Box<MemoryPlan>> {
    let mut least: Option<MemoryPlan> = None;
    for (attempt, tokens) in attempts(request) {
        let plan = match attempt {
            Attempt::One(policy) => predict(request, policy, tokens),
            Attempt::FewestOffloaded => match fewest_offloaded(request, tokens) {
                Some(plan) => plan,
                None => continue,
            },
            Attempt::FewestRecomputed => fewest_recomputed(request, tokens),
        };
        if plan.fits {
            return Ok(plan);
        }
        if least.as_ref().is_none_or(|l| plan.peak_bytes < l.peak_bytes) {
            least = Some(plan);
        }
    }
    Err(Box::new(least.unwrap_or_else(|| predict(request, Policy::Recompute, request.longest))))
}

/// The lowest number in `1 ..= most` whose plan fits, by halving; `most` where none does.
fn fewest(most: usize, plan: impl Fn(usize) -> MemoryPlan) -> MemoryPlan {
    let (mut low, mut high) = (0, most);
    // More layers that leave or are recomputed never keep more.
    while low + 1 < high {
        let middle = low.midpoint(high);
        if plan(middle).fits { high = middle } else { low = middle }
    }
    plan(high)
}

fn fewest_offloaded(r: &MemoryRequest, tokens: usize) -> Option<MemoryPlan> {
    let most = most_offloaded(r, tokens, r.spec.num_layers());
    (most > 0).then(|| fewest(most, |offloaded| predict(r, Policy::Mixed { recomputed: 0, offloaded }, tokens)))
}

/// Beside as many layers in host memory as cost no time. All layers but one, where nothing fits.
fn fewest_recomputed(r: &MemoryRequest, tokens: usize) -> MemoryPlan {
    let layers = r.spec.num_layers();
    fewest(layers.saturating_sub(1), |recomputed| {
        let offloaded = most_offloaded(r, tokens, layers - recomputed);
        predict(r, Policy::Mixed { recomputed, offloaded }, tokens)
    })
}

/// Layers of `of` whose activations can leave beside the forward pass of all of them, and for which there is host memory. The
/// backward pass takes about twice as long, so they come back beside it.
fn most_offloaded(r: &MemoryRequest, tokens: usize, of: usize) -> usize {
    if !r.gpu || of == 0 {
        return 0;
    }
    let one = predict(r, Policy::Mixed { recomputed: 0, offloaded: 1 }, tokens).host_bytes;
    if one == 0 {
        return 0;
    }
    let s = r.spec;
    let weights: usize = s.layer_linears(0).iter().map(|l| l.out * l.inp).sum();
    // A token sees half of its sequence, in two products.
    let seen = r.longest.min(tokens) as f64 / 2.0;
    let operations = tokens as f64 * (2.0 * weights as f64 + 4.0 * seen * s.layers[0].attention.q_width() as f64);
    let beside = (of as f64 * operations / OPERATIONS_PER_BYTE / one as f64) as usize;
    let room = usize::try_from(host_budget(r) / one).unwrap_or(usize::MAX);
    beside.min(room).min(of)
}

fn attempts(r: &MemoryRequest) -> Vec<(Attempt, usize)> {
    let fastest_first = [Policy::KeepAll, Policy::Minimal, Policy::Recompute];
    let mut policies: Vec<Policy> = fastest_first.into_iter().filter(|p| r.policy.is_none_or(|only| only == *p)).collect();
    if r.gpu && r.policy.is_none_or(|p| matches!(p, Policy::Recompute | Policy::HostInputs)) {
        policies.push(Policy::HostInputs);
    }
    let one = |p: &Policy| Attempt::One(*p);
    let longest = r.longest.max(1);
    if let Some(tokens) = r.tokens_per_pass.filter(|t| *t > 0) {
        return policies.iter().map(|p| (one(p), tokens.clamp(longest, r.window_tokens.max(longest)))).collect();
    }
    let halved: Vec<usize> =
        std::iter::successors(Some(r.window_tokens.max(longest)), |t| (*t > longest).then(|| t.div_ceil(2).max(longest))).collect();
    let whole = halved[0];
    let efficient = |t: &usize| *t == whole || *t >= EFFICIENT_TOKENS;
    let each = |keep: &dyn Fn(&usize) -> bool| -> Vec<(Attempt, usize)> {
        policies.iter().flat_map(|p| halved.iter().filter(|t| keep(t)).map(|t| (one(p), *t))).collect()
    };
    let mut all = each(&efficient);
    if let Some(shortest) = halved.iter().copied().filter(&efficient).min().filter(|_| r.policy.is_none() && r.spec.num_layers() > 2) {
        let recompute = all.iter().position(|c| c.0 == Attempt::One(Policy::Recompute)).unwrap_or(all.len());
        all.splice(recompute..recompute, [(Attempt::FewestOffloaded, shortest), (Attempt::FewestRecomputed, shortest)]);
    }
    all.extend(each(&|t| !efficient(t)));
    all
}
