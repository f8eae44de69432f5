// Attention without tensor cores: any head dim up to 256, f32 or bf16 with f32 arithmetic; forward, backward, and decoding.
//
// attention_plain      grid (ceil(rows / 4), heads): o [rows, heads, dim], lse f32 [heads, rows]
// attention_plain_dq   the same grid: delta = rowsum(do o), f32 [heads, rows], and dq
// attention_plain_dkv  grid (ceil(key rows / 4), kv_heads): dk and dv, after attention_plain_dq
// attention_decode     few queries at the end of a long cache: grid (splits, kv_heads * ceil(group / 4), queries); split s of
//                      the keys gives parts f32 [queries, heads, splits, dim + 2]: the weighted sum, the maximum, the sum
// attention_combine    grid (queries * heads): o from the parts
//
// A warp computes a row (blocks of 128 threads): scores of 32 keys at a time, one a lane, then sums over them, one column
// a lane. `spans` as in attention.cuh, `count` of them. Deterministic. What a sequence's rows need is written, no more.
#include "attention.cuh"

namespace tallow {

constexpr int ROWS = 4, MAX_DIM = 256, COLUMNS = MAX_DIM / WARP;

// The sequence that holds `row`: the last that starts at or before it. `field` 0: query rows, 1: key rows.
__device__ __forceinline__ const u32* span_of(const u32* spans, int count, u32 row, int field) {
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (spans[4 * middle + field] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return spans + 4 * low;
}

template <typename T> __device__ __forceinline__ float dot(const float* a, const T* b, int dim) {
    float sum = 0.f;
    if (dim % LANES<T> == 0 && aligned(b)) {
        float sums[LANES<T>] = {};
        for (int i = 0; i < dim; i += LANES<T>) {
            float x[LANES<T>];
            load(b + i, x);
#pragma unroll
            for (int j = 0; j < LANES<T>; j++) sums[j] += a[i + j] * x[j];
        }
#pragma unroll
        for (int j = 0; j < LANES<T>; j++) sum += sums[j];
    } else {
        for (int i = 0; i < dim; i++) sum += a[i] * up(b[i]);
    }
    return sum;
}

// Copies one row to this warp's f32 row of shared memory.
template <typename T> __device__ __forceinline__ void take(float* to, const T* from, int dim) {
    for (int i = threadIdx.x % WARP; i < dim; i += WARP) to[i] = up(from[i]);
    __syncwarp();
}

// sums += sum over lanes j < count of weight_j rows_j, this lane's columns.
template <typename T>
__device__ __forceinline__ void add_weighted(float (&sums)[COLUMNS], float weight, const T* rows, u64 stride, int count, int dim) {
    const int l = threadIdx.x % WARP;
    for (int j = 0; j < count; j++) {
        const float w = __shfl_sync(ALL, weight, j);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            if (l + WARP * c < dim) sums[c] += w * up(rows[j * stride + l + WARP * c]);
    }
}

template <typename T> __device__ __forceinline__ void put(T* to, const float (&sums)[COLUMNS], float factor, int dim) {
    const int l = threadIdx.x % WARP;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
        if (l + WARP * c < dim) to[l + WARP * c] = down<T>(sums[c] * factor);
}

template <typename T>
__device__ __forceinline__ void plain_forward(const T* q, const T* k, const T* v, T* o, float* lse, const u32* spans, int count, int heads,
                                              int kv_heads, u32 rows, int dim, int window, float scale) {
    __shared__ float query[ROWS][MAX_DIM];
    const int warp = threadIdx.x / WARP, l = threadIdx.x % WARP, head = blockIdx.y;
    const u32 row = blockIdx.x * ROWS + warp;
    if (row >= rows) return;
    const u32* span = span_of(spans, count, row, 0);
    const int i = row - span[0] + span[3] - span[2];
    const u64 stride = (u64)kv_heads * dim, at = span[1] * stride + head / (heads / kv_heads) * dim;
    take(query[warp], q + ((u64)row * heads + head) * dim, dim);
    float sums[COLUMNS] = {}, top = -INFINITY, total = 0.f;
    for (int first = max(i - min(window, i + 1) + 1, 0); first <= i; first += WARP) {
        const int keys = min(WARP, i - first + 1);
        const float s = l < keys ? scale * dot(query[warp], k + at + (first + l) * stride, dim) : -INFINITY;
        const float higher = fmaxf(top, warp_max(s)), shrink = expf(top - higher), p = expf(s - higher);
        top = higher;
        total = total * shrink + warp_sum(p);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) sums[c] *= shrink;
        add_weighted(sums, p, v + at + first * stride, stride, keys, dim);
    }
    put(o + ((u64)row * heads + head) * dim, sums, 1.f / total, dim);
    if (l == 0) lse[(u64)head * rows + row] = top + logf(total);
}

template <typename T>
__device__ __forceinline__ void plain_dq(const T* q, const T* k, const T* v, const T* o, const T* dout, const float* lse, float* delta, T* dq,
                                         const u32* spans, int count, int heads, int kv_heads, u32 rows, int dim, int window, float scale) {
    __shared__ float query[ROWS][MAX_DIM], gradient[ROWS][MAX_DIM];
    const int warp = threadIdx.x / WARP, l = threadIdx.x % WARP, head = blockIdx.y;
    const u32 row = blockIdx.x * ROWS + warp;
    if (row >= rows) return;
    const u32* span = span_of(spans, count, row, 0);
    const int i = row - span[0];
    const u64 stride = (u64)kv_heads * dim, at = span[1] * stride + head / (heads / kv_heads) * dim, own = ((u64)row * heads + head) * dim;
    take(query[warp], q + own, dim);
    take(gradient[warp], dout + own, dim);
    float d = 0.f;
    for (int c = l; c < dim; c += WARP) d += gradient[warp][c] * up(o[own + c]);
    d = warp_sum(d);
    if (l == 0) delta[(u64)head * rows + row] = d;
    const float row_lse = lse[(u64)head * rows + row];
    float sums[COLUMNS] = {};
    for (int first = max(i - min(window, i + 1) + 1, 0); first <= i; first += WARP) {
        const int keys = min(WARP, i - first + 1);
        float ds = 0.f;
        if (l < keys) {
            const u64 key = at + (first + l) * stride;
            const float p = expf(scale * dot(query[warp], k + key, dim) - row_lse);
            ds = p * (dot(gradient[warp], v + key, dim) - d);
        }
        add_weighted(sums, ds, k + at + first * stride, stride, keys, dim);
    }
    put(dq + own, sums, scale, dim);
}

template <typename T>
__device__ __forceinline__ void plain_dkv(const T* q, const T* k, const T* v, const T* dout, const float* lse, const float* delta, T* dk, T* dv,
                                          const u32* spans, int count, int heads, int kv_heads, u32 rows, int dim, int window, float scale) {
    __shared__ float key[ROWS][MAX_DIM], value[ROWS][MAX_DIM];
    const int warp = threadIdx.x / WARP, l = threadIdx.x % WARP, kv = blockIdx.y, group = heads / kv_heads;
    const u32 row = blockIdx.x * ROWS + warp;
    if (row >= rows) return;
    const u32* span = span_of(spans, count, row, 1);
    const int j = row - span[1], n = span[3];
    const u64 own = ((u64)row * kv_heads + kv) * dim, stride = (u64)heads * dim;
    take(key[warp], k + own, dim);
    take(value[warp], v + own, dim);
    float sums_k[COLUMNS] = {}, sums_v[COLUMNS] = {};
    const int end = window < n - j ? j + window : n;
    for (int head = kv * group; head < (kv + 1) * group; head++) {
        const u64 at = span[0] * stride + head * dim;
        for (int first = j; first < end; first += WARP) {
            const int queries = min(WARP, end - first);
            float p = 0.f, ds = 0.f;
            if (l < queries) {
                const u64 query = at + (first + l) * stride, stat = (u64)head * rows + span[0] + first + l;
                p = expf(scale * dot(key[warp], q + query, dim) - lse[stat]);
                ds = p * (dot(value[warp], dout + query, dim) - delta[stat]);
            }
            add_weighted(sums_v, p, dout + at + first * stride, stride, queries, dim);
            add_weighted(sums_k, ds, q + at + first * stride, stride, queries, dim);
        }
    }
    put(dk + own, sums_k, scale, dim);
    put(dv + own, sums_v, 1.f, dim);
}

constexpr int GROUP = 4, KEYS = 128;

// The block's maximum in every thread, for GROUP values at once.
__device__ __forceinline__ void block_max(float (&x)[GROUP], float (*scratch)[GROUP]) {
#pragma unroll
    for (int h = 0; h < GROUP; h++) {
        x[h] = warp_max(x[h]);
        if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP][h] = x[h];
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < GROUP; h++)
        for (int w = 0; w < KEYS / WARP; w++) x[h] = fmaxf(x[h], scratch[w][h]);
}

