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

} // namespace tallow
