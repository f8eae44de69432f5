// What every kernel file includes: element types computed in f32, 16-byte accesses, reductions, TALLOW_KERNEL.
//
// Kernels are `extern "C" __global__ void name(...)` over plain pointers and scalars, each followed by TALLOW_KERNEL(name).
// nvcc makes nothing of that line. With TALLOW_EMULATE the same file is ordinary C++ on top of emulate/cuda.hpp, which
// registers the kernel under its name, so that the logic runs against the CPU kernels on a machine without a GPU.
#pragma once

#ifdef TALLOW_EMULATE
#include "emulate/cuda.hpp"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define TALLOW_KERNEL(name)
#endif

namespace tallow {

typedef __nv_bfloat16 bf16;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

constexpr int WARP = 32;
constexpr u32 ALL = 0xffffffffu;

// ---- element types ------------------------------------------------------------------------------------------------

__device__ __forceinline__ float up(float x) { return x; }
__device__ __forceinline__ float up(bf16 x) { return __bfloat162float(x); }

template <typename T> __device__ __forceinline__ T down(float x);
template <> __device__ __forceinline__ float down<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 down<bf16>(float x) { return __float2bfloat16_rn(x); }

// ---- 16 bytes at a time -------------------------------------------------------------------------------------------

struct alignas(16) Words {
    u32 w[4];
};

// A GPU traps on a 16-byte access that is not aligned; the emulator's processor would not.
__device__ __forceinline__ void must_be_aligned(const void* p) {
#ifdef TALLOW_EMULATE
    if (reinterpret_cast<u64>(p) & 15) ::emulate::fail("a 16-byte access is not aligned");
#endif
}

// How many elements of T one access of 16 bytes holds.
template <typename T> constexpr int LANES = 16 / (int)sizeof(T);

__device__ __forceinline__ float bits_float(u32 w) { return __uint_as_float(w); }

// `LANES<T>` elements from a 16-byte aligned address, in f32.
__device__ __forceinline__ void load(const float* from, float (&x)[4]) {
    must_be_aligned(from);
    const Words v = *reinterpret_cast<const Words*>(from);
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = bits_float(v.w[i]);
}

__device__ __forceinline__ void load(const bf16* from, float (&x)[8]) {
    must_be_aligned(from);
    const Words v = *reinterpret_cast<const Words*>(from);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = bits_float(v.w[i] << 16);
        x[2 * i + 1] = bits_float(v.w[i] & 0xffff0000u);
    }
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

// Two f32 rounded to bf16 in one word, the first in the low half.
__device__ __forceinline__ u32 pair(float low, float high) {
    return (u32)__bfloat16_as_ushort(__float2bfloat16_rn(low)) | ((u32)__bfloat16_as_ushort(__float2bfloat16_rn(high)) << 16);
}

__device__ __forceinline__ void store(float* to, const float (&x)[4]) {
    Words v;
#pragma unroll
    for (int i = 0; i < 4; i++) v.w[i] = __float_as_uint(x[i]);
    must_be_aligned(to);
    *reinterpret_cast<Words*>(to) = v;
}

__device__ __forceinline__ void store(bf16* to, const float (&x)[8]) {
    Words v;
#pragma unroll
    for (int i = 0; i < 4; i++) v.w[i] = pair(x[2 * i], x[2 * i + 1]);
    must_be_aligned(to);
    *reinterpret_cast<Words*>(to) = v;
}

__device__ __forceinline__ bool aligned(const void* p) { return (reinterpret_cast<u64>(p) & 15) == 0; }

// ---- reductions ---------------------------------------------------------------------------------------------------

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step >>= 1) x += __shfl_xor_sync(ALL, x, step);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(ALL, x, step));
    return x;
}

// The sum over the x dimension of the block, given to every thread. `scratch`: 32 floats of shared memory, free before and
// after. With 32 threads in x the rows of a block (its y dimension) are independent and no shared memory is touched;
// with more, the block has one row. Always in the same order.
__device__ __forceinline__ float row_sum(float x, float* scratch) {
    x = warp_sum(x);
    if (blockDim.x == WARP) return x;
    const int warps = blockDim.x / WARP;
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = x;
    __syncthreads();
    float total = 0.f;
    for (int i = 0; i < warps; i++) total += scratch[i];
    __syncthreads();
    return total;
}

} // namespace tallow
