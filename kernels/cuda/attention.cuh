// What forward and backward attention share: which rows a block works on, and what of a tile of scores is seen.
#pragma once

#include "mma.cuh"

namespace tallow {

constexpr float LOG2E = 1.4426950408889634f;

// One block's part. `spans` holds (first query row, first key row, queries, keys) of each sequence; the queries are the last
// of the keys. `tiles` holds (sequence, first row of the tile in it), the longest work first.
struct Part {
    int q_row, k_row, nq, nk, first;

    __device__ __forceinline__ Part(const u32* spans, const u32* tiles) {
        const u32* tile = tiles + 2 * blockIdx.y;
        const u32* span = spans + 4 * tile[0];
        q_row = span[0], k_row = span[1], nq = span[2], nk = span[3], first = tile[1];
    }
};

// Query `i` sees key `j` (positions in the sequence) when j <= i and i - j < window.
__device__ __forceinline__ bool seen(int i, int j, int window) { return j <= i && i - j < window; }

// Whether queries i .. i + ni see all of the keys j .. j + nj, and whether any sees any.
__device__ __forceinline__ bool all_seen(int i, int ni, int j, int nj, int window) { return j + nj - 1 <= i && i + ni - 1 - j < window; }
__device__ __forceinline__ bool any_seen(int i, int ni, int j, int nj, int window) { return j <= i + ni - 1 && i - (j + nj - 1) < window; }

// s += a b^T over D: 16 rows of a, whose fragments `a(k, f)` gives, and COLUMNS rows of a tile.
template <int D, int COLUMNS, typename A>
__device__ __forceinline__ void scores(float (&s)[COLUMNS / 8][4], A a, bf16* tile, int row) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        u32 f[4];
        a(k, f);
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; n++) {
            u32 b[4];
            Tile<D>::b_rows(b, tile, row + 16 * n, k);
            mma(s[2 * n], f, b[0], b[1]);
            mma(s[2 * n + 1], f, b[2], b[3]);
        }
    }
}

// The sums of a 16 x 16 piece of scores as the a operand of the next product.
__device__ __forceinline__ void fragment(u32 (&f)[4], const float (&left)[4], const float (&right)[4]) {
    f[0] = pack(left[0], left[1]);
    f[1] = pack(left[2], left[3]);
    f[2] = pack(right[0], right[1]);
    f[3] = pack(right[2], right[3]);
}

// sums [16, D] += p [16, ROWS] tile rows [ROWS, D].
template <int D, int ROWS> __device__ __forceinline__ void accumulate(float (&sums)[D / 8][4], const float (&p)[ROWS / 8][4], bf16* tile, int row) {
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++) {
        u32 f[4];
        fragment(f, p[2 * k], p[2 * k + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            u32 b[4];
            Tile<D>::b_columns(b, tile, row + 16 * k, n);
            mma(sums[2 * n], f, b[0], b[1]);
            mma(sums[2 * n + 1], f, b[2], b[3]);
        }
    }
}

template <int N> __device__ __forceinline__ void clear(float (&x)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) x[i][j] = 0.f;
}

// The running softmax of a warp's 16 rows: two rows a thread.
struct Softmax {
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};

    // Scores become e^(c (s - max)); sums [D/8] shrink to the new maximum. `sum` is this thread's share until `finish`.
    template <int NT, int DT> __device__ __forceinline__ void step(float (&s)[NT][4], float (&sums)[DT][4], float c) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float m = max[r];
#pragma unroll
            for (int n = 0; n < NT; n++) m = fmaxf(m, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
            m = fmaxf(m, __shfl_xor_sync(ALL, m, 1));
            m = fmaxf(m, __shfl_xor_sync(ALL, m, 2));
            // A row that has seen nothing yet keeps zeros, not NaN.
            const float base = m == -INFINITY ? 0.f : m * c;
            const float shrink = exp2_fast(max[r] * c - base);
            max[r] = m;
            float part = 0.f;
#pragma unroll
            for (int n = 0; n < NT; n++) {
                s[n][2 * r] = exp2_fast(s[n][2 * r] * c - base);
                s[n][2 * r + 1] = exp2_fast(s[n][2 * r + 1] * c - base);
                part += s[n][2 * r] + s[n][2 * r + 1];
            }
            sum[r] = sum[r] * shrink + part;
#pragma unroll
            for (int n = 0; n < DT; n++) sums[n][2 * r] *= shrink, sums[n][2 * r + 1] *= shrink;
        }
    }

    __device__ __forceinline__ void finish() {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            sum[r] += __shfl_xor_sync(ALL, sum[r], 1);
            sum[r] += __shfl_xor_sync(ALL, sum[r], 2);
        }
    }
};

template <int NT> __device__ __forceinline__ void mask(float (&s)[NT][4], int query, int key, int window) {
    const int l = threadIdx.x % WARP, g = l / 4, t = l % 4;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (!seen(query + g + e / 2 * 8, key + 8 * n + 2 * t + e % 2, window)) s[n][e] = -INFINITY;
}

// Sum over D of do * o for this warp's 16 rows, from memory; rows l / 2 go to lanes 2 row and 2 row + 1.
template <int D> __device__ __forceinline__ float row_delta(const bf16* dout, const bf16* o, bool valid) {
    float sum = 0.f;
    if (valid) {
#pragma unroll 2
        for (int c = threadIdx.x % 2; c < D / 8; c += 2) {
            float a[8], b[8];
            load(dout + c * 8, a);
            load(o + c * 8, b);
#pragma unroll
            for (int i = 0; i < 8; i++) sum += a[i] * b[i];
        }
    }
    return sum + __shfl_xor_sync(ALL, sum, 1);
}

} // namespace tallow
