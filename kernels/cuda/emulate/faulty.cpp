// Kernels that do wrong, and the smallest that uses a matrix instruction: what the emulator's own tests run.

#include "cuda.hpp"

extern "C" __global__ void emulate_fault(float* out, int which) {
    TALLOW_DYNAMIC_SHARED(float, s);
    const unsigned i = threadIdx.x;
    s[i] = static_cast<float>(i);
    if (which < 100) __syncthreads();
    switch (which) {
    case 1: s[i + 1] = 0.0f; break;
    case 2: out[64 + i] = 0.0f; break;
    case 3:
        if (i < 32) __syncwarp();
        if (i < 32) __syncthreads();
        else if (i % 2) __syncwarp();
        else __syncwarp(), __syncwarp();
        break;
    case 4: __syncwarp(1); break;
    case 5:
        if (i % 2) __syncwarp();
        else __ballot_sync(0xffffffffu, 1);
        break;
    case 6: reinterpret_cast<char*>(out)[-1] = 0; break;
    case 7: emulate::copy_async(s + 1, out, 16, 16); break;
    case 8: if (i < 16) s[i] = __shfl_sync(0xffffu, s[i], 16); break;
    case 101: {
        emulate::copy_async(s + i, s + (i ^ 32), 4, 0);
        emulate::copy_commit();
        float before = s[i];
        emulate::copy_wait(0);
        out[i] = before == 0.0f ? 0.0f : s[i] == 0.0f ? NAN : before;
        return;
    }
    }
    out[i] = s[(i + 1) % 64];
}
TALLOW_KERNEL(emulate_fault)

// out [16, 8] = a [16, 16] b^T, b [8, 16].
extern "C" __global__ void emulate_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* out) {
    TALLOW_DYNAMIC_SHARED(__nv_bfloat16, s);
    const unsigned l = threadIdx.x, g = l / 4, t = 2 * (l % 4);
    for (unsigned i = l; i < 256; i += 32) s[i] = a[i];
    for (unsigned i = l; i < 128; i += 32) s[256 + i] = b[i];
    __syncwarp();
    unsigned fa[4], fb[2];
    emulate::load_matrix(fa, s + (l % 16) * 16 + l / 16 * 8, 4, false);
    emulate::load_matrix(fb, s + 256 + (l % 8) * 16 + l / 8 % 2 * 8, 2, false);
    float d[4] = {};
    emulate::mma_bf16(d, fa, fb);
    for (unsigned i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + t + i % 2] = d[i];
}
TALLOW_KERNEL(emulate_product)
