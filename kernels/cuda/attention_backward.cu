// Gradients of causal attention over packed sequences (FlashAttention-2, arXiv 2307.08691), bf16 with f32 sums.
//
// Two kernels, in this order, shapes as in attention.cu (queries and keys of a sequence are as many):
//   attention_dq   tiles of 64 queries, grid (heads, tiles): delta = rowsum(do o), f32 [heads, rows], and dq
//   attention_dkv  tiles of 64 keys, grid (kv_heads, tiles[, 2]): dk and dv, over all query heads that share them
// The scores are made twice, 7 products instead of the 5 of one pass, and for that nothing is added across blocks: results
// are the same on every run, and no f32 copy of dq exists. Every row that belongs to a sequence is written.
//
// p = exp(scale q k^T - lse), dv = p^T do, dp = do v^T, ds = p (dp - delta), dq = scale ds k, dk = scale ds^T q.
#include "attention.cuh"

namespace tallow {

constexpr int WARPS = 4, THREADS = WARPS * WARP, BLOCK = 16 * WARPS;

// The a operand of a warp's 16 rows: in registers where they suffice, else from shared memory each time.
template <int D, bool RESIDENT> struct Rows {
    bf16* tile;
    u32 f[RESIDENT ? D / 16 : 1][4];

    __device__ __forceinline__ void take(bf16* from) {
        tile = from;
        if constexpr (RESIDENT) {
#pragma unroll
            for (int k = 0; k < D / 16; k++) Tile<D>::a(f[k], from, threadIdx.x / WARP * 16, k);
        }
    }
    __device__ __forceinline__ void operator()(int k, u32 (&to)[4]) const {
        if constexpr (RESIDENT) {
#pragma unroll
            for (int i = 0; i < 4; i++) to[i] = f[k][i];
        } else {
            Tile<D>::a(to, tile, threadIdx.x / WARP * 16, k);
        }
    }
};

template <int D, int BN, int SUB, bool RESIDENT>
__device__ __forceinline__ void attention_dq(const bf16* q, const bf16* k, const bf16* v, const bf16* o, const bf16* dout, const float* lse,
                                             float* delta, bf16* dq, const u32* spans, const u32* tiles, int heads, int kv_heads, u32 rows,
                                             int window, float scale) {
    // Resident rows pass through the stages on their way to registers: through the second alone where they fit it, and the
    // first keys arrive meanwhile.
    constexpr int STAGES = RESIDENT ? 2 : 1, STAGE = 2 * Tile<D>::elements(BN);
    constexpr bool EARLY = !RESIDENT || BN >= BLOCK;
    static_assert(EARLY || 2 * BN >= BLOCK, "queries must fit the stages");
    TALLOW_DYNAMIC_SHARED(bf16, stages);
    bf16* const sq = stages + (EARLY ? STAGE : 0);
    bf16* const sdo = sq + Tile<D>::elements(BLOCK);
    const Part part(spans, tiles);
    const int head = blockIdx.x, kv = head / (heads / kv_heads), l = threadIdx.x % WARP;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D, at = part.q_row * stride + head * D;
    q += at, o += at, dout += at, dq += at;
    k += part.k_row * kv_stride + kv * D;
    v += part.k_row * kv_stride + kv * D;
    lse += (u64)head * rows + part.q_row;
    delta += (u64)head * rows + part.q_row;
    window = min(window, part.nk);

    const int warp_row = threadIdx.x / WARP * 16, own = part.first + warp_row;
    const int first_tile = max(part.first - window + 1, 0) / BN, last_tile = (min(part.first + BLOCK, part.nk) - 1) / BN;
    const auto fetch = [&](int tile, int stage) {
        bf16* to = stages + stage * STAGE;
        Tile<D>::template fetch<BN, THREADS>(to, k, kv_stride, tile * BN, part.nk);
        Tile<D>::template fetch<BN, THREADS>(to + STAGE / 2, v, kv_stride, tile * BN, part.nk);
        cp_async_commit();
    };
    Tile<D>::template fetch<BLOCK, THREADS>(sq, q, stride, part.first, part.nq);
    Tile<D>::template fetch<BLOCK, THREADS>(sdo, dout, stride, part.first, part.nq);
    if (EARLY)
        fetch(first_tile, 0);
    else
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

    float sums[D / 8][4];
    clear(sums);
    cp_async_wait<0>();
    __syncthreads();
    Rows<D, RESIDENT> rows_q, rows_do;
    rows_q.take(sq);
    rows_do.take(sdo);
    if (!EARLY) {
        __syncthreads();
        fetch(first_tile, 0);
    }
    for (int tile = first_tile; tile <= last_tile; tile++) {
        const int stage = STAGES == 2 ? (tile - first_tile) % 2 : 0;
        cp_async_wait<0>();
        // This tile has arrived for all, and all are done with the one before, whose place the next takes.
        __syncthreads();
        if (STAGES == 2 && tile < last_tile) fetch(tile + 1, stage ^ 1);
        bf16 *sk = stages + stage * STAGE, *sv = sk + STAGE / 2;
#pragma unroll
        for (int sub = 0; sub < BN; sub += SUB) {
            const int key = tile * BN + sub;
            if (!any_seen(own, 16, key, SUB, window)) continue;
            const bool whole = all_seen(own, 16, key, SUB, window);
            float s[SUB / 8][4], dp[SUB / 8][4];
            clear(s);
            clear(dp);
            scores<D, SUB>(s, rows_q, sk, sub);
            scores<D, SUB>(dp, rows_do, sv, sub);
#pragma unroll
            for (int n = 0; n < SUB / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const bool see = whole || seen(own + l / 4 + e / 2 * 8, key + 8 * n + l % 4 * 2 + e % 2, window);
                    const float p = see ? exp2_fast(s[n][e] * (scale * LOG2E) - row_lse[e / 2]) : 0.f;
                    s[n][e] = p * (dp[n][e] - row_d[e / 2]);
                }
            accumulate<D, SUB>(sums, s, sk, sub);
        }
        if (STAGES == 1) {
            __syncthreads();
            if (tile < last_tile) fetch(tile + 1, 0);
        }
    }
    // The sums leave through the stages.
    __syncthreads();
    Tile<D>::store(sums, scale, scale, stages, warp_row, dq, stride, own, part.nq);
}

// What the products of a block are for: both gradients, or one of them where registers hold only one.
enum Want { BOTH, DV, DK };

template <int D, int BM, int SUB, bool RESIDENT, int WANT>
__device__ __forceinline__ void attention_dkv(const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse,
                                              const float* delta, bf16* dk, bf16* dv, const u32* spans, const u32* tiles, int heads,
                                              int kv_heads, u32 rows, int window, float scale) {
    // A stage: BM rows of q, of do, and their lse and delta. Resident rows pass through as in attention_dq.
    constexpr bool EARLY = !RESIDENT || BM >= BLOCK;
    static_assert(EARLY || 2 * BM >= BLOCK, "keys must fit the stages");
    constexpr int STAGES = RESIDENT ? 2 : 1, TILE = Tile<D>::elements(BM), STAGE = 2 * TILE + 4 * BM;
    TALLOW_DYNAMIC_SHARED(bf16, stages);
    bf16* const sk = stages + (EARLY ? STAGE : 0);
    bf16* const sv = sk + Tile<D>::elements(BLOCK);
    const Part part(spans, tiles);
    const int kv = blockIdx.x, group = heads / kv_heads, n = part.nk, l = threadIdx.x % WARP;
    const u64 stride = (u64)heads * D, kv_stride = (u64)kv_heads * D, at = part.k_row * kv_stride + kv * D;
    q += part.q_row * stride + kv * group * D;
    dout += part.q_row * stride + kv * group * D;
    lse += (u64)kv * group * rows + part.q_row;
    delta += (u64)kv * group * rows + part.q_row;
    k += at, v += at, dk += at, dv += at;
    window = min(window, n);

    const int warp_row = threadIdx.x / WARP * 16, own = part.first + warp_row;
    const int first_tile = part.first / BM, last_tile = (min(part.first + BLOCK - 1 + window, n) - 1) / BM;
    const int each = last_tile - first_tile + 1, count = each * group;
    const auto fetch = [&](int i, int stage) {
        const int head = i / each, query = (first_tile + i % each) * BM;
        bf16* to = stages + stage * STAGE;
        Tile<D>::template fetch<BM, THREADS>(to, q + head * D, stride, query, n);
        Tile<D>::template fetch<BM, THREADS>(to + TILE, dout + head * D, stride, query, n);
        float* rest = reinterpret_cast<float*>(to + 2 * TILE);
        // Beyond the end do is 0, and so is all that comes of it.
        for (int j = threadIdx.x; j < 2 * BM; j += THREADS) {
            const int row = query + j % BM;
            cp_async4(rest + j, (j < BM ? lse : delta) + (u64)head * rows + (row < n ? row : 0), row < n);
        }
        cp_async_commit();
    };
    Tile<D>::template fetch<BLOCK, THREADS>(sk, k, kv_stride, part.first, n);
    Tile<D>::template fetch<BLOCK, THREADS>(sv, v, kv_stride, part.first, n);
    if (EARLY)
        fetch(0, 0);
    else
        cp_async_commit();

    float sums_k[WANT == DV ? 1 : D / 8][4], sums_v[WANT == DK ? 1 : D / 8][4];
    clear(sums_k);
    clear(sums_v);
    cp_async_wait<0>();
    __syncthreads();
    Rows<D, RESIDENT> rows_k, rows_v;
    rows_k.take(sk);
    rows_v.take(sv);
    if (!EARLY) {
        __syncthreads();
        fetch(0, 0);
    }
    for (int i = 0; i < count; i++) {
        const int stage = STAGES == 2 ? i % 2 : 0;
        cp_async_wait<0>();
        // As in attention_dq.
        __syncthreads();
        if (STAGES == 2 && i + 1 < count) fetch(i + 1, stage ^ 1);
        bf16 *sq = stages + stage * STAGE, *sdo = sq + TILE;
        const float* rest = reinterpret_cast<const float*>(sq + 2 * TILE);
#pragma unroll
        for (int sub = 0; sub < BM; sub += SUB) {
            const int query = (first_tile + i % each) * BM + sub;
            if (!any_seen(query, SUB, own, 16, window)) continue;
            const bool whole = all_seen(query, SUB, own, 16, window);
            float s[SUB / 8][4], dp[SUB / 8][4];
            clear(s);
            clear(dp);
            scores<D, SUB>(s, rows_k, sq, sub);
            if constexpr (WANT != DV) scores<D, SUB>(dp, rows_v, sdo, sub);
#pragma unroll
            for (int m = 0; m < SUB / 8; m++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int column = sub + 8 * m + l % 4 * 2 + e % 2;
                    const bool see = whole || seen(query - sub + column, own + l / 4 + e / 2 * 8, window);
                    s[m][e] = see ? exp2_fast(s[m][e] * (scale * LOG2E) - rest[column] * LOG2E) : 0.f;
                    if constexpr (WANT != DV) dp[m][e] = s[m][e] * (dp[m][e] - rest[BM + column]);
                }
            if constexpr (WANT != DK) accumulate<D, SUB>(sums_v, s, sdo, sub);
            if constexpr (WANT != DV) accumulate<D, SUB>(sums_k, dp, sq, sub);
        }
        if (STAGES == 1) {
            __syncthreads();
            if (i + 1 < count) fetch(i + 1, 0);
        }
    }
    __syncthreads();
    if constexpr (WANT != DV) Tile<D>::store(sums_k, scale, scale, stages, warp_row, dk, kv_stride, own, n);
    // Each warp writes and reads its own rows only: the second store waits for the first within the warp.
    if constexpr (WANT == BOTH) __syncwarp();
    if constexpr (WANT != DK) Tile<D>::store(sums_v, 1.f, 1.f, stages, warp_row, dv, kv_stride, own, n);
}

} // namespace tallow

