// Causal attention forward for sm_90a: the contract of attention.cu, products by warpgroups (FlashAttention-3, arXiv 2407.08608).
//
// Two warpgroups of 64 queries each; tiles of 128 keys, two stages of K and of V in 128-byte swizzled slabs, filled by
// cp.async. A warpgroup makes the scores of a tile while the product of the tile before with V is under way, and its
// softmax while that still runs. Keys go from last to first. 256 threads, grid (heads, tiles of 128 queries); dynamic
// shared memory: (128 + 4 * 128) rows of D.
#include "attention.cuh"
#include "wgmma.cuh"

namespace tallow {

#ifdef TALLOW_HOPPER

template <int D>
__device__ __forceinline__ void attention_hopper(const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse, const u32* spans,
                                                 const u32* tiles, int heads, int kv_heads, u32 rows, int window, float scale) {
    constexpr int BM = 128, BN = 128, THREADS = 256, NT = BN / 8, TILE = Slabs<D, BN>::BYTES / 2;
    using Held = Slabs<D, BN>;
    TALLOW_DYNAMIC_SHARED(bf16, sq);
    bf16 *const sk = sq + Slabs<D, BM>::BYTES / 2, *const sv = sk + 2 * TILE;
    const Part part(spans, tiles);
    const int head = blockIdx.x, kv = head / (heads / kv_heads), before = part.nk - part.nq;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D;
    q += part.q_row * stride + head * D;
    k += part.k_row * kv_stride + kv * D;
    v += part.k_row * kv_stride + kv * D;
    window = min(window, part.nk);

    const int position = before + part.first, group = threadIdx.x / 128 * 64, warp_row = threadIdx.x / WARP * 16, own = position + warp_row;
    const int first_tile = max(position - window + 1, 0) / BN, last_tile = (min(position + BM, part.nk) - 1) / BN;
    const int count = last_tile - first_tile + 1;
    const float c = scale * LOG2E;

    // s = the scores of tile i (counted from the last), under way until they are waited for.
    const auto score = [&](float (&s)[NT][4], int i) {
        wgmma_fence();
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int slab = j / 4 * Held::SLAB / 2, column = j % 4 * 16;
            const u64 a = matrix(sq + slab + group * 64 + column), b = matrix(sk + i % 2 * TILE + slab + column);
            wgmma<BN>(s, a, b, j != 0);
        }
        wgmma_commit();
    };
    // sums += p v of tile i, under way.
    const auto weigh = [&](float (&sums)[D / 8][4], const u32 (&p)[BN / 16][4], int i) {
        wgmma_fence();
#pragma unroll
        for (int j = 0; j < BN / 16; j++) wgmma<D, true>(sums, p[j], matrix(sv + i % 2 * TILE + j * 16 * 64, Held::SLAB), true);
        wgmma_commit();
    };
    const auto mask_tile = [&](float (&s)[NT][4], int i) {
        const int key = (last_tile - i) * BN;
        if (!all_seen(own, 16, key, BN, window)) mask(s, own, key, window);
    };
    // What the threads have copied is there for all; then the next K and this tile's V are on their way.
    const auto advance = [&](int i) {
        cp_async_wait<0>();
        fence_for_wgmma();
        __syncthreads();
        if (i + 1 < count) Held::template fetch<THREADS>(sk + (i + 1) % 2 * TILE, k, kv_stride, (last_tile - i - 1) * BN, part.nk);
        if (i < count) Held::template fetch<THREADS>(sv + i % 2 * TILE, v, kv_stride, (last_tile - i) * BN, part.nk);
        cp_async_commit();
    };

    float sums[D / 8][4], s[NT][4];
    u32 p[BN / 16][4];
    clear(sums);
    Softmax softmax;
    Slabs<D, BM>::template fetch<THREADS>(sq, q, stride, part.first, part.nq);
    Held::template fetch<THREADS>(sk, k, kv_stride, last_tile * BN, part.nk);
    cp_async_commit();
    advance(0);
    score(s, 0);
    wgmma_wait<0>();
    keep_order(s);
    mask_tile(s, 0);
    float none[1][4] = {};
    softmax.step(s, none, c);
#pragma unroll
    for (int j = 0; j < BN / 16; j++) fragment(p[j], s[2 * j], s[2 * j + 1]);
    for (int i = 1; i < count; i++) {
        advance(i);
        score(s, i);
        weigh(sums, p, i - 1);
        wgmma_wait<1>();
        keep_order(s);
        mask_tile(s, i);
        float shrink[1][4] = {{1.f, 1.f, 1.f, 1.f}};
        softmax.step(s, shrink, c);
        wgmma_wait<0>();
        keep_order(sums);
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[n][e] *= shrink[0][e];
#pragma unroll
        for (int j = 0; j < BN / 16; j++) fragment(p[j], s[2 * j], s[2 * j + 1]);
    }
    advance(count);
    weigh(sums, p, count - 1);
    wgmma_wait<0>();
    keep_order(sums);
    softmax.finish();
    o += part.q_row * stride + head * D;
    lse += (u64)head * rows + part.q_row;
    const int row = part.first + warp_row, l = threadIdx.x % WARP;
    // The queries' place is free: no product is under way in this warpgroup, and the rows are its own.
    Tile<D>::store(sums, 1.f / softmax.sum[0], 1.f / softmax.sum[1], sq, warp_row, o, stride, row, part.nq);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int at = row + l / 4 + 8 * r;
        if (l % 4 == 0 && at < part.nq) lse[at] = softmax.max[r] * scale + logf(softmax.sum[r]);
    }
}

#endif

} // namespace tallow

#ifdef TALLOW_HOPPER
#define TALLOW_BODY(D) tallow::attention_hopper<D>(q, k, v, o, lse, spans, tiles, heads, kv_heads, rows, window, scale);
#else
#define TALLOW_BODY(D)
#endif
#define TALLOW_ATTENTION_HOPPER(D)                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, 1)                                                                                    \
        attention_hopper_d##D(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, tallow::bf16* o, float* lse,             \
                              const unsigned int* spans, const unsigned int* tiles, int heads, int kv_heads, unsigned int rows,            \
                              int window, float scale) {                                                                                    \
        TALLOW_BODY(D)                                                                                                                      \
    }                                                                                                                                       \
    TALLOW_KERNEL(attention_hopper_d##D)

TALLOW_ATTENTION_HOPPER(64)
TALLOW_ATTENTION_HOPPER(128)
