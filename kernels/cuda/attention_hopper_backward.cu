// Gradients of causal attention for sm_90a: the contract of attention_backward.cu, products by warpgroups.
//
//   attention_hopper_dq   tiles of 128 queries, grid (heads, tiles): delta and dq
//   attention_hopper_dkv  tiles of 128 keys, grid (kv_heads, tiles): dk and dv
// Two warpgroups of 64 rows each; the other side comes in tiles of 64 rows through three stages, so that the last products of
// one tile run on while the next one's scores are made. 256 threads. Dynamic shared memory: 640 rows of D, for dkv
// 2048 bytes more.
#include "attention.cuh"
#include "wgmma.cuh"

namespace tallow {

#ifdef TALLOW_HOPPER

constexpr int OWN = 128, OTHER = 64, HOPPER_THREADS = 256, STAGES = 3;

// Fragments of a warp's 16 rows of a tile in slabs.
template <int D> __device__ __forceinline__ void take_rows(u32 (&f)[D / 16][4], bf16* tile) {
    const int l = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + l % 16;
#pragma unroll
    for (int k = 0; k < D / 16; k++) ldmatrix_x4(f[k], shared_address(Slabs<D, OWN>::at(tile, row, 2 * k + l / 16)));
}

// sums += p tile, p's fragments made of 64 columns of scores; under way.
template <int D> __device__ __forceinline__ void weigh_rows(float (&sums)[D / 8][4], const u32 (&p)[4][4], bf16* tile) {
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; j++) wgmma<D, true>(sums, p[j], matrix(tile + j * 16 * 64, Slabs<D, OTHER>::SLAB), true);
    wgmma_commit();
}

__device__ __forceinline__ void fragments(u32 (&f)[4][4], const float (&s)[8][4]) {
#pragma unroll
    for (int j = 0; j < 4; j++) fragment(f[j], s[2 * j], s[2 * j + 1]);
}

template <int D>
__device__ __forceinline__ void hopper_dq(const bf16* q, const bf16* k, const bf16* v, const bf16* o, const bf16* dout, const float* lse,
                                          float* delta, bf16* dq, const u32* spans, const u32* tiles, int heads, int kv_heads, u32 rows,
                                          int window, float scale) {
    using Held = Slabs<D, OTHER>;
    constexpr int TILE = Held::BYTES / 2, BIG = Slabs<D, OWN>::BYTES / 2;
    TALLOW_DYNAMIC_SHARED(bf16, sq);
    bf16 *const sdo = sq + BIG, *const stages = sdo + BIG;
    const Part part(spans, tiles);
    const int head = blockIdx.x, kv = head / (heads / kv_heads), l = threadIdx.x % WARP;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D, at = part.q_row * stride + head * D;
    q += at, o += at, dout += at, dq += at;
    k += part.k_row * kv_stride + kv * D;
    v += part.k_row * kv_stride + kv * D;
    lse += (u64)head * rows + part.q_row;
    delta += (u64)head * rows + part.q_row;
    window = min(window, part.nk);
    const int warp_row = threadIdx.x / WARP * 16, own = part.first + warp_row, group = part.first + threadIdx.x / 128 * 64;
    const int first_tile = max(part.first - window + 1, 0) / OTHER, last_tile = (min(part.first + OWN, part.nk) - 1) / OTHER;
    const auto fetch = [&](int tile) {
        bf16* to = stages + (tile - first_tile) % STAGES * 2 * TILE;
        Held::template fetch<HOPPER_THREADS>(to, k, kv_stride, tile * OTHER, part.nk);
        Held::template fetch<HOPPER_THREADS>(to + TILE, v, kv_stride, tile * OTHER, part.nk);
    };
    Slabs<D, OWN>::template fetch<HOPPER_THREADS>(sq, q, stride, part.first, part.nq);
    Slabs<D, OWN>::template fetch<HOPPER_THREADS>(sdo, dout, stride, part.first, part.nq);
    cp_async_commit();
    fetch(first_tile);
    cp_async_commit();

    const int mine = own + l / 2;
    const bool valid = mine < part.nq;
    const float d = row_delta<D>(dout + (valid ? mine : 0) * stride, o + (valid ? mine : 0) * stride, valid);
    if (valid && l % 2 == 0) delta[mine] = d;
    float row_lse[2], row_d[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int row = l / 4 + 8 * r;
        row_d[r] = __shfl_sync(ALL, d, 2 * row);
        row_lse[r] = own + row < part.nq ? lse[own + row] * LOG2E : INFINITY;
    }
    cp_async_wait<1>();
    __syncthreads();
    u32 fq[D / 16][4], fdo[D / 16][4], f[4][4];
    take_rows<D>(fq, sq);
    take_rows<D>(fdo, sdo);
    float sums[D / 8][4], s[OTHER / 8][4], dp[OTHER / 8][4];
    clear(sums);
    for (int tile = first_tile; tile <= last_tile; tile++) {
        cp_async_wait<0>();
        fence_for_wgmma();
        // The tile is there for all; the products of the tile before the last, whose place the next takes, are done for all.
        __syncthreads();
        if (tile < last_tile) {
            fetch(tile + 1);
            cp_async_commit();
        }
        const int key = tile * OTHER;
        if (!any_seen(group, 64, key, OTHER, window)) {
            wgmma_wait<0>();
            continue;
        }
        bf16 *sk = stages + (tile - first_tile) % STAGES * 2 * TILE, *sv = sk + TILE;
        wgmma_fence();
#pragma unroll
        for (int j = 0; j < D / 16; j++) wgmma<OTHER, false>(s, fq[j], matrix(sk + j / 4 * Held::SLAB / 2 + j % 4 * 16), j != 0);
        wgmma_commit();
#pragma unroll
        for (int j = 0; j < D / 16; j++) wgmma<OTHER, false>(dp, fdo[j], matrix(sv + j / 4 * Held::SLAB / 2 + j % 4 * 16), j != 0);
        wgmma_commit();
        wgmma_wait<1>();
        keep_order(s);
        const bool whole = all_seen(own, 16, key, OTHER, window);
#pragma unroll
        for (int n = 0; n < OTHER / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const bool see = whole || seen(own + l / 4 + e / 2 * 8, key + 8 * n + l % 4 * 2 + e % 2, window);
                s[n][e] = see ? exp2_fast(s[n][e] * (scale * LOG2E) - row_lse[e / 2]) : 0.f;
            }
        wgmma_wait<0>();
        keep_order(dp);
#pragma unroll
        for (int n = 0; n < OTHER / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) s[n][e] *= dp[n][e] - row_d[e / 2];
        fragments(f, s);
        weigh_rows<D>(sums, f, sk);
    }
    wgmma_wait<0>();
    keep_order(sums);
    // All have taken their fragments of the queries long ago.
    Tile<D>::store(sums, scale, scale, sq, warp_row, dq, stride, own, part.nq);
}

