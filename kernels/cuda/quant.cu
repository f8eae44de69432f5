// Quantised matrices decoded into one buffer, near the speed of memory.
//
// nf4_dequantize: n elements of a flattened matrix, two codes a byte with the first in the high nibble, blocks of 64 that share
//                 a scale: absmax[i / 64] where given, else map[codes[i / 64]] * nested[i / 64 / 256] + offset (double
//                 quantisation, bitsandbytes' layout). out = codebook[code] * scale: the CPU's f32 to the bit, then rounded to T.
//                 A thread makes 8 elements from 4 bytes, UNROLL times, so that several loads are in flight.
// q8_dequantize:  signed bytes [out, in], one scale for 64 along a row (the last block of a row may be shorter). One row
//                 for blockIdx.y (and those gridDim.y further on).
#include "device.cuh"

namespace tallow {

constexpr int UNROLL = 4;

__device__ const float NF4[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

struct Scales {
    const float* absmax;
    const u8* codes;
    const float* nested;
    float offset;
    __device__ __forceinline__ float at(u64 block, const float* map) const {
        if (absmax) return absmax[block];
        return __fadd_rn(__fmul_rn(map[codes[block]], nested[block / 256]), offset);
    }
};

__device__ __forceinline__ void put8(float* to, const float (&x)[8]) {
    const float a[4] = {x[0], x[1], x[2], x[3]}, b[4] = {x[4], x[5], x[6], x[7]};
    store(to, a);
    store(to + 4, b);
}
__device__ __forceinline__ void put8(bf16* to, const float (&x)[8]) { store(to, x); }

template <typename T> __device__ __forceinline__ void nf4_dequantize(const u8* codes, Scales scales, const float* map, T* out, u64 n) {
    __shared__ float book[16];
    __shared__ float levels[256];
    if (threadIdx.x < 16) book[threadIdx.x] = NF4[threadIdx.x];
    if (map)
        for (int i = threadIdx.x; i < 256; i += blockDim.x) levels[i] = map[i];
    __syncthreads();
    const bool wide = aligned(out) && (reinterpret_cast<u64>(codes) & 3) == 0;
    const u64 eights = wide ? n / 8 : 0;
    const u64 tile = (u64)blockDim.x * UNROLL;
    for (u64 base = blockIdx.x * tile; base < eights; base += gridDim.x * tile) {
        u32 word[UNROLL];
        float scale[UNROLL];
#pragma unroll
        for (int k = 0; k < UNROLL; k++) {
            const u64 i = base + (u64)k * blockDim.x + threadIdx.x;
            if (i < eights) {
                word[k] = reinterpret_cast<const u32*>(codes)[i];
                scale[k] = scales.at(i / 8, levels);
            }
        }
#pragma unroll
        for (int k = 0; k < UNROLL; k++) {
            const u64 i = base + (u64)k * blockDim.x + threadIdx.x;
            if (i < eights) {
                float x[8];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const u32 byte = word[k] >> (8 * j);
                    x[2 * j] = book[byte >> 4 & 15] * scale[k];
                    x[2 * j + 1] = book[byte & 15] * scale[k];
                }
                put8(out + i * 8, x);
            }
        }
    }
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    for (u64 i = eights * 8 + first; i < n; i += all) {
        const u32 byte = codes[i / 2];
        out[i] = down<T>(book[i % 2 == 0 ? byte >> 4 : byte & 15] * scales.at(i / 64, levels));
    }
}

__device__ __forceinline__ float signed_byte(u32 byte) { return (float)(signed char)(u8)byte; }

template <typename T> __device__ __forceinline__ void q8_dequantize(const u8* codes, const float* scales, T* out, int rows, int width) {
    const int blocks = (width + 63) / 64;
    const bool wide = width % 8 == 0 && aligned(out) && (reinterpret_cast<u64>(codes) & 3) == 0;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const u64 at = (u64)row * width;
        const float* scale = scales + (u64)row * blocks;
        if (wide) {
            for (int i = 8 * (blockIdx.x * blockDim.x + threadIdx.x); i < width; i += 8 * gridDim.x * blockDim.x) {
                const u32* from = reinterpret_cast<const u32*>(codes + at + i);
                const u32 low = from[0], high = from[1];
                const float s = scale[i / 64];
                float x[8];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    x[j] = signed_byte(low >> (8 * j)) * s;
                    x[4 + j] = signed_byte(high >> (8 * j)) * s;
                }
                put8(out + at + i, x);
            }
        } else {
            for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < width; i += gridDim.x * blockDim.x)
                out[at + i] = down<T>(signed_byte(codes[at + i]) * scale[i / 64]);
        }
    }
}

} // namespace tallow

#define TALLOW_QUANT(T, NAME)                                                                                                            \
    extern "C" __global__ void nf4_dequantize_##NAME(const unsigned char* codes, const float* absmax, const unsigned char* scale_codes,  \
                                                     const float* nested, const float* map, float offset, T* out,                        \
                                                     unsigned long long n) {                                                             \
        tallow::nf4_dequantize(codes, tallow::Scales{absmax, scale_codes, nested, offset}, map, out, n);                                 \
    }                                                                                                                                    \
    extern "C" __global__ void q8_dequantize_##NAME(const unsigned char* codes, const float* scales, T* out, int rows, int width) {      \
        tallow::q8_dequantize(codes, scales, out, rows, width);                                                                          \
    }

TALLOW_QUANT(float, f32)
TALLOW_KERNEL(nf4_dequantize_f32)
TALLOW_KERNEL(q8_dequantize_f32)

TALLOW_QUANT(tallow::bf16, bf16)
TALLOW_KERNEL(nf4_dequantize_bf16)
TALLOW_KERNEL(q8_dequantize_bf16)
