// Causal attention over packed sequences, forward (FlashAttention-2, arXiv 2307.08691), bf16 with f32 sums on tensor cores.
//
// q, o [query rows, heads, D]; k, v [key rows, kv_heads, D]; lse f32 [heads, query rows] = log sum exp of the scaled scores.
// A query at position i of its sequence sees the keys j <= i with i - j < window. Grid (heads, tiles), a tile is BM queries
// of one sequence (`Part`). Every row of o and lse that belongs to a sequence is written. Deterministic.
//
// A warp owns 16 MT queries. K and V have one buffer each: V of a tile arrives while its scores are made, the next K while
// the softmax and the product with V run. Keys go from last to first, so that the masked tiles come first.
#include "attention.cuh"

namespace tallow {

// sums[m] += p[m] v for MT pieces of 16 rows, each fragment of v read once.
template <int D, int MT, int BN>
__device__ __forceinline__ void weigh(float (&sums)[MT][D / 8][4], const float (&p)[MT][BN / 8][4], bf16* v) {
#pragma unroll
    for (int k = 0; k < BN / 16; k++) {
        u32 f[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) fragment(f[m], p[m][2 * k], p[m][2 * k + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            u32 b[4];
            Tile<D>::b_columns(b, v, 16 * k, n);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(sums[m][2 * n], f[m], b[0], b[1]);
                mma(sums[m][2 * n + 1], f[m], b[2], b[3]);
            }
        }
    }
}

// s[m] = q k^T for MT pieces of 16 rows, each fragment of k read once.
template <int D, int MT, int BN> __device__ __forceinline__ void compare(float (&s)[MT][BN / 8][4], bf16* q, int row, bf16* k) {
#pragma unroll
    for (int m = 0; m < MT; m++) clear(s[m]);
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        u32 f[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) Tile<D>::a(f[m], q, row + 16 * m, i);
#pragma unroll
        for (int n = 0; n < BN / 16; n++) {
            u32 b[4];
            Tile<D>::b_rows(b, k, 16 * n, i);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(s[m][2 * n], f[m], b[0], b[1]);
                mma(s[m][2 * n + 1], f[m], b[2], b[3]);
            }
        }
    }
}

template <int D, int BM, int BN, int WARPS>
__device__ __forceinline__ void attention_forward(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse, const u32* spans,
                                                  const u32* tiles, int heads, int kv_heads, u32 rows, int window, float scale) {
    constexpr int MT = BM / (16 * WARPS), THREADS = WARP * WARPS;
    TALLOW_DYNAMIC_SHARED(bf16, sq);
    bf16 *sk = sq + Tile<D>::elements(BM), *sv = sk + Tile<D>::elements(BN);
    const Part part(spans, tiles);
    const int head = blockIdx.x, kv = head / (heads / kv_heads), before = part.nk - part.nq;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D;
    q += part.q_row * stride + head * D;
    k += part.k_row * kv_stride + kv * D;
    v += part.k_row * kv_stride + kv * D;
    window = min(window, part.nk);

    const int position = before + part.first, warp_row = threadIdx.x / WARP * 16 * MT, own = position + warp_row;
    const int first_tile = max(position - window + 1, 0) / BN, last_tile = (min(position + BM, part.nk) - 1) / BN;
    float sums[MT][D / 8][4];
    Softmax softmax[MT];
#pragma unroll
    for (int m = 0; m < MT; m++) clear(sums[m]);

    Tile<D>::template fetch<BM, THREADS>(sq, q, stride, part.first, part.nq);
    Tile<D>::template fetch<BN, THREADS>(sk, k, kv_stride, last_tile * BN, part.nk);
    cp_async_commit();
    for (int tile = last_tile; tile >= first_tile; tile--) {
        const int key = tile * BN;
        const bool active = any_seen(own, 16 * MT, key, BN, window);
        cp_async_wait<0>();
        __syncthreads();
        Tile<D>::template fetch<BN, THREADS>(sv, v, kv_stride, key, part.nk);
        cp_async_commit();
        float s[MT][BN / 8][4];
        if (active) compare<D, MT, BN>(s, sq, warp_row, sk);
        cp_async_wait<0>();
        __syncthreads();
        if (tile > first_tile) {
            Tile<D>::template fetch<BN, THREADS>(sk, k, kv_stride, key - BN, part.nk);
            cp_async_commit();
        }
        if (active) {
            if (!all_seen(own, 16 * MT, key, BN, window)) {
#pragma unroll
                for (int m = 0; m < MT; m++) mask(s[m], own + 16 * m, key, window);
            }
#pragma unroll
            for (int m = 0; m < MT; m++) softmax[m].step(s[m], sums[m], scale * LOG2E);
            weigh<D, MT, BN>(sums, s, sv);
        }
    }
    o += part.q_row * stride + head * D;
    lse += (u64)head * rows + part.q_row;
    const int l = threadIdx.x % WARP;
#pragma unroll
    for (int m = 0; m < MT; m++) {
        softmax[m].finish();
        const int row = part.first + warp_row + 16 * m;
        Tile<D>::store(sums[m], 1.f / softmax[m].sum[0], 1.f / softmax[m].sum[1], sq, warp_row + 16 * m, o, stride, row, part.nq);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int at = row + l / 4 + 8 * r;
            if (l % 4 == 0 && at < part.nq) lse[at] = softmax[m].max[r] * scale + logf(softmax[m].sum[r]);
        }
    }
}

} // namespace tallow

// Dynamic shared memory in bytes: 2 * (BM + 2 BN) rows of D, padded as Tile says.
#define TALLOW_ATTENTION(NAME, D, BM, BN, WARPS)                                                                                            \
    extern "C" __global__ void __launch_bounds__(32 * WARPS)                                                                               \
        attention_forward_##NAME(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, tallow::bf16* o, float* lse,         \
                                 const unsigned int* spans, const unsigned int* tiles, int heads, int kv_heads, unsigned int rows,        \
                                 int window, float scale) {                                                                                \
        tallow::attention_forward<D, BM, BN, WARPS>(q, k, v, o, lse, spans, tiles, heads, kv_heads, rows, window, scale);                  \
    }                                                                                                                                       \
    TALLOW_KERNEL(attention_forward_##NAME)

TALLOW_ATTENTION(d64, 64, 128, 64, 4)
TALLOW_ATTENTION(d80, 80, 128, 64, 4)
TALLOW_ATTENTION(d96, 96, 128, 64, 4)
TALLOW_ATTENTION(d128, 128, 128, 32, 4)
TALLOW_ATTENTION(d128_keys64, 128, 128, 64, 4)
TALLOW_ATTENTION(d256, 256, 64, 64, 4)