__device__ __forceinline__ void load8(const bf16* from, float (&x)[8]) { load(from, x); }
__device__ __forceinline__ void load8(const float* from, float (&x)[8]) {
    float a[4], b[4];
    load(from, a);
    load(from + 4, b);
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = a[i], x[4 + i] = b[i];
}

// A thread scores one key for up to GROUP heads that share it; then dim / 8 threads weigh one value's row, several rows at
// once. dim is a multiple of 8, rows are aligned to 16 bytes; `chunk` keys a split, a multiple of KEYS.
template <typename T>
__device__ __forceinline__ void decode(const T* q, const T* k, const T* v, float* parts, int heads, int kv_heads, int dim, int length,
                                       int window, int chunk, float scale) {
    __shared__ float query[GROUP][MAX_DIM], weights[GROUP][KEYS], scratch[KEYS / WARP][GROUP], pieces[GROUP * KEYS * 8], tops[GROUP];
    const int group = heads / kv_heads, per = (group + GROUP - 1) / GROUP, kv = blockIdx.y / per, first_head = blockIdx.y % per * GROUP;
    const int count = min(GROUP, group - first_head), queries = gridDim.z, i = length - queries + blockIdx.z;
    const u64 head = (u64)blockIdx.z * heads + kv * group + first_head, stride = (u64)kv_heads * dim;
    for (int x = threadIdx.x; x < GROUP * dim; x += KEYS) query[x / dim][x % dim] = x / dim < count ? scale * up(q[head * dim + x]) : 0.f;
    k += kv * dim, v += kv * dim;
    const int begin = max((int)blockIdx.x * chunk, i - min(window, i + 1) + 1), end = min((int)(blockIdx.x + 1) * chunk, i + 1);
    const int wide = dim / 8, lane = threadIdx.x % wide, set = threadIdx.x / wide, sets = KEYS / wide;
    float top[GROUP], total[GROUP] = {}, sums[GROUP][8] = {};
#pragma unroll
    for (int h = 0; h < GROUP; h++) top[h] = -INFINITY;
    __syncthreads();
    for (int first = begin; first < end; first += KEYS) {
        const int keys = min(KEYS, end - first);
        float s[GROUP], higher[GROUP];
#pragma unroll
        for (int h = 0; h < GROUP; h++) {
            s[h] = (int)threadIdx.x < keys ? dot(query[h], k + (first + threadIdx.x) * stride, dim) : -INFINITY;
            higher[h] = s[h];
        }
        block_max(higher, scratch);
#pragma unroll
        for (int h = 0; h < GROUP; h++) {
            higher[h] = fmaxf(higher[h], top[h]);
            const float shrink = expf(top[h] - higher[h]), p = expf(s[h] - higher[h]);
            top[h] = higher[h];
            total[h] = total[h] * shrink + p;
            weights[h][threadIdx.x] = p;
#pragma unroll
            for (int c = 0; c < 8; c++) sums[h][c] *= shrink;
        }
        __syncthreads();
        for (int key = set; set < sets && key < keys; key += sets) {
            float x[8];
            load8(v + (first + key) * stride + lane * 8, x);
#pragma unroll
            for (int h = 0; h < GROUP; h++)
#pragma unroll
                for (int c = 0; c < 8; c++) sums[h][c] += weights[h][key] * x[c];
        }
        __syncthreads();
    }
    if (set < sets) {
#pragma unroll
        for (int h = 0; h < GROUP; h++)
#pragma unroll
            for (int c = 0; c < 8; c++) pieces[(set * GROUP + h) * dim + lane * 8 + c] = sums[h][c];
    }
#pragma unroll
    for (int h = 0; h < GROUP; h++) {
        const float sum = warp_sum(total[h]);
        if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP][h] = sum;
        if (threadIdx.x == 0) tops[h] = top[h];
    }
    __syncthreads();
    for (int x = threadIdx.x; x < count * (dim + 2); x += KEYS) {
        const int h = x / (dim + 2), c = x % (dim + 2);
        float value = 0.f;
        if (c < dim)
            for (int s = 0; s < sets; s++) value += pieces[(s * GROUP + h) * dim + c];
        else if (c == dim)
            value = tops[h];
        else
            for (int w = 0; w < KEYS / WARP; w++) value += scratch[w][h];
        parts[((head + h) * gridDim.x + blockIdx.x) * (dim + 2) + c] = value;
    }
}