template <int D>
__device__ __forceinline__ void hopper_dkv(const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse,
                                           const float* delta, bf16* dk, bf16* dv, const u32* spans, const u32* tiles, int heads, int kv_heads,
                                           u32 rows, int window, float scale) {
    using Held = Slabs<D, OTHER>;
    constexpr int TILE = Held::BYTES / 2, BIG = Slabs<D, OWN>::BYTES / 2;
    TALLOW_DYNAMIC_SHARED(bf16, sk);
    bf16 *const sv = sk + BIG, *const stages = sv + BIG;
    float* const rest = reinterpret_cast<float*>(stages + STAGES * 2 * TILE);
    const Part part(spans, tiles);
    const int kv = blockIdx.x, shared_by = heads / kv_heads, n = part.nk, l = threadIdx.x % WARP;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D, at = part.k_row * kv_stride + kv * D;
    q += part.q_row * stride + kv * shared_by * D;
    dout += part.q_row * stride + kv * shared_by * D;
    lse += (u64)kv * shared_by * rows + part.q_row;
    delta += (u64)kv * shared_by * rows + part.q_row;
    k += at, v += at, dk += at, dv += at;
    window = min(window, n);
    const int warp_row = threadIdx.x / WARP * 16, own = part.first + warp_row, group = threadIdx.x / 128 * 64;
    const int first_tile = part.first / OTHER, last_tile = (min(part.first + OWN - 1 + window, n) - 1) / OTHER;
    const int each = last_tile - first_tile + 1, count = each * shared_by;
    const auto fetch = [&](int i) {
        const int head = i / each, query = (first_tile + i % each) * OTHER;
        bf16* to = stages + i % STAGES * 2 * TILE;
        Held::template fetch<HOPPER_THREADS>(to, q + head * D, stride, query, n);
        Held::template fetch<HOPPER_THREADS>(to + TILE, dout + head * D, stride, query, n);
        // lse and delta; beyond the end do is 0, and so is all that comes of it.
        if (threadIdx.x < 2 * OTHER) {
            const int j = threadIdx.x, row = query + j % OTHER;
            cp_async4(rest + i % STAGES * 2 * OTHER + j, (j < OTHER ? lse : delta) + (u64)head * rows + (row < n ? row : 0), row < n);
        }
        cp_async_commit();
    };
    Slabs<D, OWN>::template fetch<HOPPER_THREADS>(sk, k, kv_stride, part.first, n);
    Slabs<D, OWN>::template fetch<HOPPER_THREADS>(sv, v, kv_stride, part.first, n);
    fetch(0);
    float sums_k[D / 8][4], sums_v[D / 8][4], s[OTHER / 8][4], dp[OTHER / 8][4];
    u32 p[4][4], ds[4][4];
    clear(sums_k);
    clear(sums_v);
    for (int i = 0; i < count; i++) {
        cp_async_wait<0>();
        fence_for_wgmma();
        // As in hopper_dq.
        __syncthreads();
        if (i + 1 < count) fetch(i + 1);
        const int query = (first_tile + i % each) * OTHER;
        if (!any_seen(query, OTHER, part.first + group, 64, window)) {
            wgmma_wait<0>();
            continue;
        }
        bf16 *sq = stages + i % STAGES * 2 * TILE, *sdo = sq + TILE;
        const float* statistics = rest + i % STAGES * 2 * OTHER;
        constexpr int SLAB = Slabs<D, OWN>::SLAB / 2;
        wgmma_fence();
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int column = j % 4 * 16;
            wgmma<OTHER>(s, matrix(sk + j / 4 * SLAB + group * 64 + column), matrix(sq + j / 4 * Held::SLAB / 2 + column), j != 0);
        }
        wgmma_commit();
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int column = j % 4 * 16;
            wgmma<OTHER>(dp, matrix(sv + j / 4 * SLAB + group * 64 + column), matrix(sdo + j / 4 * Held::SLAB / 2 + column), j != 0);
        }
        wgmma_commit();
        wgmma_wait<1>();
        keep_order(s);
        const bool whole = all_seen(query, OTHER, own, 16, window);
