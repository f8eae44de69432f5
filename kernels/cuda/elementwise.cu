// Sums, scaling and conversion over n elements or over rows, computed in f32.
//
// add:          out[i] = a[i] + b[i]; out may be a.
// add_bias:     y[r][c] += bias[c], bias f32.
// sum_rows_add: db[c] += sum over rows of dy[r][c], f32. Eight partial sums a column (rows r % 8), added in order: the same
//               bits on every run. Blocks of (32, 8) threads, one for 32 columns.
// scale:        x[i] *= by, f32.
// convert:      to[i] = from[i] in the other type.
#include "device.cuh"

namespace tallow {

template <typename T> __device__ __forceinline__ void add(const T* a, const T* b, T* out, u64 n) {
    constexpr int N = LANES<T>;
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    const u64 whole = aligned(a) && aligned(b) && aligned(out) ? n / N : 0;
    for (u64 i = first; i < whole; i += all) {
        float x[N], y[N];
        load(a + i * N, x);
        load(b + i * N, y);
#pragma unroll
        for (int j = 0; j < N; j++) x[j] += y[j];
        store(out + i * N, x);
    }
    for (u64 i = whole * N + first; i < n; i += all) out[i] = down<T>(up(a[i]) + up(b[i]));
}

template <typename T> __device__ __forceinline__ void add_bias(T* y, const float* bias, u64 rows, u64 n) {
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    for (u64 i = first; i < rows * n; i += all) y[i] = down<T>(up(y[i]) + bias[i % n]);
}

template <typename T> __device__ __forceinline__ void sum_rows_add(const T* dy, float* db, u64 rows, u64 n) {
    __shared__ float part[8][WARP];
    const u64 column = (u64)blockIdx.x * WARP + threadIdx.x;
    float sum = 0.f;
    if (column < n)
        for (u64 r = threadIdx.y; r < rows; r += 8) sum += up(dy[r * n + column]);
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < n) {
        float total = 0.f;
        for (int i = 0; i < 8; i++) total += part[i][threadIdx.x];
        db[column] += total;
    }
}

template <typename T, typename U> __device__ __forceinline__ void convert(const T* from, U* to, u64 n) {
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, all = (u64)gridDim.x * blockDim.x;
    for (u64 i = first; i < n; i += all) to[i] = down<U>(up(from[i]));
}

} // namespace tallow

extern "C" __global__ void add_f32(const float* a, const float* b, float* out, unsigned long long n) { tallow::add(a, b, out, n); }
TALLOW_KERNEL(add_f32)

extern "C" __global__ void add_bf16(const tallow::bf16* a, const tallow::bf16* b, tallow::bf16* out, unsigned long long n) {
    tallow::add(a, b, out, n);
}
TALLOW_KERNEL(add_bf16)

extern "C" __global__ void add_bias_f32(float* y, const float* bias, unsigned long long rows, unsigned long long n) {
    tallow::add_bias(y, bias, rows, n);
}
TALLOW_KERNEL(add_bias_f32)

extern "C" __global__ void add_bias_bf16(tallow::bf16* y, const float* bias, unsigned long long rows, unsigned long long n) {
    tallow::add_bias(y, bias, rows, n);
}
TALLOW_KERNEL(add_bias_bf16)

extern "C" __global__ void sum_rows_add_f32(const float* dy, float* db, unsigned long long rows, unsigned long long n) {
    tallow::sum_rows_add(dy, db, rows, n);
}
TALLOW_KERNEL(sum_rows_add_f32)

extern "C" __global__ void sum_rows_add_bf16(const tallow::bf16* dy, float* db, unsigned long long rows, unsigned long long n) {
    tallow::sum_rows_add(dy, db, rows, n);
}
TALLOW_KERNEL(sum_rows_add_bf16)

extern "C" __global__ void scale_f32(float* x, float by, unsigned long long n) {
    const tallow::u64 first = (tallow::u64)blockIdx.x * blockDim.x + threadIdx.x, all = (tallow::u64)gridDim.x * blockDim.x;
    for (tallow::u64 i = first; i < n; i += all) x[i] *= by;
}
TALLOW_KERNEL(scale_f32)

extern "C" __global__ void convert_f32_bf16(const float* from, tallow::bf16* to, unsigned long long n) { tallow::convert(from, to, n); }
TALLOW_KERNEL(convert_f32_bf16)

extern "C" __global__ void convert_bf16_f32(const tallow::bf16* from, float* to, unsigned long long n) { tallow::convert(from, to, n); }
TALLOW_KERNEL(convert_bf16_f32)
