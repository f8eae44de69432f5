// The instructions that tensor cores need, sm_80 upward: ldmatrix, mma.m16n8k16 over bf16 with f32 sums, cp.async. PTX under
// nvcc, the emulator's functions otherwise. Fragment layouts are the PTX manual's; lane l = 4 g + t:
//   a (16 x 16, rows x k): a0 = (g, 2t..), a1 = (g + 8, 2t..), a2 = (g, 2t + 8..), a3 = (g + 8, 2t + 8..), two elements each
//   b (16 x 8, k x columns): b0 = (2t.., g), b1 = (2t + 8.., g);  d (16 x 8): d0 d1 = (g, 2t..), d2 d3 = (g + 8, 2t..)
#pragma once

#include "device.cuh"

#ifndef TALLOW_EMULATE
// Dynamic shared memory: `T* name` at its start.
#define TALLOW_DYNAMIC_SHARED(T, name)                           \
    extern __shared__ __align__(1024) unsigned char tallow_bytes[]; \
    T* name = reinterpret_cast<T*>(tallow_bytes)
#endif

namespace tallow {

#ifdef TALLOW_EMULATE

typedef u64 SharedAddress;
inline SharedAddress shared_address(const void* p) { return reinterpret_cast<u64>(p); }
inline void ldmatrix_x4(u32 (&r)[4], SharedAddress row) { emulate::load_matrix(r, reinterpret_cast<const void*>(row), 4, false); }
inline void ldmatrix_x4_trans(u32 (&r)[4], SharedAddress row) { emulate::load_matrix(r, reinterpret_cast<const void*>(row), 4, true); }
inline void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    const u32 b[2] = {b0, b1};
    emulate::mma_bf16(d, a, b);
}
inline void cp_async16(void* to, const void* from, bool valid) { emulate::copy_async(to, from, 16, valid ? 16 : 0); }
inline void cp_async4(void* to, const void* from, bool valid) { emulate::copy_async(to, from, 4, valid ? 4 : 0); }
inline void cp_async_commit() { emulate::copy_commit(); }
template <int N> inline void cp_async_wait() { emulate::copy_wait(N); }
inline float exp2_fast(float x) { return exp2f(x); }
inline int lane_here() { return threadIdx.x % WARP; }

#else

typedef u32 SharedAddress;
// This thread's lane, hidden from the compiler: addresses made of it are made where they are used. Made before a loop and kept,
// as the compiler would have it, they push sums out of registers.
__device__ __forceinline__ int lane_here() {
    int l = threadIdx.x % WARP;
    asm volatile("" : "+r"(l));
    return l;
}

__device__ __forceinline__ SharedAddress shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Four 8 x 8 matrices of 16-bit elements; lane 8 m + i gives the address of row i of matrix m.
__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

// d += a b. Volatile: all lanes of a warp take part, so it must not be moved into a branch.
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes into shared memory, or zeros where the source is not valid (it is not read then).
__device__ __forceinline__ void cp_async16(void* to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ __forceinline__ void cp_async4(void* to, const void* from, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 4 : 0) : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's groups are under way.
template <int N> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif

// Two f32 as bf16 in one word, in one instruction; the first in the low half.
__device__ __forceinline__ u32 pack(float low, float high) {
#ifdef TALLOW_EMULATE
    return pair(low, high);
#else
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
#endif
}

// Rows of D bf16 in shared memory, in chunks of 16 bytes that are placed so that the eight rows of one ldmatrix never share
// a bank: chunks are permuted by the row where a row is a multiple of 128 bytes, else rows are padded to an odd count.
template <int D> struct Tile {
    static_assert(D % 16 == 0, "rows are whole k-steps");
    static constexpr int CHUNKS = D / 8;
    static constexpr bool PERMUTED = CHUNKS % 8 == 0;
    static constexpr int STRIDE = PERMUTED ? CHUNKS : CHUNKS | 1;

    __device__ static constexpr int elements(int rows) { return rows * STRIDE * 8; }
    __device__ static __forceinline__ bf16* at(bf16* tile, int row, int chunk) {
        return tile + (row * STRIDE + (PERMUTED ? chunk ^ (row & 7) : chunk)) * 8;
    }

    // Where chunk 2 k + half of a row lies; half is 0 or 1. The permutation is an exclusive or of address bits 4 to 6 (tiles begin
    // at multiples of 128 bytes), so k costs one operation and a constant.
    __device__ static __forceinline__ SharedAddress along(bf16* tile, int row, int half, int k) {
        const SharedAddress first = shared_address(at(tile, row, half));
        return PERMUTED ? (first ^ (2 * k % 8 * 16)) + 2 * k / 8 * 128 : first + 32 * k;
    }

    // Rows first .. first + ROWS of a matrix whose rows lie `stride` apart; zeros from row `end` on. Asynchronous.
    template <int ROWS, int THREADS>
    __device__ static __forceinline__ void fetch(bf16* tile, const bf16* from, u64 stride, int first, int end) {
        // Not unrolled further: the addresses of many copies would push sums out of registers.
#pragma unroll 2
        for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
            const int row = i / CHUNKS, chunk = i % CHUNKS;
            const bool valid = first + row < end;
            cp_async16(at(tile, row, chunk), from + (valid ? first + row : 0) * stride + chunk * 8, valid);
        }
    }

    // Rows `row` .. + 16, columns 16 k .. + 16, as the a operand.
    __device__ static __forceinline__ void a(u32 (&f)[4], bf16* tile, int row, int k) {
        const int l = lane_here();
        ldmatrix_x4(f, along(tile, row + l % 16, l / 16, k));
    }
    // Rows `row` .. + 16 as 16 columns of b (f0 f1 the first eight), columns 16 k .. + 16 as its k.
    __device__ static __forceinline__ void b_rows(u32 (&f)[4], bf16* tile, int row, int k) {
        const int l = lane_here();
        ldmatrix_x4(f, along(tile, row + l % 8 + l / 16 * 8, l / 8 % 2, k));
    }
    // Rows `row` .. + 16 as k, columns 16 n .. + 16 as 16 columns of b.
    __device__ static __forceinline__ void b_columns(u32 (&f)[4], bf16* tile, int row, int n) {
        const int l = lane_here();
        ldmatrix_x4_trans(f, along(tile, row + l % 16, l / 16, n));
    }

    // A warp's 16 rows of sums, times `factor` (rows g and g + 8), into its own rows of the tile and from there to memory in
    // whole chunks; rows from `end` on are not written.
    __device__ static __forceinline__ void store(const float (&sums)[CHUNKS][4], float factor, float factor8, bf16* tile, int row, bf16* to,
                                                 u64 stride, int first, int end) {
        const int l = threadIdx.x % WARP, g = l / 4, t = l % 4;
#pragma unroll
        for (int n = 0; n < CHUNKS; n++) {
            reinterpret_cast<u32*>(at(tile, row + g, n))[t] = pack(sums[n][0] * factor, sums[n][1] * factor);
            reinterpret_cast<u32*>(at(tile, row + g + 8, n))[t] = pack(sums[n][2] * factor8, sums[n][3] * factor8);
        }
        __syncwarp();
#pragma unroll
        for (int i = l; i < 16 * CHUNKS; i += WARP) {
            const int r = i / CHUNKS, chunk = i % CHUNKS;
            if (first + r < end) *reinterpret_cast<Words*>(to + (first + r) * stride + chunk * 8) = *reinterpret_cast<Words*>(at(tile, row + r, chunk));
        }
    }
};

} // namespace tallow
