// What LoRA needs besides matrix products: its factors in the dtype of activations, and dropout.
//
// Dropout's mask is a function of (seed, element index): SplitMix64's finaliser, as on the CPU, so both devices drop the
// same elements and the backward pass makes the mask again.
// lora_cast:   a16 = a, b16 = b in bf16, in one launch.
// dropout:     out[i] = x[i] * factor(i).
// add_dropped: to[i] += from[i] * factor(i), from f32.
#include "device.cuh"

namespace tallow {

__device__ __forceinline__ float factor(u64 seed, u64 index, float p, float keep) {
    u64 z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    const float uniform = (float)(u32)(z >> 40) * (1.f / 16777216.f);
    return uniform < p ? 0.f : keep;
}

template <typename T> __device__ __forceinline__ void dropout(const T* x, T* out, u64 n, u64 seed, float p, float keep) {
    constexpr int N = LANES<T>;
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    const u64 whole = aligned(x) && aligned(out) ? n / N : 0;
    for (u64 i = first; i < whole; i += all) {
        float v[N];
        load(x + i * N, v);
#pragma unroll
        for (int j = 0; j < N; j++) v[j] *= factor(seed, i * N + j, p, keep);
        store(out + i * N, v);
    }
    for (u64 i = whole * N + first; i < n; i += all) out[i] = down<T>(up(x[i]) * factor(seed, i, p, keep));
}

// f32 values that belong to the elements of one 16-byte access of T.
template <typename T> __device__ __forceinline__ void load_f32(const float* from, float (&x)[LANES<T>]) {
#pragma unroll
    for (int i = 0; i < LANES<T>; i += 4) {
        float four[4];
        load(from + i, four);
#pragma unroll
        for (int j = 0; j < 4; j++) x[i + j] = four[j];
    }
}

template <typename T> __device__ __forceinline__ void add_dropped(T* to, const float* from, u64 n, u64 seed, float p, float keep) {
    constexpr int N = LANES<T>;
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    const u64 whole = aligned(to) && aligned(from) ? n / N : 0;
    for (u64 i = first; i < whole; i += all) {
        float v[N], add[N];
        load(to + i * N, v);
        load_f32<T>(from + i * N, add);
#pragma unroll
        for (int j = 0; j < N; j++) v[j] += add[j] * factor(seed, i * N + j, p, keep);
        store(to + i * N, v);
    }
    for (u64 i = whole * N + first; i < n; i += all) to[i] = down<T>(up(to[i]) + from[i] * factor(seed, i, p, keep));
}

} // namespace tallow

extern "C" __global__ void lora_cast(const float* a, tallow::bf16* a16, unsigned long long na, const float* b, tallow::bf16* b16,
                                     unsigned long long nb) {
    const tallow::u64 first = (tallow::u64)blockIdx.x * blockDim.x + threadIdx.x, all = (tallow::u64)gridDim.x * blockDim.x;
    for (tallow::u64 i = first; i < na + nb; i += all) {
        if (i < na)
            a16[i] = tallow::down<tallow::bf16>(a[i]);
        else
            b16[i - na] = tallow::down<tallow::bf16>(b[i - na]);
    }
}
TALLOW_KERNEL(lora_cast)

extern "C" __global__ void dropout_f32(const float* x, float* out, unsigned long long n, unsigned long long seed, float p, float keep) {
    tallow::dropout(x, out, n, seed, p, keep);
}
TALLOW_KERNEL(dropout_f32)

extern "C" __global__ void dropout_bf16(const tallow::bf16* x, tallow::bf16* out, unsigned long long n, unsigned long long seed, float p,
                                        float keep) {
    tallow::dropout(x, out, n, seed, p, keep);
}
TALLOW_KERNEL(dropout_bf16)

extern "C" __global__ void add_dropped_f32(float* to, const float* from, unsigned long long n, unsigned long long seed, float p,
                                           float keep) {
    tallow::add_dropped(to, from, n, seed, p, keep);
}
TALLOW_KERNEL(add_dropped_f32)

extern "C" __global__ void add_dropped_bf16(tallow::bf16* to, const float* from, unsigned long long n, unsigned long long seed, float p,
                                            float keep) {
    tallow::add_dropped(to, from, n, seed, p, keep);
}
TALLOW_KERNEL(add_dropped_bf16)
