// Rotary position embedding, in place on q [tokens, q_heads, 2 * half] and k [tokens, k_heads, 2 * half] in one launch.
//
// Element i of a head turns with element i + half by the angle of the token's position: cos and sin are f32
// [positions, half]. sign = 1 rotates, -1 turns back (the gradient). One block a token; any number of threads.
#include "device.cuh"

namespace tallow {

template <typename T>
__device__ __forceinline__ void rope(T* q, T* k, const u32* positions, const float* cosines, const float* sines, float sign, int q_heads,
                                     int k_heads, int half) {
    constexpr int N = LANES<T>;
    const u64 token = blockIdx.x;
    const float* c = cosines + (u64)positions[token] * half;
    const float* s = sines + (u64)positions[token] * half;
    const bool wide = half % N == 0 && aligned(q) && aligned(k) && aligned(cosines) && aligned(sines);
    const int width = wide ? N : 1, per_head = half / width;
    for (int item = threadIdx.x; item < (q_heads + k_heads) * per_head; item += blockDim.x) {
        const int head = item / per_head, i = item % per_head * width;
        T* x = head < q_heads ? q + (token * q_heads + head) * 2 * half : k + (token * k_heads + head - q_heads) * 2 * half;
        if (wide) {
            float a[N], b[N], cs[N], ss[N];
            load(x + i, a);
            load(x + half + i, b);
            load_f32<T>(c + i, cs);
            load_f32<T>(s + i, ss);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float ca = cs[j], sa = ss[j] * sign, first = a[j];
                a[j] = first * ca - b[j] * sa;
                b[j] = b[j] * ca + first * sa;
            }
            store(x + i, a);
            store(x + half + i, b);
        } else {
            const float ca = c[i], sa = s[i] * sign, a = up(x[i]), b = up(x[half + i]);
            x[i] = down<T>(a * ca - b * sa);
            x[half + i] = down<T>(b * ca + a * sa);
        }
    }
}

} // namespace tallow

extern "C" __global__ void rope_f32(float* q, float* k, const unsigned int* positions, const float* cosines, const float* sines, float sign,
                                    int q_heads, int k_heads, int half) {
    tallow::rope(q, k, positions, cosines, sines, sign, q_heads, k_heads, half);
}
TALLOW_KERNEL(rope_f32)

extern "C" __global__ void rope_bf16(tallow::bf16* q, tallow::bf16* k, const unsigned int* positions, const float* cosines,
                                     const float* sines, float sign, int q_heads, int k_heads, int half) {
    tallow::rope(q, k, positions, cosines, sines, sign, q_heads, k_heads, half);
}
TALLOW_KERNEL(rope_bf16)