// o = sum over splits of e^(max - greatest max) part, over the same of the sums.
template <typename T> __device__ __forceinline__ void combine(const float* parts, T* o, int splits, int dim) {
    parts += (u64)blockIdx.x * splits * (dim + 2);
    float top = -INFINITY, total = 0.f;
    for (int s = 0; s < splits; s++) top = fmaxf(top, parts[s * (dim + 2) + dim]);
    for (int s = 0; s < splits; s++) total += expf(parts[s * (dim + 2) + dim] - top) * parts[s * (dim + 2) + dim + 1];
    for (int c = threadIdx.x; c < dim; c += blockDim.x) {
        float sum = 0.f;
        for (int s = 0; s < splits; s++) sum += expf(parts[s * (dim + 2) + dim] - top) * parts[s * (dim + 2) + c];
        o[(u64)blockIdx.x * dim + c] = down<T>(sum / total);
    }
}

} // namespace tallow

#define TALLOW_PLAIN(T, NAME)                                                                                                                \
    extern "C" __global__ void __launch_bounds__(128)                                                                                        \
        attention_plain_##NAME(const T* q, const T* k, const T* v, T* o, float* lse, const unsigned int* spans, int count, int heads,        \
                               int kv_heads, unsigned int rows, int dim, int window, float scale) {                                          \
        tallow::plain_forward(q, k, v, o, lse, spans, count, heads, kv_heads, rows, dim, window, scale);                                     \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128)                                                                                        \
        attention_plain_dq_##NAME(const T* q, const T* k, const T* v, const T* o, const T* dout, const float* lse, float* delta, T* dq,      \
                                  const unsigned int* spans, int count, int heads, int kv_heads, unsigned int rows, int dim, int window,     \
                                  float scale) {                                                                                             \
        tallow::plain_dq(q, k, v, o, dout, lse, delta, dq, spans, count, heads, kv_heads, rows, dim, window, scale);                         \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128)                                                                                        \
        attention_plain_dkv_##NAME(const T* q, const T* k, const T* v, const T* dout, const float* lse, const float* delta, T* dk, T* dv,    \
                                   const unsigned int* spans, int count, int heads, int kv_heads, unsigned int rows, int dim, int window,    \
                                   float scale) {                                                                                            \
        tallow::plain_dkv(q, k, v, dout, lse, delta, dk, dv, spans, count, heads, kv_heads, rows, dim, window, scale);                       \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128)                                                                                        \
        attention_decode_##NAME(const T* q, const T* k, const T* v, float* parts, int heads, int kv_heads, int dim, int length, int window,  \
                                int chunk, float scale) {                                                                                    \
        tallow::decode(q, k, v, parts, heads, kv_heads, dim, length, window, chunk, scale);                                                  \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) attention_combine_##NAME(const float* parts, T* o, int splits, int dim) {              \
        tallow::combine(parts, o, splits, dim);                                                                                              \
    }                                                                                                                                        \
    TALLOW_KERNEL(attention_plain_##NAME)                                                                                                    \
    TALLOW_KERNEL(attention_plain_dq_##NAME)                                                                                                 \
    TALLOW_KERNEL(attention_plain_dkv_##NAME)                                                                                                \
    TALLOW_KERNEL(attention_decode_##NAME)                                                                                                   \
    TALLOW_KERNEL(attention_combine_##NAME)

TALLOW_PLAIN(float, f32)
TALLOW_PLAIN(tallow::bf16, bf16)
