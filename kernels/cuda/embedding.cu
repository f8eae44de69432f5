// Rows of the embedding table, and their gradient.
//
// embedding:          out[i][:] = table[ids[i]][:], one block a row.
// embedding_backward: dtable[ids[u]][:] += sum of dy[order[j]][:] for j in [starts[u], starts[u + 1]): the host has sorted the
//                     tokens by id, so one block owns one row of the table and adds its tokens in order. Deterministic,
//                     without atomics. dtable f32.
// scatter_rows:       out[ids[i]][:] = from[i][:]; ids differ.
#include "device.cuh"

namespace tallow {

template <typename T> __device__ __forceinline__ void copy_row(const T* from, T* to, int d) {
    constexpr int N = LANES<T>;
    const int whole = aligned(from) && aligned(to) ? d / N : 0;
    for (int i = threadIdx.x; i < whole; i += blockDim.x)
        reinterpret_cast<Words*>(to)[i] = reinterpret_cast<const Words*>(from)[i];
    for (int i = whole * N + threadIdx.x; i < d; i += blockDim.x) to[i] = from[i];
}

template <typename T>
__device__ __forceinline__ void add_rows(const T* dy, const u32* order, const u32* starts, const u32* ids, float* dtable, int d) {
    const u32 first = starts[blockIdx.x], last = starts[blockIdx.x + 1];
    float* to = dtable + (u64)ids[blockIdx.x] * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float sum = to[i];
        for (u32 j = first; j < last; j++) sum += up(dy[(u64)order[j] * d + i]);
        to[i] = sum;
    }
}

} // namespace tallow

#define TALLOW_EMBEDDING(T, NAME)                                                                                                   \
    extern "C" __global__ void embedding_##NAME(const T* table, const unsigned int* ids, T* out, int d) {                           \
        tallow::copy_row(table + (tallow::u64)ids[blockIdx.x] * d, out + (tallow::u64)blockIdx.x * d, d);                           \
    }                                                                                                                               \
    extern "C" __global__ void scatter_rows_##NAME(const T* from, const unsigned int* ids, T* out, int d) {                         \
        tallow::copy_row(from + (tallow::u64)blockIdx.x * d, out + (tallow::u64)ids[blockIdx.x] * d, d);                            \
    }                                                                                                                               \
    extern "C" __global__ void embedding_backward_##NAME(const T* dy, const unsigned int* order, const unsigned int* starts,        \
                                                         const unsigned int* ids, float* dtable, int d) {                           \
        tallow::add_rows(dy, order, starts, ids, dtable, d);                                                                        \
    }

TALLOW_EMBEDDING(float, f32)
TALLOW_KERNEL(embedding_f32)
TALLOW_KERNEL(scatter_rows_f32)
TALLOW_KERNEL(embedding_backward_f32)

TALLOW_EMBEDDING(tallow::bf16, bf16)
TALLOW_KERNEL(embedding_bf16)
TALLOW_KERNEL(scatter_rows_bf16)
TALLOW_KERNEL(embedding_backward_bf16)
