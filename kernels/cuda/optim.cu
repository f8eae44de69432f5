// AdamW in 32 and 8 bits and the norm of all gradients, each in one launch over many tensors.
//
// `tensors` is a table of 8 words of 64 bits a tensor: the addresses of p, g, m, v, of the scales of m and of v, the number
// of elements, and the f32 bits of what p is multiplied by first (weight decay). `chunks` has 2 words of 32 bits a
// block: the tensor, and which `chunk` elements of it. All values f32; p, m and v change in place.
// adamw:        g *= grad_scale; m = b1 m + r1 g; v = b2 v + r2 g g; p = p decay - size m / (sqrt(v) root + eps).
// adamw8:       the same with moments in 8 bits, blocks of 256 elements that share a scale, against the signed and the unsigned
//               dynamic map (f32 [256], sorted). 256 threads; `chunk` is a multiple of 256.
// norm_chunks:  the sum of squares of each chunk, f64. A thread adds 8 squares in f32 before it goes to f64.
// norm_finish:  one block: their sum in a fixed order, f64 [1].
#include "device.cuh"

namespace tallow {

struct Entry {
    u64 p, g, m, v, m_absmax, v_absmax, n, decay;
};

// The moments are rounded after each product, as on the CPU: with fused ones a moment in 8 bits may come to lie nearer to
// another code.
struct Adam {
    float size, root, eps, beta1, beta2, rest1, rest2, grad_scale;
    __device__ __forceinline__ void step(float& p, float& m, float& v, float g, float decay) const {
        g = __fmul_rn(g, grad_scale);
        m = __fadd_rn(__fmul_rn(beta1, m), __fmul_rn(rest1, g));
        v = __fadd_rn(__fmul_rn(beta2, v), __fmul_rn(__fmul_rn(rest2, g), g));
        p = p * decay - size * m / (sqrtf(v) * root + eps);
    }
};

// The code of the value nearest to x in a sorted map, the lower one on a tie.
__device__ __forceinline__ int nearest(const float* map, float x) {
    int low = 0, high = 256;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (map[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    const int above = low < 255 ? low : 255, below = above > 0 ? above - 1 : 0;
    return x - map[below] <= map[above] - x ? below : above;
}

__device__ __forceinline__ float block_max(float x, float* scratch) {
    x = warp_max(x);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = x;
    __syncthreads();
    float most = scratch[0];
    for (int i = 1; i < (int)blockDim.x / WARP; i++) most = fmaxf(most, scratch[i]);
    __syncthreads();
    return most;
}

__device__ __forceinline__ double block_sum(double x, double* scratch) {
    scratch[threadIdx.x] = x;
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if ((int)threadIdx.x < step) scratch[threadIdx.x] += scratch[threadIdx.x + step];
        __syncthreads();
    }
    return scratch[0];
}

} // namespace tallow

extern "C" __global__ void adamw(const unsigned long long* tensors, const unsigned int* chunks, unsigned int chunk, float size, float root,
                                 float eps, float beta1, float beta2, float rest1, float rest2, float grad_scale) {
    using namespace tallow;
    const Entry t = reinterpret_cast<const Entry*>(tensors)[chunks[2 * blockIdx.x]];
    const Adam adam = {size, root, eps, beta1, beta2, rest1, rest2, grad_scale};
    const u64 first = (u64)chunks[2 * blockIdx.x + 1] * chunk, end = first + chunk < t.n ? first + chunk : t.n;
    float *p = reinterpret_cast<float*>(t.p), *m = reinterpret_cast<float*>(t.m), *v = reinterpret_cast<float*>(t.v);
    const float *g = reinterpret_cast<const float*>(t.g), decay = __uint_as_float((u32)t.decay);
    const bool wide = aligned(p) && aligned(m) && aligned(v) && aligned(g);
    const u64 fours = wide ? (end - first) / 4 : 0;
    for (u64 i = threadIdx.x; i < fours; i += blockDim.x) {
        const u64 at = first + 4 * i;
        float ps[4], ms[4], vs[4], gs[4];
        load(p + at, ps);
        load(m + at, ms);
        load(v + at, vs);
        load(g + at, gs);
#pragma unroll
        for (int j = 0; j < 4; j++) adam.step(ps[j], ms[j], vs[j], gs[j], decay);
        store(p + at, ps);
        store(m + at, ms);
        store(v + at, vs);
    }
    for (u64 i = first + 4 * fours + threadIdx.x; i < end; i += blockDim.x) adam.step(p[i], m[i], v[i], g[i], decay);
}
TALLOW_KERNEL(adamw)

extern "C" __global__ void adamw8(const unsigned long long* tensors, const unsigned int* chunks, unsigned int chunk,
                                  const float* signed_map, const float* unsigned_map, float size, float root, float eps, float beta1,
                                  float beta2, float rest1, float rest2, float grad_scale) {
    using namespace tallow;
    __shared__ float maps[2][256];
    __shared__ float scratch[WARP];
    maps[0][threadIdx.x] = signed_map[threadIdx.x];
    maps[1][threadIdx.x] = unsigned_map[threadIdx.x];
    __syncthreads();
    const Entry t = reinterpret_cast<const Entry*>(tensors)[chunks[2 * blockIdx.x]];
    const Adam adam = {size, root, eps, beta1, beta2, rest1, rest2, grad_scale};
    const u64 first = (u64)chunks[2 * blockIdx.x + 1] * chunk, end = first + chunk < t.n ? first + chunk : t.n;
    float *p = reinterpret_cast<float*>(t.p), *ma = reinterpret_cast<float*>(t.m_absmax), *va = reinterpret_cast<float*>(t.v_absmax);
    const float *g = reinterpret_cast<const float*>(t.g), decay = __uint_as_float((u32)t.decay);
    u8 *m = reinterpret_cast<u8*>(t.m), *v = reinterpret_cast<u8*>(t.v);
    for (u64 base = first; base < end; base += 256) {
        const u64 i = base + threadIdx.x;
        const bool live = i < end;
        float mf = 0.f, vf = 0.f;
        if (live) {
            mf = maps[0][m[i]] * ma[base / 256];
            vf = maps[1][v[i]] * va[base / 256];
            float value = p[i];
            adam.step(value, mf, vf, g[i], decay);
            p[i] = value;
        }
        // Scales were read by every thread before the first barrier in here.
        const float m_most = block_max(live ? fabsf(mf) : 0.f, scratch), v_most = block_max(live ? fabsf(vf) : 0.f, scratch);
        if (live) {
            m[i] = (u8)nearest(maps[0], __fmul_rn(mf, m_most > 0.f ? 1.f / m_most : 0.f));
            v[i] = (u8)nearest(maps[1], __fmul_rn(vf, v_most > 0.f ? 1.f / v_most : 0.f));
        }
        if (threadIdx.x == 0) {
            ma[base / 256] = m_most;
            va[base / 256] = v_most;
        }
    }
}
TALLOW_KERNEL(adamw8)

extern "C" __global__ void norm_chunks(const unsigned long long* tensors, const unsigned int* chunks, unsigned int chunk, double* out) {
    using namespace tallow;
    __shared__ double scratch[256];
    const Entry t = reinterpret_cast<const Entry*>(tensors)[chunks[2 * blockIdx.x]];
    const u64 first = (u64)chunks[2 * blockIdx.x + 1] * chunk, end = first + chunk < t.n ? first + chunk : t.n;
    const float* g = reinterpret_cast<const float*>(t.g);
    double sum = 0.0;
    for (u64 i = first + threadIdx.x; i < end; i += 8 * blockDim.x) {
        float part = 0.f;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const u64 at = i + (u64)j * blockDim.x;
            const float x = at < end ? g[at] : 0.f;
            part += x * x;
        }
        sum += part;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
TALLOW_KERNEL(norm_chunks)

extern "C" __global__ void norm_finish(const double* parts, unsigned int count, double* out) {
    using namespace tallow;
    __shared__ double scratch[256];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) out[0] = sum;
}
TALLOW_KERNEL(norm_finish)