#pragma unroll
        for (int m = 0; m < OTHER / 8; m++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int column = 8 * m + l % 4 * 2 + e % 2;
                const bool see = whole || seen(query + column, own + l / 4 + e / 2 * 8, window);
                s[m][e] = see ? exp2_fast(s[m][e] * (scale * LOG2E) - statistics[column] * LOG2E) : 0.f;
            }
        fragments(p, s);
        weigh_rows<D>(sums_v, p, sdo);
        wgmma_wait<1>();
        keep_order(dp);
#pragma unroll
        for (int m = 0; m < OTHER / 8; m++)
#pragma unroll
            for (int e = 0; e < 4; e++) s[m][e] *= dp[m][e] - statistics[OTHER + 8 * m + l % 4 * 2 + e % 2];
        fragments(ds, s);
        weigh_rows<D>(sums_k, ds, sq);
    }
    wgmma_wait<0>();
    keep_order(sums_k);
    keep_order(sums_v);
    __syncthreads();
    Tile<D>::store(sums_k, scale, scale, sk, warp_row, dk, kv_stride, own, n);
    Tile<D>::store(sums_v, 1.f, 1.f, sv, warp_row, dv, kv_stride, own, n);
}

#endif

} // namespace tallow

#ifdef TALLOW_HOPPER
#define TALLOW_BODY(...) __VA_ARGS__;
#else
#define TALLOW_BODY(...)
#endif
#define TALLOW_HOPPER_BACKWARD(D)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 1)                                                                                    \
        attention_hopper_dq_d##D(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, const tallow::bf16* o,                \
                                 const tallow::bf16* dout, const float* lse, float* delta, tallow::bf16* dq, const unsigned int* spans,     \
                                 const unsigned int* tiles, int heads, int kv_heads, unsigned int rows, int window, float scale) {          \
        TALLOW_BODY(tallow::hopper_dq<D>(q, k, v, o, dout, lse, delta, dq, spans, tiles, heads, kv_heads, rows, window, scale))              \
    }                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 1)                                                                                    \
        attention_hopper_dkv_d##D(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, const tallow::bf16* dout,            \
                                  const float* lse, const float* delta, tallow::bf16* dk, tallow::bf16* dv, const unsigned int* spans,      \
                                  const unsigned int* tiles, int heads, int kv_heads, unsigned int rows, int window, float scale) {         \
        TALLOW_BODY(tallow::hopper_dkv<D>(q, k, v, dout, lse, delta, dk, dv, spans, tiles, heads, kv_heads, rows, window, scale))            \
    }                                                                                                                                       \
    TALLOW_KERNEL(attention_hopper_dq_d##D)                                                                                                 \
    TALLOW_KERNEL(attention_hopper_dkv_d##D)

TALLOW_HOPPER_BACKWARD(64)
TALLOW_HOPPER_BACKWARD(128)
