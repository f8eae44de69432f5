// SwiGLU (arXiv 2002.05202): act = silu(gate) * up, over n elements in one dtype, computed in f32.
//
// forward:  act[i] = gate[i] * sigmoid(gate[i]) * up[i]
// backward: dgate[i] = dact * up * s * (1 + gate * (1 - s)),  dup[i] = dact * gate * s,  s = sigmoid(gate)
// backward may run in place: dgate == gate and dup == up. Any grid; each thread takes 16 bytes of every tensor at a time.
#include "device.cuh"

namespace tallow {

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

template <typename T> __device__ __forceinline__ void swiglu(const T* gate, const T* up_, T* act, u64 n) {
    constexpr int N = LANES<T>;
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    const u64 whole = aligned(gate) && aligned(up_) && aligned(act) ? n / N : 0;
    for (u64 i = first; i < whole; i += all) {
        float g[N], u[N];
        load(gate + i * N, g);
        load(up_ + i * N, u);
#pragma unroll
        for (int j = 0; j < N; j++) g[j] = g[j] * sigmoid(g[j]) * u[j];
        store(act + i * N, g);
    }
    for (u64 i = whole * N + first; i < n; i += all) {
        const float g = up(gate[i]);
        act[i] = down<T>(g * sigmoid(g) * up(up_[i]));
    }
}

__device__ __forceinline__ void gradients(float g, float u, float d, float& dg, float& du) {
    const float s = sigmoid(g);
    dg = d * u * s * (1.f + g * (1.f - s));
    du = d * g * s;
}

// No __restrict__: dgate and gate may be one.
template <typename T>
__device__ __forceinline__ void swiglu_backward(const T* dact, const T* gate, const T* up_, T* dgate, T* dup, u64 n) {
    constexpr int N = LANES<T>;
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    const bool wide = aligned(gate) && aligned(up_) && aligned(dact) && aligned(dgate) && aligned(dup);
    const u64 whole = wide ? n / N : 0;
    for (u64 i = first; i < whole; i += all) {
        float g[N], u[N], d[N];
        load(gate + i * N, g);
        load(up_ + i * N, u);
        load(dact + i * N, d);
#pragma unroll
        for (int j = 0; j < N; j++) gradients(g[j], u[j], d[j], g[j], u[j]);
        store(dgate + i * N, g);
        store(dup + i * N, u);
    }
    for (u64 i = whole * N + first; i < n; i += all) {
        float dg, du;
        gradients(up(gate[i]), up(up_[i]), up(dact[i]), dg, du);
        dgate[i] = down<T>(dg);
        dup[i] = down<T>(du);
    }
}

} // namespace tallow

extern "C" __global__ void swiglu_f32(const float* gate, const float* up, float* act, unsigned long long n) {
    tallow::swiglu(gate, up, act, n);
}
TALLOW_KERNEL(swiglu_f32)

extern "C" __global__ void swiglu_bf16(const tallow::bf16* gate, const tallow::bf16* up, tallow::bf16* act, unsigned long long n) {
    tallow::swiglu(gate, up, act, n);
}
TALLOW_KERNEL(swiglu_bf16)

extern "C" __global__ void swiglu_backward_f32(const float* dact, const float* gate, const float* up, float* dgate, float* dup,
                                               unsigned long long n) {
    tallow::swiglu_backward(dact, gate, up, dgate, dup, n);
}
TALLOW_KERNEL(swiglu_backward_f32)

extern "C" __global__ void swiglu_backward_bf16(const tallow::bf16* dact, const tallow::bf16* gate, const tallow::bf16* up,
                                                tallow::bf16* dgate, tallow::bf16* dup, unsigned long long n) {
    tallow::swiglu_backward(dact, gate, up, dgate, dup, n);
}
TALLOW_KERNEL(swiglu_backward_bf16)