#define TALLOW_DQ(D, BN, SUB, RESIDENT)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(tallow::THREADS)                                                                          \
        attention_dq_d##D(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, const tallow::bf16* o,                      \
                          const tallow::bf16* dout, const float* lse, float* delta, tallow::bf16* dq, const unsigned int* spans,           \
                          const unsigned int* tiles, int heads, int kv_heads, unsigned int rows, int window, float scale) {                \
        tallow::attention_dq<D, BN, SUB, RESIDENT>(q, k, v, o, dout, lse, delta, dq, spans, tiles, heads, kv_heads, rows, window, scale);  \
    }                                                                                                                                       \
    TALLOW_KERNEL(attention_dq_d##D)

// Bytes of dynamic shared memory: two stages where rows are resident, else a stage and BLOCK rows of either side.
TALLOW_DQ(64, 64, 32, true)
TALLOW_DQ(80, 32, 32, true)
TALLOW_DQ(96, 32, 32, true)
TALLOW_DQ(128, 32, 32, true)
TALLOW_DQ(256, 32, 32, false)

#define TALLOW_DKV(D, BM, SUB, RESIDENT, BODY)                                                                                              \
    extern "C" __global__ void __launch_bounds__(tallow::THREADS)                                                                          \
        attention_dkv_d##D(const tallow::bf16* q, const tallow::bf16* k, const tallow::bf16* v, const tallow::bf16* dout,                  \
                           const float* lse, const float* delta, tallow::bf16* dk, tallow::bf16* dv, const unsigned int* spans,            \
                           const unsigned int* tiles, int heads, int kv_heads, unsigned int rows, int window, float scale) {               \
        BODY(D, BM, SUB, RESIDENT)                                                                                                          \
    }                                                                                                                                       \
    TALLOW_KERNEL(attention_dkv_d##D)
#define TALLOW_DKV_PART(D, BM, SUB, RESIDENT, WANT)                                                                                         \
    tallow::attention_dkv<D, BM, SUB, RESIDENT, WANT>(q, k, v, dout, lse, delta, dk, dv, spans, tiles, heads, kv_heads, rows, window, scale);
#define TALLOW_DKV_TOGETHER(D, BM, SUB, RESIDENT) TALLOW_DKV_PART(D, BM, SUB, RESIDENT, tallow::BOTH)
#define TALLOW_DKV_APART(D, BM, SUB, RESIDENT)                                                                                              \
    if (blockIdx.z == 0) {                                                                                                                  \
        TALLOW_DKV_PART(D, BM, SUB, RESIDENT, tallow::DK)                                                                                   \
    } else {                                                                                                                                \
        TALLOW_DKV_PART(D, BM, SUB, RESIDENT, tallow::DV)                                                                                   \
    }

TALLOW_DKV(64, 64, 32, true, TALLOW_DKV_TOGETHER)
TALLOW_DKV(80, 32, 32, true, TALLOW_DKV_TOGETHER)
TALLOW_DKV(96, 32, 32, true, TALLOW_DKV_TOGETHER)
TALLOW_DKV(128, 32, 32, true, TALLOW_DKV_TOGETHER)
// Grid (kv_heads, tiles, 2).
TALLOW_DKV(256, 32, 32, false, TALLOW_DKV_APART)
