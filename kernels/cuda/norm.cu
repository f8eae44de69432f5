// RMSNorm (arXiv 1910.07467) and LayerNorm (arXiv 1607.06450) over the rows of [rows, d], forward and backward.
//
// rms_norm:            sum = x + residual where a residual is given (rounded to T and written), else sum is x;
//                      rstd = 1/sqrt(mean(sum^2) + eps), y = sum * rstd * w. sum may be x itself.
// rms_norm_backward:   dx = dy * w * rstd - x * c (+ residual), c = sum(dy * w * x) * rstd^3 / d.
// layer_norm:          y = (x - mean) * rstd * w + b; w and b may be null.
// layer_norm_backward: dx = rstd * (dy * w - mean(dy * w) - xhat * mean(dy * w * xhat)) (+ residual).
// norm_weight_grad:    dw += sum over rows of dy * xhat, db += sum over rows of dy; either may be null, and so may mean.
//
// w, b, mean, rstd, dw, db are f32. Row kernels: blocks of (32, rows a block) threads, or (a multiple of 32, 1); each thread
// takes 16 bytes at a time. Rows are read twice or three times, from the cache after the first. norm_weight_grad: blocks
// of (32, 8), one for 32 columns, partial sums added in a fixed order.
#include "device.cuh"

namespace tallow {

// f(first element) for each piece of a row that this thread owns.
template <typename F> __device__ __forceinline__ void pieces(int d, int width, F f) {
    for (int i = threadIdx.x * width; i < d; i += blockDim.x * width) f(i);
}

template <typename T>
__device__ __forceinline__ void rms_norm(const T* x, const T* residual, const float* w, T* sum, T* y, float* rstd, int rows, int d, float eps) {
    constexpr int N = LANES<T>;
    __shared__ float scratch[WARP];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool live = row < rows;
    const u64 at = (u64)(live ? row : 0) * d;
    const T* s = residual ? sum : x;
    const bool wide = d % N == 0 && aligned(x) && aligned(y) && aligned(w) && (!residual || (aligned(residual) && aligned(sum)));
    float squares = 0.f;
    if (live && wide) {
        pieces(d, N, [&](int i) {
            float v[N];
            load(x + at + i, v);
            if (residual) {
                float r[N];
                load(residual + at + i, r);
#pragma unroll
                for (int j = 0; j < N; j++) v[j] = up(down<T>(v[j] + r[j]));
                store(sum + at + i, v);
            }
#pragma unroll
            for (int j = 0; j < N; j++) squares += v[j] * v[j];
        });
    } else if (live) {
        pieces(d, 1, [&](int i) {
            float v = up(x[at + i]);
            if (residual) {
                const T rounded = down<T>(v + up(residual[at + i]));
                sum[at + i] = rounded;
                v = up(rounded);
            }
            squares += v * v;
        });
    }
    squares = row_sum(squares, scratch);
    if (!live) return;
    const float r = 1.f / sqrtf(squares / d + eps);
    if (threadIdx.x == 0) rstd[row] = r;
    if (wide) {
        pieces(d, N, [&](int i) {
            float v[N], ws[N];
            load(s + at + i, v);
            load_f32<T>(w + i, ws);
#pragma unroll
            for (int j = 0; j < N; j++) v[j] = v[j] * r * ws[j];
            store(y + at + i, v);
        });
    } else {
        pieces(d, 1, [&](int i) { y[at + i] = down<T>(up(s[at + i]) * r * w[i]); });
    }
}

template <typename T>
__device__ __forceinline__ void rms_norm_backward(const T* dy, const T* x, const float* w, const float* rstd, const T* residual, T* dx,
                                                  int rows, int d) {
    constexpr int N = LANES<T>;
    __shared__ float scratch[WARP];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool live = row < rows;
    const u64 at = (u64)(live ? row : 0) * d;
    const bool wide = d % N == 0 && aligned(x) && aligned(dy) && aligned(dx) && aligned(w) && (!residual || aligned(residual));
    float dot = 0.f;
    if (live && wide) {
        pieces(d, N, [&](int i) {
            float v[N], g[N], ws[N];
            load(x + at + i, v);
            load(dy + at + i, g);
            load_f32<T>(w + i, ws);
#pragma unroll
            for (int j = 0; j < N; j++) dot += g[j] * ws[j] * v[j];
        });
    } else if (live) {
        pieces(d, 1, [&](int i) { dot += up(dy[at + i]) * w[i] * up(x[at + i]); });
    }
    dot = row_sum(dot, scratch);
    if (!live) return;
    const float r = rstd[row], c = dot * r * r * r / d;
    if (wide) {
        pieces(d, N, [&](int i) {
            float v[N], g[N], ws[N];
            load(x + at + i, v);
            load(dy + at + i, g);
            load_f32<T>(w + i, ws);
#pragma unroll
            for (int j = 0; j < N; j++) g[j] = g[j] * ws[j] * r - v[j] * c;
            if (residual) {
                load(residual + at + i, v);
#pragma unroll
                for (int j = 0; j < N; j++) g[j] += v[j];
            }
            store(dx + at + i, g);
        });
    } else {
        pieces(d, 1, [&](int i) {
            const float g = up(dy[at + i]) * w[i] * r - up(x[at + i]) * c;
            dx[at + i] = down<T>(residual ? g + up(residual[at + i]) : g);
        });
    }
}

template <typename T>
__device__ __forceinline__ void layer_norm(const T* x, const float* w, const float* b, T* y, float* mean, float* rstd, int rows, int d, float eps) {
    __shared__ float scratch[WARP];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool live = row < rows;
    const u64 at = (u64)(live ? row : 0) * d;
    float sum = 0.f, squares = 0.f;
    if (live) pieces(d, 1, [&](int i) { sum += up(x[at + i]); });
    const float m = row_sum(sum, scratch) / d;
    if (live) pieces(d, 1, [&](int i) { squares += (up(x[at + i]) - m) * (up(x[at + i]) - m); });
    const float r = 1.f / sqrtf(row_sum(squares, scratch) / d + eps);
    if (!live) return;
    if (threadIdx.x == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
    pieces(d, 1, [&](int i) {
        const float v = (up(x[at + i]) - m) * r * (w ? w[i] : 1.f);
        y[at + i] = down<T>(b ? v + b[i] : v);
    });
}

template <typename T>
__device__ __forceinline__ void layer_norm_backward(const T* dy, const T* x, const float* w, const float* mean, const float* rstd,
                                                    const T* residual, T* dx, int rows, int d) {
    __shared__ float scratch[WARP];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool live = row < rows;
    const u64 at = (u64)(live ? row : 0) * d;
    const float m = live ? mean[row] : 0.f, r = live ? rstd[row] : 0.f;
    float sum = 0.f, product = 0.f;
    if (live) {
        pieces(d, 1, [&](int i) {
            const float g = up(dy[at + i]) * (w ? w[i] : 1.f);
            sum += g;
            product += g * (up(x[at + i]) - m) * r;
        });
    }
    sum = row_sum(sum, scratch) / d;
    product = row_sum(product, scratch) / d;
    if (!live) return;
    pieces(d, 1, [&](int i) {
        const float g = up(dy[at + i]) * (w ? w[i] : 1.f);
        const float v = r * (g - sum - (up(x[at + i]) - m) * r * product);
        dx[at + i] = down<T>(residual ? v + up(residual[at + i]) : v);
    });
}

template <typename T>
__device__ __forceinline__ void norm_weight_grad(const T* dy, const T* x, const float* mean, const float* rstd, float* dw, float* db, int rows,
                                                 int d) {
    __shared__ float part[2][8][WARP];
    const int column = blockIdx.x * WARP + threadIdx.x;
    float weight = 0.f, bias = 0.f;
    if (column < d) {
        for (int r = threadIdx.y; r < rows; r += 8) {
            const float g = up(dy[(u64)r * d + column]);
            weight += g * (up(x[(u64)r * d + column]) - (mean ? mean[r] : 0.f)) * rstd[r];
            bias += g;
        }
    }
    part[0][threadIdx.y][threadIdx.x] = weight;
    part[1][threadIdx.y][threadIdx.x] = bias;
    __syncthreads();
    if (threadIdx.y < 2 && column < d) {
        float total = 0.f;
        for (int i = 0; i < 8; i++) total += part[threadIdx.y][i][threadIdx.x];
        float* to = threadIdx.y == 0 ? dw : db;
        if (to) to[column] += total;
    }
}

} // namespace tallow

#define TALLOW_NORMS(T, NAME)                                                                                                      \
    extern "C" __global__ void rms_norm_##NAME(const T* x, const T* residual, const float* w, T* sum, T* y, float* rstd, int rows, \
                                               int d, float eps) {                                                                 \
        tallow::rms_norm(x, residual, w, sum, y, rstd, rows, d, eps);                                                              \
    }                                                                                                                              \
    extern "C" __global__ void rms_norm_backward_##NAME(const T* dy, const T* x, const float* w, const float* rstd,                \
                                                        const T* residual, T* dx, int rows, int d) {                               \
        tallow::rms_norm_backward(dy, x, w, rstd, residual, dx, rows, d);                                                          \
    }                                                                                                                              \
    extern "C" __global__ void layer_norm_##NAME(const T* x, const float* w, const float* b, T* y, float* mean, float* rstd,       \
                                                 int rows, int d, float eps) {                                                     \
        tallow::layer_norm(x, w, b, y, mean, rstd, rows, d, eps);                                                                  \
    }                                                                                                                              \
    extern "C" __global__ void layer_norm_backward_##NAME(const T* dy, const T* x, const float* w, const float* mean,              \
                                                          const float* rstd, const T* residual, T* dx, int rows, int d) {          \
        tallow::layer_norm_backward(dy, x, w, mean, rstd, residual, dx, rows, d);                                                  \
    }                                                                                                                              \
    extern "C" __global__ void norm_weight_grad_##NAME(const T* dy, const T* x, const float* mean, const float* rstd, float* dw,   \
                                                       float* db, int rows, int d) {                                               \
        tallow::norm_weight_grad(dy, x, mean, rstd, dw, db, rows, d);                                                              \
    }

TALLOW_NORMS(float, f32)
TALLOW_KERNEL(rms_norm_f32)
TALLOW_KERNEL(rms_norm_backward_f32)
TALLOW_KERNEL(layer_norm_f32)
TALLOW_KERNEL(layer_norm_backward_f32)
TALLOW_KERNEL(norm_weight_grad_f32)

TALLOW_NORMS(tallow::bf16, bf16)
TALLOW_KERNEL(rms_norm_bf16)
TALLOW_KERNEL(rms_norm_backward_bf16)
TALLOW_KERNEL(layer_norm_bf16)
TALLOW_KERNEL(layer_norm_backward_bf16)
TALLOW_KERNEL(norm_weight_grad_bf16)
